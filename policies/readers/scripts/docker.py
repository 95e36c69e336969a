"""Containers that a machine's script starts: `docker run`, and what takes the same words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from typing_extensions import override

from policies.node import Key, Node, Secret
from policies.readers.kubernetes.pods import Container, Pod
from policies.readers.scripts.shell import decoded, parse
from policies.readers.scripts.startup import Script, scripts
from policies.readers.unknown import known_first
from policies.resources import Resource

_PROGRAM = re.compile(r"^(?:.*/)?(?:docker|podman|nerdctl|ctr)$")
_BARE = {
    *("--detach", "--interactive", "--tty", "--init", "--no-healthcheck", "--oom-kill-disable", "--privileged"),
    *(
        "--publish-all",
        "--quiet",
        "--read-only",
        "--rm",
        "--rmi",
        "--replace",
        "--sig-proxy",
        "--disable-content-trust",
    ),
    *("--no-hosts", "--tls-verify", "--env-host", "--http-proxy", "--net-host", "--null-io", "--debug", "--tls"),
}
"""Options that take no further word."""
_LETTERS = "ditPq"
"""The same, of one letter."""
_LOOPBACK = re.compile(r"^(127\.|localhost|\[::1\])")
_SUBSTITUTION = re.compile(r"\$\([^()]*\)|`[^`]*`")


class HostContainer(Container):
    """One container that a script starts, in the terms of Kubernetes. Its place is the script's."""

    __slots__ = ("published",)

    def __init__(self, data: Any, path: str, *, published: bool) -> None:
        super().__init__(data, path, Pod({}, path, Node(None)))
        self.published = published
        """Whether others than the machine itself reach it."""

    @override
    def at(self, *keys: Key) -> str:
        """The script, whatever is asked for."""
        return self.path

    @override
    def node(self, *keys: Key) -> Node:
        return Node(super().node(*keys).raw, self.path)

    @override
    def each(self, *keys: Key) -> Iterator[Node]:
        for element in super().each(*keys):
            yield Node(element.raw, self.path)


def runs(resource: Resource) -> Iterator[HostContainer]:
    """Every container that a machine starts, or what makes machines.

    Raises:
        UnknownValueError: its script is not known yet.
    """
    yield from known_first(map(_of_script, scripts(resource)))


def _of_script(script: Script) -> Iterator[HostContainer]:
    # A command in the place of a word would end the command around it.
    text = _SUBSTITUTION.sub("$_", decoded(str(script.data)))
    for command in parse(text):
        place = next((place for place, word in enumerate(command.words) if _PROGRAM.match(word)), None)
        if place is not None:
            yield from _started(command.words[place].rpartition("/")[2], command.words[place + 1 :], script)


def _started(program: str, words: Sequence[str], script: Script) -> Iterator[HostContainer]:
    if "run" not in words:
        return
    options, rest = _options(words[words.index("run") + 1 :])
    if not rest:
        return
    after = rest[2:] if program == "ctr" else rest[1:]
    entry = [value for name, value in options if name == "--entrypoint"]
    data: dict[str, Any] = {
        "name": "docker run",
        "image": rest[0],
        "args": list(after),
        "env": [_variable(value) for name, value in options if name in {"-e", "--env"}],
        "envFrom": [{"secretRef": {"name": value}} for name, value in options if name == "--env-file"],
        "command": entry,
    }
    data = {name: value for name, value in data.items() if value != []}
    if script.hidden:
        data = {name: Secret(value) if name in {"image", "args"} else value for name, value in data.items()}
    yield HostContainer(data, script.path, published=any(_opens(name, value) for name, value in options))


def _options(words: Sequence[str]) -> tuple[list[tuple[str, str]], Sequence[str]]:
    """The options with their values, and what follows them."""
    found: list[tuple[str, str]] = []
    index = 0
    while index < len(words) and words[index].startswith("-"):
        word, following = words[index], words[index + 1] if index + 1 < len(words) else ""
        index += 1
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if not equals and name not in _BARE:
                value = following
                index += 1
        else:
            letters = word[1:].lstrip(_LETTERS)
            name, value = f"-{letters[:1]}", letters[1:].removeprefix("=")
            if letters and not value:
                value = following
                index += 1
        found.append((name, value))
    return found, words[index:]


def _variable(said: str) -> dict[str, Any]:
    name, equals, value = said.partition("=")
    # Of the machine's own environment, or of a command.
    return {"name": name, "value": value} if equals and "$" not in value else {"name": name, "valueFrom": {}}


def _opens(name: str, value: str) -> bool:
    if name in {"-p", "--publish"}:
        return not _LOOPBACK.match(value)
    return name in {"--publish-all", "--net-host"} or (name in {"--net", "--network"} and value == "host")

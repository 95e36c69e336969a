"""The flags that an engine's server is started with, of whatever words a container's command and arguments are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Self

from policies.node import UNKNOWN, Key, Node, Secret, UnknownValueError
from policies.readers.engines.terms import BARE_FLAG, SERVE_COMMANDS, SERVER_WORD, VLLM, Terms
from policies.readers.kubernetes.pods import Container, environment

_SHELL = re.compile(r"(^|/)(ba|da|a|z)?sh$")
_ENDS = frozenset({";", "&", "&&", "|", "||", "\n", ";;"})
"""Where a shell's command ends."""
VARIABLE = re.compile(r"\$\(([A-Za-z_]\w*)\)|\$\{([A-Za-z_]\w*)[^}]*\}|\$([A-Za-z_]\w*)")
_FLAG = re.compile(r"--?[A-Za-z]")
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
"""As vLLM's flags take them: 1k is 1000, 1K is 1024."""


class Unseen(str):
    """In the place of a word that is not known yet, or of a whole list of them."""

    __slots__ = ("path", "several")

    path: str
    several: bool

    def __new__(cls, path: str, *, several: bool) -> Self:
        """As a text it is no flag, no file and no command."""
        word = super().__new__(cls, "?")
        word.path, word.several = path, several
        return word


class Flags(dict[str, Any]):
    """The flags by their long names, without dashes and with dashes inside; a bare flag is True."""

    loose: Unseen | None = None
    """A word that may be any flag."""

    def value(self, name: str) -> Any:
        """The flag's value; None where it is not given.

        Raises:
            UnknownValueError: it is not known yet, or whether it is given is not.
        """
        found = self.get(name)
        unseen = found if isinstance(found, Unseen) else self.loose if name not in self else None
        if unseen is not None:
            raise UnknownValueError(unseen.path)
        return found

    def given(self, name: str) -> bool:
        """Whether the flag is there.

        Raises:
            UnknownValueError: it is not known yet.
        """
        if name not in self and self.loose is not None:
            raise UnknownValueError(self.loose.path)
        return name in self


def server_words(container: Container) -> list[str]:
    """The words that the engine's server is given: what follows `vllm serve`, or all where the image itself starts it.

    A shell's script is taken apart, and variables that the container sets are put in. What is not known is `Unseen`.
    """
    words = list(_words(container))
    if any("$" in word for word in words):
        known = dict(environment(container))
        words = [word if isinstance(word, Unseen) else _filled(word, known) for word in words]
    if words and _SHELL.search(words[0]):
        starts = (place for place, word in enumerate(words) if isinstance(word, Unseen) or re.match(r"-[a-z]*c$", word))
        after = next(starts, len(words))
        words = [part for word in words[after + 1 :] for part in ([word] if isinstance(word, Unseen) else _split(word))]
    for place, word in enumerate(words):
        before = words[place - 1].rpartition("/")[2] if place else "vllm"
        if (word == "serve" and before in SERVE_COMMANDS) or SERVER_WORD.search(word):
            words = words[place + 1 :]
            break
    end = next((place for place, word in enumerate(words) if word in _ENDS), len(words))
    return words[:end]


def _words(container: Container) -> Iterator[str]:
    for key in ("command", "args"):
        found = container.node(key)
        if found.data is UNKNOWN:
            yield Unseen(found.path, several=True)
            continue
        for word in container.each(key):
            yield Unseen(word.path, several=False) if word.data is UNKNOWN else str(word.data)


def place_of(container: Container, flag: str, terms: Terms = VLLM) -> tuple[Key, ...]:
    """Where a flag stands: the word itself, or the script that it is in."""
    within: tuple[Key, ...] | None = None
    said = rf"(?<![\w-])--?{flag.replace('-', '[-_]')}(?![\w-])"
    for key in ("command", "args"):
        if container.node(key).data is UNKNOWN:
            continue
        for index, word in enumerate(container.each(key)):
            text = str(word.data)
            if flag in flags_of([text], terms):
                return key, index
            if within is None and re.search(said, text):
                within = (key, index)
    return within or ("args" if container.has("args") else "command",)


def _filled(word: str, known: dict[str, Node]) -> str:
    """With the values of variables; what is unknown, secret or comes from elsewhere stays a variable."""

    def value(found: re.Match[str]) -> str:
        entry = known.get(found[1] or found[2] or found[3])
        said = None if entry is None else entry.node("value").raw
        return found[0] if said is None or said is UNKNOWN or isinstance(said, Secret) else str(said)

    for _ in range(3):  # one variable may hold another
        word = VARIABLE.sub(value, word)
    return word


def _split(script: str) -> list[str]:
    """The words of a shell's script; ends of commands are words of their own."""
    text = re.sub(r"(?m)(^|[ \t])#.*$", "", script.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return script.split()


def flags_of(words: Sequence[str], terms: Terms = VLLM) -> Flags:
    """The flags among the words. An unknown word that follows a flag is its value; any other may be a flag.

    Args:
        words: what a server is given.
        terms: of the engine.
    """
    flags = Flags()
    value_of: str | None = None
    for index, word in enumerate(words):
        if isinstance(word, Unseen):
            if value_of is None or word.several:
                flags.loose = flags.loose or word
            value_of = None
            continue
        value_of = None
        if not _FLAG.match(word):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not word.startswith("--"):
            joined = re.match(r"([a-z]+)(\d+)$", name)
            if joined and joined[1] in terms.short:
                name, equals, value = joined[1], "=", joined[2]
            name = terms.short.get(name, name)
        name = terms.aliases.get(name, name)
        following = words[index + 1] if index + 1 < len(words) else "-x"
        bare = _FLAG.match(following) or (isinstance(following, Unseen) and BARE_FLAG.match(name))
        flags[name] = value if equals else True if bare else following
        value_of = None if equals or bare else name
    return flags


def count(value: Any) -> int | None:
    """A whole number as vLLM's flags take it; None for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgKMG]?)", str(value))
    if found is None or ("." in found[1] and not found[2]):
        return None
    return int(float(found[1]) * _UNITS.get(found[2], 1))


def is_on(given: object) -> bool:
    """Whether a flag without a value is on; a word that follows it is none of its own, unless it says no."""
    return given is not None and str(given).casefold() not in {"", "false", "0", "no"}

"""What machines and containers run as they start, and what these commands install.

A script is taken apart as a shell would: at ends of lines, `;`, `&&`, `||` and `|`, with quotes honoured. Commands in the
text of another (`sh -c "…"`, cloud-init's `runcmd`) are found as well. What a script fetches to run later is not seen.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.node import UNKNOWN, Node, Secret, UnknownValueError
from policies.resources import Resource
from policies.subjects.kubernetes import ANY, containers_of
from policies.subjects.unknowns import known_first
from policies.subjects.workloads import running

TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
_FLEET_REQUEST = "aws:ec2/spotFleetRequest:SpotFleetRequest"
_MACHINES = {
    "aws:ec2/instance:Instance": ("userData", "userDataBase64"),
    "aws:ec2/launchTemplate:LaunchTemplate": ("userData",),
    "aws:ec2/launchConfiguration:LaunchConfiguration": ("userData", "userDataBase64"),
    "aws:ec2/spotInstanceRequest:SpotInstanceRequest": ("userData", "userDataBase64"),
}
"""By type the properties with the script that a machine starts with, plain or in base64."""

MACHINES = (*_MACHINES, _FLEET_REQUEST)
"""Types of machines, or of what makes them."""
TYPES = (ANY, TASK_DEFINITION, *MACHINES)
"""Types in which `scripts` finds something."""

_SHELL = re.compile(r"^(?:.*/)?(?:ba|da|z|k|a)?sh$")
_READS_PROGRAMS = re.compile(r"^(?:.*/)?(?:(?:ba|da|z|k|a)?sh|python[\d.]*|perl|ruby|node|source|\.)$")
_FETCHES = re.compile(r"^(?:.*/)?(?:curl|wget)$")
_PIP = re.compile(r"^(?:.*/)?pip[\d.]*$")
_TOOLS = re.compile(r"^(?:.*/)?(?:uvx?|pipx|(?:micro)?mamba|conda|poetry)$")
"""Programs besides pip that install Python packages, or run them straight from an index."""
_HUB = re.compile(r"^(?:.*/)?(?:hf|huggingface-cli)$")
_NPM = re.compile(r"^(?:.*/)?p?npm$")
_SAYS = re.compile(r"^(?:.*/)?(?:echo|printf|cat|grep|sed|awk|logger|pgrep|pkill|which|type)$")
_WRAPS = {
    "sudo",
    "env",
    "exec",
    "nohup",
    "time",
    "nice",
    "command",
    "if",
    "then",
    "else",
    "do",
    "while",
    "until",
    "!",
    "{",
}
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_TAKING = {
    "sudo": {"-u", "--user", "-g", "--group", "-h", "--host", "-p", "--prompt", "-C", "-D", "--chdir"},
    "env": {"-u", "--unset", "-C", "--chdir"},
    "nice": {"-n", "--adjustment"},
    "exec": {"-a"},
}
"""By program that wraps another, its options that take the next word; those of the others are not read."""
_SUBSTITUTED = re.compile(r"\s*(?:\$\(|<\(|`)\s*(?:sudo\s+)?(?:curl|wget)\b[^)`]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{16,}={0,2}\s*")
_PIP_VALUES = {
    "-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-t",
    "--target", "--prefix", "--root", "-p", "--python", "--trusted-host", "--platform", "--python-version",
    "--only-binary", "--no-binary", "--cache-dir", "--upgrade-strategy", "--src", "--progress-bar", "--timeout",
    "--retries", "--proxy", "--torch-backend", "--index", "--default-index", "--extra", "--group", "--index-strategy",
    "--report", "-C", "--config-settings", "--log", "--cert", "--client-cert", "--implementation", "--abi", "--overrides",
    "--upgrade-package", "-P", "--exclude-newer", "--keyring-provider", "--python-platform", "--no-build-isolation-package",
}  # fmt: skip
"""Options of pip and `uv pip` that take the next word."""
_NAMES_PACKAGES = {"--from", "--spec", "--with"}
_TOOL_VALUES = {"--channel", "-n", "--name", "--file", "--source", "--directory", "--project", "--pip-args"}
"""Options of the other programs that take the next word, besides those that pip has as well."""
_LONGEST_QUOTE = 200
"""Lines; what goes on for longer is read without regard to quotes."""
_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_COMMENT = re.compile(rf"({_QUOTED.pattern})|(?<![^\s;&|()])#[^\n]*", re.DOTALL)
"""A comment, or what is quoted, in which a `#` starts none; nor does it within a word."""
_PIPE_AT_END = re.compile(r"^(?![ \t]*(?:#|-\s*\|))(.*[^\s:|][ \t]*\|)[ \t]*\n", re.MULTILINE)
"""Not YAML's `key: |`, and no comment."""
_ENDS = re.compile(r"[();|&]+")
_REDIRECTS = re.compile(r"[();<>|&]+")
_EXACT_NPM = re.compile(r"^(?:@[\w.-]+/)?[\w.-]+@\d+\.\d+\.\d+(?:[-+][\w.+-]+)?$")
_LOCAL = re.compile(r"^(?:\.{0,2}/|\.$|\.\[|~|file:)|\.(?:whl|tar\.gz|zip|tgz)$")


@dataclass(frozen=True)
class Command:
    """One command of a script."""

    words: tuple[str, ...]
    beside: tuple[str, ...] = ()
    """The words of the command that it is piped to from, or stands within as `<(…)`."""


@dataclass(frozen=True)
class Install:
    """One thing that a command installs, or runs straight from the network."""

    kind: str
    """`pip`, `npm`, or `pipe` for a download that a shell reads."""
    shown: str
    """The command as messages show it: short, without options, so that no credential is in it."""
    requirements: tuple[str, ...] = ()
    """What is named: requirements of pip, packages of npm, addresses of a download."""
    pinned: bool = False
    """Whether what comes is settled: by hash with pip, by an exact release with npm."""
    verb: str = "pip install"
    """The program that installs it."""


@dataclass(frozen=True)
class Download:
    """A repository of a model hub that a command fetches."""

    repository: str
    revision: str | None


class Script(Node):
    """A text, or the words of a command, that is run at the start."""

    __slots__ = ("commands", "hidden")

    def __init__(self, node: Node, commands: Sequence[Command], *, hidden: bool) -> None:
        super().__init__(node.raw, node.path)
        self.commands = commands
        self.hidden = hidden
        """Whether Pulumi keeps it secret, so that nothing of it may be shown."""

    def installs(self) -> Iterator[Install]:
        """What it installs."""
        for command in self.commands:
            yield from _installs(command)

    def downloads(self) -> Iterator[Download]:
        """What it fetches from a model hub."""
        for command in self.commands:
            yield from _downloads(command.words)


def scripts(resource: Resource) -> Iterator[Script]:
    """What the resource's machine or containers run at their start.

    Raises:
        UnknownValueError: what decides is not known yet.
    """
    if resource.type in _MACHINES:
        yield from known_first(_machine(resource.inputs, key) for key in _MACHINES[resource.type])
    elif resource.type == _FLEET_REQUEST:
        machines = resource.inputs.each("launchSpecifications")
        yield from known_first(_machine(machine, "userData") for machine in machines)
    elif resource.type == CONFIG_MAP:
        yield from known_first(_file(name, place) for name, place in resource.inputs.entries("data"))
    elif resource.type == TASK_DEFINITION:
        tasks = resource.inputs.document("containerDefinitions").each()
        yield from known_first(_started(each, ("entryPoint", "command")) for each in tasks)
    else:
        found = known_first(map(containers_of, running(resource)))
        yield from known_first(_started(each, ("command", "args")) for each in found)


def _machine(machine: Node, key: str) -> Iterator[Script]:
    place = machine.node(key)
    text = machine.get(key)
    if isinstance(text, str):
        yield Script(place, list(parse(decoded(text))), hidden=isinstance(place.raw, Secret))


def _file(name: str, place: Node) -> Iterator[Script]:
    """A script that pods mount: by its name, or by its first line."""
    text = place.data
    named = name.endswith((".sh", ".bash"))
    if named and text is UNKNOWN:
        raise UnknownValueError(place.path)
    if isinstance(text, str) and (named or re.match(r"#!.*sh\b", text)):
        yield Script(place, list(parse(text)), hidden=isinstance(place.raw, Secret))


def parse(text: str) -> Iterator[Command]:
    """The commands of a shell script, or of cloud-init's list of them."""
    # A backslash or a pipe at the end joins lines; so does an open quote, which only a line with a quote in it can close.
    pending: list[str] = []
    for line in _PIPE_AT_END.sub(r"\1 ", text.replace("\\\n", " ")).splitlines():
        pending.append(line if pending else _plain(line))
        if len(pending) > 1 and ("'" not in line and '"' not in line):
            continue
        tokens = _tokens("\n".join(pending)) if len(pending) <= _LONGEST_QUOTE else None
        if tokens is not None:
            pending = []
            yield from _commands(tokens)
    # An apostrophe of a text, it seems: the lines as they are.
    for line in pending:
        yield from _commands(re.split(r"\s+|(\|\|?|&&|;)", re.sub(r"[\"']", " ", line)))


def performed(text: str) -> Iterator[tuple[str, ...]]:
    """The commands of a shell's text that do more than to print, each from its program on."""
    for command in parse(text):
        words = _stripped(command.words)
        if words and _SAYS.match(words[0]) is None:
            yield words


def decoded(text: str) -> str:
    """The text itself, or what it says in base64, unpacked where it is packed."""
    if _BASE64.fullmatch(text) is None:
        return text
    try:
        content = base64.b64decode(text, validate=False)
        return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
    except (binascii.Error, ValueError, OSError, EOFError):
        return text


def _started(container: Node, keys: tuple[str, ...]) -> Iterator[Script]:
    """A container's command; a word that is not known counts only where it could hold a command."""
    places = [place for key in keys for place in container.each(key)]
    words = [place.data for place in places]
    unknown = next((place for place in places if place.data is UNKNOWN), None)
    known = [str(word) for word in words if word is not UNKNOWN]
    if unknown is not None and (words[0] is UNKNOWN or any(_decides(word) for word in known)):
        raise UnknownValueError(unknown.path)
    hidden = any(isinstance(place.raw, Secret) for place in places)
    yield Script(container, list(_nested(Command(tuple(known)))), hidden=hidden)


def _decides(word: str) -> bool:
    return any(pattern.match(word) for pattern in (_SHELL, _PIP, _NPM, _TOOLS, _HUB))


def _plain(line: str) -> str:
    """A line of a script, or an entry of a YAML list of commands."""
    entry = re.match(r"^\s*-\s+(.*)$", line)
    if entry is None:
        return line
    if listed := re.fullmatch(r"\[(.*)\]\s*(?:\s#.*)?", entry[1]):
        return " ".join(shlex.quote(word.strip().strip("\"'")) for word in listed[1].split(","))
    if quoted := re.fullmatch(r"([\"'])(.*)\1\s*(?:\s#.*)?", entry[1]):
        return quoted[2].replace('\\"', '"')
    return entry[1]


def _tokens(line: str) -> list[str] | None:
    """Words and separators; None where a quote is still open."""
    text = _COMMENT.sub(lambda found: found[1] or "", line)
    if re.search(r"[\"']", _QUOTED.sub("", text)):
        return None
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return list(lexer)
    except ValueError:
        return None


def _commands(tokens: Sequence[str | None]) -> Iterator[Command]:
    words: list[str] = []
    last: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    skip = False
    for token in (*tokens, ";"):
        if not token:
            continue
        if token == "<(":  # noqa: S105
            # What it starts is a command of its own, be it in the place of a word or of the file after a `<`.
            yield from _nested(Command(tuple(words), beside))
            words, beside, skip = [], tuple(words), False
        elif skip:
            skip = False
        elif _ENDS.fullmatch(token):
            yield from _nested(Command(tuple(words), beside))
            # `(curl …) | sh`: the command that is piped ended before.
            last = tuple(words) or last
            words, beside = [], last if token.lstrip(")") in {"|", "|&"} else ()
        elif _REDIRECTS.fullmatch(token):
            # A redirection: its file, and the number of the stream before it, are no words of the command.
            if words and words[-1].isdigit():
                words.pop()
            skip = True
        else:
            words.append(token)


def _nested(command: Command) -> Iterator[Command]:
    """The command, and those in the text that it hands to a shell."""
    if not command.words:
        return
    yield command
    shell = False
    for before, word in zip(("", *command.words), command.words, strict=False):
        # A text of several lines is a script as well, or what stands between two apostrophes that are no quotes.
        if "\n" in word or (shell and re.fullmatch(r"-[A-Za-z]*c[A-Za-z]*", before)):
            yield from parse(word)
        shell = shell or _SHELL.match(word) is not None or word in {"su", "runuser"}


def _installs(command: Command) -> Iterator[Install]:
    words = command.words
    start = _stripped(words)
    if not start or _SAYS.match(start[0]):
        return
    yield from _tool(start[0].rpartition("/")[2], start[1:])
    for index, word in enumerate(words):
        rest = words[index + 1 :]
        if _PIP.match(word) and (at := _subcommand(rest, {"install"})) is not None:
            yield from _pip(rest[at + 1 :], words[:index])
            break
        if _NPM.match(word) and (at := _subcommand(rest, {"install", "i", "add"})) is not None:
            yield from _npm(rest[:at] + rest[at + 1 :])
            break
    if (text := _SUBSTITUTED.match(_program(start))) is not None:
        yield _download(text[0].split())
    else:
        yield from _piped(start, _stripped(command.beside))


def _pip(arguments: Sequence[str], before: Sequence[str]) -> Iterator[Install]:
    names: list[str] = []
    files: list[str] = []
    links: list[str] = []
    options: set[str] = set()
    values = iter(arguments)
    for word in values:
        option, equals, value = word.partition("=")
        if not word.startswith("-"):
            names.append(word)
            continue
        options.add(option)
        if option in _PIP_VALUES:
            value = value if equals else next(values, "")
            if option in {"-r", "--requirement"}:
                files.append(value)
            elif option in {"-f", "--find-links"}:
                links.append(value)
    if not names and not files:
        return
    # `PIP_REQUIRE_HASHES=1 pip install …` asks for the same.
    hashed = "--require-hashes" in options or any(re.match(r"(?:PIP|UV)_REQUIRE_HASHES=(?:1|true)", w) for w in before)
    # Nothing comes from the network: only local files, without what they depend on or with a folder to find it in.
    offline = "--no-index" in options and not any("://" in link for link in links)
    alone = "--no-deps" in options and not files and all(_LOCAL.search(name) and "://" not in name for name in names)
    by_hash = not files and all("#sha256=" in name for name in names)
    shown = [*(f"-r {name}" for name in files), *(clean(name) for name in names)]
    yield Install(
        kind="pip",
        shown=f"pip install {' '.join(shown)}",
        requirements=tuple(names),
        pinned=hashed or offline or alone or by_hash,
    )


def _tool(program: str, arguments: Sequence[str]) -> Iterator[Install]:
    """What uv, pipx, conda or poetry install, or run straight from an index."""
    words, given = _without_options(arguments)
    runs = {"uvx": 0, "uv tool run": 2, "pipx run": 1, "uv run": 1}
    adds = {
        "uv tool install": 2,
        **dict.fromkeys(("uv add", "pipx install", "poetry add"), 1),
        **{f"{each} install": 1 for each in ("conda", "mamba", "micromamba")},
    }
    said = " ".join((program, *words))
    verb = next((verb for verb in (*runs, *adds) if f"{said} ".startswith(f"{verb} ")), None)
    if verb in adds:
        names = [*words[adds[verb] :], *given]
    elif verb == "uv run":
        names = given
    elif verb is not None:
        # What comes after the first word are the program's own.
        names = given or words[runs[verb] : runs[verb] + 1]
    else:
        return
    names = [_as_pin(name) for name in names if not _LOCAL.search(name)]
    if names:
        shown = f"{verb} {' '.join(clean(name) for name in names)}"
        yield Install(kind="pip", shown=shown, requirements=tuple(names), verb=str(verb))


def _without_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are no options, and what options name to be installed."""
    words: list[str] = []
    given: list[str] = []
    values = iter(arguments)
    for word in values:
        option, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
        elif option in _NAMES_PACKAGES or option in _PIP_VALUES or option in _TOOL_VALUES:
            value = value if equals else next(values, "")
            if option in _NAMES_PACKAGES:
                given.append(value)
    return words, given


def _as_pin(name: str) -> str:
    """As pip would write it: `litellm@1.82.8` and conda's `litellm=1.82.8` are `litellm==1.82.8`."""
    name = name.rpartition("::")[2]
    if re.match(r"[\w.-]+(\[[^\]]*\])?@\d", name):
        return name.replace("@", "==", 1)
    return re.sub(r"^([\w.-]+)=(?=\d)", r"\1==", name)


def _downloads(words: Sequence[str]) -> Iterator[Download]:
    at = next((place for place, word in enumerate(words) if _HUB.match(word)), None)
    if at is None or words[at + 1 : at + 2] != ("download",):
        return
    repository = revision = None
    values = iter(words[at + 2 :])
    for word in values:
        option, equals, value = word.partition("=")
        if not word.startswith("-"):
            repository = repository or word
        elif option not in {"--quiet", "--force-download", "--resume-download", "--dry-run"}:
            value = value if equals else next(values, "")
            revision = value if option == "--revision" else revision
    if repository is not None:
        yield Download(repository, revision)


def _npm(arguments: Sequence[str]) -> Iterator[Install]:
    everywhere = {"-g", "--global", "--location=global"} & set(arguments)
    names = tuple(word for word in arguments if not word.startswith("-") and not _LOCAL.search(word))
    if everywhere and names:
        yield Install(
            kind="npm",
            shown=f"npm install -g {' '.join(clean(name) for name in names)}",
            requirements=names,
            pinned=all(_EXACT_NPM.match(name) for name in names),
        )


def _program(words: Sequence[str]) -> str:
    """The text that a command has run, or an interpreter is given as its program; empty where it is given none."""
    if words[0] in {"eval", "source", "."}:
        return " ".join(words[1:])
    options = words if _READS_PROGRAMS.match(words[0]) else ()
    at = next((place for place, word in enumerate(options) if re.fullmatch(r"-[A-Za-z]*[ce]", word)), len(options))
    return " ".join(options[at + 1 :])


def _piped(words: Sequence[str], beside: Sequence[str]) -> Iterator[Install]:
    """A download that is run as it comes: `curl … | bash`, or `bash <(curl …)`."""
    for fetching, reading in ((beside, words), (words, beside)):
        if fetching and _FETCHES.match(fetching[0]) and _reads_programs(reading):
            yield _download(fetching)


def _reads_programs(words: Sequence[str]) -> bool:
    """Whether it is an interpreter that takes its program from the pipe."""
    words = _stripped(words)
    if not words or _READS_PROGRAMS.match(words[0]) is None:
        return False
    options = words[1:]
    # Any other word is a program's file or text.
    return any(re.fullmatch(r"-|-[a-z]*s", word) for word in options) or all(word.startswith("-") for word in options)


def _download(words: Sequence[str]) -> Install:
    addresses = tuple(clean(word.strip("\"'")) for word in words if re.match(r"[\"']?(?:https?|ftp)://", word))
    return Install(kind="pipe", shown=f"{' '.join(addresses) or 'a download'} | sh", requirements=addresses)


def _stripped(words: Sequence[str]) -> tuple[str, ...]:
    """Without what stands before a command: variables, sudo and its options, the shell's own words."""
    left = list(words)
    while left and (left[0] in _WRAPS or _ASSIGNMENT.match(left[0])):
        wrapper = left.pop(0)
        while wrapper in _TAKING and left and left[0].startswith("-"):
            if left.pop(0) in _TAKING[wrapper]:
                del left[:1]
    return tuple(left)


def _subcommand(words: Sequence[str], names: set[str]) -> int | None:
    """Where the subcommand stands, past options and their values; None where another one does."""
    for index, (before, word) in enumerate(zip(("", *words), words, strict=False)):
        if word in names:
            return index
        if not word.startswith("-") and before not in _PIP_VALUES:
            return None
    return None


def clean(text: str) -> str:
    """An address without user, password and query; any other text as it is."""
    return re.sub(r"(://)[^/\s]*@", r"\1", text).split("?")[0] if "://" in text else text

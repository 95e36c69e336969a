"""What the commands of a script install, or fetch from a model hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.readers.scripts.shell import SAYS, SHELL, Command, clean, stripped

_READS_PROGRAMS = re.compile(r"^(?:.*/)?(?:(?:ba|da|z|k|a)?sh|python[\d.]*|perl|ruby|node|source|\.)$")
_FETCHES = re.compile(r"^(?:.*/)?(?:curl|wget)$")
_PIP = re.compile(r"^(?:.*/)?pip[\d.]*$")
_TOOLS = re.compile(r"^(?:.*/)?(?:uvx?|pipx|(?:micro)?mamba|conda|poetry)$")
"""Programs besides pip that install Python packages, or run them straight from an index."""
_HUB = re.compile(r"^(?:.*/)?(?:hf|huggingface-cli)$")
_NPM = re.compile(r"^(?:.*/)?p?npm$")
_SUBSTITUTED = re.compile(r"\s*(?:\$\(|<\(|`)\s*(?:sudo\s+)?(?:curl|wget)\b[^)`]*")
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
_EXACT_NPM = re.compile(r"^(?:@[\w.-]+/)?[\w.-]+@\d+\.\d+\.\d+(?:[-+][\w.+-]+)?$")
_LOCAL = re.compile(r"^(?:\.{0,2}/|\.$|\.\[|~|file:)|\.(?:whl|tar\.gz|zip|tgz)$")


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


def installs(command: Command) -> Iterator[Install]:
    """What a command installs, or runs straight from the network."""
    words = command.words
    start = stripped(words)
    if not start or SAYS.match(start[0]):
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
        yield from _piped(start, stripped(command.beside))


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


def downloads(words: Sequence[str]) -> Iterator[Download]:
    """The repository of a model hub that a command fetches."""
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
    words = stripped(words)
    if not words or _READS_PROGRAMS.match(words[0]) is None:
        return False
    options = words[1:]
    # Any other word is a program's file or text.
    return any(re.fullmatch(r"-|-[a-z]*s", word) for word in options) or all(word.startswith("-") for word in options)


def _download(words: Sequence[str]) -> Install:
    addresses = tuple(clean(word.strip("\"'")) for word in words if re.match(r"[\"']?(?:https?|ftp)://", word))
    return Install(kind="pipe", shown=f"{' '.join(addresses) or 'a download'} | sh", requirements=addresses)


def _subcommand(words: Sequence[str], names: set[str]) -> int | None:
    """Where the subcommand stands, past options and their values; None where another one does."""
    for index, (before, word) in enumerate(zip(("", *words), words, strict=False)):
        if word in names:
            return index
        if not word.startswith("-") and before not in _PIP_VALUES:
            return None
    return None


def is_program(word: str) -> bool:
    """Whether a word is a shell, or a program that installs or fetches something."""
    return any(pattern.match(word) for pattern in (SHELL, _PIP, _NPM, _TOOLS, _HUB))

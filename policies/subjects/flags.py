"""The flags that vLLM's server is started with, of whatever words a container's command and arguments are."""

from __future__ import annotations

import re
import shlex
from typing import Any

from policies.node import UNKNOWN, Node, Secret
from policies.subjects.kubernetes import Container, command_line, environment

_SHELL = re.compile(r"(^|/)(ba|da|a|z)?sh$")
_ENDS = frozenset({";", "&", "&&", "|", "||", "\n", ";;"})
"""Where a shell's command ends."""
VARIABLE = re.compile(r"\$\(([A-Za-z_]\w*)\)|\$\{([A-Za-z_]\w*)[^}]*\}|\$([A-Za-z_]\w*)")
_FLAG = re.compile(r"--?[A-Za-z]")

_SHORT = {
    "tp": "tensor-parallel-size",
    "pp": "pipeline-parallel-size",
    "dp": "data-parallel-size",
    "dpl": "data-parallel-size-local",
    "dpn": "data-parallel-rank",
    "dpe": "data-parallel-external-lb",
    "dcp": "decode-context-parallel-size",
    "pcp": "prefill-context-parallel-size",
    "ep": "enable-expert-parallel",
    "n": "nnodes",
    "q": "quantization",
}
"""vLLM's one-dash forms."""
_ABBREVIATED = {"tensor-parallel": "tensor-parallel-size", "pipeline-parallel": "pipeline-parallel-size"}
"""argparse takes any beginning that only one flag has; these are in use."""
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
"""As vLLM's flags take them: 1k is 1000, 1K is 1024."""


def server_words(container: Container) -> list[str]:
    """The words that vLLM's server is given: what follows `vllm serve`, or all where the image itself starts it.

    A shell's script is taken apart, and variables that the container sets are put in.
    """
    words = command_line(container)
    if any("$" in word for word in words):
        known = {name: entry for name, entry in environment(container) if name}
        words = [_filled(word, known) for word in words]
    if words and _SHELL.search(words[0]):
        after = next((place for place, word in enumerate(words) if re.match(r"-[a-z]*c$", word)), len(words))
        words = [part for word in words[after + 1 :] for part in _split(word)]
    for place, word in enumerate(words):
        served = word == "serve" and place and words[place - 1].rpartition("/")[2] == "vllm"
        if served or word.startswith("vllm.entrypoints."):
            words = words[place + 1 :]
            break
    end = next((place for place, word in enumerate(words) if word in _ENDS), len(words))
    return words[:end]


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


def flags_of(words: list[str]) -> dict[str, Any]:
    """By their long names, without dashes and with dashes inside; a bare flag is True."""
    flags: dict[str, Any] = {}
    for index, word in enumerate(words):
        if not _FLAG.match(word):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not word.startswith("--"):
            joined = re.match(r"(tp|pp|dp|dpl|n)(\d+)$", name)
            name, equals, value = (joined[1], "=", joined[2]) if joined else (name, equals, value)
            name = _SHORT.get(name, name)
        name = _ABBREVIATED.get(name, name)
        following = words[index + 1] if index + 1 < len(words) else "-x"
        flags[name] = value if equals else True if _FLAG.match(following) else following
    return flags


def count(value: Any) -> int | None:
    """A whole number as vLLM's flags take it; None for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgKMG]?)", str(value))
    if found is None or ("." in found[1] and not found[2]):
        return None
    return int(float(found[1]) * _UNITS.get(found[2], 1))

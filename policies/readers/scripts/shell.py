"""A shell's script taken apart into its commands.

At ends of lines, `;`, `&&`, `||` and `|`, with quotes honoured. Commands in the text of another (`sh -c "…"`, cloud-init's
`runcmd`) are found as well. What a script fetches to run later is not seen.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHELL = re.compile(r"^(?:.*/)?(?:ba|da|z|k|a)?sh$")
SAYS = re.compile(r"^(?:.*/)?(?:echo|printf|cat|grep|sed|awk|logger|pgrep|pkill|which|type)$")
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
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{16,}={0,2}\s*")
_LONGEST_QUOTE = 200
"""Lines; what goes on for longer is read without regard to quotes."""
_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_COMMENT = re.compile(rf"({_QUOTED.pattern})|(?<![^\s;&|()])#[^\n]*", re.DOTALL)
"""A comment, or what is quoted, in which a `#` starts none; nor does it within a word."""
_PIPE_AT_END = re.compile(r"^(?![ \t]*(?:#|-\s*\|))(.*[^\s:|][ \t]*\|)[ \t]*\n", re.MULTILINE)
"""Not YAML's `key: |`, and no comment."""
_ENDS = re.compile(r"[();|&]+")
_REDIRECTS = re.compile(r"[();<>|&]+")


@dataclass(frozen=True)
class Command:
    """One command of a script."""

    words: tuple[str, ...]
    beside: tuple[str, ...] = ()
    """The words of the command that it is piped to from, or stands within as `<(…)`."""


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
        words = stripped(command.words)
        if words and SAYS.match(words[0]) is None:
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
            yield from nested(Command(tuple(words), beside))
            words, beside, skip = [], tuple(words), False
        elif skip:
            skip = False
        elif _ENDS.fullmatch(token):
            yield from nested(Command(tuple(words), beside))
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


def nested(command: Command) -> Iterator[Command]:
    """The command, and those in the text that it hands to a shell."""
    if not command.words:
        return
    yield command
    shell = False
    for before, word in zip(("", *command.words), command.words, strict=False):
        # A text of several lines is a script as well, or what stands between two apostrophes that are no quotes.
        if "\n" in word or (shell and re.fullmatch(r"-[A-Za-z]*c[A-Za-z]*", before)):
            yield from parse(word)
        shell = shell or SHELL.match(word) is not None or word in {"su", "runuser"}


def stripped(words: Sequence[str]) -> tuple[str, ...]:
    """Without what stands before a command: variables, sudo and its options, the shell's own words."""
    left = list(words)
    while left and (left[0] in _WRAPS or _ASSIGNMENT.match(left[0])):
        wrapper = left.pop(0)
        while wrapper in _TAKING and left and left[0].startswith("-"):
            if left.pop(0) in _TAKING[wrapper]:
                del left[:1]
    return tuple(left)


def clean(text: str) -> str:
    """An address without user, password and query; any other text as it is."""
    return re.sub(r"(://)[^/\s]*@", r"\1", text).split("?")[0] if "://" in text else text

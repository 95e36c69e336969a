"""Secrets in clear within a text: a script, a command, a file of settings; in the notations that such texts have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.readers.secrets.values import Found, is_basic, literal, looks_random, says_secret, secret_value

_EXPANDED = re.compile(
    r"""^(?: [$`*&!@|>%{\[(] | <\( | <[A-Z] ) | ^[A-Z_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASS)[A-Z_]*$""", re.VERBOSE
)
"""What a shell or YAML reads as something else than a literal, and the words of a manual."""
_EXPANDED_IN_QUOTES = re.compile(
    r"^(?: [$`%{] | <[A-Z] ) | ^[A-Z_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASS)[A-Z_]*$", re.VERBOSE
)
"""The same in quotes, where a password may well begin with `!` or `@`."""
_PROSE = {
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "for", "from", "here", "if", "in", "instead", "is", "it", "must",
    "of", "on", "option", "or", "required", "set", "should", "so", "that", "the", "then", "to", "value", "via", "was", "when",
    "which", "will", "with",
}  # fmt: skip
"""What stands after an option in a sentence about it."""
_HINT = re.compile(
    r"key|token|secret|pass|pwd|masterauth|credential|authorization|bearer|basic|login|curl|mysql|-cli|identified",
    re.IGNORECASE,
)
_NAME = r"[\w.-]{0,60}?(?:keys?|tokens?|secrets?|passwords?|passwd|passphrase|pass|pwd|masterauth|credentials?|authorization)"
_LINES = re.compile(
    rf"""^[ \t]* (?:-[ \t]+)? (?:(?:export|set|ENV|ARG|Environment=)[ \t]*)? ["']? (?P<name>{_NAME}) ["']?
         [ \t]*[:=][ \t]* (?P<quote>["']?) (?P<value>[^\s"'#]+) (?P=quote) [ \t]* ,? [ \t]* (?:\#.*)? $""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
"""`NAME: value` or `NAME=value` alone on a line: shell, YAML, INI, .env."""
_FLOW = re.compile(
    rf"""(?<!\$)[{{,]\s*["']?(?P<name>{_NAME})["']?\s*:\s*(?P<quote>["']?)(?P<value>[^\s"',}}\]]+)(?P=quote)\s*(?=[,}}\]])""",
    re.IGNORECASE,
)
"""`{name: value}`: YAML's flow style, and JSON within something else."""
_OPTIONS = re.compile(
    rf"(?P<name>--{_NAME})(?P<sign>=|[ \t]+(?!-))(?P<quote>[\"']?)(?P<value>[^\s\"']+)(?P=quote)", re.IGNORECASE
)
"""`--name value` in a command."""
_INLINE = re.compile(
    rf"(?:^|[\s;&?=\"'])(?P<name>{_NAME})=(?P<quote>[\"']?)(?P<value>[^\s\"';&]+)(?P=quote)(?=[\s;&\"']|$)",
    re.IGNORECASE,
)
"""`NAME=value command`, and the parts of a connection's description."""
_CALLS = re.compile(
    rf"""[(,]\s*(?P<name>{_NAME})\s*=\s*(?P<quote>["'])(?P<value>[^\s"']+)(?P=quote)(?=\s*[,)])""", re.IGNORECASE
)
"""`connect(name="value")` in a program."""
_FIELDS = re.compile(
    rf"""[ \t](?:-H|--header)[ =]?(?P<quote>["'])(?P<name>{_NAME}):[ \t]*(?P<value>[^\s"']+)(?P=quote)""", re.IGNORECASE
)
"""`curl -H "name: value"`."""
_COMMANDS = (
    re.compile(r"\b(?P<name>login)\b[^\n;|&]{0,200}?[ \t]-p[ =]?[\"']?(?P<value>[^\s\"']+)"),
    re.compile(
        r"\b(?P<name>curl)\b[^\n;|&]{0,200}?[ \t](?:-[a-zA-Z]{0,6}u|--user)[ =]?[\"']?[^\s:\"']*:(?P<value>[^\s\"']+)"
    ),
    re.compile(r"\b(?P<name>mysql(?:dump|admin)?)\b[^\n;|&]{0,200}?[ \t]-p(?P<value>[^\s\"']+)"),
    re.compile(
        r"\becho[ \t]+(?:-n[ \t]+)?[\"']?(?P<value>[^\s\"'|]+)[\"']?[ \t]*\|[ \t]*[\w./-]+[^\n;|&]{0,200}\b(?P<name>login)\b"
    ),
    re.compile(r"\b(?P<name>(?:redis|valkey)-cli)\b[^\n;|&]{0,200}?[ \t]-a[ \t]*[\"']?(?P<value>[^\s\"']+)"),
    re.compile(r"^[ \t]*(?P<name>requirepass|masterauth)[ \t]+[\"']?(?P<value>[^\s\"']+)[\"']?[ \t]*$", re.MULTILINE),
    re.compile(
        r"\b(?:user|role)\b[^\n;]{0,200}?\b(?P<name>password|identified by)[ \t]+'(?P<value>[^\s\"']+)'", re.IGNORECASE
    ),
    re.compile(r";[ \t]*(?P<name>pwd)=(?P<value>[^\s\"';]+)", re.IGNORECASE),
)
"""Commands, of shells, Redis and SQL, and connections of ODBC, with a password that has no name of its own."""
_HEADER = re.compile(r"\b(?P<scheme>bearer|basic)[ \t]+(?P<value>[\w.~+/=-]{8,})", re.IGNORECASE)
_WORD_OF_SECRET = re.compile(rf"{_NAME}\b", re.IGNORECASE)


def hinted(text: str) -> bool:
    """Whether anything could be found in it; the quick question before the long ones."""
    return _HINT.search(text) is not None


def names_secret(text: str) -> bool:
    """Whether the name of a secret is in it."""
    return any(says_secret(name) for name in _WORD_OF_SECRET.findall(text))


def value_of(name: str) -> str:
    """The description of a secret that goes by this name."""
    return f"the value of {name.lstrip('-')}"


def assigned(text: str) -> Iterator[Found]:
    """Secrets that a script, a command or a file of settings sets to literals."""
    for pattern in (_LINES, _FLOW, _OPTIONS, _INLINE, _CALLS, _FIELDS):
        for match in pattern.finditer(text):
            # Unquoted, what closes a call or a list is none of it.
            name, value = match["name"], match["value"] if match["quote"] else match["value"].rstrip(",):")
            expanded = _EXPANDED_IN_QUOTES if match["quote"] else _EXPANDED
            if secret_value(name, value) and not expanded.match(value) and not _of_a_program(match, value):
                yield Found(value_of(name), value)
    for pattern in _COMMANDS:
        for match in pattern.finditer(text):
            value = match["value"]
            if (
                re.search(r"\w", value)
                and literal(value)
                and not _EXPANDED.match(value)
                and value.casefold() not in _PROSE
            ):
                yield Found(value_of(match["name"]), value)


def headers(text: str) -> Iterator[Found]:
    """Credentials in headers of HTTP that a text holds."""
    for match in _HEADER.finditer(text):
        value = match["value"]
        basic = match["scheme"].casefold() == "basic"
        if is_basic(value) if basic else value.startswith("sk-") or looks_random(value):
            yield Found(f"a credential of HTTP's {match['scheme'].capitalize()} scheme", value, certain=True)


def _of_a_program(match: re.Match[str], value: str) -> bool:
    """Whether it is what a program computes (`password=password`, `settings.password`, `ask(`), or a sentence's word."""
    if match["quote"]:
        return False
    return (
        value == match["name"]
        # An argument of a call: `connect(host, password=given)`.
        or re.fullmatch(r"[A-Za-z_]\w*\)+[,:]?", match["value"]) is not None
        or re.match(r"[A-Za-z_][\w.]*\(", value) is not None
        or (re.fullmatch(r"[A-Za-z_][\w.]*\.\w+", value) is not None and says_secret(value))
        or (match.groupdict().get("sign", "=") != "=" and value.casefold() in _PROSE)
    )

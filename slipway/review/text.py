"""Words of others in a comment: shown letter by letter, never obeyed.

Names, settings and messages come from the branch under review. In a code span neither Markdown nor HTML, mentions,
references, links nor commands of a code-review service are read, and no line of the comment begins with them.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 600
"""Of one text, in characters: enough for a finding, too little to bury the others."""
HIDDEN = "[hidden]"

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_FORMS = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
    # How well-known services' keys begin.
    re.compile(r"\b(?:gh[a-z]_|github_pat_|glpat-|glptt-|hf_|sk-|pul-|xox[a-z]-|npm_|pypi-)[\w-]{10,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"(?<![\w-])eyJ[\w-]{8,4000}\.[\w-]{1,4000}\.?[\w-]*"),
)
"""Keys that are known by their form alone."""
_LIKELY = (
    # What follows a word for a secret, or stands between a URL's scheme and its host. No quantifier stands before such a word,
    # and each that another could take letters from is bounded: the text is a stranger's, and may be made to take long.
    re.compile(r"(?i)(?<=bearer )[^\s\"']{8,}"),
    re.compile(r"(?i)(?<=basic )[a-z0-9+/=_-]{8,}"),
    re.compile(
        r"(?i)(?:password|passphrase|passwd|secret|token|api[_-]?key)[\w-]{0,40}[\"']?\s{0,8}[=:]\s{0,8}[\"']?([^\s\"',;]{6,})"
    ),
    re.compile(r"(?<=://)[^\s/@]{1,400}(?=@)"),
    # Long runs of letters and digits that are no word: keys in hexadecimal or base64.
    re.compile(r"(?<![A-Za-z0-9+_])(?=[A-Za-z+_]*[0-9])(?=[0-9+_]*[A-Za-z])[A-Za-z0-9+_]{32,}={0,2}"),
)
_READ = 8
"""How many times the length that is shown is looked at: what is hidden leaves room for what follows it."""
_ALL_READ = 40_000
"""Letters of a longer text that are looked at: its last lines, which say why it ended."""


def plain(text: str) -> str:
    """Without colours and whatever else does not show, or shows other letters in its place; lines stay."""
    return "".join(_visible(letter) for letter in _ANSI.sub("", text))


def _visible(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return letter
    return " "


def last(text: str, most: int = _ALL_READ) -> str:
    """The last lines of `text`, none of them torn: half a key is not known for one."""
    if len(text) <= most:
        return text
    return text[-most:].partition("\n")[2]


def redacted(text: str) -> str:
    """Without what looks like a key or a password. Cheap on purpose: rather a word too many than a key."""
    return _without(text, (*_FORMS, *_LIKELY))


def redacted_name(text: str) -> str:
    """Without keys. A name says `secret` or `token` for other reasons, and is what the reader tells things apart by."""
    return _without(text, _FORMS)


def _without(text: str, patterns: tuple[re.Pattern[str], ...]) -> str:
    for pattern in patterns:
        text = pattern.sub(_hide, text)
    return text


def _hide(found: re.Match[str]) -> str:
    if not found.re.groups:
        return HIDDEN
    return found[0][: found.start(1) - found.start()] + HIDDEN


def code(text: object, longest: int = LONGEST) -> str:
    """A code span of `text` in one line; `—` where there is nothing to show."""
    return _span(redacted(plain(str(text)[: longest * _READ])), longest)


def code_name(text: str, longest: int = LONGEST) -> str:
    """A code span of a resource's name, its type or a property's."""
    return _span(redacted_name(plain(text[: longest * _READ])), longest)


def _span(text: str, longest: int) -> str:
    line = " ".join(text.split())
    if not line:
        return "—"
    if len(line) > longest:
        line = f"{line[:longest].rstrip()}…"
    # A span ends at the first run of as many backticks as it began with.
    runs = {len(run) for run in re.findall("`+", line)}
    fence = "`" * next(length for length in range(1, len(line) + 2) if length not in runs)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def spans(text: str, most: int = 40) -> list[str]:
    """The lines of a longer text, each a code span; of more than `most` the last ones, which say why it ended."""
    lines = [line for line in redacted(plain(last(text))).splitlines() if line.strip()]
    left = len(lines) - most
    shown = [code(line) for line in lines[-most:]]
    return [f"… {left} lines before these", *shown] if left > 0 else shown

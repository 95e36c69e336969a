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
_TOKENS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    # What follows a word for a secret, or stands between a URL's scheme and its host.
    re.compile(r"(?i)(?<=bearer )[^\s\"']{8,}"),
    re.compile(r"(?i)(?<=basic )[a-z0-9+/=_-]{8,}"),
    re.compile(
        r"(?i)\b[\w-]*(?:password|passphrase|passwd|secret|token|api[_-]?key)[\w-]*[\"']?\s*[=:]\s*[\"']?([^\s\"',;]{6,})"
    ),
    re.compile(r"(?<=://)[^\s/@]+(?=@)"),
    # How well-known services' keys begin.
    re.compile(r"\b(?:gh[a-z]_|github_pat_|glpat-|glptt-|hf_|sk-|pul-|xox[a-z]-|npm_|pypi-)[\w-]{10,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.?[\w-]*"),
    # Long runs of letters and digits that are no word: keys in hexadecimal or base64.
    re.compile(r"(?<![A-Za-z0-9+_])(?=[A-Za-z+_]*[0-9])(?=[0-9+_]*[A-Za-z])[A-Za-z0-9+_]{32,}={0,2}"),
)


def plain(text: str) -> str:
    """Without colours and whatever else does not show, or shows other letters in its place; lines stay."""
    return "".join(_visible(letter) for letter in _ANSI.sub("", text))


def _visible(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return letter
    return " "


def redacted(text: str) -> str:
    """Without what looks like a key or a password. Cheap on purpose: rather a word too many than a key."""
    for pattern in _TOKENS:
        text = pattern.sub(_hide, text)
    return text


def _hide(found: re.Match[str]) -> str:
    if not found.re.groups:
        return HIDDEN
    return found[0][: found.start(1) - found.start()] + HIDDEN


def code(text: object, longest: int = LONGEST) -> str:
    """A code span of `text` in one line; `—` where there is nothing to show."""
    line = " ".join(redacted(plain(str(text))).split())
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
    lines = [line for line in redacted(plain(text)).splitlines() if line.strip()]
    left = len(lines) - most
    shown = [code(line) for line in lines[-most:]]
    return [f"… {left} lines before these", *shown] if left > 0 else shown

"""Masking secret values in whatever is about to be shown or kept."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_MASKS = ("[secret]", "[***]", "<hidden>", "…", "")
_LOOSE = 4
"""Shorter secrets are masked as whole words only: masking each `a` would leave no text at all."""
_LONG_LINE = 8
"""A line of a secret of several lines is a secret by itself from this length on: shorter ones are commonplaces."""

_ROUNDS = 8
"""A mask and its neighbours can spell another secret; after so many rounds the text is given up."""


class Scrubber:
    """Masks a set of secrets, in every form in which Ansible, a shell or a library may show them again.

    The forms: as it is, escaped as in JSON or a Python literal, quoted for a shell, percent-encoded, in
    base64 (encoded by itself, not within something longer), and each longer line of a value of several lines.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Takes the plain secret values; empty ones are ignored."""
        found: set[str] = set()
        for secret in secrets:
            for part in (secret, secret.strip(), *_long_lines(secret)):
                found |= _forms(part)
        self._loose = sorted((form for form in found if len(form) >= _LOOSE), key=len, reverse=True)
        words = sorted((form for form in found if 0 < len(form) < _LOOSE), key=len, reverse=True)
        pattern = "|".join(re.escape(form) for form in words)
        self._words = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)") if words else None
        self._mask = next(
            mask for mask in _MASKS if not any(form in mask or mask in form for form in found) or not mask
        )

    def __call__(self, text: str) -> str:
        """The text with all secrets masked."""
        for _ in range(_ROUNDS):
            spans = self._spans(text)
            if not spans:
                return text
            text = self._masked(text, spans)
        return self._mask

    def reveals(self, text: str) -> bool:
        """Whether the text holds a secret."""
        return bool(self._spans(text))

    def _spans(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for form in self._loose:
            start = text.find(form)
            while start >= 0:
                spans.append((start, start + len(form)))
                start = text.find(form, start + 1)
        if self._words:
            spans += [match.span() for match in self._words.finditer(text)]
        return sorted(spans)

    def _masked(self, text: str, spans: list[tuple[int, int]]) -> str:
        parts: list[str] = []
        end = 0
        for start, stop in spans:
            if start >= end:
                parts += [text[end:start], self._mask]
            end = max(end, stop)
        return "".join([*parts, text[end:]])


def _long_lines(secret: str) -> list[str]:
    lines = [line.strip() for line in secret.splitlines()]
    return [line for line in lines if len(line) >= _LONG_LINE] if len(lines) > 1 else []


def _forms(text: str) -> set[str]:
    raw = text.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(raw).decode()
    return {
        text,
        text.replace("\n", "\r\n"),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(text)[1:-1])[1:-1],
        repr(text)[1:-1],
        shlex.quote(text),
        shlex.quote(text).strip("'"),
        quote(raw, safe=""),
        quote_plus(raw),
        encoded,
        encoded.rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    } - {""}

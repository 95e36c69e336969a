"""What the engine would do, from the JSON of `pulumi preview`, or why it would do nothing, from its words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.review.text import HIDDEN, plain, redacted

KINDS = ("create", "update", "replace", "delete")
_OPS = {
    "create": "create",
    "import": "create",
    "update": "update",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "import-replacement": "replace",
    "delete": "delete",
    "discard": "delete",
}
"""By the engine's word; a replacement is three steps on one resource."""
_NOTHING = "the engine ended with an error and named none"
_LEAST = 6
"""Letters of a secret. Shorter ones would take words apart that have nothing to do with it."""
_SECRETS = re.compile(r"(?i)KEY|TOKEN|SECRET|PASS|CREDENTIAL")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One resource that would not stay as it is."""

    kind: str
    """One of `KINDS`."""
    type: str
    name: str
    properties: tuple[str, ...]
    """Names of those that differ."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """One stack's preview."""

    steps: tuple[Step, ...] = ()
    same: int = 0
    """Resources that stay as they are."""
    errors: tuple[str, ...] = ()
    """Why it failed; empty where it did not."""

    def count(self, kind: str) -> int:
        """Resources to `kind`."""
        return sum(step.kind == kind for step in self.steps)


def read_preview(text: str) -> Preview:
    """The preview whose JSON is `text`; where it is none, `text` is why there is no preview."""
    document = _parsed(text)
    if document is None:
        return Preview(errors=(redacted(plain(text)).strip() or _NOTHING,))
    steps: dict[str, Step] = {}
    same = 0
    for entry in _maps(document.get("steps")):
        kind = _OPS.get(str(entry.get("op")))
        urn = str(entry.get("urn", ""))
        if kind is None:
            same += entry.get("op") == "same"
            continue
        before = steps.get(urn)
        properties = tuple(dict.fromkeys((*(before.properties if before else ()), *_properties(entry))))
        steps[urn] = Step(kind=kind, type=_type(urn), name=urn.rpartition("::")[2], properties=properties)
    errors = tuple(
        redacted(plain(str(entry.get("message", "")))).strip().removeprefix("error: ")
        for entry in _maps(document.get("diagnostics"))
        if entry.get("severity") == "error"
    )
    failure = document.get("failure")
    if isinstance(failure, str) and not errors:
        errors = (redacted(plain(failure)).strip(),)
    return Preview(steps=tuple(steps.values()), same=same, errors=errors)


def reduced(text: str, *, words: str | None = None, secrets: Iterable[str] = ()) -> str:
    """`text` cut down to what a review shows.

    Args:
        text: what the engine printed.
        words: what it said besides where it failed; shown where its JSON names no error.
        secrets: values that may not appear in any form that they have here.
    """
    hidden = sorted({secret for secret in secrets if len(secret) >= _LEAST}, key=len, reverse=True)

    def clean(value: str) -> str:
        for secret in hidden:
            value = value.replace(secret, HIDDEN)
        return redacted(plain(value))

    document = _parsed(text)
    if document is None:
        return json.dumps({"steps": [], "failure": clean(f"{text}\n{words or ''}").strip() or _NOTHING})
    kept: dict[str, Any] = {
        "steps": [
            {
                "op": str(entry.get("op")),
                "urn": clean(str(entry.get("urn", ""))),
                "detailedDiff": {clean(name): {} for name in _properties(entry)},
            }
            for entry in _maps(document.get("steps"))
        ],
        "diagnostics": [
            {"severity": "error", "message": clean(str(entry.get("message", "")))}
            for entry in _maps(document.get("diagnostics"))
            if entry.get("severity") == "error"
        ],
    }
    if words is not None and not kept["diagnostics"]:
        kept["failure"] = clean(words).strip() or _NOTHING
    return json.dumps(kept)


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they are secret; of a value of several lines each line too."""
    found = []
    for name, value in environment.items():
        if _SECRETS.search(name):
            found += [value, *value.splitlines()]
            found += [line.partition("=")[2] for line in value.splitlines()]
    return found


def _parsed(text: str) -> Mapping[str, Any] | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) and ("steps" in document or "changeSummary" in document) else None


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _properties(entry: Mapping[str, Any]) -> list[str]:
    detailed = entry.get("detailedDiff")
    if isinstance(detailed, dict) and detailed:
        return [str(name) for name in detailed]
    reasons = entry.get("replaceReasons") or entry.get("diffReasons")
    return [str(name) for name in reasons] if isinstance(reasons, list) else []


def _type(urn: str) -> str:
    """The resource's own type, without those of its parents."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) > 3 else ""

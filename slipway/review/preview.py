"""What the engine would do, from the JSON of `pulumi preview`, or why it would do nothing, from its words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slipway.review.text import HIDDEN, last, plain, redacted, redacted_name

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
_NO_JSON = "what the engine printed is no JSON, and is shown nowhere: it may hold values"
_LEAST = 6
"""Letters of a secret. Shorter ones would take words apart that have nothing to do with it."""
_SECRETS = re.compile(r"(?i)KEY|TOKEN|SECRET|PASS|CREDENTIAL")


class State(StrEnum):
    """What a preview held the stack against."""

    KEPT = "kept"
    """The backend's state of it."""
    EMPTY = "empty"
    """Nothing, since no backend was given."""
    MISSING = "missing"
    """Nothing, since the backend that was given has no such stack."""


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
    state: State = State.KEPT

    def count(self, kind: str) -> int:
        """Resources to `kind`."""
        return sum(step.kind == kind for step in self.steps)


def read_preview(text: str) -> Preview:
    """The preview whose JSON is `text`; where it is none, `text` is why there is no preview."""
    document = _parsed(text)
    if document is None:
        return Preview(errors=(redacted(plain(_words(text))).strip() or _NOTHING,))
    steps = {
        key: Step(
            kind=step.kind,
            type=redacted_name(plain(step.type)),
            name=redacted_name(plain(step.name)),
            properties=tuple(dict.fromkeys(redacted_name(plain(name)) for name in step.properties)),
        )
        for key, step in _steps(document).items()
    }
    errors = tuple(
        redacted(plain(last(str(entry.get("message", ""))))).strip().removeprefix("error: ")
        for entry in _maps(document.get("diagnostics"))
        if entry.get("severity") == "error"
    )
    failure = document.get("failure")
    if isinstance(failure, str) and not errors:
        errors = (redacted(plain(last(failure))).strip(),)
    state = document.get("state")
    return Preview(
        steps=tuple(steps.values()),
        same=sum(entry.get("op") == "same" for entry in _maps(document.get("steps"))),
        errors=errors,
        state=State(state) if state in set(State) else State.KEPT,
    )


def reduced(text: str, *, words: str | None = None, secrets: Iterable[str] = (), state: State = State.KEPT) -> str:
    """`text` cut down to what a review shows.

    Args:
        text: what the engine printed.
        words: what it said besides where it failed; shown where its JSON names no error.
        secrets: values that may not appear in any form that they have here.
        state: what the stack was held against.
    """
    hidden = sorted({secret for secret in secrets if len(secret) >= _LEAST}, key=len, reverse=True)

    def without(value: str) -> str:
        for secret in hidden:
            value = value.replace(secret, HIDDEN)
        return value

    def clean(value: str) -> str:
        return redacted(plain(last(without(value))))

    def clean_name(value: str) -> str:
        return redacted_name(plain(without(value)))

    document = _parsed(text)
    if document is None:
        # Never what it printed: a line of the program's before the JSON, and all values would be in a comment.
        told = clean(words or "").strip() or _NO_JSON
        return json.dumps({"steps": [], "failure": told, "state": state})
    kept: dict[str, Any] = {
        "steps": [
            {
                "op": step.kind,
                # What it is told apart by is a number: two names may be alike once something is hidden in them.
                "key": number,
                "type": clean_name(step.type),
                "name": clean_name(step.name),
                "detailedDiff": {clean_name(name): {} for name in step.properties},
            }
            for number, step in enumerate(_steps(document).values())
        ],
        "diagnostics": [
            {"severity": "error", "message": clean(str(entry.get("message", "")))}
            for entry in _maps(document.get("diagnostics"))
            if entry.get("severity") == "error"
        ],
        "state": state,
    }
    kept["steps"] += [{"op": "same"} for entry in _maps(document.get("steps")) if entry.get("op") == "same"]
    if words is not None and not kept["diagnostics"]:
        kept["failure"] = clean(words).strip() or _NOTHING
    return json.dumps(kept)


def _steps(document: Mapping[str, Any]) -> dict[str, Step]:
    """The resources that would not stay as they are, by what tells them apart: the engine's name for each, or our number."""
    steps: dict[str, Step] = {}
    for entry in _maps(document.get("steps")):
        kind = _OPS.get(str(entry.get("op")))
        if kind is None:
            continue
        urn = str(entry.get("urn", ""))
        key = str(entry.get("key", urn))
        before = steps.get(key)
        steps[key] = Step(
            kind=kind,
            type=str(entry.get("type", "")) or _type(urn),
            name=str(entry.get("name", "")) or _name(urn),
            properties=tuple(dict.fromkeys((*(before.properties if before else ()), *_properties(entry)))),
        )
    return steps


def _words(text: str) -> str:
    """Of a failure's text what is no data: where something like JSON is in it, only the lines that name an error."""
    lines = last(text).splitlines()
    if any(line.lstrip().startswith(("{", "[", '"')) for line in lines):
        lines = [line for line in lines if re.match(r"\s*(\x1b\[[0-9;]*m)*(error|warning)\b", line)]
    return "\n".join(lines)


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
    parts = urn.split("::", 3)
    return parts[2].rpartition("$")[2] if len(parts) > 3 else ""


def _name(urn: str) -> str:
    return urn.split("::", 3)[-1]

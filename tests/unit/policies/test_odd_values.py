"""Whatever stands in a resource: no rule falls over it, and none takes an unknown for a value that is as it should be.

Every leaf of every case's inputs is replaced, one at a time. These are properties that hold for all rules, so a new rule is held
to them as soon as it has cases.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from policies.judge import Judgement
from policies.node import UNKNOWN, Secret
from policies.registry import by_id, rules
from tests.unit.policies.cases import Case, cases_of

IDS = [rule.id for rule in rules()]

AS_GOOD_AS_KNOWN = {
    "aws-kms-secrets": ({"keyId"}, "whatever the key is, it is one that the stack made"),
    "keyed-front": ({"value"}, "whatever the key is, the variable has one"),
    "no-latest": ({"version"}, "a template's output is a number, and never $Latest"),
    "production-acceptance": (
        {"purpose"},
        "Slipway's own platform says it in words; without it the stack's name decides",
    ),
    "required-tags": ({"owner"}, "whatever the owner is, the tag is there"),
    "secrets-in-clear": (
        None,
        "a text is searched for secrets; one that is not there yet comes from a resource, not from a file",
    ),
}
"""Rules for which an unknown value at the end of these keys (None: anywhere) is no question, and why."""


def odd(value: Any) -> Iterator[Any]:
    """What programs put where `value` is usual; a map for a number is refused by the provider's own types."""
    yield from (None, UNKNOWN, Secret(value))
    if isinstance(value, str):
        yield from ("", "x")
    elif isinstance(value, bool | int | float):
        yield str(value).lower()


Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all that stands in `value`, maps and lists as a whole too."""
    if path and value and isinstance(value, Mapping | list):
        yield path
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


def at(value: Any, path: Path) -> Any:
    """What stands at `path`."""
    for key in path:
        value = value[key]
    return value


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy of `value` with `new` at `path`."""
    if not path:
        return new
    key, *rest = path
    copy = dict(value) if isinstance(value, Mapping) else list(value)
    copy[key] = replaced(value[key], tuple(rest), new)  # type: ignore[index]
    return copy


def places(case: Case) -> Iterator[Path]:
    """The leaves of the inputs, from the case's document on."""
    entries = case.document.get("resources")
    if entries is None:
        entries = [case.document]
    for index, entry in enumerate(entries):
        above: Path = ("resources", index, "inputs") if "resources" in case.document else ("inputs",)
        inputs = entry.get("inputs") or {}
        for path in leaves(inputs):
            # Among a chart's values what is not known counts as a text: see policies/readers/kubernetes/charts.py.
            chart = "helm.sh" in entry["type"] and path[:1] == ("values",) and len(path) > 1
            if path and not (chart and isinstance(at(inputs, path), Mapping | list)):
                yield (*above, *path)


def judged(case: Case, path: Path, new: Any) -> Judgement:
    """What the case's rule says with `new` at `path`."""
    changed = dataclasses.replace(case, document=replaced(case.document, path, new))
    return changed.judged(by_id()[case.rule])


@pytest.mark.parametrize("rule", IDS)
def test_no_rule_falls_over_an_odd_value(rule: str) -> None:
    fallen = []
    for case in cases_of(rule):
        for path in places(case):
            for new in odd(at(case.document, path)):
                broken = [
                    found for found in judged(case, path, new).violations if "could not judge" in found.violation.what
                ]
                fallen += [f"{case} {path} = {new!r}: {found.violation.what}" for found in broken]
    assert fallen == []


@pytest.mark.parametrize("rule", IDS)
def test_what_is_unknown_never_lets_a_violation_pass_in_silence(rule: str) -> None:
    silent = []
    for case in cases_of(rule):
        if case.kind != "fails":
            continue
        before = len(case.judged(by_id()[rule]).violations)
        for path in places(case):
            keys, _ = AS_GOOD_AS_KNOWN.get(rule, (frozenset(), ""))
            if keys is None or path[-1] in keys:
                continue
            judgement = judged(case, path, UNKNOWN)
            if len(judgement.violations) < before and not judgement.open:
                silent.append(f"{case}: {'.'.join(map(str, path))}")
    assert silent == []

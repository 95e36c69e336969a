"""The mutation check: switch any condition of a rule off, or on, and one of its cases fails."""

from __future__ import annotations

import dataclasses

import pytest

import policies.judge
from policies.registry import by_id, rules
from policies.rule import Rule, Scope
from tests.unit.policies.cases import cases_of
from tests.unit.policies.mutants import mutants

IDS = [rule.id for rule in rules()]


def fails(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a case notices that this is not the rule it was written for."""

    def only_it(resource_type: str, scope: Scope) -> tuple[Rule, ...]:
        from fnmatch import fnmatchcase

        mine = rule.scope is scope and any(fnmatchcase(resource_type, pattern) for pattern in rule.types)
        return (rule,) if mine else ()

    with monkeypatch.context() as patch:
        patch.setattr(policies.judge, "rules_for", only_it)
        for case in cases_of(rule.id):
            try:
                if case.problem(rule) is not None:
                    return True
            except Exception:  # noqa: BLE001 -- a mutant that falls over is noticed as well
                return True
    return False


@pytest.mark.parametrize("rule", IDS)
def test_every_condition_counts(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    survivors = [what for what, mutant in mutants(rule) if not fails(mutant, monkeypatch)]
    assert survivors == []


@pytest.mark.parametrize("rule", IDS)
def test_without_its_check_a_rule_is_missed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fails(by_id()[rule], monkeypatch)
    assert fails(dataclasses.replace(by_id()[rule], check=lambda item, about: ()), monkeypatch)

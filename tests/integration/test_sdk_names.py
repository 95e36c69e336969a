"""Types and properties that rules and their stacks name are those of the genuine SDKs, not of somebody's memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from policies.registry import rules
from tests.stacks.documents import documents
from tests.unit.policies.cases import cases_of

LOCK = Path(__file__).parent / "fixtures/foreign/requirements.txt"
TOKENS = {
    "pulumi_aws": re.compile(r"['\"](aws:[\w/]+:\w+)['\"]"),
    "pulumi_kubernetes": re.compile(r"['\"](kubernetes:[\w./-]+:\w+)['\"]"),
}
NOT_OF_THE_SDK = re.compile(
    r"kubernetes:(gateway\.networking\.k8s\.io|leaderworkerset\.x-k8s\.io|serving\.kserve\.io|karpenter\.(sh|k8s\.aws)"
    r"|argoproj\.io|external-secrets\.io|monitoring\.coreos\.com|keda\.sh|(apps\.)?nvidia\.com|example\.com|ray\.io|cilium\.io"
    r"|(crd\.)?projectcalico\.org|networking\.istio\.io|traefik\.io|route\.openshift\.io"
    r"|kyverno\.io|policy\.networking\.k8s\.io|eks\.amazonaws\.com|elbv2\.k8s\.aws|cert-manager\.io|apiextensions\.k8s\.io)/"
)
"""Custom resources: their types are the API's own group, version and kind."""


@cache
def sdks() -> Path:
    """The environment that has them; `make setup-test` makes it."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    (found,) = Path(f"~/.cache/slipway/sdks-{digest}").expanduser().glob("lib/python3*/site-packages")
    return found


@cache
def modules() -> Mapping[str, Path]:
    """By type, the file of its class."""
    return {
        token: file
        for sdk, pattern in TOKENS.items()
        for file in sorted((sdks() / sdk).rglob("*.py"))
        for token in pattern.findall(file.read_text(encoding="utf-8"))
    }


def properties(token: str) -> set[str]:
    """The inputs of a type, in camelCase."""
    text = modules()[token].read_text(encoding="utf-8")
    # The names of the Args class's setters: one for each input.
    names = re.findall(r"pulumi\.set\(__self__, \"(\w+)\"", text)
    return {re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name) for name in names}


def listed() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Who names a resource, its type, its inputs."""
    for folder in ("good", "bad"):
        for document in documents(folder):
            for entry in document.resources:
                yield f"{folder}/{document.id}", entry["type"], entry.get("inputs", {})
    for rule in rules():
        for case in cases_of(rule.id):
            for entry in case.document.get("resources", [case.document]):
                inputs = entry.get("inputs", {})
                yield str(case), entry["type"], inputs if isinstance(inputs, Mapping) else {}


def is_known(pattern: str) -> bool:
    """Whether a type of the SDKs, or a custom resource, is meant."""
    return NOT_OF_THE_SDK.match(pattern) is not None or any(fnmatchcase(token, pattern) for token in modules())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_types_that_rules_look_at_exist(rule: Any) -> None:
    """Else a rule could never be asked."""
    clouds = [pattern for pattern in rule.types if pattern.startswith(("aws:", "kubernetes:"))]
    assert [pattern for pattern in clouds if not is_known(pattern)] == []


def test_types_in_stacks_and_cases_exist() -> None:
    named = {(who, kind) for who, kind, _ in listed() if kind.startswith(("aws:", "kubernetes:"))}
    assert sorted((who, kind) for who, kind in named if not is_known(kind)) == []


def test_properties_of_aws_resources_exist() -> None:
    """A rule that reads a property by a wrong name finds nothing, and its cases would agree with it."""
    wrong = []
    for who, kind, inputs in listed():
        if kind in modules() and kind.startswith("aws:"):
            wrong += [f"{who}: {kind} {name}" for name in inputs if name not in properties(kind)]
    assert sorted(set(wrong)) == []

"""What follows from documents: deployments, the lines that refuse them, and their steps as roles get to see them."""

from collections.abc import Mapping
from typing import Any

import pytest

from slipway.deployment.absence import Missing
from slipway.deployment.claims import Holdings
from slipway.deployment.references import resolve_known
from slipway.deployment.resolve import catalog_of
from slipway.deployment.resolve import resolve as follow
from slipway.deployment.types import Deployment, Served
from slipway.layers import LAYERS
from slipway.layers.step import Step
from slipway.settings.errors import SettingsError
from slipway.settings.load import parse, read_public, stack_names
from slipway.settings.types import Secret
from tests.unit.settings.documents import changed, good, many, with_changes

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
QWEN_1B = "Qwen/Qwen2.5-1.5B-Instruct"
PREFIX = "slipway:platform."


def deployment(document: dict[str, Any], holdings: Holdings | None = None) -> Deployment:
    """What follows from the document, and from what instances had so far."""
    settings = parse(document, "s")
    return follow(settings, catalog_of(settings), "s", holdings)


def problems(document: dict[str, Any]) -> list[str]:
    """Why the document, whose settings are good, can't be deployed; without what all lines begin with."""
    settings = parse(document, "s")
    with pytest.raises(SettingsError) as refused:
        follow(settings, catalog_of(settings), "s")
    return [line.removeprefix(PREFIX) for line in refused.value.problems]


def stack(*changes: tuple[Any, Any], model: str | None = QWEN_1B) -> dict[str, Any]:
    """A good document with `changes`, whose model `m` is the one of the catalogue."""
    return with_changes(good() if model is None else changed(good(), "models.m.catalog", model), *changes)


def served(*changes: tuple[Any, Any], model: str | None = QWEN_1B) -> Served:
    """The model `m` of `stack`."""
    return deployment(stack(*changes, model=model)).served["m"]


def steps(of: Deployment) -> dict[str, Step]:
    """All steps by their keys, bottom up."""
    found = [step for layer in LAYERS for step in layer.steps(of)]
    assert len({step.key for step in found}) == len(found)
    return {step.key: step for step in found}


def before(found: Mapping[str, Step], key: str) -> set[str]:
    """All steps and quorums that a step comes after, in any number of steps."""
    known: set[str] = set()
    todo = list(found[key].after)
    while todo:
        each = todo.pop()
        if each not in known:
            known.add(each)
            todo += found[each].after if each in found else ()
    return known


def roles(of: Deployment) -> dict[str, dict[str, Any]]:
    """The variables of each step as its role gets them: secrets opened, addresses put in."""
    return {key: seen(of, step.variables) for key, step in steps(of).items()}


def seen(of: Deployment, value: Any) -> Any:
    """`value` with secrets opened and references resolved, where nobody is missing."""
    if isinstance(value, Missing):
        return []
    if isinstance(value, Secret):
        return value.get_secret_value()
    if isinstance(value, str):
        return resolve_known(value, of.address)
    if isinstance(value, dict):
        return {key: seen(of, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [seen(of, inner) for inner in value]
    return value


def ready(root: Any) -> dict[str, Deployment]:
    """The stacks of the checkout by name, and `many` of the tests' documents."""
    found = {}
    for name in stack_names(root):
        settings = read_public(name, root)
        found[name] = follow(settings, catalog_of(settings), name)
    return {**found, "many": deployment(many())}

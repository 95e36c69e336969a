"""The stacks of this checkout in the real engine, with the policy pack; and `slipway check`, which must judge the same."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.node import Secret
from policies.planned import planned_stack
from policies.resources import PLATFORM, PLAYBOOK, STACK
from slipway.deployment.resolve import catalog_of, resolve
from slipway.paths import ROOT
from slipway.settings.errors import PREFIX
from slipway.settings.load import read_config, read_public, secret_variables, stack_names
from tests.e2e.stack import Stack, copy_checkout
from tests.integration.policy_project import Said, read_events
from tools.lab.model import make_tiny_gguf, make_tiny_llama

HIDDEN = "[secret]"


@pytest.fixture(scope="module")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout, and a home with the keys, models and programs that the stacks name."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "state").mkdir()
    home = folder / "home"
    make_tiny_llama(home / ".local/state/slipway/models/tiny-llama")
    make_tiny_gguf(home / ".local/state/slipway/models/tiny-llama.gguf")
    for key in (".ssh/id_ed25519", ".local/state/slipway/lab/id_ed25519", ".local/state/slipway/programs/ollama"):
        (home / key).parent.mkdir(parents=True, exist_ok=True)
        (home / key).touch(0o600)
    yield copy_checkout(root, folder / "checkout")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stack(checkout: Path, request: pytest.FixtureRequest) -> Stack:
    """One of them, with made-up secrets."""
    name = request.param
    raw = read_config(name, checkout)[PREFIX]
    keys = {variable: secrets.token_hex(32) for variable in secret_variables(raw)}
    passphrase = {"PULUMI_CONFIG_PASSPHRASE": "for tests only", "HOME": str(checkout.parent / "home")}
    made = Stack(name, checkout, checkout.parent / "state", {**passphrase, **keys})
    made.init()
    return made


def said(stack: Stack, *arguments: str) -> tuple[str, list[Said]]:
    """What a preview prints, and what the pack said in it."""
    events = stack.project.parent / f"{stack.name}-events.json"
    events.unlink(missing_ok=True)
    stack.environment["PULUMI_DEBUG_COMMANDS"] = "true"
    output = stack.pulumi("preview", "--policy-pack", "policies", "--event-log", str(events), *arguments)
    return output, read_events(events)


@pytest.mark.parametrize("stack", stack_names(ROOT), indirect=True)
def test_no_stack_of_ours_violates_a_mandatory_rule(stack: Stack) -> None:
    output, found = said(stack)
    assert "slipway@v" in output
    assert [one.rule for one in found if one.level == "mandatory"] == []
    # What is advice here was meant to be: a stack's own file says so.
    advised = {one.rule for one in found if "not known yet" not in one.message}
    assert advised == ({"production-replicas"} if stack.name == "prod" else set())


@pytest.mark.parametrize("stack", ["poc", "cluster", "lab-models"], indirect=True)
def test_check_judges_what_the_engine_will_be_asked_for(
    stack: Stack, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a green check would say nothing of the deployment."""
    done = stack.shell(f"pulumi preview --json --stack {stack.name} --non-interactive")
    steps = [step["newState"] for step in json.loads(done.stdout)["steps"]]
    monkeypatch.setenv("HOME", stack.environment["HOME"])
    config = read_config(stack.name, checkout)
    settings = read_public(stack.name, checkout)
    deployment = resolve(settings, catalog_of(settings, checkout), "s")
    planned = planned_stack(stack.name, deployment, config[PREFIX], config)
    judged = (STACK, PLATFORM, PLAYBOOK)
    assert sorted((resource.type, resource.urn) for resource in planned.resources) == sorted(
        (step["type"], step["urn"]) for step in steps if step["type"] in judged
    )
    inputs = {step["urn"].rpartition("::")[2]: step.get("inputs", {}) for step in steps}
    for resource in planned.resources:
        if resource.type != STACK:
            assert comparable(resource.inputs.raw) == comparable(inputs[resource.name]), resource.name


def comparable(value: Any) -> Any:
    """Without what is not there, what is an output of another resource, and what a secret says, or its digest."""
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, dict):
        left_out = {"triggers", "digest", "__internal", "playbooks", "removal", "salt"}
        return {key: comparable(inner) for key, inner in value.items() if inner is not None and key not in left_out}
    if isinstance(value, list | tuple):
        return [comparable(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        # `slipway check` has no keys, and so no digests of them.
        return HIDDEN
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

"""What the stack's state tells of who has which GPUs and ports."""

from typing import Any

import pulumi
import pytest

from components import state
from slipway.deployment.claims import Claims
from slipway.deployment.drivers import announcements
from slipway.layers import LAYERS
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import many


def resources() -> dict[str, Any]:
    """A stack that is up, as Pulumi's provider tells of it: every step a playbook, numbers as floats."""
    of = deployment(many())
    found: dict[str, Any] = {"urn:stack": {"type": "pulumi:pulumi:Stack", "outputs": {"endpoint": "https://x/v1"}}}
    for step in (step for layer in LAYERS for step in layer.steps(of)):
        outputs = {"host": {"name": step.machine.name}, "instance": step.instance, "role": step.role}
        variables = dict(step.variables)
        found[f"urn:{step.key}"] = {"type": "playbook:index:Playbook", "outputs": {**outputs, "variables": variables}}
    return found


def test_everybody_is_found_where_it_is() -> None:
    of = deployment(many())
    engines = {(each.machine.name, each.name): Claims(each.gpus, each.port, each.share) for each in of.instances}
    gateways = {(each.machine.name, each.name): Claims((), each.port, 0) for each in of.gateways}
    assert state.held_in(resources()) == engines | gateways
    assert deployment(many(), state.held_in(resources())) == of


def test_drivers_are_found_by_their_machines() -> None:
    of = deployment(many())
    found = state.drivers_in(resources())
    assert set(found) == {"gpu-1", "gpu-2"}
    assert list(announcements(of, found)) == []
    del found["gpu-2"]
    assert [line.partition(":")[0] for line in announcements(of, found)] == ["gpu-2"]


@pytest.mark.parametrize(
    ("changed", "had"),
    [(None, None), (3.0, {})],
    ids=["nothing was ever applied", "an apply that never came, or did not end"],
)
def test_a_driver_that_was_not_applied_is_still_announced(changed: float | None, had: dict[str, Any] | None) -> None:
    """The state of a host that was missing, or whose run was cut off, has the variables of what it is to get."""
    of, found = deployment(many()), resources()
    (key,) = (
        key
        for key, each in found.items()
        if key.startswith("urn:gpu-2/") and each["outputs"]["role"] == "nvidia_driver"
    )
    found[key]["outputs"] |= {"digest": "", "changed": changed}

    drivers = state.drivers_in(found)

    assert drivers.get("gpu-2") == had
    assert [line.partition(":")[0] for line in announcements(of, drivers)] == ["gpu-2"]


def test_what_an_earlier_version_kept_is_passed_over() -> None:
    found = resources()
    del found["urn:gpu-2/qwen-1-5b"]["outputs"]["variables"]["service_claims"]
    for missing in ("host", "variables"):
        del found["urn:gpu-1/llama-3-3-70b"]["outputs"][missing]
        assert ("gpu-1", "llama-3-3-70b") not in state.held_in(found)
    found["urn:gpu-1/llama-3-3-70b"] = resources()["urn:gpu-1/llama-3-3-70b"]
    assert ("gpu-2", "qwen-1-5b") not in state.held_in(found)
    assert len(state.held_in(found)) == len(state.held_in(resources())) - 1


def answers(monkeypatch: pytest.MonkeyPatch, *given: Any) -> list[tuple[str, dict[str, str]]]:
    """One after the other, the last one for good; what was asked."""
    waiting = list(given)
    asked: list[tuple[str, dict[str, str]]] = []

    def invoke(function: str, arguments: dict[str, str]) -> Any:
        asked.append((function, arguments))
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer)

    monkeypatch.setattr(pulumi.runtime, "invoke", invoke)
    monkeypatch.setattr(state.time, "sleep", lambda _: None)
    monkeypatch.setattr(pulumi, "get_organization", lambda: "organization")
    monkeypatch.setattr(pulumi, "get_project", lambda: "slipway")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "lab")
    return asked


class Answer:
    """What `invoke` returns."""

    def __init__(self, value: Any) -> None:
        self.value = value


def test_the_states_own_stack_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, {"name": "organization/slipway/lab", "outputs": resources()})
    assert state.before().holdings == state.held_in(resources())
    assert asked == [("pulumi:pulumi:readStackResourceOutputs", {"stackName": "organization/slipway/lab"})]


@pytest.mark.parametrize("answer", [None, {}, {"outputs": {}}])
def test_a_new_stack_has_nothing(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    answers(monkeypatch, answer)
    assert state.before().holdings == {}


def test_a_state_that_is_just_being_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Exception("invoke failed: failed to load checkpoint: EOF")
    asked = answers(monkeypatch, broken, broken, {"outputs": resources()})
    assert state.before().holdings == state.held_in(resources())
    assert len(asked) == 3


def test_a_state_that_cannot_be_read_stops_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else models would be moved about because of a backend that was away for a moment."""
    asked = answers(monkeypatch, Exception("invoke failed: no such host"))
    with pytest.raises(
        pulumi.RunError, match="organization/slipway/lab could not be read: invoke failed: no such host; where"
    ):
        state.before()
    assert len(asked) == len(state.AGAIN_AFTER_S) + 1

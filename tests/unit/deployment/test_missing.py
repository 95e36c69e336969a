"""What follows where a pool's machines may be missing: who may, what is refused, and which steps go on without them."""

import json
from typing import Any

import pytest

from policies.planned import planned_stack
from slipway.checks.rules import findings
from slipway.deployment.absence import Missing
from slipway.fronts.nginx.routes import routes as front_routes
from slipway.gateways.litellm.routes import routes as gateway_routes
from slipway.layers import LAYERS
from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from tests.unit.checks.stacks import TODAY
from tests.unit.deployment.stacks import deployment, stack, steps
from tests.unit.roles.gateway_part import part
from tests.unit.settings.documents import OTHER_KEY, with_changes

GROUP = "pools.main.may_be_missing"


def fleet(*changes: tuple[Any, Any], hosts: int = 4, most: int = 1) -> dict[str, Any]:
    """Hosts with private addresses, the first with gateway and front, and a replica of the model on each."""
    each = {f"gpu-{number}": {"address": f"10.0.0.{number}", "user": "u"} for number in range(1, hosts + 1)}
    return with_changes(
        stack(),
        ("pools.main.hosts", each),
        ("pools.main.may_be_missing", most),
        ("gateway.engine_key", OTHER_KEY),
        *changes,
    )


def spanning() -> dict[str, Any]:
    """Two replicas of two machines each, and gateway and front elsewhere."""
    edge = {"hosts": {"edge-1": {"address": "10.0.0.90", "user": "u"}}}
    return fleet(("pools.main.gpu", "L4"), ("models.m.hosts", 2), ("pools.edge", edge))


def refused(document: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        parse(document, "s")
    return [line.removeprefix("slipway:platform.") for line in error.value.problems]


def test_as_many_as_there_are_may_not_be_missing() -> None:
    assert refused(fleet(hosts=2, most=2)) == [
        f"{GROUP}: 2 of 2 machines; nobody would have to be there: allow fewer than there are, or add machines"
    ]
    assert refused(with_changes(stack(), ("pools.main.may_be_missing", 1)))[0].startswith(f"{GROUP}: 1 of 1 machines")


def test_machines_with_gateway_or_front_may_not_be_missing() -> None:
    edge = {"hosts": {f"edge-{number}": {"address": f"10.0.0.9{number}", "user": "u"} for number in (1, 2)}}
    fronts = ("front.floating", {"address": "10.0.0.100/24", "secret": OTHER_KEY})
    (said,) = refused(fleet(("pools.edge", {**edge, "may_be_missing": 1}), fronts))
    assert said == (
        "pools.edge.may_be_missing: 1, and gateway and front are on edge-1 and edge-2, which may not be missing; that leaves 0: "
        "allow no more, or put gateway and front into a pool called edge"
    )
    assert [machine.may_be_missing for machine in deployment(fleet()).machines.values()] == [False, True, True, True]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (fleet(("models.m.replicas", 1)), None),
        (
            fleet(
                ("models.m.replicas", 2), ("pools.edge", {"hosts": {"e": {"address": "10.0.0.9", "user": "u"}}}), most=2
            ),
            "m is on gpu-1, gpu-2 alone, and pools.main.may_be_missing lets 2 of them be missing; nobody would serve it then: "
            "have replicas on 3 machines or more, or let fewer be missing",
        ),
        (fleet(("models.m.replicas", 2), ("pools.edge", {"hosts": {"e": {"address": "10.0.0.9", "user": "u"}}})), None),
        (spanning(), None),
    ],
    ids=["on the gateway's machine", "too few", "enough", "shared replicas"],
)
def test_a_model_that_nobody_would_serve_is_refused(document: dict[str, Any], said: str | None) -> None:
    found = [each for each in findings(deployment(document), TODAY) if each.id == "pool.missing"]
    assert [each.message for each in found] == ([] if said is None else [said])
    assert all(each.where == "slipway:platform.models.m.replicas" for each in found)


def test_a_stack_in_which_nobody_may_be_missing_knows_nothing_of_it() -> None:
    of = deployment(fleet(most=0))
    assert [step.absence for step in steps(of).values() if step.absence is not None] == []
    assert [quorum for layer in LAYERS for quorum in layer.quorums(of)] == []
    assert "missing" not in front_routes(of, of.front.machine)
    assert "machines" not in front_routes(of, of.front.machine)["models"]["m"]["backends"][0]


def test_each_step_says_what_follows_where_its_machine_is_missing() -> None:
    of = deployment(fleet())
    found = steps(of)
    for key, step in found.items():
        assert (step.absence is None) == key.startswith("gpu-1/"), key
        if step.absence is not None:
            assert (step.absence.group, step.absence.most) == (GROUP, 1)
            assert step.absence.refused == (step.instance == "preflight")
    (quorum,) = [quorum for layer in LAYERS for quorum in layer.quorums(of)]
    assert quorum.steps == ("gpu-2/preflight", "gpu-3/preflight", "gpu-4/preflight")
    for key in ("gpu-1/base", "gpu-3/base", "gpu-2/m", "gpu-1/nginx", "gpu-1/litellm"):
        assert quorum.key in found[key].after, key


def test_machines_with_gpus_are_counted_again_after_their_proof() -> None:
    of = deployment(fleet(("pools.main.gpu", "L4")))
    assert [quorum.key for layer in LAYERS for quorum in layer.quorums(of)] == [
        "pools.main/preflight",
        "pools.main/gpus",
    ]
    assert steps(of)["gpu-2/gpus"].absence is not None
    # No engine is stopped either while too many are missing.
    for key in ("gpu-1/vacate", "gpu-2/vacate", "gpu-2/m"):
        assert "pools.main/gpus" in steps(of)[key].after, key


def test_a_shared_replica_is_nothing_without_any_of_its_machines() -> None:
    found = steps(deployment(spanning()))
    head, part = found["gpu-1/m"].absence, found["gpu-2/m"].absence
    assert head is not None
    assert part is not None
    assert (head.others, part.others) == (("gpu-2",), ("gpu-1",))
    of = deployment(spanning())
    backends = front_routes(of, of.front.machine)["models"]["m"]["backends"]
    assert [backend["machines"] for backend in backends] == [["gpu-1", "gpu-2"], ["gpu-3", "gpu-4"]]


def test_front_and_gateway_are_told_who_is_missing() -> None:
    of = deployment(fleet())
    for routes in (front_routes(of, of.front.machine), gateway_routes(of, of.gateways[0])):
        assert routes["missing"] == Missing(("pools.main/preflight",))
    backends = front_routes(of, of.front.machine)["models"]["m"]["backends"]
    assert [backend["machines"] for backend in backends] == [["gpu-1"], ["gpu-2"], ["gpu-3"], ["gpu-4"]]


@pytest.mark.parametrize(
    ("missing", "left"), [([], [1, 2]), (["gpu-2"], [2]), (["gpu-1", "gpu-3"], []), (["another"], [1, 2])]
)
def test_the_gateway_sends_nothing_to_a_replica_with_a_missing_machine(missing: list[str], left: list[int]) -> None:
    entries = [
        {"id": str(number), "name": "m", "task": "chat", "litellm": {"model": "hosted_vllm/m"}, "private": True}
        | {"machines": machines}
        for number, machines in ((1, ["gpu-1", "gpu-2"]), (2, ["gpu-3", "gpu-4"]))
    ]
    found = part("routes").parse(json.dumps({"models": entries, "missing": missing, "timeout_s": 1}))
    assert [each.id for each in found.deployments()] == [str(number) for number in left]


def test_what_is_judged_is_what_a_preview_has() -> None:
    of = deployment(fleet())
    planned = planned_stack("s", of, None, {})
    inputs = {resource.name: resource.inputs.raw for resource in planned.resources}
    assert inputs["gpu-1/nginx"]["variables"]["nginx_routes"]["missing"] == []
    assert inputs["gpu-2/base"]["absence"] == {"group": GROUP, "most": 1, "refused": False, "others": []}
    assert "absence" not in inputs["gpu-1/base"]


def test_the_direct_way_of_acceptance_goes_to_one_that_is_there_in_any_case() -> None:
    models = steps(deployment(fleet()))["gpu-1/acceptance"].variables["acceptance_models"]
    assert [model["direct_url"].startswith("http://127.0.0.1:") for model in models] == [True]
    edge = ("pools.edge", {"hosts": {"edge-1": {"address": "10.0.0.90", "user": "u"}}})
    models = steps(deployment(fleet(edge)))["edge-1/acceptance"].variables["acceptance_models"]
    assert "direct_url" not in models[0]

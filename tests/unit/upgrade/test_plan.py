"""Which hosts change together, in which order, what each stops, and what is away meanwhile."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from provider import changes as plugin
from slipway.deployment.types import Deployment
from slipway.layers import LAYERS, drivers, vacate
from slipway.upgrade import changes as own
from slipway.upgrade.changes import Change, applied, changes_of
from slipway.upgrade.errors import UpgradeError
from slipway.upgrade.plan import Plan, plan, targets
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import OTHER_KEY, changed, good
from tests.unit.upgrade.stacks import MARK, change, hosts, in_pairs, on_gpus, seen, three, two_fronts, urn

ENGINES = [change("a/m"), change("b/m"), change("c/m")]


def order(found: Plan) -> list[list[str]]:
    """The names of the groups' hosts."""
    return [[host.name for host in group.hosts] for group in found.groups]


def planned(of: Deployment, changes: Sequence[Change], only: Sequence[str] = (), **more: Any) -> Plan:
    return plan(of, changes, seen(of, **more), only)


def test_a_host_with_gateway_and_front_comes_last() -> None:
    found = planned(three(), ENGINES)
    assert order(found) == [["b"], ["c"], ["a"]]
    assert found.away == ()
    assert [group.hosts[0].stops for group in found.groups] == [("m",)] * 3
    assert found.groups[0].stand_ins == {"m": ("m@a/m", "m@c/m")}
    assert found.groups[0].backends == ("m@b/m",)


@pytest.mark.parametrize("holder", ["a", "b"])
def test_who_has_the_floating_address_comes_last_so_that_it_moves_once(holder: str) -> None:
    changes = [change(f"{host}/{what}") for host in "ab" for what in ("m", "nginx", "litellm")]
    found = planned(two_fronts(), changes, holder=holder)
    assert [group.name for group in found.groups][-1] == holder
    for group in found.groups:
        # A gateway ends first what it has begun, while engines still answer it.
        assert group.hosts[0].stops == ("litellm", "m")
        assert group.hosts[0].gives_address
        assert group.away == ()


def test_the_address_stays_where_only_an_engine_changes() -> None:
    found = planned(two_fronts(), [change("a/m"), change("b/m")], holder="a")
    assert [host.gives_address for group in found.groups for host in group.hosts] == [False, False]


def test_a_host_that_was_left_drained_comes_first_even_if_nothing_changes_on_it() -> None:
    found = planned(three(), ENGINES[:2], marks={"c": MARK})
    assert order(found) == [["c"], ["b"], ["a"]]
    assert found.groups[0].hosts[0].stops == ()
    assert found.groups[0].backends == ("m@c/m",)
    assert found.groups[0].stand_ins == {}


def test_what_is_done_is_left_alone() -> None:
    """A run that stopped goes on at the first host that is not done: the engine knows which have nothing to change."""
    found = planned(three(), [change("a/m")])
    assert order(found) == [["a"]]
    assert found.done == ("b", "c")


def test_a_limit_leaves_the_others_as_they_are() -> None:
    found = planned(three(), ENGINES, ["c"])
    assert order(found) == [["c"]]
    assert found.left_out == ("a", "b")


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(UpgradeError, match="the stack has no host 'd'; its hosts: a, b, c"):
        planned(three(), ENGINES, ["d"])


def test_a_model_with_one_replica_is_away_meanwhile_and_its_host_comes_last() -> None:
    document = changed(good(), "pools.main.hosts", hosts("a", "b"))
    document = changed(document, "gateway.engine_key", OTHER_KEY)
    document["models"]["m"]["replicas"] = 2
    document["models"]["n"] = {"source": {"host_path": "/srv/models/n"}, "replicas": 1}
    of = deployment(document)
    alone = of.of("n")[0].machine.name
    changes = [change(f"{each.machine.name}/{each.name}") for each in of.instances]
    found = planned(of, changes)
    assert [group.name for group in found.groups][-1] == alone
    assert [(each.what, each.name, each.why) for _, each in found.away] == [
        ("model", "n", f"its only replica is on {alone}")
    ]
    # Where it does not change, nobody misses it.
    others = [each for each in changes if each.instance != "n"]
    assert planned(of, others).away == ()


def test_a_gateway_that_nobody_stands_in_for_is_away_and_not_stopped_beforehand() -> None:
    found = planned(three(), [change("a/litellm")])
    assert [(each.what, each.name) for _, each in found.away] == [("gateway", "litellm")]
    assert found.groups[0].hosts[0].stops == ()


def test_another_driver_stops_all_engines_of_its_host() -> None:
    of = on_gpus()
    found = planned(of, [change("a/driver")])
    host = found.groups[0].hosts[0]
    assert host.stops == ("m",)
    assert host.reboots
    assert host.lease_s > drivers.TIMEOUT_S
    same = drivers.variables(of.machines["a"].driver, "main") if of.machines["a"].driver else {}
    assert not planned(of, [change("a/driver")], drivers={"a": same}).groups[0].hosts[0].reboots


def test_the_lease_outlives_what_the_change_may_take() -> None:
    host = planned(three(engine={"name": "vllm", "start_timeout_s": 1800}), ENGINES).groups[0].hosts[0]
    assert host.lease_s > host.drain_s + 1800


def test_what_a_gateway_alone_can_ask_is_not_looked_for_at_the_front() -> None:
    document = changed(good(), "gateway.engine_key", OTHER_KEY)
    document["pools"]["edge"] = {"hosts": {"e": {"address": "10.0.0.31", "user": "ubuntu"}}}
    document["pools"]["main"]["hosts"] = hosts("a", "b")
    document["gateway"]["pool"] = "main"
    document["front"] = {"pool": "edge"}
    document["models"]["m"]["pool"] = "main"
    of = deployment(document)
    assert of.of("m")[0].address == "127.0.0.1"
    first, other = planned(of, [change("a/m"), change("b/m")]).groups
    assert (first.name, first.backends, first.unseen) == ("b", ("m@b/m",), ("m",))
    assert (other.name, other.backends, other.unseen) == ("a", (), ())


def test_hosts_that_share_a_replica_change_together_its_head_first() -> None:
    of = in_pairs()
    pairs = [[part.machine.name for part in of.parts(head)] for head in of.of("m")]
    changes = [change(f"{each.machine.name}/{each.name}") for each in of.instances]
    found = planned(of, changes)
    assert sorted(order(found)) == sorted(pairs)
    assert found.away == ()
    # Who asks for one of them gets both.
    assert order(planned(of, changes, [pairs[1][1]])) == [pairs[1]]


def test_new_parts_come_after_those_that_they_need() -> None:
    changes = [change("b/driver", "create", "c/driver"), change("c/driver", "create"), change("a/m")]
    assert order(planned(three(), changes)) == [["c"], ["b"], ["a"]]


def test_a_new_host_comes_first_and_takes_nothing_away() -> None:
    found = planned(three(), [*ENGINES[:2], change("c/m", "create")], known={"a", "b"})
    assert order(found) == [["c"], ["b"], ["a"]]
    assert found.away == ()
    assert found.groups[0].hosts[0].stops == ()


def test_one_that_is_still_to_be_made_stands_in_for_nobody() -> None:
    found = planned(three(), [ENGINES[0], change("b/m", "create"), change("c/m", "create")], known={"a"})
    assert [(group.name, each.name) for group, each in found.away] == [("a", "m")]


def test_a_model_that_moves_as_a_whole_is_refused() -> None:
    of = three(replicas=1)
    here = of.of("m")[0].machine.name
    other = next(name for name in of.machines if name != here)
    with pytest.raises(UpgradeError, match=f"model m moves from {other} to {here}, and none of its replicas stays"):
        planned(of, [change(f"{here}/m", "create"), change(f"{other}/m", "delete")])
    assert planned(three(), [change("a/m", "create"), change("b/m", "delete")]).groups


def test_what_the_state_alone_learns_drains_nothing() -> None:
    step = {"op": "update", "urn": urn("a/m"), "newState": {}, "detailedDiff": {"absence.most": {}, "timeout": {}}}
    (noted,) = changes_of(preview(step))
    host = planned(three(), [noted]).groups[0].hosts[0]
    assert (noted.quiet, host.stops, [each.urn for each in host.changes]) == (True, (), [urn("a/m")])
    (runs,) = changes_of(preview({**step, "detailedDiff": {"absence.most": {}, "variables.x": {}}}))
    assert not runs.quiet


def test_the_lease_is_as_long_as_all_steps_may_take() -> None:
    of = three()
    bounds = {step.key: step.timeout_s for layer in LAYERS for step in layer.steps(of)}
    changes = [change(key) for key in bounds if key.startswith("b/")]
    host = planned(of, changes).groups[0].hosts[0]
    assert host.lease_s >= vacate.LONGEST_S + sum(bounds[each.key] for each in changes)


def test_gateways_end_before_engines_and_both_have_their_time() -> None:
    host = planned(two_fronts(), [change(f"b/{what}") for what in ("m", "litellm")]).groups[0].hosts[0]
    of = two_fronts()
    assert host.gateways == ("litellm",)
    assert host.drain_s == of.settings.gateway.request_timeout_s + of.of("m")[0].served.drain_s


def test_new_hosts_that_wait_for_one_another_are_an_ups_business() -> None:
    changes = [
        change("b/base", "create", "c/preflight"),
        change("b/preflight", "create"),
        change("c/base", "create", "b/preflight"),
        change("c/preflight", "create"),
    ]
    with pytest.raises(UpgradeError, match=r"new parts on b and c( and b)? wait for one another.*`slipway up`"):
        planned(three(), changes, known={"a"})


def test_an_up_of_a_group_makes_room_and_asks_through_the_front() -> None:
    proof = change("a/acceptance", "update", "b/m", "c/m")
    found = planned(three(), [*ENGINES, proof])
    present = {"b/vacate": urn("b/vacate"), "a/vacate": urn("a/vacate")}
    assert found.rest == (proof,)
    assert targets(found.groups[0], found, present, ()) == (urn("b/m"), urn("b/vacate"), urn("a/acceptance"))
    # The engine refuses to touch what needs something that is still to be made.
    assert targets(found.groups[0], found, present, {urn("c/m")}) == (urn("b/m"), urn("b/vacate"))


def preview(*steps: Mapping[str, Any]) -> Mapping[str, Any]:
    read: Mapping[str, Any] = json.loads(json.dumps({"steps": steps}))
    return read


def test_changes_are_read_from_the_engines_preview() -> None:
    found = changes_of(
        preview(
            {"op": "same", "urn": urn("a/base")},
            {"op": "update", "urn": urn("a/m"), "newState": {"dependencies": [urn("a/vacate")]}},
            {"op": "create-replacement", "urn": urn("b/m"), "newState": {}},
            {"op": "replace", "urn": urn("b/m"), "newState": {}},
            {"op": "delete-replaced", "urn": urn("b/m"), "oldState": {}},
            {"op": "delete", "urn": urn("c/m"), "oldState": {}},
            {"op": "update", "urn": "urn:pulumi:s::slipway::slipway:index:Platform::platform", "newState": {}},
        )
    )
    assert [(each.key, each.kind) for each in found] == [("a/m", "update"), ("b/m", "replace"), ("c/m", "delete")]
    assert found[0].needs == (urn("a/vacate"),)
    assert list(applied([urn("a/m"), "urn:pulumi:s::slipway::pulumi:pulumi:Stack::s"])) == [("a", "m", urn("a/m"))]


def test_what_the_plugin_notes_without_a_run_is_quiet_here_too() -> None:
    assert own._WITHOUT_RUN == plugin._WITHOUT_RUN

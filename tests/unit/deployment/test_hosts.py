"""Replicas that several machines share: who gets a part, who is asked, and that nobody is moved."""

from typing import Any

import pytest

from cli.model_table import model_table
from slipway.deployment.claims import Claims, held
from slipway.deployment.declaration import declaration
from slipway.deployment.names import PORTS
from slipway.deployment.references import private
from slipway.deployment.types import Deployment
from slipway.engines.base import Launch
from slipway.layers import vacate
from slipway.review.declared import differences
from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from tests.unit.deployment.stacks import LLAMA_70B, before, deployment, problems, roles, steps
from tests.unit.settings.documents import OTHER_KEY, THIRD_KEY, good, with_changes

MODEL: dict[str, Any] = {"source": {"host_path": "/srv/models/x"}, "hosts": 2}
SMALL = {"source": {"host_path": "/srv/models/y"}, "gpus": 1, "replicas": 1, "engine": {"gpu_memory_utilization": 0.1}}


def document(*changes: tuple[Any, Any], machines: int = 2, has: int = 8, **model: Any) -> dict[str, Any]:
    """A stack with the model `big` on a pool of machines with so many GPUs each."""
    hosts = {f"gpu-{n}": {"address": f"10.0.0.{n}", "user": "u"} for n in range(1, machines + 1)}
    return with_changes(
        good(),
        ("pools", {"main": {"hosts": hosts, **({"gpus": has} if has else {})}}),
        ("models", {"big": {**MODEL, **model}}),
        ("gateway.engine_key", OTHER_KEY),
        *changes,
    )


def holdings(of: Deployment) -> dict[tuple[str, str], Claims]:
    """What a stack's state tells of `of`."""
    told = {(each.machine.name, each.name): held(each.claims.data()) for each in of.instances}
    assert None not in told.values()
    return {key: claims for key, claims in told.items() if claims is not None}


def seats(of: Deployment) -> list[tuple[str, tuple[int, ...], int]]:
    return [(f"{each.machine.name}/{each.name}", each.gpus, each.rank) for each in of.instances]


def launches(of: Deployment) -> list[Launch]:
    return [each.launch for each in of.instances]


ALL = tuple(range(8))


def test_each_machine_has_a_part_and_the_first_is_asked() -> None:
    of = deployment(document())
    assert seats(of) == [("gpu-1/big", ALL, 0), ("gpu-2/big", ALL, 1)]
    assert [each.machine.name for each in of.of("big")] == ["gpu-1"]
    assert [each.machine.name for each in of.parts(of.of("big")[0])] == ["gpu-1", "gpu-2"]
    assert of.head_of(of.instances[1]) is of.instances[0]
    model = of.served["big"]
    assert (model.gpus, model.gpus_of_a_host, model.replicas) == (16, 8, 1)
    assert (model.parallelism.tensor, model.parallelism.pipeline) == (8, 2)


@pytest.mark.parametrize(
    ("machines", "model", "expected"),
    [
        (4, {}, ["gpu-1/big 0", "gpu-2/big 1", "gpu-3/big-2 0", "gpu-4/big-2 1"]),
        (5, {}, ["gpu-1/big 0", "gpu-2/big 1", "gpu-3/big-2 0", "gpu-4/big-2 1"]),
        (3, {"hosts": 3}, ["gpu-1/big 0", "gpu-2/big 1", "gpu-3/big 2"]),
        (2, {"gpus": 8, "replicas": 2}, ["gpu-1/big 0", "gpu-2/big 1", "gpu-1/big-2 0", "gpu-2/big-2 1"]),
        (4, {"replicas": 1}, ["gpu-1/big 0", "gpu-2/big 1"]),
    ],
)
def test_replicas_go_over_the_machines_in_turn(machines: int, model: dict[str, Any], expected: list[str]) -> None:
    """A replica's number is its own in the whole pool: by it its parts are found again."""
    of = deployment(document(machines=machines, **model))
    assert [f"{each.machine.name}/{each.name} {each.rank}" for each in of.instances] == expected


def test_the_parts_meet_at_a_port_of_the_head() -> None:
    head, part = deployment(document()).instances
    assert head.meeting is not None
    assert head.meeting == part.meeting
    assert head.claims.meeting == head.meeting.port
    assert part.claims.meeting is None
    assert len({head.port, head.meeting.port}) == 2
    assert {head.port, part.port, head.meeting.port} <= set(PORTS)
    assert {claim["what"] for claim in head.claims.data()} >= {f"port:{head.port}", f"port:{head.meeting.port}"}
    assert held(head.claims.data()) == head.claims
    assert held([{"what": f"port:{port}"} for port in (1, 2, 3)]) is None


def test_everybody_stays_where_it_is() -> None:
    """Whatever comes before it in the stack, and whichever of its machines its head was on."""
    first = deployment(document(machines=4, replicas=2, gpus=4))
    had = holdings(first)
    again = deployment(document(machines=4, replicas=2, gpus=4), had)
    assert [(each.machine.name, each.name, each.claims, each.rank) for each in again.instances] == [
        (each.machine.name, each.name, each.claims, each.rank) for each in first.instances
    ]
    small = {"aa": SMALL, "big": {**MODEL, "gpus": 14, "replicas": 2}}
    more = deployment(document(("models", small), machines=4), had)
    assert next(each.name for each in more.instances) == "aa"
    # A head that a person, or an earlier version, has put on another machine stays there.
    turned = {
        ("gpu-2", "big"): Claims(ALL, 8200, 0.85, 8300),
        ("gpu-1", "big"): Claims(ALL, 8400, 0.85),
    }
    head, part = deployment(document(), turned).instances
    assert (head.machine.name, head.port, head.claims.meeting) == ("gpu-2", 8200, 8300)
    assert (part.machine.name, part.port, part.rank) == ("gpu-1", 8400, 1)


@pytest.mark.parametrize(
    "had",
    [
        {("gpu-1", "big"): Claims(ALL, 8200, 0.85, 8300)},
        {("gpu-2", "big"): Claims(ALL, 8200, 0.85), ("gpu-3", "big"): Claims(ALL, 8201, 0.85)},
        {("gpu-2", "big"): Claims(ALL[:4], 8200, 0.85, 8300), ("gpu-3", "big"): Claims(ALL[:4], 8201, 0.85)},
        {(f"gpu-{n}", "big"): Claims(ALL, 8200 + n, 0.85, 8300 if n == 3 else None) for n in (2, 3, 4)},
    ],
    ids=["a part is gone", "no head", "fewer GPUs", "a part too many"],
)
def test_what_is_no_whole_replica_is_not_kept(had: dict[tuple[str, str], Claims]) -> None:
    of = deployment(document(machines=4, replicas=1), had)
    assert [f"{each.machine.name} {each.rank}" for each in of.instances] == ["gpu-1 0", "gpu-2 1"]


def test_a_port_of_its_own_is_the_heads() -> None:
    head, part = deployment(document(engine={"port": 9000})).instances
    assert head.port == 9000
    assert part.port != 9000


REFUSED = {
    "too few machines": (
        document(machines=1),
        "models.big.hosts: each replica takes 2 machines, and the pool main has 1 machine; the engine would wait for the others: "
        "add machines to the pool, or use fewer hosts",
    ),
    "an engine that can't": (
        document(engine={"name": "llama_cpp"}, source={"host_path": "/srv/m.gguf"}, gpus=0),
        "models.big.hosts: 2, and llama_cpp serves each replica on one machine alone; it would not find the others' memory: "
        "remove it",
    ),
    "an engine that can't, in its place one that can": (
        document(engine={"name": "ollama", "program": {"path": "/nowhere/ollama"}}, gpus=0),
        "models.big.hosts: 2, and ollama serves each replica on one machine alone; it would not find the others' memory: "
        "use engine: vllm, or remove it",
    ),
    "a machine without a private address": (
        document(
            ("pools.main.hosts.gpu-1.address", "9.9.9.1"),
            ("pools.main.hosts.gpu-2.private_address", "10.0.0.9"),
        ),
        "pools.main.hosts.gpu-1.private_address: gpu-1 shares the replicas of big with other hosts, but 9.9.9.1 is no private "
        "address; what they tell one another has no key, and would face the internet: set its private_address",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_settings_refuse(case: str) -> None:
    asked, line = REFUSED[case]
    with pytest.raises(SettingsError) as refused:
        parse(asked, "s")
    assert f"slipway:platform.{line}" in refused.value.problems


def test_gpus_are_shared_equally() -> None:
    asked = with_changes(document(), ("models.big.gpus", 15))
    with pytest.raises(SettingsError) as refused:
        parse(asked, "s")
    assert "gpus is 15, which 2 hosts can't share equally; the engine would not start: use 14" in refused.value.report
    with pytest.raises(SettingsError, match=r"gpus is 4 while gpu_indices names 4 on each of 2 hosts"):
        parse(with_changes(document(), ("models.big.gpus", 4), ("models.big.gpu_indices", [0, 1, 2, 3])), "s")
    named = deployment(with_changes(document(), ("models.big.gpu_indices", [4, 5])))
    assert [each.gpus for each in named.instances] == [(4, 5), (4, 5)]
    assert named.served["big"].gpus == 4


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            [("models.big.hosts", 1), ("models.big.gpus", 16)],
            "models.big.gpus: 16 GPUs, while the machines of pool main have 8; the engine would not start: use at most 8, or "
            "hosts: 2, so that each replica is on 2 machines",
        ),
        (
            [("models.big.hosts", 1), ("models.big.gpus", 24)],
            "models.big.gpus: 24 GPUs, while the machines of pool main have 8; the engine would not start: use at most 8",
        ),
        (
            [("models.big.gpus", 18)],
            "models.big.gpus: 9 GPUs on each of 2 hosts, while the machines of pool main have 8; the engine would not start: use "
            "at most 16",
        ),
    ],
)
def test_more_gpus_than_a_machine_has(changes: list[Any], line: str) -> None:
    assert problems(with_changes(document(), *changes)) == [line]


def test_no_room_for_every_part() -> None:
    """One machine is full: a part of a replica is none."""
    full = {"source": {"host_path": "/srv/y"}, "gpus": 8, "replicas": 1}
    (line,) = problems(document(("models", {"full": full, "big": {**MODEL, "gpus": 16}})))
    assert line.startswith(
        "models.big.gpus: big needs 16 GPUs over 2 hosts with 0.85 of each, and full leave no such room"
    )


def test_of_the_cpu_each_machine_has_a_stage() -> None:
    of = deployment(document(has=0))
    model = of.served["big"]
    assert (model.gpus, model.parallelism.pipeline, model.parallelism.tensor) == (0, 2, 1)
    assert [each.gpus for each in of.instances] == [(), ()]
    assert all(held(each.claims.data()) == each.claims for each in of.instances)


def test_the_sizing_counts_all_machines() -> None:
    """70B in 16 bits fill eight GPUs of 24 GB no more than sixteen hold them; no tensor parallelism over machines."""
    given = ("pools.main.gpu", "a10g"), ("models.big.catalog", LLAMA_70B), ("models.big.max_model_len", 4096)
    alone = deployment(with_changes(document(machines=1, hosts=1, has=4), *given)).served["big"].measured
    both = deployment(with_changes(document(machines=2, has=4), *given)).served["big"]
    assert alone.figures is not None
    assert both.measured.figures is not None
    assert not alone.figures.fits
    assert both.measured.figures.fits
    assert (both.parallelism.tensor, both.parallelism.pipeline) == (4, 2)
    wide = with_changes(document(machines=2, has=4), *given, ("models.big.engine", {"tensor_parallel": 8}))
    assert deployment(wide).served["big"].parallelism.pipeline == 1


def test_only_the_head_is_asked() -> None:
    """Gateways, fronts and acceptance know no other part; what runs on a machine is told of all."""
    of = deployment(document(("pools.edge", {"hosts": {"edge-1": {"address": "10.0.0.99", "user": "u"}}})))
    seen = roles(of)
    head = of.instances[0]
    front = next(step for key, step in seen.items() if key == "edge-1/nginx")
    (backend,) = front["nginx_routes"]["models"]["big"]["backends"]
    assert (backend["address"], backend["port"]) == ("10.0.0.1", head.port)
    gateway = repr(seen["edge-1/litellm"])
    assert f"10.0.0.1:{head.port}" in gateway
    assert "10.0.0.2" not in gateway
    assert of.runs(of.machines["gpu-2"]) == ["big"]
    assert {"gpu-1/big", "gpu-2/big"} <= set(steps(of)["edge-1/acceptance"].after)


def test_a_head_starts_after_its_parts_and_no_step_waits_for_a_later_one() -> None:
    of = deployment(document(machines=4))
    found = steps(of)
    order = list(found)
    for key, step in found.items():
        assert all(order.index(before) < order.index(key) for before in step.after), key
    assert {"gpu-2/big", "gpu-1/drain-big"} <= set(found["gpu-1/big"].after)
    assert "gpu-1/drain-big" in found["gpu-2/big"].after
    assert "gpu-1/big" not in found["gpu-2/big"].after
    # Its answers end as late as can be: all that its parts need is there.
    for needed in ("gpu-1/vacate", "gpu-2/vacate", "gpu-1/model-big", "gpu-2/model-big", "gpu-2/program-vllm-cuda"):
        assert needed in found["gpu-1/drain-big"].after
    # A part that makes way itself does so once the head's answers are ended.
    assert "gpu-1/vacate" in found["gpu-2/vacate"].after
    assert "gpu-2/vacate" not in found["gpu-1/vacate"].after
    assert "gpu-3/vacate" not in found["gpu-2/vacate"].after


def test_what_the_roles_are_told() -> None:
    seen = roles(deployment(document()))
    head, part = seen["gpu-1/big"], seen["gpu-2/big"]
    assert head["service_probe"]["body"] == {"model": "big", "prompt": "Hello", "max_tokens": 1}
    assert "service_ready_line" not in head
    assert head["service_elsewhere"] == "it needs what runs on other hosts too: look at slipway-big.service on gpu-2"
    assert part["service_probe"] == {}
    assert part["service_ready_line"] == "distributed_init_method=tcp://"
    assert "service_elsewhere" not in part
    assert head["service_peers"] == part["service_peers"] == ["10.0.0.1", "10.0.0.2"]
    assert head["service_interfaces"] == {"GLOO_SOCKET_IFNAME": "10.0.0.1", "NCCL_SOCKET_IFNAME": "=10.0.0.1"}
    assert part["service_interfaces"] == {"GLOO_SOCKET_IFNAME": "10.0.0.2", "NCCL_SOCKET_IFNAME": "=10.0.0.2"}
    # Whoever is not asked knows no key.
    assert head["service_secrets"] == {"VLLM_API_KEY": OTHER_KEY}
    assert part["service_secrets"] == {}
    assert OTHER_KEY not in repr(part)
    assert part["service_drain_timeout"] == 0
    alone = roles(deployment(document(hosts=1)))["gpu-1/big"]
    assert not {"service_peers", "service_interfaces", "service_replica"} & set(alone)


@pytest.mark.parametrize(("machines", "has"), [(4, 8), (2, 16)], ids=["hosts of their own", "the same hosts"])
def test_of_two_replicas_over_hosts_one_at_a_time_is_touched(machines: int, has: int) -> None:
    of = deployment(document(machines=machines, has=has, replicas=2, gpus=16))
    found = steps(of)
    first, second = ([f"{part.machine.name}/{part.name}" for part in of.parts(head)] for head in of.heads)
    for key in second:
        assert set(first) <= before(found, key)
    # Nor does anything that stops it come before the other one has answered, unless it takes what another one has.
    drains = [key for key, step in found.items() if step.role == "vacate" and step.instance.startswith("drain-")]
    assert [found[key].variables for key in drains] == [
        {"vacate_replicas": {head.name: vacate.digests(of, head)}} for head in of.heads
    ]
    assert set(first) <= before(found, drains[1])
    # And the first one waits for nothing of the second.
    assert not {*second, drains[1]} & set().union(*(before(found, key) for key in first))
    # They take turns by that, and need no lock.
    assert {found[key].rolling for key in (*first, *second)} == {None}


def test_hosts_of_one_replica_get_their_drivers_together_and_those_of_two_do_not() -> None:
    of = deployment(document(("pools.main.gpu", "h100"), machines=4, replicas=2, gpus=16))
    first, second = ([part.machine.name for part in of.parts(head)] for head in of.heads)
    found = steps(of)
    earlier = {name: before(found, f"{name}/driver") for name in of.machines}
    for one in first:
        for other in second:
            assert f"{one}/driver" in earlier[other]
    for names in (first, second):
        assert not {f"{name}/driver" for name in names} & earlier[names[0]]
        assert not {f"{name}/driver" for name in names} & earlier[names[1]]
    # The head answers again only with all of them, so it is asked after each.
    assert set(found[f"{first[0]}/big"].again_after) == {f"{name}/driver" for name in first}


def test_drivers_of_no_two_replicas_change_at_once_however_models_lie() -> None:
    """Each model alone would have another order; taken together they would have hosts wait for one another."""

    def stack(*numbers: int) -> dict[str, Any]:
        hosts = {f"gpu-{n}": {"address": f"10.0.0.{n}", "user": "u"} for n in numbers}
        pools = {"main": {"hosts": hosts, "gpu": "h100", "gpus": 8}}
        models = {"small": {**SMALL, "replicas": 4}, "big": {**MODEL, "replicas": 2, "gpus": 8}}
        return document(("pools", pools), ("models", models))

    # The stack once had its hosts in another order, and replicas stay where they are.
    of = deployment(stack(1, 2, 3, 4), holdings(deployment(stack(1, 4, 2, 3))))
    assert [{part.machine.name for part in of.parts(head)} for head in of.of("big")] == [
        {"gpu-1", "gpu-4"},
        {"gpu-2", "gpu-3"},
    ]
    found = steps(of)
    earlier = {name: before(found, f"{name}/driver") for name in of.machines}
    for one in of.machines:
        for other in of.machines:
            ordered = [f"{one}/driver" in earlier[other], f"{other}/driver" in earlier[one]]
            assert sum(ordered) == (one != other), (one, other)


def test_replicas_of_different_models_wait_for_none_of_the_other() -> None:
    models = {"big": {**MODEL, "gpus": 8}, "other": {**MODEL, "gpus": 8}}
    found = steps(deployment(document(("models", models))))
    assert "gpu-1/big" not in before(found, "gpu-1/other")
    assert "gpu-1/other" not in before(found, "gpu-1/big")


def test_a_head_makes_way_where_a_part_changes_and_only_then() -> None:
    def digests(*changes: tuple[Any, Any]) -> tuple[str, str]:
        """Of where the parts sit, and of what they are launched from."""
        seen = roles(deployment(with_changes(document(), *changes)))
        has = seen["gpu-1/big"]["service_replica"]
        assert seen["gpu-1/drain-big"] == {"vacate_replicas": {"big": has}}
        # What makes room on the machines knows where they sit alone: how they are launched concerns nobody else.
        assert seen["gpu-1/vacate"]["vacate_replicas"] == {"big": has[:1]}
        assert "vacate_replicas" not in seen["gpu-2/vacate"]
        assert "service_replica" not in seen["gpu-2/big"]
        seats, launches = has
        return str(seats), str(launches)

    seats, launches = digests()
    assert digests() == (seats, launches)
    assert digests(("gateway.engine_key", THIRD_KEY)) == (seats, launches)
    for change in (("models.big.max_model_len", 4096), ("pools.main.network", {"interface": "eth9"})):
        same, other = digests(change)
        assert (same, other != launches) == (seats, True), change
    assert digests(("models.big.gpus", 8))[0] != seats


def test_unknown_addresses_stay_references() -> None:
    head, part = deployment(document()).instances
    assert head.launch.peers == (private("gpu-1"), private("gpu-2"))
    assert f"--master-addr={private('gpu-1')}" in part.launch.command


def test_nothing_changes_for_a_model_on_one_machine() -> None:
    """Nor do its ports move because another has parts."""
    models = {"big": {**MODEL, "gpus": 8}, "small": {**SMALL, "replicas": 2}}
    with_big = deployment(document(("models", models)))
    alone = deployment(document(("models", {"small": models["small"]})))
    assert [each.port for each in with_big.of("small")] == [each.port for each in alone.of("small")]
    assert all(each.meeting is None and each.is_head for each in alone.instances)


def test_what_is_declared_and_shown() -> None:
    of = deployment(document(("pools.main.gpu", "h100"), machines=3, hosts=3))
    (model,) = declaration(of)["models"]
    assert (model["hosts"], model["gpus"], model["replicas"]) == (3, 24, 1)
    head, *others = model["instances"]
    assert [each["rank"] for each in model["instances"]] == [0, 1, 2]
    assert {each["head"] for each in model["instances"]} == {"gpu-1/big"}
    assert head["meetingPort"] == of.instances[0].claims.meeting
    # What others reach is bound to a private address, and is declared so.
    assert [each["address"] for each in others] == [private("gpu-2"), private("gpu-3")]
    lines = model_table(of)
    assert lines[1].startswith("big")
    assert [line.split()[0] for line in lines[2:4]] == ["with", "with"]
    assert "gpu-3, GPUs 0-7 of 8 x NVIDIA H100" in lines[3]
    (changed,) = differences(
        {"models": [declaration(deployment(document(hosts=1, machines=1)))["models"][0]]}, {"models": [model]}
    )
    facts = {fact.label: (fact.before, fact.after) for fact in changed.facts}
    assert facts["hosts of each replica"] == (None, "3")
    assert (
        facts["runs on"][1]
        == f"gpu-1 GPU 0-7 port {head['port']}; gpu-2 GPU 0-7 with gpu-1/big; gpu-3 GPU 0-7 with gpu-1/big"
    )


def test_preflight_looks_at_all_ports() -> None:
    head, part = deployment(document()).instances
    seen = roles(deployment(document()))
    ports = {each["port"]: each["purpose"] for each in seen["gpu-1/preflight"]["preflight_ports"]}
    assert ports[head.port] == "the engine of big"
    assert ports[head.claims.meeting] == "the meeting of the machines of big"
    assert part.port in {each["port"] for each in seen["gpu-2/preflight"]["preflight_ports"]}

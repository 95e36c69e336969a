"""Which machine, GPUs, name and port each replica gets; and that no model moves another."""

from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.deployment.claims import Claims, Holdings, held
from slipway.deployment.names import PORTS
from slipway.deployment.types import Deployment
from slipway.settings.errors import SettingsError
from tests.unit.deployment.stacks import QWEN_1B, deployment, problems, roles
from tests.unit.settings.documents import OTHER_KEY, REMOVED, changed, good, many, with_changes

FOLDER = {"source": {"host_path": "/srv/models/x"}}
Models = dict[str, dict[str, Any]]


def half(**more: Any) -> dict[str, Any]:
    """A model that takes less than half of each of its GPUs."""
    return {**FOLDER, "engine": {"gpu_memory_utilization": 0.45}, **more}


def document(models: Models, *, gpus: int = 4, hosts: int = 1, tier: str | None = None) -> dict[str, Any]:
    """A stack with these models on one pool."""
    machines = {
        f"lab-{number}": {"address": f"10.0.0.{number}", "user": "ubuntu", "port": 22} for number in range(1, hosts + 1)
    }
    hardware = {"tier": tier} if tier else {"gpus": gpus}
    return with_changes(
        good(),
        ("pools", {"main": {"hosts": machines, **hardware}}),
        ("models", models),
        ("gateway.engine_key", OTHER_KEY),
    )


def places(models: Models, **pool: Any) -> dict[str, tuple[int, ...]]:
    """The GPUs of every instance."""
    return {f"{each.machine.name}/{each.name}": each.gpus for each in deployment(document(models, **pool)).instances}


PLACES: dict[str, tuple[Models, dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "in the order of the models": (
        {"b": {**FOLDER, "gpus": 2}, "a": {**FOLDER, "gpus": 1}, "c": {**FOLDER, "gpus": 1}},
        {},
        {"lab-1/b": (0, 1), "lab-1/a": (2,), "lab-1/c": (3,)},
    ),
    "named ones first": (
        {"a": {**FOLDER, "gpus": 2}, "b": {**FOLDER, "gpu_indices": [0, 2]}},
        {},
        {"lab-1/a": (1, 3), "lab-1/b": (0, 2)},
    ),
    "in the order that is named": ({"a": {**FOLDER, "gpu_indices": [3, 1]}}, {}, {"lab-1/a": (3, 1)}),
    "free ones before shared ones": (
        {name: half(gpus=1) for name in "abcd"},
        {"gpus": 3},
        {"lab-1/a": (0,), "lab-1/b": (1,), "lab-1/c": (2,), "lab-1/d": (0,)},
    ),
    "shared where it is asked for": (
        {"a": half(gpu_indices=[1]), "b": half(gpu_indices=[1]), "c": {**FOLDER, "gpus": 1}},
        {"gpus": 2},
        {"lab-1/a": (1,), "lab-1/b": (1,), "lab-1/c": (0,)},
    ),
    "a GPU full to the last percent": (
        {
            name: {**FOLDER, "gpu_indices": [0], "engine": {"gpu_memory_utilization": share}}
            for name, share in (("a", 0.1), ("b", 0.2), ("c", 0.7))
        },
        {"gpus": 1},
        {"lab-1/a": (0,), "lab-1/b": (0,), "lab-1/c": (0,)},
    ),
    "one replica on each machine": (
        {"a": {**FOLDER, "gpus": 1}},
        {"hosts": 2},
        {"lab-1/a": (0,), "lab-2/a": (0,)},
    ),
    "replicas in turn over the machines": (
        {"a": {**FOLDER, "gpus": 2, "replicas": 3}, "b": {**FOLDER, "gpus": 1, "replicas": 2}},
        {"hosts": 2, "gpus": 5},
        {"lab-1/a": (0, 1), "lab-2/a": (0, 1), "lab-1/a-2": (2, 3), "lab-1/b": (4,), "lab-2/b": (2,)},
    ),
    "where there is room": (
        {
            "a": {**FOLDER, "gpus": 3, "replicas": 1},
            "b": {**FOLDER, "gpus": 2, "replicas": 1},
            "c": {**FOLDER, "gpus": 1},
        },
        {"hosts": 2},
        {"lab-1/a": (0, 1, 2), "lab-2/b": (0, 1), "lab-1/c": (3,), "lab-2/c": (2,)},
    ),
    "where the named GPU is free": (
        {name: {**FOLDER, "gpu_indices": [0], "replicas": 1} for name in "ab"},
        {"hosts": 2},
        {"lab-1/a": (0,), "lab-2/b": (0,)},
    ),
    "two on one machine where the other is full": (
        {"a": {**FOLDER, "gpus": 4, "replicas": 1}, "b": {**FOLDER, "gpus": 2, "replicas": 2}},
        {"hosts": 2},
        {"lab-1/a": (0, 1, 2, 3), "lab-2/b": (0, 1), "lab-2/b-2": (2, 3)},
    ),
    "on the CPU beside GPUs": (
        {"a": {**FOLDER, "gpus": 0, "replicas": 2}, "b": {**FOLDER, "gpus": 4}},
        {},
        {"lab-1/a": (), "lab-1/a-2": (), "lab-1/b": (0, 1, 2, 3)},
    ),
}


@pytest.mark.parametrize("case", PLACES)
def test_places(case: str) -> None:
    models, pool, expected = PLACES[case]
    assert places(models, **pool) == expected


MEND = (
    "they do not fit together: give one of them fewer GPUs or a lower gpu_memory_utilization, use fewer replicas, or another "
    "pool"
)
NO_ROOM: dict[str, tuple[Models, dict[str, Any], list[str]]] = {
    "too many GPUs": (
        {"big.1": {**FOLDER, "gpus": 3}, "other": {**FOLDER, "gpus": 2}},
        {},
        [
            "models.other.gpus: other needs 2 GPUs with 0.85 of each, and big.1 leave no such room on lab-1, which has 4 "
            f"(taken: big.1 0.85); {MEND}"
        ],
    ),
    "replicas of one model": (
        {"a": {**FOLDER, "gpus": 3, "replicas": 2, "engine": {"gpu_memory_utilization": 1}}},
        {},
        [
            "models.a.gpus: a needs 3 GPUs, and its other replicas leave no such room on lab-1, which has 4 "
            f"(taken: a 1); {MEND}"
        ],
    ),
    "no machine of several": (
        {"a": {**FOLDER, "gpus": 3}, "b": half(gpus=2, replicas=1)},
        {"hosts": 2},
        [
            "models.b.gpus: b needs 2 GPUs with 0.45 of each, and a leave no such room on any machine of pool main, which has 4 "
            f"(taken: a 0.85); {MEND}"
        ],
    ),
    "a GPU that two name": (
        {"a": {**FOLDER, "gpu_indices": [0, 1]}, "b.1": half(gpu_indices=[1, 0])},
        {},
        [
            'models["b.1"].gpu_indices: GPU 0 of lab-1 is taken by a 0.85 and b.1 0.45; they do not fit together, and the one '
            "that starts last would fail: lower gpu_memory_utilization of one, or give it other GPUs"
        ],
    ),
    "replicas on the GPUs that are named": (
        {"a": {**FOLDER, "gpu_indices": [0], "replicas": 2}},
        {},
        [
            "models.a.gpu_indices: GPU 0 of lab-1 is taken by a 0.85 and a 0.85; they do not fit together, and the one "
            "that starts last would fail: lower gpu_memory_utilization of one, or give it other GPUs"
        ],
    ),
    "more replicas than names": (
        {"a": {**FOLDER, "gpus": 0, "replicas": 10}},
        {},
        ["models.a.replicas: more than 9 on lab-1; units and users have no longer names: use fewer, or more machines"],
    ),
    "more replicas than names on two machines": (
        {"a": {**FOLDER, "gpus": 0, "replicas": 19}},
        {"hosts": 2},
        [
            "models.a.replicas: more than 9 on each machine of pool main; units and users have no longer names: use fewer, or "
            "more machines"
        ],
    ),
    "two models of one slug": (
        {"a.1": {**FOLDER, "gpus": 0}, "a-1": {**FOLDER, "gpus": 0}},
        {},
        [
            "models.a-1: its unit would have the name of a.1's, a-1; one would overwrite the other: rename one",
        ],
    ),
    "a model called as another's replica": (
        {"a": {**FOLDER, "gpus": 0, "replicas": 2}, "a-2": {**FOLDER, "gpus": 0}},
        {},
        [
            "models.a-2: a unit on lab-1 would have the name of one of a's, a-2; one would overwrite the other: rename one of "
            "the models"
        ],
    ),
    "a port that another has": (
        {"a": {**FOLDER, "gpus": 0}, "b": {**FOLDER, "gpus": 0, "engine": {"port": 8100 + crc32(b"a") % 900}}},
        {},
        [
            f"models.b.engine.port: {8100 + crc32(b'a') % 900} is the port of a on lab-1; one would not start: choose another "
            "port"
        ],
    ),
    "a port that a later one has": (
        {"b": {**FOLDER, "gpus": 0, "engine": {"port": 8100 + crc32(b"a") % 900}}, "a": {**FOLDER, "gpus": 0}},
        {},
        [
            f"models.b.engine.port: {8100 + crc32(b'a') % 900} is the port of a on lab-1; one would not start: choose another "
            "port"
        ],
    ),
    "too little memory for both on the CPU": (
        {
            "a": {**FOLDER, "catalog": QWEN_1B, "engine": {"cpu_kv_cache_gib": 20}},
            "b.2": {**FOLDER, "catalog": QWEN_1B, "engine": {"cpu_kv_cache_gib": 40}},
        },
        {"tier": "cpu"},
        [
            'models["b.2"]: the engines on lab-1 need 65.8 GiB together (a 22.9 GiB, b.2 42.9 GiB), and the machine has 58 '
            "GiB; they do not fit together: give one less context or KV cache, or another pool"
        ],
    ),
    "too little memory for both replicas": (
        {"a": {**FOLDER, "catalog": QWEN_1B, "replicas": 2, "engine": {"cpu_kv_cache_gib": 30}}},
        {"tier": "cpu"},
        [
            "models.a: the engines on lab-1 need 65.8 GiB together (a 32.9 GiB, a 32.9 GiB), and the machine has 58 GiB; "
            "they do not fit together: give one less context or KV cache, or another pool"
        ],
    ),
}


@pytest.mark.parametrize("case", NO_ROOM)
def test_what_finds_no_room_is_refused_and_names_who_takes_it(case: str) -> None:
    models, pool, messages = NO_ROOM[case]
    assert problems(document(models, **pool)) == messages


OLLAMA = {"name": "ollama", "program": {"path": "/nowhere/ollama"}}


def test_an_engine_without_keys_is_refused_where_others_could_call_it() -> None:
    model = {"source": {"host_path": "/srv/q.gguf"}, "gpus": 0, "engine": OLLAMA}
    (problem,) = problems(document({"o.1": model}, hosts=2))
    assert problem.startswith('models["o.1"].pool: Ollama has no keys, and the gateway is not on lab-2; ')
    assert places({"o.1": {**model, "replicas": 1}}, hosts=2) == {"lab-1/o-1": ()}


def test_memory_is_counted_only_where_it_is_known() -> None:
    model = {**FOLDER, "catalog": QWEN_1B, "engine": {"cpu_kv_cache_gib": 30}}
    assert places({"a": model, "b": model}, gpus=0) == {"lab-1/a": (), "lab-1/b": ()}
    small = {**FOLDER, "catalog": QWEN_1B}
    assert places({"a": small, "b": small}, tier="cpu") == {"lab-1/a": (), "lab-1/b": ()}


def test_a_port_that_is_given_is_kept() -> None:
    models = {"a": {**FOLDER, "gpus": 0, "replicas": 2, "engine": {"port": 9300}}}
    first, second = deployment(document(models)).instances
    assert first.port == 9300
    assert second.port in PORTS


def test_where_services_listen() -> None:
    looked_at = deployment(many())
    assert {each.machine.name: each.address for each in looked_at.instances} == {
        name: f"\ue001{name}/private\ue002" for name in ("gpu-1", "gpu-2", "cpu-1")
    }
    assert {each.address for each in looked_at.gateways} == {"127.0.0.1"}
    one = deployment(document({"a": {**FOLDER, "gpus": 0}}))
    assert [each.address for each in (*one.instances, *one.gateways)] == ["127.0.0.1", "127.0.0.1"]
    apart = deployment(with_changes(many(), ("front.pool", "cpu")))
    assert {each.address for each in apart.gateways} == {"\ue001edge-1/private\ue002"}


# Stability: what is asked of one model touches no other.

SHARES = st.sampled_from([0.2, 0.45, 0.85])
ONE_PORT = [f"m{number}" for number in range(5000) if crc32(f"m{number}".encode()) % 900 == crc32(b"m0") % 900]
"""Names whose engines would all have one port, were each alone."""
NAMES = [*ONE_PORT[:3], *(f"name-of.{number}" for number in range(4)), "a", "a-2b"]
THE_LAST = ONE_PORT[3]


@st.composite
def a_model(draw: st.DrawFn, *, pinned: bool = True) -> dict[str, Any]:
    """One model whose GPUs are said: none, some, or those that it names."""
    engine: dict[str, Any] = {"gpu_memory_utilization": draw(SHARES), "max_num_seqs": draw(st.integers(1, 64))}
    model: dict[str, Any] = {**FOLDER, "engine": engine, "replicas": draw(st.integers(1, 3))}
    kind = draw(st.sampled_from(["cpu", "gpus", "named"] if pinned else ["cpu", "gpus"]))
    if kind == "named":
        return {**model, "gpu_indices": draw(st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True))}
    return {**model, "gpus": 0 if kind == "cpu" else draw(st.integers(1, 3))}


STACKS = st.lists(
    st.tuples(st.sampled_from(NAMES), a_model()), min_size=1, max_size=5, unique_by=lambda pair: pair[0]
).map(dict)
HOSTS = st.integers(1, 3)


def tried(models: Models, hosts: int, held: Holdings | None = None) -> Deployment | None:
    """None where the models find no room."""
    try:
        return deployment(document(models, gpus=8, hosts=hosts), held)
    except SettingsError:
        return None


EVERYONES = {
    "preflight",
    "vacate",
    "exchange",
    "acceptance",
    "litellm",
    "litellm-private",
    "nginx",
    "program-vllm-cpu",
    "program-vllm-cuda",
}
"""Steps that follow from all models."""


def others(of: Deployment, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """All but the model `name`: its instances' places, and the variables of its steps."""
    placed = {
        f"{each.machine.name}/{each.name}": (each.served.name, each.gpus, each.port, each.address)
        for each in of.instances
        if each.served.name != name
    }
    own = {f"{each.machine.name}/{each.name}" for each in of.instances if each.served.name == name}
    own |= {f"{machine}/model-{of.served[name].slug}" for machine in of.machines} if name in of.served else set()
    told = {
        key: variables
        for key, variables in roles(of).items()
        if key not in own and key.partition("/")[2] not in EVERYONES
    }
    return placed, told


@settings(max_examples=60, deadline=None)
@given(STACKS, a_model(pinned=False), HOSTS)
def test_adding_and_removing_the_last_model_touches_no_other(models: Models, last: dict[str, Any], hosts: int) -> None:
    before, after = tried(models, hosts), tried({**models, THE_LAST: last}, hosts)
    if before is None or after is None:
        return
    assert others(after, THE_LAST) == others(before, THE_LAST)


def holdings(of: Deployment) -> dict[tuple[str, str], Claims]:
    """What the state of a stack that is up tells of its instances."""
    told = {(each.machine.name, each.name): held(each.claims.data()) for each in of.instances}
    return {key: value for key, value in told.items() if value is not None}


def seats(of: Deployment) -> dict[str, Any]:
    """Where everybody is."""
    return {f"{each.machine.name}/{each.name}": (each.served.name, each.gpus, each.port) for each in of.instances}


UNNAMED = st.lists(
    st.tuples(st.sampled_from(NAMES), a_model(pinned=False)), min_size=1, max_size=5, unique_by=lambda pair: pair[0]
).map(dict)


@settings(max_examples=100, deadline=None)
@given(st.lists(UNNAMED, min_size=2, max_size=4), HOSTS)
def test_what_stays_as_it_is_stays_where_it_is(stacks: list[Models], hosts: int) -> None:
    """Whatever else comes, goes or changes, first, last or between; unless everybody has to be placed anew."""
    up: tuple[Models, Deployment] | None = None
    for models in stacks:
        after = tried(models, hosts, holdings(up[1]) if up else None)
        if after is None:
            continue
        if up is not None:
            kept = {key: seat for key, seat in seats(up[1]).items() if models.get(seat[0]) == up[0][seat[0]]}
            stayed = {key: seat for key, seat in seats(after).items() if key in kept} == kept
            assert stayed or gpus_of(after) == gpus_of(deployment(document(models, gpus=8, hosts=hosts)))
        up = models, after


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4), min_size=1, max_size=5), min_size=2, max_size=5)
)
def test_on_one_machine_of_whole_gpus_nobody_ever_moves(stacks: list[dict[str, int]]) -> None:
    """There any free GPU is as good as another, so what finds room at all finds it beside the others."""
    up: tuple[dict[str, int], Deployment] | None = None
    for counts in stacks:
        models = {name: {**FOLDER, "gpus": count} for name, count in counts.items()}
        after = tried(models, 1, holdings(up[1]) if up else None)
        if after is None:
            assert sum(counts.values()) > 8
            continue
        if up is not None:
            kept = {key: seat for key, seat in seats(up[1]).items() if counts.get(seat[0]) == up[0][seat[0]]}
            assert {key: seat for key, seat in seats(after).items() if key in kept} == kept
        up = counts, after


def gpus_of(of: Deployment) -> dict[str, Any]:
    """Who has which GPUs."""
    return {f"{each.machine.name}/{each.name}": each.gpus for each in of.instances}


def test_a_model_that_goes_leaves_the_others_where_they_are() -> None:
    """Whether it stands first or between, and whoever follows it; with nothing remembered they would move up."""
    one = {**FOLDER, "gpus": 1}

    def gpus(models: Models, held: Holdings) -> dict[str, tuple[int, ...]]:
        placed = deployment(document(models, gpus=3, hosts=1), held).instances
        return {each.served.name: each.gpus for each in placed}

    three = deployment(document({"a": one, "b": one, "c": one}, gpus=3))
    assert gpus({"b": one, "c": one}, {}) == {"b": (0,), "c": (1,)}
    assert gpus({"b": one, "c": one}, holdings(three)) == {"b": (1,), "c": (2,)}
    # Another name in the place of the first, another order, and more GPUs than there are beside those that stay.
    assert gpus({"new": one, "b": one, "c": one}, holdings(three)) == {"new": (0,), "b": (1,), "c": (2,)}
    assert gpus({"c": one, "b": one, "a": one}, holdings(three)) == {"a": (0,), "b": (1,), "c": (2,)}
    assert gpus({"b": {**FOLDER, "gpus": 2}, "c": one}, holdings(three)) == {"b": (0, 1), "c": (2,)}


def test_a_replica_stays_on_its_machine() -> None:
    """Also where the machine before it is empty now."""
    one = {**FOLDER, "gpus": 1, "replicas": 1}
    both = deployment(document({"a": one, "b": one}, gpus=1, hosts=2))
    assert [each.machine.name for each in both.of("b")] == ["lab-2"]
    alone = deployment(document({"b": one}, gpus=1, hosts=2), holdings(both))
    assert [each.machine.name for each in alone.of("b")] == ["lab-2"]
    # The replicas that go are those that came last, and a further one goes where there are fewest.
    three = deployment(document({"a": {**one, "replicas": 3}}, gpus=2, hosts=2))
    fewer = deployment(document({"a": {**one, "replicas": 2}}, gpus=2, hosts=2), holdings(three))
    assert [(each.machine.name, each.name) for each in fewer.instances] == [("lab-1", "a"), ("lab-2", "a")]
    again = deployment(document({"a": {**one, "replicas": 3}}, gpus=2, hosts=2), holdings(fewer))
    assert seats(again) == seats(three)


def test_where_there_is_no_room_but_by_moving_everybody_moves() -> None:
    """A pair of GPUs on one machine is there only once the two singles share the other."""
    one, two = {**FOLDER, "gpus": 1, "replicas": 1}, {**FOLDER, "gpus": 2, "replicas": 1}
    spread = {("lab-1", "a"): Claims((0,), 8101), ("lab-2", "b"): Claims((1,), 8102)}
    stays = deployment(document({"a": one, "b": one}, gpus=2, hosts=2), spread)
    assert [(each.machine.name, each.gpus) for each in stays.instances] == [("lab-1", (0,)), ("lab-2", (1,))]
    moved = deployment(document({"two": two, "a": one, "b": one}, gpus=2, hosts=2), spread)
    assert {each.name: each.machine.name for each in moved.instances} == {"two": "lab-1", "a": "lab-2", "b": "lab-2"}


def test_where_there_is_no_room_only_that_pool_is_placed_anew() -> None:
    one, two = {**FOLDER, "gpus": 1, "replicas": 1}, {**FOLDER, "gpus": 2, "replicas": 1}
    held = {("lab-1", "a"): Claims((0,), 8101), ("lab-2", "b"): Claims((1,), 8102), ("far-1", "v"): Claims((1,), 8200)}
    models = {"two": two, "a": one, "b": one, "v": {**one, "pool": "far"}}
    far = {"hosts": {"far-1": {"address": "10.0.0.99", "user": "u"}}, "gpus": 2}
    moved = deployment(with_changes(document(models, gpus=2, hosts=2), ("pools.far", far)), held)
    seats = {each.name: (each.machine.name, each.gpus, each.port) for each in moved.instances}
    assert seats["v"] == ("far-1", (1,), 8200)
    assert {name: seat[0] for name, seat in seats.items()} == {"two": "lab-1", "a": "lab-2", "b": "lab-2", "v": "far-1"}


@pytest.mark.parametrize("order", ["xz", "zx"])
def test_one_that_wants_more_makes_way_for_one_that_has_not_changed(order: str) -> None:
    """It is restarted anyway; wherever it stands in the file."""
    both = deployment(document({name: half(gpu_indices=[0]) for name in "xz"}, gpus=2))
    models = {"x": {**FOLDER, "engine": {"gpu_memory_utilization": 0.9}, "gpus": 1}, "z": half(gpus=1)}
    now = deployment(document({name: models[name] for name in order}, gpus=2), holdings(both))
    assert {each.name: each.gpus for each in now.instances} == {"x": (1,), "z": (0,)}


NO_LONGER_SUITS = {
    "a GPU that is gone": ((7,), {"gpus": 1}),
    "another number of GPUs": ((0, 1), {"gpus": 1}),
    "another GPU than the one named": ((0,), {"gpu_indices": [1]}),
    "GPUs of a model on the CPU": ((0,), {"gpus": 0}),
}


@pytest.mark.parametrize("case", NO_LONGER_SUITS)
def test_what_no_longer_suits_is_not_kept(case: str) -> None:
    had, model = NO_LONGER_SUITS[case]
    models = {"a": {**FOLDER, **model}}
    now = deployment(document(models, gpus=4), {("lab-1", "a"): Claims(had, 8123)}).instances[0]
    assert now.gpus == deployment(document(models, gpus=4)).instances[0].gpus
    assert now.port == 8123


def test_claims_are_read_back_as_they_were_told() -> None:
    assert held(Claims(port=8100, gpus=(3, 1), share=0.5).data()) == Claims((3, 1), 8100, 0.5)
    assert held(Claims((), 8100, 0).data()) == Claims((), 8100, 0)
    twice = [{"what": "gpu:0", "share": 1.0}]
    for nothing in (
        None,
        5,
        [],
        ["gpu:0"],
        [*twice, *twice, {"what": "port:1"}],
        [{"what": "gpu:x"}, {"what": "port:1"}],
        twice,
    ):
        assert held(nothing) is None


@settings(max_examples=60, deadline=None)
@given(STACKS, HOSTS, st.data())
def test_options_of_one_model_touch_no_other(models: Models, hosts: int, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(models)))
    options = data.draw(
        st.dictionaries(
            st.sampled_from(["max_num_seqs", "port", "start_timeout_s", "max_num_batched_tokens"]),
            st.integers(8100, 9500),
            min_size=1,
        )
    )
    model = {**models[name], "engine": {**models[name]["engine"], **options}, "max_model_len": 1234, "aliases": ["x"]}
    before, after = tried(models, hosts), tried({**models, name: model}, hosts)
    if before is None or after is None:
        return
    assert others(after, name) == others(before, name)
    assert [each.gpus for each in after.of(name)] == [each.gpus for each in before.of(name)]


def test_of_two_models_whose_names_lead_to_one_port_the_later_gives_way() -> None:
    """Also where it names its GPUs, and so is seated first; and where the first has a port of its own."""
    first, second = ONE_PORT[:2]
    alone = deployment(document({first: {**FOLDER, "gpus": 1}})).instances[0].port
    for model in ({**FOLDER, "gpus": 1}, {**FOLDER, "gpu_indices": [3]}, {**FOLDER, "gpus": 0}):
        both = deployment(document({first: {**FOLDER, "gpus": 1}, second: model})).instances
        assert [each.port for each in both] == [alone, 8100 + (alone - 8100 + 1) % 900]
    given = deployment(
        document({first: {**FOLDER, "gpus": 0, "engine": {"port": 9999}}, second: {**FOLDER, "gpus": 0}})
    ).instances
    assert [each.port for each in given] == [9999, 8100 + (alone - 8100 + 1) % 900]


@settings(max_examples=60, deadline=None)
@given(STACKS, HOSTS, st.sampled_from(PORTS), st.sampled_from(PORTS))
def test_on_one_machine_nothing_has_the_port_or_name_of_another(
    models: Models, hosts: int, gateway: int, front: int
) -> None:
    try:
        looked_at = deployment(
            with_changes(
                document(models, gpus=8, hosts=hosts),
                ("gateway.port", gateway),
                ("front.port", front),
                ("pools.main.hosts.lab-1.port", 8500),
            )
        )
    except SettingsError:
        return
    for machine in looked_at.machines.values():
        here = looked_at.on(machine)
        ports = [each.port for each in here] + [machine.port]
        ports += [each.port for each in looked_at.gateways if each.machine == machine]
        ports += [looked_at.front.port] if looked_at.front.machine == machine else []
        assert len(ports) == len(set(ports))
        assert len({each.name for each in here}) == len(here)
        for index in range(machine.gpus):
            shares = [
                each.served.settings.engine.gpu_memory_utilization  # type: ignore[attr-defined]
                for each in here
                if index in each.gpus
            ]
            assert sum(shares) <= 1 + 1e-6
        assert all(max(each.gpus, default=0) < machine.gpus for each in here)


def test_a_changed_option_shows_in_few_steps() -> None:
    """The same of one stack with everything, step by step. The front knows how many texts an engine takes at once."""
    before = roles(deployment(many()))
    after = roles(deployment(changed(many(), ("models", "embedder", "engine"), {"max_num_seqs": 5})))
    assert {key for key in before if before[key] != after[key]} == {
        *("cpu-1/embedder", "cpu-1/embedder-2", "edge-1/nginx"),
    }
    without = with_changes(many(), (("models", "embedder"), REMOVED), ("gateway.teams.legal.models", ["llama"]))
    less = roles(deployment(without))
    gone = {"cpu-1/embedder", "cpu-1/embedder-2", "cpu-1/model-embedder", "cpu-1/program-vllm-cpu", "cpu-1/vacate"}
    assert before.keys() - less.keys() == gone
    told = {"edge-1/litellm", "edge-1/litellm-private", "edge-1/nginx", "cpu-1/preflight", "edge-1/acceptance"}
    assert {key for key in less if before[key] != less[key]} == told

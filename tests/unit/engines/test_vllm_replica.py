"""How vLLM is started on each of the machines that share a replica."""

from typing import Any

import pytest

from slipway.checks.rules import findings
from slipway.deployment.types import Instance
from slipway.engines.names import names
from slipway.engines.vllm.launch import ADAPTER, OWN_FLAGS, OWN_VARIABLES
from slipway.settings.errors import SettingsError
from tests.unit.deployment.stacks import deployment
from tests.unit.deployment.test_hosts import document
from tests.unit.roles.loading import PLAYBOOKS
from tests.unit.settings.documents import with_changes


def parts(*changes: tuple[Any, Any], **how: Any) -> tuple[Instance, ...]:
    return deployment(with_changes(document(**how), *changes)).instances


def flags(instance: Instance) -> dict[str, str]:
    """Of its command."""
    pairs = (part[2:].partition("=") for part in instance.launch.command if part.startswith("--"))
    return {name: value for name, _, value in pairs}


def test_all_parts_are_told_the_same_but_their_rank() -> None:
    """vLLM compares nothing: parts of other flags would hang or answer nonsense."""
    head, *others = (flags(each) for each in parts(machines=3, hosts=3))
    assert (head["nnodes"], head["node-rank"]) == ("3", "0")
    assert [part["node-rank"] for part in others] == ["1", "2"]
    assert head.keys() - others[0].keys() == {"host", "port"}
    for part in others:
        assert part.keys() - head.keys() == {"headless"}
        same = part.keys() & head.keys() - {"node-rank"}
        assert {name: part[name] for name in same} == {name: head[name] for name in same}
    assert (head["tensor-parallel-size"], head["pipeline-parallel-size"]) == ("8", "3")
    assert head["distributed-executor-backend"] == "mp"


def test_the_flags_are_those_of_the_pinned_release_and_no_stacks_own() -> None:
    known = names("vllm")
    assert known is not None
    for part in parts():
        assert flags(part).keys() - {"no-"} <= set(known.flags)
        free = {"disable-uvicorn-access-log", "distributed-executor-backend", "fingerprint-mode"}
        assert flags(part).keys() - free <= OWN_FLAGS.keys()


def test_they_speak_over_the_private_network() -> None:
    head, part = (each.launch for each in parts())
    for launch, address in ((head, "gpu-1"), (part, "gpu-2")):
        assert address in launch.environment["VLLM_HOST_IP"]
        assert not {"NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA"} & launch.environment.keys()
        assert address in launch.interfaces["GLOO_SOCKET_IFNAME"]
    assert "gpu-2" in head.environment["SLIPWAY_REPLICA_PARTS"]
    assert "gpu-1" in part.environment["SLIPWAY_REPLICA_HEAD"]
    (alone,) = parts(machines=1, hosts=1)
    assert alone.launch.environment["VLLM_HOST_IP"] == "127.0.0.1"
    assert alone.launch.environment["NCCL_SOCKET_IFNAME"] == "lo"
    assert not [name for name in alone.launch.environment if name.startswith("SLIPWAY_REPLICA")]


def test_a_pool_may_name_the_network() -> None:
    network = {"interface": "bond0", "adapters": ["mlx5_0", "mlx5_1:1"]}
    for part in parts(("pools.main.network", network)):
        assert part.launch.interfaces == {}
        assert part.launch.environment["GLOO_SOCKET_IFNAME"] == "bond0"
        # Without a = they are beginnings of names: bond0 would be bond01 too.
        assert part.launch.environment["NCCL_SOCKET_IFNAME"] == "=bond0"
        assert part.launch.environment["NCCL_IB_HCA"] == "=mlx5_0,mlx5_1:1"


@pytest.mark.parametrize("adapter", ["MLX5", "mlx5 0", "mlx5_0:", "", "=mlx5_0"])
def test_no_name_of_an_adapter(adapter: str) -> None:
    with pytest.raises(SettingsError, match=r"network\.adapters.*is no InfiniBand adapter"):
        parts(("pools.main.network", {"adapters": [adapter]}))


def test_on_the_cpu_each_part_is_a_process_of_its_own() -> None:
    head, part = (each.launch for each in parts(has=0))
    assert head.command[:3] == ("python", "-m", "vllm.entrypoints.openai.api_server")
    assert part.command[:3] == ("python", "-m", "slipway_replica")
    assert (PLAYBOOKS / "roles/vllm/files/slipway_replica.py").is_file()
    assert "startup/slipway_replica.py" in part.files
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in head.environment
    gpu = parts()[1].launch
    assert gpu.command[:2] == ("vllm", "serve")


def test_what_would_override_it_is_refused() -> None:
    said = {
        name: dict(ADAPTER.refusals(parts(("models.big.engine.environment", {name: "x"}))[0].served))
        for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA", "VLLM_HOST_IP")
    }
    for name, found in said.items():
        assert OWN_VARIABLES[name] in found[f"engine.environment.{name}"]


@pytest.mark.parametrize(
    ("engine", "key", "said"),
    [
        ({"data_parallel": 2}, "engine.data_parallel", "one copy of the model"),
        ({"tensor_parallel": 1, "pipeline_parallel": 3}, "engine.pipeline_parallel", "hosts can't share equally"),
        ({"tensor_parallel": 8, "pipeline_parallel": 2}, None, ""),
        ({"tensor_parallel": 16}, None, ""),
    ],
)
def test_layouts_that_machines_cannot_share(engine: dict[str, Any], key: str | None, said: str) -> None:
    (head, _) = parts(("models.big.engine", engine))
    found = dict(ADAPTER.refusals(head.served))
    assert set(found) == (set() if key is None else {key})
    assert key is None or said in found[key]


def over_hosts(*changes: tuple[Any, Any]) -> list[str]:
    wide = ("models.big.engine", {"tensor_parallel": 16})
    return [
        each.line
        for each in findings(deployment(with_changes(document(), wide, *changes)))
        if each.id == "sizing.over-hosts"
    ]


def test_each_layer_over_hosts_wants_a_network_for_it() -> None:
    (line,) = over_hosts()
    assert line == (
        "slipway:platform.models.big.engine.tensor_parallel: 16, while each host has 8 of the replica's GPUs: the hosts wait for "
        "one another in every layer, and nothing says that a network for it is there (InfiniBand, RoCE, EFA); over a usual one "
        "tokens come many times slower: use tensor_parallel: 8 and pipeline_parallel: 2, or name the adapters in "
        "slipway:platform.pools.main.network.adapters"
    )
    assert over_hosts(("pools.main.network", {"adapters": ["mlx5_0"]})) == []
    assert over_hosts(("pools.main.tier", "cluster")) == []
    assert over_hosts(("models.big.engine", {})) == []
    # Eight GPUs of one host are a tier too, and say nothing of a network between hosts.
    assert len(over_hosts(("pools.main.tier", "prod"))) == 1


@pytest.mark.parametrize("machines", [1, 2])
def test_what_does_not_fit_is_told_of_hosts(machines: int) -> None:
    """Where the pool has them: 405B in 16 bits are more than eight GPUs of 80 GB hold."""
    model = ("models.big.catalog", "meta-llama/Llama-3.1-405B-Instruct"), ("models.big.hosts", 1)
    pool = ("pools.main.gpu", "h100"), ("models.big.replicas", 1), ("models.big.max_model_len", 8192)
    of = deployment(with_changes(document(machines=machines), *model, *pool))
    (line,) = [each.line for each in findings(of) if each.id == "sizing.fit"]
    assert ("16 GPUs, hosts: 2, tensor_parallel: 8, pipeline_parallel: 2" in line) is (machines == 2)

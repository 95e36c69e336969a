"""One replica over several machines: vLLM's own multi-node mode, without Ray.

Each machine runs `vllm serve` with the same model and flags, its own rank, and the address and port of the first one, the head;
all but the head are headless, without an HTTP server (vLLM 0.32.0: `run_headless` in vllm/entrypoints/cli/serve.py,
MultiprocExecutor, `ParallelConfig.nnodes_within_dp`). The ranks of one machine follow one another, so with as many pipeline
stages as machines each holds whole stages, and only activations pass between machines.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.deployment.references import private
from slipway.deployment.types import Instance, Served
from slipway.engines.vllm.options import Options

CPU_COMMAND = ("python", "-m", "slipway_replica")
"""Of the CPU build's parts, which `vllm serve` can't start; see `launch`. It is a file of role vllm's."""

READY = r"distributed_init_method=tcp://"
"""What the log of a part says once it has its device and looks for the head (vllm/distributed/parallel_state.py)."""


def flags(instance: Instance) -> dict[str, str | int | bool]:
    """Of one machine of a replica; none where it is the only one."""
    meeting = instance.meeting
    if meeting is None:
        return {}
    found: dict[str, str | int | bool] = {
        "nnodes": len(meeting.seats),
        "node-rank": instance.rank,
        "master-addr": private(meeting.head.machine),
        "master-port": meeting.port,
    }
    return found if instance.is_head else {**found, "headless": True}


def environment(instance: Instance) -> dict[str, str]:
    """What makes its processes listen in the private network, and who is where, for role vllm's slipway_replica.py."""
    meeting, network = instance.meeting, instance.network
    if meeting is None:
        return {}
    found = {"VLLM_HOST_IP": private(instance.machine.name)}
    if network.interface is not None:
        # NCCL takes a name for the beginning of names, unless it is told not to.
        found |= {"GLOO_SOCKET_IFNAME": network.interface, "NCCL_SOCKET_IFNAME": f"={network.interface}"}
    if network.adapters:
        found["NCCL_IB_HCA"] = f"={','.join(network.adapters)}"
    if instance.is_head:
        others = (f"{private(seat.machine)}:{seat.port}" for seat in meeting.seats[1:])
        return found | {"SLIPWAY_REPLICA_PARTS": " ".join(others)}
    return found | {"SLIPWAY_REPLICA_HEAD": private(meeting.head.machine), "SLIPWAY_REPLICA_PORT": str(instance.port)}


def interfaces(instance: Instance) -> dict[str, str]:
    """The variables that name the interface with the machine's private address, where the pool names none."""
    if instance.meeting is None or instance.network.interface is not None:
        return {}
    own = private(instance.machine.name)
    return {"GLOO_SOCKET_IFNAME": own, "NCCL_SOCKET_IFNAME": f"={own}"}


def peers(instance: Instance) -> tuple[str, ...]:
    """The addresses of all machines of the replica: what its parts tell one another has no key."""
    return () if instance.meeting is None else tuple(private(seat.machine) for seat in instance.meeting.seats)


def described(instance: Instance) -> str:
    """Of which part, in words."""
    meeting = instance.meeting
    if meeting is None:
        return ""
    where = "the head" if instance.is_head else f"the head is on {meeting.head.machine}"
    return f", machine {instance.rank + 1} of {len(meeting.seats)}; {where}"


def refusals(served: Served, options: Options) -> Iterator[tuple[str, str]]:
    """Layouts that machines can't share equally."""
    hosts, parallel = served.hosts, served.parallelism
    if hosts == 1:
        return
    if options.data_parallel > 1:
        yield (
            "engine.data_parallel",
            f"with {hosts} hosts a replica is one copy of the model; no others are started beside it: remove it, or use replicas",
        )
    elif parallel.ranks % hosts:
        yield (
            "engine.pipeline_parallel" if options.pipeline_parallel else "engine.tensor_parallel",
            (
                f"tensor_parallel {parallel.tensor} x pipeline_parallel {parallel.pipeline} is {parallel.ranks} GPUs, which "
                f"{hosts} hosts can't share equally; the engine would not start: use pipeline_parallel: {hosts}"
            ),
        )

"""Preflight: what each machine must offer before anything on it is changed."""

from slipway.deployment.names import COUNTERS, UNIT
from slipway.deployment.types import Deployment, Machine
from slipway.layers.step import Step
from slipway.settings.errors import path
from slipway.settings.models import ServedModel
from slipway.sizing.weights import weights_per_rank
from slipway.units import GiB

NAME = "preflight"


def steps(deployment: Deployment) -> list[Step]:
    """One read-only step per machine."""
    return [
        Step(
            machine=machine,
            instance=NAME,
            role="preflight",
            variables={
                "preflight_min_disk_gib": disk_gib(deployment, machine),
                "preflight_min_memory_gib": machine.min_memory_gib,
                "preflight_ports": ports(deployment, machine),
                "preflight_gpus": machine.gpus,
                "preflight_paths": _paths(deployment, machine),
                "preflight_hosts_setting": path(*machine.keys),
                "preflight_gpus_setting": _gpus_setting(deployment, machine),
            },
            timeout_s=180,
        )
        for machine in deployment.machines.values()
    ]


def _paths(deployment: Deployment, machine: Machine) -> list[dict[str, object]]:
    """What ought to be on `machine` already, each once."""
    models = {each.served.name: each.served.settings.source.host_path for each in deployment.on(machine)}
    return [
        {"path": path, "purpose": f"the files of {name}", "setting": place_of(name, "source.host_path")}
        for name, path in models.items()
        if path is not None
    ]


def _gpus_setting(deployment: Deployment, machine: Machine) -> str:
    """The setting that says how many GPUs there are; empty where its tier does."""
    given = "gpus" in deployment.settings.pools[machine.pool].model_fields_set
    return f"pools.{machine.pool}.gpus" if given else ""


def ports(deployment: Deployment, machine: Machine) -> list[dict[str, object]]:
    """What will listen on `machine`, by unit."""
    found = [
        _port(each.port, each.name, f"the engine of {each.served.name}", place_of(each.served.name, "engine.port"))
        for each in deployment.on(machine)
    ]
    found += [
        _port(meeting, each.name, f"the meeting of the machines of {each.served.name}", "")
        for each in deployment.on(machine)
        if (meeting := each.claims.meeting) is not None
    ]
    keys = ("gateway.port", "gateway.private_port")
    found += [
        _port(each.port, each.name, "the gateway", key)
        for each, key in zip(deployment.gateways_on(machine), keys, strict=False)
    ]
    front = deployment.front
    if machine in front.machines:
        found.append(_port(front.port, front.name, "the front", "front.port"))
    if front.floating is not None and machine == front.floating.counters:
        found.append(_port(front.floating.counters_port, COUNTERS, "the counters", "front.floating.counters_port"))
    return found


def place_of(model: str, key: str) -> str:
    """A setting of a model, as messages name it within the stack."""
    return path("models", model, *key.split("."))


def _port(port: int, instance: str, purpose: str, setting: str) -> dict[str, object]:
    return {"port": port, "unit": UNIT.format(instance), "purpose": purpose, "setting": setting}


def disk_gib(deployment: Deployment, machine: Machine) -> float:
    """Free disk that is demanded: with a tier there must be room for the models that Slipway copies, too.

    Not a part of the tier's disk: most of that is mounted elsewhere, and what must be free is what Slipway writes.
    """
    pool = deployment.settings.pools[machine.pool]
    if pool.tier is None or "min_disk_gib" in pool.model_fields_set:
        return machine.min_disk_gib
    copied = {each.served.name: each.served for each in deployment.on(machine) if _is_copied(each.served.settings)}
    return machine.min_disk_gib + sum(
        round(GiB.of_bytes(weights_per_rank(served.architecture, tensor_parallel=1)[0]).value)
        for served in copied.values()
        if served.architecture is not None
    )


def _is_copied(model: ServedModel) -> bool:
    return model.source.host_path is None

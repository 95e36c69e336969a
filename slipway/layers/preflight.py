"""Preflight: what each machine must offer before anything on it is changed."""

from typing import Any

from slipway.deployment.names import COUNTERS, STORE, UNIT
from slipway.deployment.references import LOOPBACK
from slipway.deployment.types import Deployment, Machine
from slipway.doctor.order import Moment, order
from slipway.layers.programs import programs
from slipway.layers.step import Step
from slipway.settings.driver import DCGM_PORT
from slipway.settings.errors import path
from slipway.settings.models import ServedModel
from slipway.sizing.weights import weights_per_rank
from slipway.units import GiB

NAME = "preflight"
DCGM = "dcgm-exporter"
"""The exporter that role nvidia_driver runs."""


def steps(deployment: Deployment) -> list[Step]:
    """One read-only step per machine."""
    return [
        Step(
            machine=machine,
            instance=NAME,
            role="preflight",
            variables={
                **{f"preflight_{name}": value for name, value in survey_order(deployment, machine).items()},
                "preflight_order": order(deployment, machine, Moment.PREFLIGHT),
            },
            timeout_s=180,
        )
        for machine in deployment.machines.values()
    ]


def survey_order(deployment: Deployment, machine: Machine) -> dict[str, Any]:
    """What module `host_survey` looks for on `machine`; without the time, which is of the moment."""
    return {
        "min_disk_gib": disk_gib(deployment, machine),
        "min_memory_gib": machine.min_memory_gib,
        "ports": ports(deployment, machine),
        "roles": roles(deployment, machine),
        "paths": _paths(deployment, machine),
        "hosts_setting": path(*machine.keys),
    }


def _paths(deployment: Deployment, machine: Machine) -> list[dict[str, object]]:
    """What ought to be on `machine` already, each once."""
    models = {each.served.name: each.served.settings.source.host_path for each in deployment.on(machine)}
    return [
        {"path": path, "purpose": f"the files of {name}", "setting": place_of(name, "source.host_path")}
        for name, path in models.items()
        if path is not None
    ]


def roles(deployment: Deployment, machine: Machine) -> list[str]:
    """The roles that `machine` will run beside those that every machine runs: some systems can't run all."""
    found = {program.role for program in programs(deployment, machine)}
    if machine in deployment.front.machines:
        found.add(deployment.settings.front.name)
    return sorted(found)


def ports(deployment: Deployment, machine: Machine) -> list[dict[str, object]]:
    """What will listen on `machine`, by unit; `remote` where other machines ask there."""
    found = [
        _port(
            each.port,
            each.name,
            f"the engine of {each.served.name}",
            place_of(each.served.name, "engine.port"),
            remote=each.address != LOOPBACK,
        )
        for each in deployment.on(machine)
    ]
    found += [
        _port(meeting, each.name, f"the meeting of the machines of {each.served.name}", "", remote=True)
        for each in deployment.on(machine)
        if (meeting := each.claims.meeting) is not None
    ]
    keys = ("gateway.port", "gateway.private_port")
    found += [
        _port(each.port, each.name, "the gateway", key, remote=each.address != LOOPBACK)
        for each, key in zip(deployment.gateways_on(machine), keys, strict=False)
    ]
    if machine.driver is not None and machine.driver.settings.dcgm:
        off = f"{path('pools', machine.pool, 'driver', 'dcgm')}: false"
        found.append(_port(DCGM_PORT, DCGM, "the exporter of DCGM's metrics", off, remote=False))
    store = deployment.store
    if store is not None and machine == store.machine and store.others:
        found.append(_port(store.port, STORE, "the model store", "store.port", remote=True))
    front = deployment.front
    if machine in front.machines:
        found.append(_port(front.port, front.name, "the front", "front.port", remote=True))
    if front.floating is not None and machine == front.floating.counters:
        port, key = front.floating.counters_port, "front.floating.counters_port"
        found.append(_port(port, COUNTERS, "the counters", key, remote=True))
    return found


def place_of(model: str, key: str) -> str:
    """A setting of a model, as messages name it within the stack."""
    return path("models", model, *key.split("."))


def _port(port: int, instance: str, purpose: str, setting: str, *, remote: bool) -> dict[str, object]:
    return {"port": port, "unit": UNIT.format(instance), "purpose": purpose, "setting": setting, "remote": remote}


def disk_gib(deployment: Deployment, machine: Machine) -> float:
    """Free disk that is demanded: with a tier there must be room for the models that Slipway copies, too.

    On the store's host that is all that it has; those that the host serves itself are linked, and counted once.

    Not a part of the tier's disk: most of that is mounted elsewhere, and what must be free is what Slipway writes.
    """
    pool = deployment.settings.pools[machine.pool]
    if pool.tier is None or "min_disk_gib" in pool.model_fields_set:
        return machine.min_disk_gib
    copied = {each.served.name: each.served for each in deployment.on(machine) if _is_copied(each.served.settings)}
    if deployment.store is not None and deployment.store.machine == machine:
        copied |= {name: served for name, served in deployment.served.items() if _is_copied(served.settings)}
    return machine.min_disk_gib + sum(
        round(GiB.of_bytes(weights_per_rank(served.architecture, tensor_parallel=1)[0]).value)
        for served in copied.values()
        if served.architecture is not None
    )


def _is_copied(model: ServedModel) -> bool:
    return model.source.host_path is None

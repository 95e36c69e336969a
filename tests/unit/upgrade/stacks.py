"""Stacks that change host by host, and what the engine and the hosts say of them."""

from typing import Any

from slipway.deployment.types import Deployment
from slipway.upgrade.changes import Change
from slipway.upgrade.plan import Mark, Seen
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import OTHER_KEY, THIRD_KEY, changed, good

MARK = Mark(owner="ann (pid 7)", host="laptop", since="2026-11-30T10:00:00Z", until="2026-11-30T12:00:00Z")


def urn(key: str, parents: str = "slipway:index:Platform$slipway:layers:Engines") -> str:
    """As the engine names a step's resource."""
    return f"urn:pulumi:s::slipway::{parents}$playbook:index:Playbook::{key}"


def change(key: str, kind: str = "update", *needs: str) -> Change:
    """What the engine would do to a step."""
    machine, _, instance = key.partition("/")
    return Change(urn=urn(key), kind=kind, machine=machine, instance=instance, needs=tuple(map(urn, needs)))


def hosts(*names: str) -> dict[str, Any]:
    """As a pool's `hosts`."""
    return {name: {"address": f"10.0.0.{number}", "user": "ubuntu"} for number, name in enumerate(names, 11)}


def three(**model: Any) -> Deployment:
    """Three hosts with a replica of the model each; gateway and front are on the first."""
    document = changed(good(), "pools.main.hosts", hosts("a", "b", "c"))
    document = changed(document, "gateway.engine_key", OTHER_KEY)
    return deployment(changed(document, "models.m", {**document["models"]["m"], **model}))


def two_fronts() -> Deployment:
    """Two hosts with a replica, a gateway and a front each, behind one address."""
    document = changed(good(), "pools.main.hosts", hosts("a", "b"))
    document = changed(document, "gateway.engine_key", OTHER_KEY)
    return deployment(changed(document, "front", {"floating": {"address": "10.0.0.9/24", "secret": THIRD_KEY}}))


def on_gpus() -> Deployment:
    """Two GPU hosts with a replica each, and gateway and front on a third one."""
    document = good()
    document["pools"] = {
        "main": {"tier": "poc", "hosts": hosts("a", "b")},
        "edge": {"hosts": {"e": {"address": "10.0.0.31", "user": "ubuntu"}}},
    }
    document["gateway"]["engine_key"] = OTHER_KEY
    document["models"]["m"] = {
        "catalog": "Qwen/Qwen2.5-1.5B-Instruct",
        "source": {"host_path": "/srv/models/m"},
        "max_model_len": 2048,
    }
    return deployment(document)


def in_pairs() -> Deployment:
    """Four hosts and two replicas that span two of them each."""
    document = good()
    document["pools"]["main"] = {"tier": "poc", "hosts": hosts("a", "b", "c", "d")}
    document["gateway"]["engine_key"] = OTHER_KEY
    document["models"]["m"] = {
        "catalog": "Qwen/Qwen2.5-1.5B-Instruct",
        "source": {"host_path": "/srv/models/m"},
        "max_model_len": 2048,
        "hosts": 2,
        "gpus": 2,
        "replicas": 2,
    }
    return deployment(document)


def seen(of: Deployment, **more: Any) -> Seen:
    """All hosts are known and none is drained, unless `more` says otherwise."""
    return Seen(**{"known": set(of.machines), "drivers": {}, "marks": {}, **more})

"""The model store: one host of the stack that fetches each model once, and has it for the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slipway.settings.base import Problem, Section
from slipway.settings.types import HostName, HostPath, Port

if TYPE_CHECKING:
    from slipway.settings.platform import Settings


class Store(Section):
    """The host that has the models' files for all. Models with a `host_path` are no matter of it: they are there already."""

    host: HostName
    """One of the stack's hosts; it alone fetches, and it needs room for every model."""
    path: HostPath = "/var/lib/slipway/store"
    """Its folder there. On the file system of /var/lib/slipway/models the host's own models take no further room."""
    port: Port = 8730
    """Where it serves the files to the other hosts, on its private address and to nobody else."""


def problems(settings: Settings) -> Iterator[Problem]:
    """What does not go together."""
    store = settings.store
    for name, model in settings.served.items():
        if model.source.store_path is not None and store is None:
            yield (
                ("models", name, "source", "store_path"),
                (
                    "is a folder of the store's host, and the stack has no store; nobody would have it: give store.host, "
                    "or host_path where the folder is on every host"
                ),
            )
    if store is None:
        return
    if store.host not in settings.machines:
        yield (
            ("store", "host"),
            f"there is no host {store.host!r}; no model could be fetched: use one of {', '.join(settings.machines)}",
        )
        return
    if store.path.rstrip("/") in {
        "",
        "/var/lib/slipway/models",
        "/var/lib/slipway",
        "/var/lib",
        "/var",
        "/srv",
        "/mnt",
    }:
        yield (
            ("store", "path"),
            (
                f"{store.path} is not the store's alone; what else is there would be taken for models: name a folder of its "
                "own, such as /srv/slipway-store"
            ),
        )
    machine = settings.machines[store.host]
    others = [
        name
        for name, model in settings.served.items()
        if model.source.is_brought and settings.pool_of(model) in settings.pools
        for other in settings.machines_of(settings.pool_of(model))
        if other.name != store.host
    ]
    if others and not machine.has_private_address:
        yield (
            (*machine.keys, "private_address"),
            (
                f"{store.host} has the store from which other hosts fetch {others[0]}, but {machine.address} is no private "
                "address; the files would be offered to the internet: set its private_address"
            ),
        )

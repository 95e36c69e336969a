"""The model store: one host of the stack that fetches each model once, and has it for the others."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

from slipway.settings.base import Problem, Section
from slipway.settings.types import HostName, HostPath, Port

if TYPE_CHECKING:
    from slipway.settings.platform import Settings


MODELS = "/var/lib/slipway/models"
"""Where models lie on a machine that Slipway brought."""
OWN = "/var/lib/slipway"
_SYSTEMS = frozenset(
    {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var/tmp"}  # noqa: S108 -- refused
)
"""The system's: nothing of ours is in them, at whatever depth."""
_SHARED = frozenset(
    {"/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var"}
    | {f"/var/{name}" for name in ("backups", "cache", "lib", "local", "log", "mail", "opt", "spool", "www")}
)
"""A folder of its own below one of these may be the store's; they themselves are for all."""


class Store(Section):
    """The host that has the models' files for all. Models with a `host_path` are no matter of it: they are there already."""

    host: HostName
    """One of the stack's hosts; it alone fetches, and it needs room for every model."""
    path: HostPath = "/var/lib/slipway/store"
    """Its folder there, which nothing else is in: it goes with all that it holds. On the file system of
    /var/lib/slipway/models the host's own models take no further room."""
    port: Port = 8730
    """Where it serves the files to the other hosts, on its private address and to nobody else."""


def read_by_others(settings: Settings) -> list[str]:
    """The models that other hosts have from the store, by name; where there are none, it serves nobody."""
    store = settings.store
    return [
        name
        for name, model in settings.served.items()
        if store is not None and model.source.is_brought and settings.pool_of(model) in settings.pools
        for other in settings.machines_of(settings.pool_of(model))
        if other.name != store.host
    ]


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
    if (why := _not_alone(settings, store.path)) is not None:
        yield (
            ("store", "path"),
            (
                f"{store.path} {why}; a removal of the store would take it along: name a folder of its own, such as "
                "/srv/slipway-store"
            ),
        )
    machine = settings.machines[store.host]
    others = read_by_others(settings)
    if others and not machine.has_private_address:
        yield (
            (*machine.keys, "private_address"),
            (
                f"{store.host} has the store from which other hosts fetch {others[0]}, but {machine.address} is no private "
                "address; the files would be offered to the internet: set its private_address"
            ),
        )


def _not_alone(settings: Settings, given: str) -> str | None:
    """Why a folder is not the store's alone, as the end of a sentence."""
    if ".." in given.split("/"):
        return "leads through .., so where it is does not stand in it"
    folder = posixpath.normpath(f"/{given.lstrip('/')}")
    if folder in _SHARED or any(_holds(each, folder) for each in _SYSTEMS):
        return "is a folder of the system"
    if _overlap(folder, MODELS):
        return f"has {MODELS} in it, or is in it, where the host's own models are"
    if _overlap(folder, OWN) and not _holds(f"{OWN}/store", folder):
        return f"is of {OWN}, where Slipway has other things"
    for name, model in settings.served.items():
        for key in ("store_path", "host_path"):
            other = getattr(model.source, key)
            if other is not None and _overlap(folder, posixpath.normpath(f"/{other.lstrip('/')}")):
                return f"has models.{name}.source.{key} ({other}) in it, or is in it"
    return None


def _holds(outer: str, inner: str) -> bool:
    return f"{inner}/".startswith(outer if outer.endswith("/") else f"{outer}/")


def _overlap(one: str, other: str) -> bool:
    return _holds(one, other) or _holds(other, one)

"""The machines of a stack's pools, with what their tier says filled in."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from slipway.catalog import Catalog, CatalogError, Gpu
from slipway.catalog.load import find
from slipway.catalog.types import Entry
from slipway.deployment.types import Machine
from slipway.settings.errors import SettingsError, place
from slipway.settings.platform import Settings
from slipway.settings.pools import Pool
from slipway.targets.base import PoolMachine

_Kind = TypeVar("_Kind", bound=Entry)

MEMORY_SHARE = 0.9
"""Of a tier's memory, what Linux must report: firmware and kernel keep some for themselves."""


def usable_gib(memory_gib: float) -> int:
    """What a machine that is sold with so much memory must report, in GiB."""
    return round(memory_gib * MEMORY_SHARE)


def machines(settings: Settings, catalog: Catalog, source: str) -> dict[str, Machine]:
    """All machines by name, in the order of the stack.

    Raises:
        SettingsError: a tier or GPU that the catalogue does not have.
    """
    found: dict[str, Machine] = {}
    for name, pool in settings.pools.items():
        gpu, gpus, memory = _hardware(name, pool, catalog, source)
        for machine in settings.machines_of(name):
            found[machine.name] = Machine(
                **{field.name: getattr(machine, field.name) for field in fields(PoolMachine)},
                tier=pool.tier,
                gpu=gpu,
                gpus=gpus,
                min_disk_gib=pool.min_disk_gib,
                min_memory_gib=memory,
                network=pool.network,
                may_be_missing=pool.may_be_missing > 0 and machine.name not in settings.needed_hosts,
            )
    return found


def look_up(entries: Mapping[str, _Kind], name: str, keys: tuple[str, ...], source: str) -> _Kind:
    """The entry called `name`, which the setting at `keys` names.

    Raises:
        SettingsError: the catalogue has no such entry.
    """
    try:
        return find(entries, name, f"{place(*keys)}:")
    except CatalogError as error:
        mend = f"correct it, or add an entry to the file that {place('catalog')} names"
        raise SettingsError([f"{error}; what fits could not be computed: {mend}"], source) from None


def _hardware(name: str, pool: Pool, catalog: Catalog, source: str) -> tuple[Gpu | None, int, float]:
    """The kind of GPU, how many of them, and the memory in GiB; what the pool says goes before what its tier says."""
    gpu_name, gpus, memory = pool.gpu, pool.gpus, pool.min_memory_gib
    if pool.tier is not None:
        tier = look_up(catalog.tiers, pool.tier, ("pools", name, "tier"), source)
        given = pool.model_fields_set
        gpus = pool.gpus if "gpus" in given else tier.gpus_per_host
        memory = pool.min_memory_gib if "min_memory_gib" in given else usable_gib(tier.memory_gib)
        gpu_name = pool.gpu or (tier.gpu if gpus else None)
        if gpu_name is not None and gpus == 0:
            raise SettingsError(
                [
                    (
                        f"{place('pools', name)}: gpu is given while the tier {tier.id} has 0 GPUs; engines would run on the "
                        "CPU: "
                        "set gpus, or remove gpu"
                    )
                ],
                source,
            )
    gpu = None if gpu_name is None else look_up(catalog.gpus, gpu_name, ("pools", name, "gpu"), source)
    return gpu, gpus, memory

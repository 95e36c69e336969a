"""The models that are served here: looked up, given GPUs, and sized by their engine's memory model."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from slipway.catalog import Catalog
from slipway.catalog import Model as Entry
from slipway.catalog.load import find_or_none
from slipway.deployment.files import model_files
from slipway.deployment.machines import look_up
from slipway.deployment.names import is_reserved, slug
from slipway.deployment.types import Machine, Measured, Parallelism, Plan, Served
from slipway.engines.registry import memory
from slipway.findings import Finding, Severity
from slipway.settings.base import Problem
from slipway.settings.errors import place
from slipway.settings.models import ServedModel
from slipway.settings.platform import Settings
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config, read_folder
from slipway.sizing.result import SizingError


@dataclass(frozen=True)
class _Lookup:
    """Where names are looked up."""

    settings: Settings
    catalog: Catalog
    machines: Mapping[str, Machine]
    source: str


def served_models(
    settings: Settings, catalog: Catalog, machines: Mapping[str, Machine], source: str
) -> tuple[dict[str, Served], list[Problem]]:
    """All models that are served here, by name, and what of them can't be.

    Raises:
        SettingsError: a name that the catalogue does not have.
    """
    gpus, problems = _gpus(settings, machines)
    problems += _slugs(settings)
    if problems:
        return {}, problems
    lookup = _Lookup(settings, catalog, machines, source)
    return {name: _served(lookup, name, gpus[name]) for name in settings.served}, []


def gap(keys: tuple[str | int, ...], what: str, mend: str, severity: Severity = Severity.WARNING) -> Finding:
    """What could not be checked, and which setting would allow it."""
    return Finding(
        id="sizing.not-checked",
        severity=severity,
        where=place(*keys),
        message=f"{what}; whether the model fits was not checked: {mend}",
    )


def replicas(model: ServedModel, machines: int) -> int:
    """How many replicas there are on `machines` machines: one on each, or on every `hosts` of them, unless the stack says."""
    return model.replicas or max(1, machines // model.hosts)


def replicas_on_one_machine(model: ServedModel, machines: int) -> int:
    """How many replicas the fullest machine of `machines` has a part in."""
    return -(-replicas(model, machines) * model.hosts // machines)


def _gpus(settings: Settings, machines: Mapping[str, Machine]) -> tuple[dict[str, int], list[Problem]]:
    """GPUs of each replica of each model, with those that are not given shared out."""
    found: dict[str, int] = {}
    problems: list[Problem] = []
    for pool in settings.pools:
        members = [machine for machine in machines.values() if machine.pool == pool]
        here = {name: model for name, model in settings.served.items() if settings.pool_of(model) == pool}
        wanted = {name: _wanted(model, members[0].gpus) for name, model in here.items()}
        for name, count in wanted.items():
            problems += _impossible(name, here[name], count or 0, members[0], len(members))
        given = {name: count for name, count in wanted.items() if count is not None}
        taken = sum(
            count // here[name].hosts * replicas_on_one_machine(here[name], len(members))
            for name, count in given.items()
        )
        shared, unshared = _rest(here, [name for name in here if name not in given], members, taken)
        found |= given | shared
        problems += unshared
    return found, problems


def _wanted(model: ServedModel, has: int) -> int | None:
    """What the stack says, or the CPU where there is nothing else; None where it is left to what is free."""
    if model.gpu_indices is not None:
        return len(model.gpu_indices) * model.hosts
    if model.gpus is None and (has == 0 or not model.engine.takes_gpus):
        return 0
    return model.gpus


def _more_hosts(model: ServedModel, wanted: int, has: int, machines: int) -> str:
    """The mend of a replica that wants more GPUs than its machines have, where the pool has machines enough."""
    hosts = -(-wanted // has) if has else 0
    if not model.engine.SPANS or not 0 < hosts <= machines or wanted % hosts:
        return ""
    return f", or hosts: {hosts}, so that each replica is on {hosts} machines"


def _impossible(name: str, model: ServedModel, wanted: int, machine: Machine, machines: int) -> Iterator[Problem]:
    has, pool = machine.gpus, machine.pool
    if wanted and not model.engine.takes_gpus:
        yield (
            ("models", name, "gpus"),
            (
                f"{wanted} GPUs for the CPU build of {model.engine.engine}; they would stay idle: set gpus: 0, or give a "
                "build for GPUs in engine.program"
            ),
        )
    if wanted > has * model.hosts:
        each = f" on each of {model.hosts} hosts" if model.hosts > 1 else ""
        more = _more_hosts(model, wanted, has, machines)
        yield (
            ("models", name, "gpus"),
            (
                f"{wanted // model.hosts} GPUs{each}, while the machines of pool {pool} have {has}; the engine would not start: "
                f"use at most {has * model.hosts}{more}"
            ),
        )
    elif any(index >= has for index in model.gpu_indices or ()):
        yield (
            ("models", name, "gpu_indices"),
            f"names a GPU that is not there; the machines of pool {pool} have {has}, numbered from 0",
        )


def _rest(
    here: Mapping[str, ServedModel], open_ended: list[str], members: list[Machine], taken: int
) -> tuple[dict[str, int], list[Problem]]:
    """What the others leave, for the one model that says nothing."""
    if not open_ended:
        return {}, []
    first, has, pool = open_ended[0], members[0].gpus, members[0].pool
    if len(open_ended) > 1:
        return {}, [
            (
                ("models", open_ended[1], "gpus"),
                (
                    f"missing, and {first} has none either; which of them gets the GPUs of pool {pool} would be a guess: give "
                    "it to all but one"
                ),
            )
        ]
    each = (has - taken) // replicas_on_one_machine(here[first], len(members))
    if each > 0:
        return {first: each * here[first].hosts}, []
    others = ", ".join(other for other in here if other != first)
    pool_gpus = f"the {has} GPUs of pool {pool}"
    why = f"nothing of {pool_gpus} is left by {others}" if others else f"its replicas are more than {pool_gpus}"
    return {}, [
        (
            ("models", first, "gpus"),
            (
                f"missing, and {why}; the engine would not start: "
                f"{'give fewer to the others' if others else 'use fewer replicas'}, or gpus: 0 for the CPU"
            ),
        )
    ]


def _slugs(settings: Settings) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name in settings.served:
        if is_reserved(slug(name)):
            yield ("models", name), f"its unit would be {slug(name)}, which is something else's; rename it"
        other = seen.setdefault(slug(name), name)
        if other != name:
            yield (
                ("models", name),
                f"its unit would have the name of {other}'s, {slug(name)}; one would overwrite the other: rename one",
            )


def _served(lookup: _Lookup, name: str, gpus: int) -> Served:
    settings, model = lookup.settings, lookup.settings.served[name]
    pool = settings.pool_of(model)
    members = [machine for machine in lookup.machines.values() if machine.pool == pool]
    entry = _entry(lookup, name, model)
    architecture, gaps = _architecture(name, model, entry)
    plan = Plan(
        name=name,
        slug=slug(name),
        settings=model,
        pool=pool,
        catalog=lookup.catalog,
        gpu=members[0].gpu if gpus else None,
        gpus=gpus,
        machines=len(members),
        machine_gpus=members[0].gpus,
        network_gbit_s=_network(lookup, pool),
        # Without a tier it is only known what a machine has at least.
        host_memory_gib=None if members[0].tier is None else members[0].min_memory_gib,
        entry=entry,
        architecture=architecture,
        drain_s=settings.gateway.request_timeout_s if model.engine.drains else 0,
        engine_key=settings.gateway.engine_key,
        files=model_files(slug(name), model.source),
    )
    known: dict[str, Any] = {field.name: getattr(plan, field.name) for field in fields(plan)}
    return Served(**known, measured=_measured(plan, gaps), replicas=replicas(model, len(members)))


def _network(lookup: _Lookup, pool: str) -> float:
    """Of each machine of a pool, in Gbit/s; that of its tier, where there are several hosts in it."""
    settings = lookup.settings.pools[pool]
    if settings.network.adapters:
        return math.inf
    tier = None if settings.tier is None else find_or_none(lookup.catalog.tiers, settings.tier)
    return 0.0 if tier is None or tier.hosts == 1 else tier.network_gbit_s


def _measured(plan: Plan, gaps: tuple[Finding, ...]) -> Measured:
    measure = memory(plan.settings.engine.engine)
    if measure is None:
        nothing = gap(
            (*plan.keys, "engine"),
            f"how {plan.settings.engine.engine} counts memory is not known here",
            "look at what its log says",
            Severity.NOTE,
        )
        return Measured(parallelism=Parallelism(tensor=max(1, plan.gpus)), gaps=(*gaps, nothing))
    return measure(plan, gaps)


def _entry(lookup: _Lookup, name: str, model: ServedModel) -> Entry | None:
    models = lookup.catalog.models
    if model.catalog is not None:
        return look_up(models, model.catalog, ("models", name, "catalog"), lookup.source)
    return None if model.source.hub is None else find_or_none(models, model.source.hub)


def _architecture(
    name: str, model: ServedModel, entry: Entry | None
) -> tuple[Architecture | None, tuple[Finding, ...]]:
    """Of the model's own config.json where it is on this machine and can be read, else of the catalogue's entry."""
    if model.source.gguf is not None:
        return None, ()
    folder, hub = model.source.path, model.source.hub
    built_the_same = "give a model of the catalogue in catalog that is built the same"
    if folder is not None:
        if not (folder / "config.json").is_file():
            found = gap(
                ("models", name, "source", "path"), f"{folder} holds no config.json", "put the model there first"
            )
        else:
            try:
                return read_folder(folder), ()
            except SizingError as error:
                found = gap(("models", name, "source", "path"), str(error), built_the_same)
    elif hub is not None:
        found = gap(
            ("models", name, "source", "hub"),
            f"{hub} is not in the catalogue",
            "give the same model's id in the model's catalog",
        )
    else:
        found = gap(("models", name, "catalog"), "is not given", "give the catalogue's id of the model there")
    if entry is None:
        return None, (found,)
    try:
        return read_config(entry.config, entry.id), ()
    except SizingError as error:
        return None, (gap(("models", name, "catalog"), str(error), built_the_same),)

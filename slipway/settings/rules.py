"""The rules that span sections of the settings and need nothing looked up. What they say names the place and the mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from slipway.engines.registry import options as engines
from slipway.settings import prices
from slipway.settings import store as model_store
from slipway.settings.base import Problem
from slipway.settings.driver import DCGM_PORT
from slipway.settings.errors import path
from slipway.settings.filters import problems
from slipway.settings.front import FRONTS
from slipway.settings.gateway import OWN_TEAMS, Team
from slipway.settings.models import ProvidedModel, RoutedModel, ServedModel

if TYPE_CHECKING:
    from slipway.settings.platform import Settings

_T = TypeVar("_T")


def names_of(settings: Settings) -> dict[str, str]:
    """Every name and alias that clients can ask for, with the model's name."""
    return {called: name for name, model in settings.models.items() for called in (name, *model.aliases)}


def _machines(settings: Settings) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    reached: dict[tuple[str, int], str] = {}
    for pool_name, pool in settings.pools.items():
        machines = settings.machines_of(pool_name)
        if not machines:
            yield (
                ("pools", pool_name, pool.target),
                "gives no machine; nothing could run in this pool: ask for one or more, or remove the pool",
            )
        for machine in machines:
            name, address, port = machine.name, machine.address, machine.port
            if name in seen:
                yield (
                    machine.keys,
                    f"the pool {seen[name]} has a host of this name too; resources would collide: rename one host",
                )
            seen.setdefault(name, pool_name)
            # What is not made yet has an address of its own once it is.
            other = name if address is None else reached.setdefault((address, port), name)
            if other != name:
                yield (
                    machine.keys,
                    (
                        f"{address} port {port} is that of {other} too; one machine would be set up as two: "
                        "remove one of the two hosts"
                    ),
                )


def _missing(settings: Settings) -> Iterator[Problem]:
    needed = settings.needed_hosts
    for name, pool in settings.pools.items():
        machines = [machine.name for machine in settings.machines_of(name)]
        may = [machine for machine in machines if machine not in needed]
        keys, allowed = ("pools", name, "may_be_missing"), pool.may_be_missing
        if allowed and allowed >= len(machines):
            yield (
                keys,
                (
                    f"{allowed} of {len(machines)} machines; nobody would have to be there: allow fewer than there are, or add "
                    "machines"
                ),
            )
        elif allowed > len(may):
            there = " and ".join(machine for machine in machines if machine in needed)
            serving = {*settings.gateway_hosts, *settings.front_hosts}
            what, mend = "gateway and front are", "put gateway and front into a pool called edge"
            if (needed - serving) & set(machines):
                both = bool(serving & set(machines))
                what = "gateway, front and the store are" if both else "the store is"
                mend = "put them elsewhere" if both else "have the store on a host of another pool"
            yield (
                keys,
                (
                    f"{allowed}, and {what} on {there}, which may not be missing; that leaves {len(may)}: allow no more, or "
                    f"{mend}"
                ),
            )


def _pools(settings: Settings) -> Iterator[Problem]:
    named: list[tuple[tuple[str | int, ...], str | None]] = [
        *((("models", name, "pool"), model.pool) for name, model in settings.served.items()),
        (("gateway", "pool"), settings.gateway.pool),
        (("front", "pool"), settings.front.pool),
    ]
    for keys, pool in named:
        if pool is not None and pool not in settings.pools:
            yield keys, f"there is no pool {pool!r}; nothing could run there: use one of {', '.join(settings.pools)}"


def _names(settings: Settings) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, model in settings.models.items():
        for called, keys in [
            (name, ("models", name)),
            *((alias, ("models", name, "aliases")) for alias in model.aliases),
        ]:
            if called in seen:
                yield keys, f"{called!r} is a name of {seen[called]} too; requests could not be told apart: rename one"
            seen.setdefault(called, name)


def _tasks(settings: Settings) -> Iterator[Problem]:
    for name, model in settings.models.items():
        if not isinstance(model, ServedModel):
            continue
        engine = model.engine
        if model.task not in engine.TASKS:
            yield (
                ("models", name, "task"),
                (
                    f"{engine.engine} serves no {model.task} model; the engine would not start: use another engine "
                    f"(it serves {', '.join(sorted(engine.TASKS))})"
                ),
            )
        form = "huggingface" if model.source.gguf is None else "gguf"
        if form not in engine.READS:
            what = f"{model.source.gguf} is a GGUF file" if form == "gguf" else "the source names no GGUF file"
            reads = " and ".join(sorted(engine.READS))
            able = " or ".join(_able(form, model))
            mends = ([] if form == "gguf" else ["name one"]) + ([f"use engine: {able}"] if able else [])
            yield (
                ("models", name, "source"),
                (
                    f"{what}, and {engine.engine} reads {reads} only; the engine would not start: "
                    f"{', or '.join(mends) or 'give the model in another format'}"
                ),
            )


def _able(form: str, model: ServedModel) -> Iterator[str]:
    """The engines that read this format and serve the model's task, by name."""
    for name, each in engines().items():
        if form in each.READS and model.task in each.TASKS:
            yield name


def _hosts(settings: Settings) -> Iterator[Problem]:
    """Replicas over several machines: who can, and on which."""
    for name, model in settings.served.items():
        if model.hosts == 1:
            continue
        if not model.engine.SPANS:
            form = "huggingface" if model.source.gguf is None else "gguf"
            able = [engine for engine in _able(form, model) if engines()[engine].SPANS]
            mends = [f"use engine: {' or '.join(able)}"] if able else []
            yield (
                ("models", name, "hosts"),
                (
                    f"{model.hosts}, and {model.engine.engine} serves each replica on one machine alone; it would not find the "
                    f"others' memory: {', or '.join([*mends, 'remove it'])}"
                ),
            )
        pool = settings.pool_of(model)
        has = len(settings.machines_of(pool)) if pool in settings.pools else model.hosts
        if has < model.hosts:
            machines = f"{has} machine{'s' * (has != 1)}"
            yield (
                ("models", name, "hosts"),
                (
                    f"each replica takes {model.hosts} machines, and the pool {pool} has {machines}; the engine would wait for "
                    "the others: add machines to the pool, or use fewer hosts"
                ),
            )


def _references(settings: Settings) -> Iterator[Problem]:
    names = names_of(settings)
    for name, model in settings.models.items():
        if isinstance(model, ProvidedModel) and model.provider not in settings.providers:
            known = ", ".join(settings.providers) or "none"
            yield (
                ("models", name, "provider"),
                f"there is no provider {model.provider!r}; nothing could answer: add it to providers (there: {known})",
            )
        others = [("fallbacks", fallback) for fallback in model.fallbacks]
        if isinstance(model, RoutedModel):
            others += [("targets", target) for target in model.targets]
        for key, other in others:
            keys = ("models", name, key)
            if other not in names:
                yield keys, f"there is no model {other!r}; nothing could answer: use one of {', '.join(names)}"
            elif other not in settings.models:
                yield keys, f"{other!r} is another name of {names[other]}; write {names[other]}"
            elif key == "targets" and isinstance(settings.models[other], RoutedModel):
                yield keys, f"{other} is shared out itself; weights would be of weights: name the models that answer"


def _circles(settings: Settings) -> Iterator[Problem]:
    """Models whose fall-backs lead to themselves; a circle is told once, of the first of its names."""
    for name in settings.models:
        circle = _circle(settings, name)
        if circle is not None and min(circle) == name:
            yield (
                ("models", name, "fallbacks"),
                f"{' -> '.join(circle)} goes in a circle; where all fail a request would never end: leave one of them out",
            )


def _circle(settings: Settings, name: str) -> tuple[str, ...] | None:
    """The shortest way from a model over its fall-backs to itself."""
    for other, way in _fallen_back(settings, name).items():
        if name in settings.models[other].fallbacks:
            return (*way, name)
    return None


def _fallen_back(settings: Settings, name: str) -> dict[str, tuple[str, ...]]:
    """What is asked in turn where `name` can't answer, as the gateway does: its fall-backs, then theirs; each with the way."""
    ways: dict[str, tuple[str, ...]] = {name: (name,)}
    names = [name]
    for asked in names:  # grows while it is walked
        for other in settings.models[asked].fallbacks:
            if other not in ways:
                ways[other] = (*ways[asked], other)
                names.append(other)
    return ways


def _answers(settings: Settings, name: str) -> Iterator[tuple[str, ServedModel | ProvidedModel]]:
    """The models that answer for `name` itself, without its fall-backs."""
    model = settings.models.get(name)
    if isinstance(model, RoutedModel):
        for target in model.targets:
            yield from _answers(settings, target)
    elif model is not None:
        yield name, model


def _privacy(settings: Settings) -> Iterator[Problem]:
    for name in settings.models:
        if not any(isinstance(each, ServedModel) and each.private for _, each in _answers(settings, name)):
            continue
        for target, each in _answers(settings, name):
            if isinstance(each, ProvidedModel):
                yield (
                    ("models", name, "targets"),
                    (
                        f"{target} is served by the provider {each.provider}, and another target is private; requests for a "
                        "private model would leave: remove one of them"
                    ),
                )
        for fallback, way in list(_fallen_back(settings, name).items())[1:]:
            for target, each in _answers(settings, fallback):
                if isinstance(each, ProvidedModel):
                    through = f", to which {way[-2]} falls back," if len(way) > 2 else ""
                    yield (
                        ("models", name, "fallbacks"),
                        (
                            f"{name} is private, and {target}{through} is served by the provider {each.provider}; its requests "
                            "would leave: remove the fall-back, or private"
                        ),
                    )


def _same_tasks(settings: Settings) -> Iterator[Problem]:
    for name, model in settings.models.items():
        task = settings.task_of(name)
        if wrong := {settings.task_of(fallback) for fallback in model.fallbacks} - {task}:
            yield (
                ("models", name, "fallbacks"),
                (
                    f"{name} is a model for {task}, and a fall-back is one for {', '.join(sorted(wrong))}; it could not answer: "
                    f"name a model for {task}"
                ),
            )
        tasks = {settings.task_of(target) for target in model.targets} if isinstance(model, RoutedModel) else {task}
        if len(tasks) > 1:
            yield (
                ("models", name, "targets"),
                (
                    f"the targets are for {' and '.join(sorted(tasks))}; some requests could not be answered: name models of one "
                    "task"
                ),
            )


def _filters(settings: Settings) -> Iterator[Problem]:
    gateway = settings.gateway
    for place, message in problems(gateway.filters, {name: team.filters for name, team in gateway.teams.items()}):
        yield ("gateway", *place), message


def _content_log(settings: Settings) -> Iterator[Problem]:
    log, teams = settings.gateway.content_log, settings.gateway.teams
    for index, name in enumerate(() if log is None else log.teams):
        if name not in teams:
            yield (
                ("gateway", "content_log", "teams", index),
                f"there is no team {name!r}; nothing of anybody would be kept: name one of {', '.join(teams)}",
            )


def _teams(settings: Settings) -> Iterator[Problem]:
    names = names_of(settings)
    by_key: dict[str, str] = {}
    by_id: dict[str, tuple[str, int]] = {}
    if settings.gateway.engine_key is None and all(entry.key is None for entry in settings.gateway.teams.values()):
        yield (
            ("gateway", "engine_key"),
            (
                "missing, while no team has a key of the site's own; acceptance's key is made of such secrets, and anyone could "
                "make it: set it, for example to {env: SLIPWAY_ENGINE_KEY}"
            ),
        )
    for team, entry in settings.gateway.teams.items():
        if team.startswith(OWN_TEAMS):
            yield (
                ("gateway", "teams", team),
                (
                    f"names that begin with {OWN_TEAMS} are those of Slipway's own teams, as which acceptance asks; requests and "
                    "limits could not be told apart: name the team otherwise"
                ),
            )
        for index, each in enumerate(entry.keys):
            if (first := by_id.setdefault(each.id, (team, index))) != (team, index):
                yield (
                    ("gateway", "teams", team, "keys", index, "id"),
                    (
                        f"the team {first[0]!r} has a key with this id too; only one of them would be found: remove one of the "
                        "entries"
                    ),
                )
        other = team if entry.key is None else by_key.setdefault(entry.key.get_secret_value(), team)
        if other != team:
            yield (
                ("gateway", "teams", team, "key"),
                f"the team {other!r} has the same key; requests could not be told apart: give each its own",
            )
        for model in entry.models or ():
            if model not in names:
                yield (
                    ("gateway", "teams", team, "models"),
                    f"there is no model {model!r}; the team would ask in vain: use one of {', '.join(names)}",
                )
        allowed = {names[model] for model in entry.models or names if model in names}
        if (
            entry.private
            and allowed
            and not any(isinstance(each, ServedModel) for model in allowed for _, each in _answers(settings, model))
        ):
            yield (
                ("gateway", "teams", team, "private"),
                (
                    "none of the team's models is served here; every request of a private team would be refused: give it a "
                    "model that is, or remove private"
                ),
            )


def _prices(settings: Settings) -> Iterator[Problem]:
    limited = {name: team for name, team in settings.gateway.teams.items() if team.money_per_month is not None}
    yield from prices.problems(settings, {name: set(_reached(settings, team)) for name, team in limited.items()})


def _reached(settings: Settings, team: Team) -> Iterator[str]:
    """The names that may answer a team: those that it may ask, and what they fall back to."""
    names = names_of(settings)
    for asked in {names[model] for model in team.models or names if model in names}:
        for name in _fallen_back(settings, asked):
            # Nothing of a private team's requests reaches a name that only providers answer for.
            if not team.private or any(isinstance(each, ServedModel) for _, each in _answers(settings, name)):
                yield name


def _taken(settings: Settings) -> Iterator[tuple[str, tuple[str | int, ...], int]]:
    """Ports by the stack's own word: host, setting, port."""
    gateway, front = settings.gateway, settings.front
    for host in settings.gateway_hosts:
        yield host, ("gateway", "port"), gateway.port
        if settings.has_private_gateway:
            yield host, ("gateway", "private_port"), gateway.private_port
    for host in settings.front_hosts:
        yield host, ("front", "port"), front.port
    if front.floating is not None:
        yield settings.front_host, ("front", "floating", "counters_port"), front.floating.counters_port
    yield from _taken_beside(settings)
    for name, model in settings.served.items():
        if model.engine.port is not None and settings.pool_of(model) in settings.pools:
            for machine in settings.machines_of(settings.pool_of(model)):
                yield machine.name, ("models", name, "engine", "port"), model.engine.port


def _taken_beside(settings: Settings) -> Iterator[tuple[str, tuple[str | int, ...], int]]:
    store = settings.store
    if store is not None and store.host in settings.machines and model_store.read_by_others(settings):
        yield store.host, ("store", "port"), store.port
    for name, pool in settings.pools.items():
        for machine in settings.machines_of(name) if pool.driver.dcgm else ():
            yield machine.name, ("pools", name, "driver", "dcgm"), DCGM_PORT


def _ports(settings: Settings) -> Iterator[Problem]:
    ports: dict[str, list[tuple[tuple[str | int, ...], int]]] = {}
    for host, keys, port in _taken(settings):
        ports.setdefault(host, []).append((keys, port))
    machines = settings.machines
    for name, taken in ports.items():
        ssh = machines[name].port
        for port in repeated([port for _, port in taken] + [ssh]):
            places = [path(*keys) for keys, value in taken if value == port]
            both = " and ".join([*places, "its SSH port"] if port == ssh else places)
            first = next(keys for keys, value in taken if value == port)
            yield first, f"{both} are both {port} on {name}; one would not start: choose another port"


def _floating(settings: Settings) -> Iterator[Problem]:
    """A floating address needs two machines for it, and is none of them."""
    floating = settings.front.floating
    if floating is None:
        return
    pool = settings.gateway_pool
    if settings.front.pool not in {None, pool}:
        yield (
            ("front", "pool"),
            (
                f"the gateway is in the pool {pool}; with a floating address each front is on a gateway's machine: remove "
                "front.pool, or give gateway.pool the same"
            ),
        )
    if len(settings.machines_of(pool)) < FRONTS:
        yield (
            ("front", "floating"),
            f"the pool {pool} has one machine; the address could move nowhere: add a second one, or remove floating",
        )
    for name, machine in settings.machines.items():
        if floating.host in {machine.address, machine.private_address}:
            yield (
                ("front", "floating", "address"),
                f"{floating.host} is the address of {name}; it could not move: choose one that no machine has",
            )


def _addresses(settings: Settings) -> Iterator[Problem]:
    """Services that other machines call need a private address to listen on, and a key."""
    gateways, fronts = settings.gateway_hosts, settings.front_hosts
    called: dict[str, None] = {}
    for model in settings.served.values():
        if settings.pool_of(model) in settings.pools:
            names = (machine.name for machine in settings.machines_of(settings.pool_of(model)))
            called |= dict.fromkeys(name for name in names if gateways != (name,))
    for name, machine in settings.machines.items():
        shared = next((model for model, each in settings.served.items() if _shares(settings, each, name)), None)
        if shared is not None and not machine.has_private_address and name not in called:
            yield (
                (*machine.keys, "private_address"),
                (
                    f"{name} shares the replicas of {shared} with other hosts, but {machine.address} is no private address; "
                    "what they tell one another has no key, and would face the internet: set its private_address"
                ),
            )
    engines = list(called)
    if gateways != fronts or len(fronts) > 1:
        called |= dict.fromkeys(gateways)
    for name, machine in settings.machines.items():
        if name in called and not machine.has_private_address:
            yield (
                (*machine.keys, "private_address"),
                (
                    f"{name} is called by other hosts, but {machine.address} is no private address; its service would face "
                    "the internet: set its private_address"
                ),
            )
    # Two fronts have a secret of their own for their gateways.
    if settings.gateway.engine_key is not None or not (engines or (called and settings.front.floating is None)):
        return
    hosts = ", ".join(engines or gateways)
    if engines:
        open_to_all = (
            f"{hosts} and the gateway are different hosts; anyone in the private network could use the engines"
        )
    else:
        # The key that fronts show gateways follows from it.
        open_to_all = (
            f"the gateway on {hosts} is called by a front on another host; anyone in the private network who has a "
            "team's key could use it past the front's limits"
        )
    yield ("gateway", "engine_key"), f"missing, while {open_to_all}: set it, for example to {{env: SLIPWAY_ENGINE_KEY}}"


def _shares(settings: Settings, model: ServedModel, machine: str) -> bool:
    """Whether replicas of a model may be on a machine and others together."""
    pool = settings.pool_of(model)
    if model.hosts == 1 or pool not in settings.pools:
        return False
    return any(each.name == machine for each in settings.machines_of(pool))


RULES = (
    (_machines, _pools, _names, _tasks, _hosts),
    (_references,),
    (_floating,),
    (_missing, _circles, _privacy, _same_tasks, _filters, _content_log, _teams, _prices, _ports, _addresses),
    (model_store.problems,),
)
"""Those of one row look at the settings together; a later row takes for granted that the earlier ones found nothing."""


def repeated(values: Iterable[_T]) -> list[_T]:
    """The values that are there more than once, each once."""
    return [value for value, count in Counter(values).items() if count > 1]

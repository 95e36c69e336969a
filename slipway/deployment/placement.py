"""Which machines, GPUs and ports each replica gets.

One model must not move another. So each keeps what it was last asked to have, as far as that still suits it; GPUs that a model
names come before that. What is new gets the lowest GPUs that are free, then those that have room beside others, in the order of
the stack's models, and a port that follows from its name. Only where what is new finds no room beside those that stay is its
pool placed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from slipway.deployment.claims import Holdings
from slipway.deployment.names import PORTS, instance_name, port
from slipway.deployment.references import private
from slipway.deployment.seating import ROUNDING, Gpus, Place, seated, share_of
from slipway.deployment.types import Instance, Machine, Meeting, Seat, Served, listen_address
from slipway.settings.base import Problem
from slipway.settings.platform import Settings


def place_instances(
    settings: Settings, machines: Mapping[str, Machine], served: Mapping[str, Served], holdings: Holdings
) -> tuple[tuple[Instance, ...], list[Problem]]:
    """All engines, and what finds no room.

    Args:
        settings: the stack's.
        machines: by name.
        served: the models, by name.
        holdings: what instances had so far.
    """
    seats, gpus, problems = seated(machines, served, holdings)
    if problems:
        # Only where there is no room: whoever is on other pools' machines stays.
        full = {served[str(keys[1])].pool for keys, _ in problems}
        elsewhere = {
            key: had for key, had in holdings.items() if key[0] in machines and machines[key[0]].pool not in full
        }
        seats, gpus, problems = seated(machines, served, elsewhere)
    instances = _instances(settings, machines, served, seats, holdings)
    problems += _collisions(instances)
    for instance in instances:
        if (reason := instance.served.adapter.exposed(instance)) is not None:
            problems.append(((*instance.served.keys, "pool"), reason))
    for machine in machines.values():
        problems += _overfull(machine, gpus[machine.name], served)
        problems += _memory(machine, [each for each in instances if each.machine.name == machine.name])
    return instances, problems


def _instances(
    settings: Settings,
    machines: Mapping[str, Machine],
    served: Mapping[str, Served],
    places: Mapping[str, list[Place]],
    holdings: Holdings,
) -> tuple[Instance, ...]:
    """The replicas with their names and ports, in the order of the stack.

    A port is set aside for each, also where the stack gives one: so no other model's moves with it.
    """
    gateways = [machines[name] for name in settings.gateway_hosts]
    taken = {
        name: {machine.port, settings.gateway.port, settings.gateway.private_port, settings.front.port}
        for name, machine in machines.items()
    }
    if settings.front.floating is not None:
        taken[settings.front_host].add(settings.front.floating.counters_port)
    if settings.store is not None:
        taken[settings.store.host].add(settings.store.port)
    replicas = [
        (model, instance_name(model.slug, parts[0].number), parts)
        for model in served.values()
        for parts in _groups(places[model.name], model.hosts)
    ]
    seats = [(place.machine.name, name) for _, name, parts in replicas for place in parts]
    asides = iter(_ports(seats, taken, {key: had.port for key, had in holdings.items()}))
    heads = [(parts[0].machine.name, name) for _, name, parts in replicas if len(parts) > 1]
    # After all others, so that none of theirs moves.
    meetings = iter(_ports(heads, taken, {key: had.meeting for key, had in holdings.items() if had.meeting}))
    found: list[Instance] = []
    for model, name, parts in replicas:
        ports = [next(asides) for _ in parts]
        if model.settings.engine.port is not None and parts[0].number == 0:
            ports[0] = model.settings.engine.port
        meeting = _meeting(name, parts, ports, next(meetings)) if len(parts) > 1 else None
        found += [
            Instance(
                name=name,
                served=model,
                machine=place.machine,
                gpus=place.gpus,
                share=share_of(model),
                port=its,
                # One that is not asked is still where its head finds it.
                address=listen_address(place.machine, *gateways) if place.is_head else private(place.machine.name),
                meeting=meeting,
            )
            for place, its in zip(parts, ports, strict=True)
        ]
    return tuple(found)


def _meeting(name: str, parts: tuple[Place, ...], ports: list[int], port: int) -> Meeting:
    seats = (Seat(machine=place.machine.name, instance=name, port=its) for place, its in zip(parts, ports, strict=True))
    return Meeting(seats=tuple(seats), port=port)


def _groups(places: list[Place], hosts: int) -> Iterator[tuple[Place, ...]]:
    """The places of each replica; they follow one another."""
    for start in range(0, len(places), hosts):
        yield tuple(places[start : start + hosts])


def _ports(
    seats: list[tuple[str, str]], taken: Mapping[str, set[int]], had: Mapping[tuple[str, str], int]
) -> list[int]:
    """A port for each of `seats`, given by the names of machine and instance: the one that it `had`, else the one of its name.

    `taken` holds the ports that nobody gets, by machine, and afterwards these too.
    """
    found: dict[int, int] = {}
    for place, (machine, name) in enumerate(seats):
        its = had.get((machine, name))
        if its is not None and its in PORTS and its not in taken[machine]:
            found[place] = its
            taken[machine].add(its)
    for place, (machine, name) in enumerate(seats):
        if place not in found:
            found[place] = port(name, taken[machine])
            taken[machine].add(found[place])
    return [found[place] for place in range(len(seats))]


def _collisions(instances: Iterable[Instance]) -> Iterator[Problem]:
    """Two engines of one name, or one port, on one machine."""
    names: dict[tuple[str, str], Served] = {}
    ports: dict[tuple[str, int], Instance] = {}
    for each in instances:
        machine, model = each.machine.name, each.served
        first = names.setdefault((machine, each.name), model)
        if first.name != model.name:
            yield (
                model.keys,
                (
                    f"a unit on {machine} would have the name of one of {first.name}'s, {each.name}; one would overwrite the "
                    "other: rename one of the models"
                ),
            )
        for its in filter(None, (each.port, each.claims.meeting)):
            other = ports.setdefault((machine, its), each)
            if other is not each:
                giver = each if model.settings.engine.port == its else other
                owner = other if giver is each else each
                yield (
                    (*giver.served.keys, "engine", "port"),
                    f"{its} is the port of {owner.served.name} on {machine}; one would not start: choose another port",
                )


def _overfull(machine: Machine, gpus: Gpus, served: Mapping[str, Served]) -> Iterable[Problem]:
    """GPUs of which models that name them take more than there is."""
    told: set[frozenset[str]] = set()
    for index, takers in enumerate(gpus.takers):
        names = frozenset(name for name, _ in takers)
        if sum(share for _, share in takers) <= 1 + ROUNDING or names in told:
            continue
        told.add(names)
        said = " and ".join(f"{name} {share:.2g}" for name, share in takers)
        last = served[takers[-1][0]]
        yield (
            (*last.keys, "gpu_indices"),
            (
                f"GPU {index} of {machine.name} is taken by {said}; they do not fit together, and the one that starts last would "
                "fail: lower gpu_memory_utilization of one, or give it other GPUs"
            ),
        )


def _memory(machine: Machine, instances: list[Instance]) -> Iterable[Problem]:
    """Engines on the CPU that together need more than the machine has, as far as that is known."""
    figures = [(each.served, each.served.measured.figures) for each in instances]
    needs = [(served, of.host_gib) for served, of in figures if of is not None and of.host_gib]
    total = sum(gib for _, gib in needs)
    if machine.tier is None or len(needs) < 2 or total <= machine.min_memory_gib:
        return
    said = ", ".join(f"{served.name} {gib:.1f} GiB" for served, gib in needs)
    yield (
        needs[-1][0].keys,
        (
            f"the engines on {machine.name} need {total:.1f} GiB together ({said}), and the machine has "
            f"{machine.min_memory_gib:g} GiB; they do not fit together: give one less context or KV cache, or another pool"
        ),
    )

"""Which machine, GPUs and port each replica gets.

One model must not move another. So each keeps what it was last asked to have, as far as that still suits it; GPUs that a model
names come before that. What is new gets the lowest GPUs that are free, then those that have room beside others, in the order of
the stack's models, and a port that follows from its name. Only where what is new finds no room beside those that stay is its
pool placed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slipway.deployment.claims import Claims, Holdings
from slipway.deployment.names import MAX_REPLICAS, PORTS, instance_name, port
from slipway.deployment.types import Instance, Machine, Served, listen_address
from slipway.settings.base import Problem
from slipway.settings.platform import Settings

_ROUNDING = 1e-9


class _Gpus:
    """What is taken of each GPU of one machine, and by which models."""

    def __init__(self, count: int) -> None:
        self.takers: list[list[tuple[str, float]]] = [[] for _ in range(count)]

    def free(self, index: int) -> float:
        """The part of a GPU that nobody has yet."""
        return 1 - sum(share for _, share in self.takers[index])

    def take(self, indices: Iterable[int], model: str, share: float) -> None:
        """Hand these GPUs out."""
        for index in indices:
            self.takers[index].append((model, share))

    def has_room(self, index: int, share: float) -> bool:
        """Whether `share` of a GPU is free."""
        return self.free(index) >= share - _ROUNDING

    def lowest(self, count: int, share: float) -> tuple[int, ...] | None:
        """The `count` GPUs to take for `share` of each: wholly free ones first; None where there are not as many."""
        fitting = [index for index in range(len(self.takers)) if self.has_room(index, share)]
        fitting.sort(key=lambda index: (bool(self.takers[index]), index))
        return tuple(sorted(fitting[:count])) if len(fitting) >= count else None


@dataclass(frozen=True)
class _Seat:
    """What one replica gets: a machine, GPUs of it, and its number among those of its model there."""

    machine: Machine
    gpus: tuple[int, ...]
    number: int


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
    seats, gpus, problems = _seated(machines, served, holdings)
    if problems:
        # Only where there is no room: whoever is on other pools' machines stays.
        full = {served[str(keys[1])].pool for keys, _ in problems}
        elsewhere = {
            key: had for key, had in holdings.items() if key[0] in machines and machines[key[0]].pool not in full
        }
        seats, gpus, problems = _seated(machines, served, elsewhere)
    instances = _instances(settings, machines, served, seats, holdings)
    problems += _collisions(instances)
    for instance in instances:
        if (reason := instance.served.adapter.exposed(instance)) is not None:
            problems.append(((*instance.served.keys, "pool"), reason))
    for machine in machines.values():
        problems += _overfull(machine, gpus[machine.name], served)
        problems += _memory(machine, [each for each in instances if each.machine.name == machine.name])
    return instances, problems


def _seated(
    machines: Mapping[str, Machine], served: Mapping[str, Served], holdings: Holdings
) -> tuple[dict[str, list[_Seat]], dict[str, _Gpus], list[Problem]]:
    """The seats of each model, what is taken of each machine's GPUs, and who finds no room."""
    gpus = {name: _Gpus(machine.gpus) for name, machine in machines.items()}
    members = {
        name: [machine for machine in machines.values() if machine.pool == model.pool] for name, model in served.items()
    }
    seats: dict[str, list[_Seat]] = {}
    problems: list[Problem] = []
    # Those whose GPUs are given come first; all else goes by the stack's order.
    for are_given in (True, False):
        group = [model for model in served.values() if (model.settings.gpu_indices is not None) == are_given]
        # One that wants more than it has goes last: it has to be restarted anyway, and the others need not be.
        kept = {
            model.name: _kept(model, members[model.name], gpus, holdings)
            for model in sorted(group, key=lambda model: _has_grown(model, members[model.name], holdings))
        }
        for model in group:
            seats[model.name], unseated = _seats(model, members[model.name], gpus, kept[model.name])
            problems += unseated
    return seats, gpus, problems


def _has_grown(model: Served, members: list[Machine], holdings: Holdings) -> bool:
    """Whether a replica wants more of its GPUs than it has."""
    return any(_share(model) > had.share + _ROUNDING for _, _, had in _held(model, members, holdings))


def _held(model: Served, members: list[Machine], holdings: Holdings) -> Iterator[tuple[Machine, int, Claims]]:
    """What the replicas of a model have, those of the lowest numbers first."""
    for number in range(MAX_REPLICAS):
        for machine in members:
            had = holdings.get((machine.name, instance_name(model.slug, number)))
            if had is not None:
                yield machine, number, had


def _kept(model: Served, members: list[Machine], gpus: Mapping[str, _Gpus], holdings: Holdings) -> list[_Seat]:
    """The seats that a model has and can keep; their GPUs are taken."""
    found: list[_Seat] = []
    named, share = model.settings.gpu_indices, _share(model)
    for machine, number, had in _held(model, members, holdings):
        if len(found) == model.replicas:
            break
        suits = had.gpus == named if named is not None else len(had.gpus) == (model.gpus if model.on_gpus else 0)
        taken = gpus[machine.name]
        if suits and all(index < machine.gpus and taken.has_room(index, share) for index in had.gpus):
            taken.take(had.gpus, model.name, share)
            found.append(_Seat(machine, had.gpus, number))
    return found


def _seats(
    model: Served, members: list[Machine], gpus: Mapping[str, _Gpus], kept: list[_Seat]
) -> tuple[list[_Seat], list[Problem]]:
    """Seats for the replicas of one model: those it keeps, and others in turn over the machines that have room."""
    found = list(kept)
    share = _share(model)
    here = {machine.name: [seat.number for seat in kept if seat.machine == machine] for machine in members}
    for _ in range(model.replicas - len(kept)):
        in_turn = [
            each
            for each in sorted(members, key=lambda each: len(here[each.name]))
            if len(here[each.name]) < MAX_REPLICAS
        ]
        if not in_turn:
            return found, [_too_many(model, members)]
        rooms = ((machine, _indices(model, gpus[machine.name], share)) for machine in in_turn)
        machine, indices = next(((machine, room) for machine, room in rooms if room is not None), (in_turn[0], None))
        if indices is None and model.settings.gpu_indices is None:
            return found, [_no_room(model, members, gpus, share)]
        # Named GPUs that are full are told of once all are seated, with everybody who is on them.
        indices = model.settings.gpu_indices or () if indices is None else indices
        gpus[machine.name].take(indices, model.name, share)
        number = next(number for number in range(MAX_REPLICAS) if number not in here[machine.name])
        found.append(_Seat(machine, indices, number))
        here[machine.name].append(number)
    return found, []


def _share(model: Served) -> float:
    """The part of each of its GPUs that a replica takes."""
    return model.adapter.gpu_share(model) if model.on_gpus else 0.0


def _instances(
    settings: Settings,
    machines: Mapping[str, Machine],
    served: Mapping[str, Served],
    seats: Mapping[str, list[_Seat]],
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
    placed = [(model, seat) for model in served.values() for seat in seats[model.name]]
    asides = _ports(
        [(seat.machine.name, instance_name(model.slug, seat.number)) for model, seat in placed], taken, holdings
    )
    return tuple(
        Instance(
            name=instance_name(model.slug, seat.number),
            served=model,
            machine=seat.machine,
            gpus=seat.gpus,
            share=_share(model),
            port=(model.settings.engine.port if seat.number == 0 else None) or aside,
            address=listen_address(seat.machine, *gateways),
        )
        for (model, seat), aside in zip(placed, asides, strict=True)
    )


def _ports(instances: list[tuple[str, str]], taken: Mapping[str, set[int]], holdings: Holdings) -> list[int]:
    """A port for each instance, given by the names of machine and instance: the one that it has, else the one of its name.

    `taken` holds the ports that nobody gets, by machine, and afterwards these too.
    """
    found: dict[int, int] = {}
    for place, (machine, name) in enumerate(instances):
        had = holdings.get((machine, name))
        if had is not None and had.port in PORTS and had.port not in taken[machine]:
            found[place] = had.port
            taken[machine].add(had.port)
    for place, (machine, name) in enumerate(instances):
        if place not in found:
            found[place] = port(name, taken[machine])
            taken[machine].add(found[place])
    return [found[place] for place in range(len(instances))]


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
        other = ports.setdefault((machine, each.port), each)
        if other is not each:
            giver = each if model.settings.engine.port == each.port else other
            owner = other if giver is each else each
            yield (
                (*giver.served.keys, "engine", "port"),
                f"{each.port} is the port of {owner.served.name} on {machine}; one would not start: choose another port",
            )


def _indices(model: Served, gpus: _Gpus, share: float) -> tuple[int, ...] | None:
    """The GPUs of one machine for a replica; None where there is no room."""
    if not model.on_gpus:
        return ()
    named = model.settings.gpu_indices
    if named is None:
        return gpus.lowest(model.gpus, share)
    return named if all(gpus.has_room(index, share) for index in named) else None


def _too_many(model: Served, members: list[Machine]) -> Problem:
    where = members[0].name if len(members) == 1 else f"each machine of pool {model.pool}"
    return (
        (*model.keys, "replicas"),
        f"more than {MAX_REPLICAS} on {where}; units and users have no longer names: use fewer, or more machines",
    )


def _no_room(model: Served, members: list[Machine], gpus: Mapping[str, _Gpus], share: float) -> Problem:
    taken = list(dict.fromkeys(pair for each in members for takers in gpus[each.name].takers for pair in takers))
    others = dict.fromkeys("its other replicas" if name == model.name else name for name, _ in taken)
    own = f"{model.gpus} GPU{'s' * (model.gpus > 1)}" + (f" with {share:.2g} of each" if share < 1 else "")
    where = members[0].name if len(members) == 1 else f"any machine of pool {model.pool}"
    return (
        (*model.keys, "gpus"),
        (
            f"{model.name} needs {own}, and {', '.join(others)} leave no such room on {where}, which has {members[0].gpus} "
            f"(taken: {', '.join(f'{name} {of:.2g}' for name, of in taken)}); they do not fit together: give one of them fewer "
            "GPUs or a lower gpu_memory_utilization, use fewer replicas, or another pool"
        ),
    )


def _overfull(machine: Machine, gpus: _Gpus, served: Mapping[str, Served]) -> Iterable[Problem]:
    """GPUs of which models that name them take more than there is."""
    told: set[frozenset[str]] = set()
    for index, takers in enumerate(gpus.takers):
        names = frozenset(name for name, _ in takers)
        if sum(share for _, share in takers) <= 1 + _ROUNDING or names in told:
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

"""Which machine and GPUs each replica gets, and who finds no room; its name and ports are `slipway.deployment.placement`'s.

A replica that several machines share has a seat on each of them, all of one number, which no other replica of the model has: by
it they are found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from slipway.deployment.claims import Claims, Holdings
from slipway.deployment.names import MAX_REPLICAS, instance_name
from slipway.deployment.types import Machine, Served
from slipway.settings.base import Problem

ROUNDING = 1e-9


class Gpus:
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
        return self.free(index) >= share - ROUNDING

    def lowest(self, count: int, share: float) -> tuple[int, ...] | None:
        """The `count` GPUs to take for `share` of each: wholly free ones first; None where there are not as many."""
        fitting = [index for index in range(len(self.takers)) if self.has_room(index, share)]
        fitting.sort(key=lambda index: (bool(self.takers[index]), index))
        return tuple(sorted(fitting[:count])) if len(fitting) >= count else None


@dataclass(frozen=True)
class Place:
    """What one replica gets of a machine: GPUs, and a number among those of its model there, by which its instance is called."""

    machine: Machine
    gpus: tuple[int, ...]
    number: int
    is_head: bool = True
    """Of a replica's first machine; the places of its other machines follow."""


def seated(
    machines: Mapping[str, Machine], served: Mapping[str, Served], holdings: Holdings
) -> tuple[dict[str, list[Place]], dict[str, Gpus], list[Problem]]:
    """The seats of each model, what is taken of each machine's GPUs, and who finds no room."""
    gpus = {name: Gpus(machine.gpus) for name, machine in machines.items()}
    members = {
        name: [machine for machine in machines.values() if machine.pool == model.pool] for name, model in served.items()
    }
    seats: dict[str, list[Place]] = {}
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
    return any(share_of(model) > had.share + ROUNDING for _, _, had in _held(model, members, holdings))


def _held(model: Served, members: list[Machine], holdings: Holdings) -> Iterator[tuple[Machine, int, Claims]]:
    """What the replicas of a model have, those of the lowest numbers first."""
    for number in range(MAX_REPLICAS):
        for machine in members:
            had = holdings.get((machine.name, instance_name(model.slug, number)))
            if had is not None:
                yield machine, number, had


def _kept(model: Served, members: list[Machine], gpus: Mapping[str, Gpus], holdings: Holdings) -> list[Place]:
    """The seats that a model has and can keep; their GPUs are taken."""
    found: list[Place] = []
    if model.hosts > 1:
        return _kept_together(model, members, gpus, holdings)
    share = share_of(model)
    for machine, number, had in _held(model, members, holdings):
        if len(found) == model.replicas:
            break
        if _suits(model, machine, had, gpus[machine.name]):
            gpus[machine.name].take(had.gpus, model.name, share)
            found.append(Place(machine, had.gpus, number))
    return found


def _suits(model: Served, machine: Machine, had: Claims, gpus: Gpus) -> bool:
    """Whether a replica can go on with what it has of a machine."""
    named, share = model.settings.gpu_indices, share_of(model)
    suits = had.gpus == named if named is not None else len(had.gpus) == model.gpus_of_a_host
    return suits and all(index < machine.gpus and gpus.has_room(index, share) for index in had.gpus)


def _kept_together(model: Served, members: list[Machine], gpus: Mapping[str, Gpus], holdings: Holdings) -> list[Place]:
    """The same of a model of which several machines share each replica: only whole replicas can be kept."""
    found: list[Place] = []
    for number, had in groupby(_held(model, members, holdings), key=lambda each: each[1]):
        parts = [(machine, claims) for machine, _, claims in had]
        heads = [machine.name for machine, claims in parts if claims.meeting is not None]
        if (
            len(found) < model.replicas * model.hosts
            and len(parts) == model.hosts
            and len(heads) == 1
            and all(_suits(model, machine, claims, gpus[machine.name]) for machine, claims in parts)
        ):
            parts.sort(key=lambda part: part[0].name != heads[0])
            for machine, claims in parts:
                gpus[machine.name].take(claims.gpus, model.name, share_of(model))
                found.append(Place(machine, claims.gpus, number, machine.name == heads[0]))
    return found


def _seats(
    model: Served, members: list[Machine], gpus: Mapping[str, Gpus], kept: list[Place]
) -> tuple[list[Place], list[Problem]]:
    """Seats for the replicas of one model: those it keeps, and others in turn over the machines that have room."""
    if model.hosts > 1:
        return _seats_together(model, members, gpus, kept)
    found = list(kept)
    share = share_of(model)
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
        found.append(Place(machine, indices, number))
        here[machine.name].append(number)
    return found, []


def _seats_together(
    model: Served, members: list[Machine], gpus: Mapping[str, Gpus], kept: list[Place]
) -> tuple[list[Place], list[Problem]]:
    """The same of a model of which several machines share each replica: each takes those with the fewest of its like."""
    found, share = list(kept), share_of(model)
    here = {machine.name: sum(place.machine == machine for place in kept) for machine in members}
    for _ in range(model.replicas - len(kept) // model.hosts):
        taken = {place.number for place in found}
        number = next((number for number in range(MAX_REPLICAS) if number not in taken), None)
        if number is None:
            return found, [_too_many(model, members)]
        in_turn = sorted(members, key=lambda each: here[each.name])
        rooms = [(machine, _indices(model, gpus[machine.name], share)) for machine in in_turn]
        chosen = [(machine, room) for machine, room in rooms if room is not None][: model.hosts]
        if len(chosen) < model.hosts:
            return found, [_no_room(model, members, gpus, share)]
        # The stack's order among themselves, so that the first of them is the head.
        chosen.sort(key=lambda each: members.index(each[0]))
        for machine, room in chosen:
            gpus[machine.name].take(room, model.name, share)
            found.append(Place(machine, room, number, machine == chosen[0][0]))
            here[machine.name] += 1
    return found, []


def share_of(model: Served) -> float:
    """The part of each of its GPUs that a replica takes."""
    return model.adapter.gpu_share(model) if model.on_gpus else 0.0


def _indices(model: Served, gpus: Gpus, share: float) -> tuple[int, ...] | None:
    """The GPUs of one machine for a replica; None where there is no room."""
    if not model.on_gpus:
        return ()
    named = model.settings.gpu_indices
    if named is None:
        return gpus.lowest(model.gpus_of_a_host, share)
    return named if all(gpus.has_room(index, share) for index in named) else None


def _too_many(model: Served, members: list[Machine]) -> Problem:
    where = members[0].name if len(members) == 1 else f"each machine of pool {model.pool}"
    if model.hosts > 1:
        where = f"machines of pool {model.pool} that share them"
    return (
        (*model.keys, "replicas"),
        f"more than {MAX_REPLICAS} on {where}; units and users have no longer names: use fewer, or more machines",
    )


def _no_room(model: Served, members: list[Machine], gpus: Mapping[str, Gpus], share: float) -> Problem:
    taken = list(dict.fromkeys(pair for each in members for takers in gpus[each.name].takers for pair in takers))
    others = dict.fromkeys("its other replicas" if name == model.name else name for name, _ in taken)
    own = f"{model.gpus} GPU{'s' * (model.gpus > 1)}" + (f" over {model.hosts} hosts" if model.hosts > 1 else "")
    own += f" with {share:.2g} of each" if share < 1 else ""
    where = members[0].name if len(members) == 1 else f"any machine of pool {model.pool}"
    return (
        (*model.keys, "gpus"),
        (
            f"{model.name} needs {own}, and {', '.join(others)} leave no such room on {where}, which has {members[0].gpus} "
            f"(taken: {', '.join(f'{name} {of:.2g}' for name, of in taken)}); they do not fit together: give one of them fewer "
            "GPUs or a lower gpu_memory_utilization, use fewer replicas, or another pool"
        ),
    )

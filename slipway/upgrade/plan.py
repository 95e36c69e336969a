"""Which hosts change together, in which order, what each stops for it, and what nobody answers for meanwhile.

The order, and why:

1. A host that an earlier run left drained: until it is back, what it has runs without a stand-in.
2. A host that is new: nobody is served by it yet.
3. A host for whose engines others stand in, and that has no gateway and no front: a change that turns out bad stops here, where
   it costs least.
4. A host with a gateway or a front that others stand in for; of two fronts the one with the floating address last, so that the
   address moves once.
5. A host that is alone with something. By then the change has proved itself wherever others stand in.

Within these, new parts come after those that they need, and then the stack's own order decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from slipway.deployment.drivers import reboots_for_driver
from slipway.deployment.names import KEEPALIVED, MAX_REPLICAS, STORE, STORED_PREFIX, UNIT, instance_name
from slipway.deployment.references import LOOPBACK
from slipway.deployment.types import Deployment, Instance, Machine
from slipway.layers import LAYERS, acceptance, drivers, vacate
from slipway.layers.service import STOPPING_S
from slipway.upgrade.changes import Beside, Change
from slipway.upgrade.errors import UpgradeError
from slipway.upgrade.packages import LONGEST_S, Pending

_APPLYING_S = 3600
"""The least that a change is given, and what a step is that the stack has no more."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A host's word that it is drained."""

    owner: str
    host: str
    """The machine that the owner works on."""
    since: str
    until: str
    """When the host puts itself back."""
    over: bool = False
    """Whether that time has come."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the hosts and the stack's state say before anything begins."""

    known: Collection[str]
    """Machines that the state has something of."""
    drivers: Mapping[str, Mapping[str, Any]]
    """By machine the variables of its driver, as the state has them."""
    marks: Mapping[str, Mark]
    """Of the hosts that are drained."""
    holder: str | None = None
    """Who has the floating address."""
    listed: Collection[str] = ()
    """The replicas that a front knows; empty where none answers."""
    packages: Mapping[str, Pending] = field(default_factory=dict)
    """What is pending of the hosts' own packages, where those are brought too; without hosts that have nothing."""
    unasked: Collection[str] = ()
    """Hosts that were not asked for it, since the run is limited to others."""


@dataclass(frozen=True, kw_only=True)
class Away:
    """What nobody answers for while a group changes."""

    what: str
    """model, gateway or front."""
    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host's part in a change."""

    machine: Machine
    changes: tuple[Change, ...]
    stops: tuple[str, ...]
    """Instances that are drained and stopped, those that are asked before those that they need."""
    gateways: tuple[str, ...]
    """Those of them that are stopped before the others: a gateway ends what it has begun while the engines still answer it."""
    gives_address: bool
    """Whether the floating address is given to the other front first."""
    reboots: bool
    drain_s: int
    """The longest that what it has begun may take."""
    lease_s: int
    """After which the host puts itself back where nobody else does."""
    drained: Mark | None = None
    """Left so by an earlier run."""
    packages: Pending | None = None
    """Of its system, to be brought in its turn."""

    @property
    def name(self) -> str:
        """The machine's."""
        return self.machine.name

    @property
    def units(self) -> tuple[str, ...]:
        """What systemd calls what stops."""
        return tuple(UNIT.format(name) for name in self.stops)

    @property
    def first_units(self) -> tuple[str, ...]:
        """Those of them that have stopped before the others are asked to."""
        return tuple(UNIT.format(name) for name in self.gateways)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Hosts that change together: one, or those that share a replica."""

    hosts: tuple[Host, ...]
    away: tuple[Away, ...]
    stand_ins: Mapping[str, tuple[str, ...]]
    """By model that goes on being served: the replicas elsewhere, one of which has to answer before this group is drained."""
    unseen: tuple[str, ...]
    """Those of them whose replicas elsewhere a front can't ask: a gateway alone does."""
    backends: tuple[str, ...]
    """Replicas here that the front has to see well afterwards."""
    start_s: int
    """The longest that an engine here may take until it answers."""
    rank: int

    @property
    def name(self) -> str:
        """As people read it."""
        return " and ".join(host.name for host in self.hosts)

    @property
    def urns(self) -> tuple[str, ...]:
        """What changes."""
        return tuple(change.urn for host in self.hosts for change in host.changes)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole rolling change."""

    groups: tuple[Group, ...]
    """In their order."""
    done: tuple[str, ...]
    """Hosts with nothing to do."""
    left_out: tuple[str, ...]
    """Hosts with something to do that were not asked for."""
    rest: tuple[Change, ...]
    """What belongs to no host in turn: the acceptance, and machines that leave the stack."""
    first: tuple[Change, ...] = ()
    """What changes before the first host is drained, and drains none: what has the models for all hosts."""
    beside: tuple[Beside, ...] = ()
    """What has no host and is made along with the hosts that need it."""
    put_off: tuple[tuple[str, str], ...] = ()
    """Hosts of whose packages only a reboot is due, which nobody stands in for and which has no leave; and why it is due."""

    @property
    def away(self) -> tuple[tuple[Group, Away], ...]:
        """All that nobody answers for at some time."""
        return tuple((group, each) for group in self.groups for each in group.away)


def plan(
    deployment: Deployment,
    changes: Sequence[Change],
    seen: Seen,
    only: Collection[str] = (),
    beside: Sequence[Beside] = (),
    *,
    allow_outage: bool = False,
) -> Plan:
    """What is to be done, in its order.

    Args:
        deployment: the stack's, placed as its state has it.
        changes: what the engine would do.
        seen: what hosts and state say.
        only: hosts to which it is limited; all where empty. Hosts of one replica stay together.
        beside: what the engine would make that has no host.
        allow_outage: whether there is leave to reboot a host for which nobody stands in, where no more than that is due.

    Raises:
        UpgradeError: no such host, new parts of hosts that wait for one another, or a model that moves as a whole.
    """
    unknown = next((name for name in only if name not in deployment.machines), None)
    if unknown is not None:
        raise UpgradeError(f"the stack has no host {unknown!r}; its hosts: {', '.join(deployment.machines)}")
    by_machine: dict[str, list[Change]] = {}
    rest = []
    first = _first(deployment, changes, only)
    for change in changes:
        if change in first:
            continue
        if change.machine in deployment.machines and change.instance != acceptance.NAME:
            by_machine.setdefault(change.machine, []).append(change)
        else:
            rest.append(change)
    bounds = {step.key: step.timeout_s for layer in LAYERS for step in layer.steps(deployment)}
    due: list[Group] = []
    done: list[str] = []
    left_out: list[str] = []
    put_off: list[tuple[str, str]] = []
    for names in _together(deployment):
        if only and not set(names) & set(only):
            unknown_or_due = {*by_machine, *seen.marks, *seen.packages, *seen.unasked} & set(names)
            (left_out if unknown_or_due else done).extend(names)
            continue
        group = _group(deployment, names, by_machine, seen, bounds)
        waits = {name for name in names if name in seen.packages and not seen.packages[name].brings}
        if group.away and waits and not allow_outage:
            less = replace(seen, packages={name: each for name, each in seen.packages.items() if name not in waits})
            without = _group(deployment, names, by_machine, less, bounds)
            if without.away != group.away:
                group = without
                put_off += [(name, seen.packages[name].reboot) for name in names if name in waits]
        if any(host.changes or host.drained or host.packages for host in group.hosts):
            due.append(group)
        else:
            done += [name for name in names if name not in dict(put_off)]
    _refuse_moves(deployment, due, changes)
    return Plan(
        groups=_ordered(deployment, due),
        done=tuple(done),
        left_out=tuple(left_out),
        rest=tuple(rest),
        first=first,
        beside=tuple(beside),
        put_off=tuple(put_off),
    )


def with_partners(deployment: Deployment, only: Collection[str]) -> set[str]:
    """These hosts, with those that share a replica with one of them; all where none is named."""
    return {name for names in _together(deployment) if not only or set(names) & set(only) for name in names}


def backend(route: str, instance: Instance) -> str:
    """What the front calls a replica in its figures."""
    return f"{route}@{instance.machine.name}/{instance.name}"


def targets(group: Group, plan_: Plan, present: Mapping[str, str], pending: Collection[str]) -> tuple[str, ...]:
    """URNs that an `up` of this group is limited to.

    Args:
        group: whose turn it is.
        plan_: the whole.
        present: URNs by key of what the state has.
        pending: URNs of what later groups make anew, and of their gateways and fronts that change.

    Returns:
        Its own, the step that makes room on its hosts, what is made beside them, and the acceptance, unless that waits for
        something pending.
    """
    urns = dict.fromkeys(group.urns)
    room = (present.get(vacate.key(host.machine)) for host in group.hosts if host.changes)
    urns |= dict.fromkeys(urn for urn in room if urn is not None)
    urns |= dict.fromkeys(made_beside(plan_, pending))
    if not proofs_wait(plan_, pending):
        urns |= {change.urn: None for change in _proofs(plan_)}
    return tuple(urns)


def made_beside(plan_: Plan, pending: Collection[str]) -> tuple[str, ...]:
    """URNs of what has no host and needs nothing that is not made yet: without its parent the engine makes no resource."""
    return tuple(each.urn for each in plan_.beside if not set(each.needs) & set(pending))


def pending(deployment: Deployment, later: Iterable[Group]) -> set[str]:
    """URNs of what these groups make anew, and of their gateways and fronts that change: nobody is asked through them before."""
    ways = {deployment.front.name, *(each.name for each in deployment.gateways)}
    return {
        change.urn
        for group in later
        for host in group.hosts
        for change in host.changes
        if change.kind == "create" or (change.instance in ways and not change.quiet)
    }


def away_at_reboot(deployment: Deployment, group: Group) -> tuple[Away, ...]:
    """Gateways and fronts that nobody stands in for where these hosts reboot without that being foreseen."""
    hosts = [replace(host, reboots=True) for host in group.hosts]
    return tuple(_ways_away(deployment, hosts, {host.name for host in group.hosts}))


def proofs_wait(plan_: Plan, pending: Collection[str]) -> bool:
    """Whether the acceptance needs what is still to come: the engine refuses to touch it, or a front can't answer yet."""
    return any(set(change.needs) & set(pending) for change in _proofs(plan_))


def _proofs(plan_: Plan) -> list[Change]:
    return [change for change in plan_.rest if change.instance == acceptance.NAME]


def _together(deployment: Deployment) -> list[list[str]]:
    """The machines, those that share a replica together, in the stack's order."""
    sets = [{name} for name in deployment.machines]
    for head in deployment.heads:
        shared = {part.machine.name for part in deployment.parts(head)}
        joined = [each for each in sets if each & shared]
        sets = [each for each in sets if not each & shared] + [set().union(*joined)]
    order = list(deployment.machines)
    return sorted((sorted(each, key=order.index) for each in sets), key=lambda names: order.index(names[0]))


def _group(
    deployment: Deployment,
    names: Sequence[str],
    by_machine: Mapping[str, Sequence[Change]],
    seen: Seen,
    bounds: Mapping[str, int],
) -> Group:
    """`bounds`: what each step may take, in seconds, by its key."""
    hosts = tuple(
        _host(deployment, deployment.machines[name], names, by_machine.get(name, ()), seen, bounds=bounds)
        for name in names
    )
    # Of a replica that they share the head is asked: it ends its answers before its parts go.
    heads = {head.machine.name for head in deployment.heads if head.meeting is not None}
    hosts = tuple(sorted(hosts, key=lambda host: host.name not in heads))
    touched = {(host.name, name) for host in hosts for name in host.stops}
    fresh = {
        (change.machine, change.instance) for each in by_machine.values() for change in each if change.kind == "create"
    }
    away: list[Away] = []
    stand_ins: dict[str, tuple[str, ...]] = {}
    unseen: list[str] = []
    for model in deployment.served:
        # Nobody is served yet by one that is still to be made.
        replicas = [each for each in deployment.of(model) if not _parts_in(deployment, each, fresh)]
        elsewhere = [each for each in replicas if not _parts_in(deployment, each, touched)]
        if len(elsewhere) == len(replicas):
            continue
        others = len(elsewhere)
        elsewhere = [each for each in elsewhere if _is_known(deployment, model, each, seen)]
        if elsewhere:
            stand_ins[model] = tuple(backend(model, each) for each in elsewhere)
            if not any(_seen_by_fronts(deployment, each) for each in elsewhere):
                unseen.append(model)
        else:
            why = "no front knows its other replicas yet" if others else _alone(len(replicas), names)
            away.append(Away(what="model", name=model, why=why))
    away += _ways_away(deployment, hosts, names)
    here = [each for each in deployment.heads if any(part.machine.name in names for part in deployment.parts(each))]
    marked, new = any(host.drained for host in hosts), not any(name in seen.known for name in names)
    return Group(
        hosts=hosts,
        away=() if new else tuple(away),
        stand_ins=stand_ins,
        unseen=tuple(unseen),
        backends=tuple(backend(each.served.name, each) for each in here if _seen_by_fronts(deployment, each)),
        start_s=max((each.served.settings.engine.start_timeout_s for each in here), default=60),
        rank=_rank(deployment, names, seen, marked=marked, new=new, alone=bool(away)),
    )


def _host(
    deployment: Deployment,
    machine: Machine,
    group: Collection[str],
    changes: Sequence[Change],
    seen: Seen,
    *,
    bounds: Mapping[str, int],
) -> Host:
    changed = _restarted(changes)
    driver = drivers.NAME in {change.instance for change in changes if not change.quiet}
    reboots = driver and reboots_for_driver(machine, seen.drivers.get(machine.name))
    packages = seen.packages.get(machine.name)
    whole = driver or packages is not None
    engines = [each for each in deployment.on(machine) if whole or each.name in changed]
    gateways = [
        each
        for each in deployment.gateways_on(machine)
        if (whole or each.name in changed)
        and any(other.name == each.name and other.machine.name not in group for other in deployment.gateways)
    ]
    fronts = [each.name for each in deployment.front.machines]
    gives = (
        machine.name in fronts
        and any(name not in group for name in fronts)
        and (whole or bool({deployment.front.name, KEEPALIVED} & changed))
    )
    drain_s = max((each.served.drain_s for each in engines if each.is_head), default=0)
    drain_s += deployment.settings.gateway.request_timeout_s if gateways else 0
    starts = [each.served.settings.engine.start_timeout_s for each in deployment.on(machine)]
    return Host(
        machine=machine,
        changes=tuple(changes),
        stops=(*(each.name for each in gateways), *(each.name for each in engines)),
        gateways=tuple(each.name for each in gateways),
        gives_address=gives,
        reboots=reboots or (packages is not None and packages.reboots),
        drain_s=drain_s,
        lease_s=max(drain_s, vacate.LONGEST_S)
        + STOPPING_S
        + sum(starts)
        + _applying_s(bounds, machine, changes)
        # They are brought one after the other.
        + LONGEST_S * sum(name in seen.packages for name in group),
        drained=seen.marks.get(machine.name),
        packages=packages,
    )


def _restarted(changes: Iterable[Change]) -> set[str]:
    """The instances that were there and run anew."""
    return {change.instance for change in changes if change.kind in {"update", "replace"} and not change.quiet}


def _applying_s(bounds: Mapping[str, int], machine: Machine, changes: Iterable[Change]) -> int:
    """What the steps of a host's own `up` may take, one after the other."""
    keys = dict.fromkeys([*(change.key for change in changes), vacate.key(machine)])
    return max(_APPLYING_S, sum(bounds.get(key, _APPLYING_S) for key in keys))


def _first(deployment: Deployment, changes: Sequence[Change], only: Collection[str]) -> tuple[Change, ...]:
    """What has the models for all hosts: a host's model comes after it, wherever its own host is in turn.

    Left to its host's turn is what needs something new there. With a limit it is what the hosts need that were asked for.
    """
    found = {
        change.urn: change
        for change in changes
        if change.kind != "delete"
        and change.machine in deployment.machines
        and (change.instance == STORE or change.instance.startswith(STORED_PREFIX))
    }
    made = {change.urn for change in changes if change.kind == "create"}
    while waits := [urn for urn, change in found.items() if any(need in made - set(found) for need in change.needs)]:
        for urn in waits:
            del found[urn]
    if only:
        wanted = {
            need
            for group in _together(deployment)
            if set(group) & set(only)
            for change in changes
            if change.machine in group
            for need in (change.urn, *change.needs)
        }
        wanted |= {need for urn in wanted if urn in found for need in found[urn].needs}
        found = {urn: change for urn, change in found.items() if urn in wanted}
    return tuple(found.values())


def _refuse_moves(deployment: Deployment, groups: Iterable[Group], changes: Sequence[Change]) -> None:
    """A model whose replicas all go, and come anew elsewhere, is gone in between.

    Raises:
        UpgradeError: there is one on these hosts.
    """
    due = {host.name for group in groups for host in group.hosts}
    new = {(change.machine, change.instance) for change in changes if change.kind == "create"}
    for name, served in deployment.served.items():
        called = {instance_name(served.slug, number) for number in range(MAX_REPLICAS)}
        leaves = [each.machine for each in changes if each.kind == "delete" and each.instance in called]
        replicas = deployment.of(name)
        if set(leaves) & due and replicas and all(_parts_in(deployment, each, new) for each in replicas):
            to = dict.fromkeys(each.machine.name for each in replicas)
            raise UpgradeError(
                f"model {name} moves from {', '.join(dict.fromkeys(leaves))} to {', '.join(to)}, and none of its replicas stays: "
                "changed in turn, nobody would answer for it between the two. Bring it by `slipway up`; or add the new place "
                "as a further replica, upgrade, take the old one out, and upgrade again"
            )


def _is_known(deployment: Deployment, model: str, head: Instance, seen: Seen) -> bool:
    """A front that does not list a replica, but others, sends it nothing until the front's own part has changed."""
    return not seen.listed or not _seen_by_fronts(deployment, head) or backend(model, head) in seen.listed


def _parts_in(deployment: Deployment, head: Instance, touched: Collection[tuple[str, str]]) -> bool:
    return any((part.machine.name, part.name) in touched for part in deployment.parts(head))


def _seen_by_fronts(deployment: Deployment, head: Instance) -> bool:
    """What listens on its machine's loopback is for a gateway there, and for a front only where that is there too."""
    return head.address != LOOPBACK or all(head.machine == front for front in deployment.front.machines)


def _alone(replicas: int, names: Sequence[str]) -> str:
    where = " and ".join(names)
    return f"its only replica is on {where}" if replicas == 1 else f"all of its {replicas} replicas are on {where}"


def _ways_away(deployment: Deployment, hosts: Iterable[Host], group: Collection[str]) -> Iterator[Away]:
    """Gateways and fronts that nobody stands in for and that restart, or go down with their host."""
    for host in hosts:
        updated = _restarted(host.changes)
        for gateway in deployment.gateways_on(host.machine):
            others = [each for each in deployment.gateways if each.name == gateway.name]
            if all(each.machine.name in group for each in others) and (host.reboots or gateway.name in updated):
                why = f"no other host has one, and it {'goes down with' if host.reboots else 'restarts on'} {host.name}"
                yield Away(what="gateway", name=gateway.name, why=why)
        fronts = deployment.front.machines
        if host.reboots and host.machine in fronts and all(each.name in group for each in fronts):
            why = f"no other host has one, and it goes down with {host.name}"
            yield Away(what="front", name=deployment.front.name, why=why)


def _rank(deployment: Deployment, names: Collection[str], seen: Seen, *, marked: bool, new: bool, alone: bool) -> int:
    if marked:
        return 0
    if new:
        return 1
    if alone:
        return 5
    if seen.holder in names:
        return 4
    ways = {each.machine.name for each in deployment.gateways} | {each.name for each in deployment.front.machines}
    return 3 if ways & set(names) else 2


def _ordered(deployment: Deployment, groups: Sequence[Group]) -> tuple[Group, ...]:
    """By rank, but after the groups whose new parts they need."""
    makers = {
        change.urn: number
        for number, group in enumerate(groups)
        for host in group.hosts
        for change in host.changes
        if change.kind == "create"
    }
    graph = {
        number: {
            makers[urn]
            for host in group.hosts
            for change in host.changes
            for urn in change.needs
            if urn in makers and makers[urn] != number
        }
        for number, group in enumerate(groups)
    }
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " and ".join(dict.fromkeys(groups[number].name for number in error.args[1]))
        raise UpgradeError(
            f"new parts on {circle} wait for one another, so these hosts can't be brought up in turn: `slipway up` brings them; "
            "what changes afterwards can roll"
        ) from None
    order = list(deployment.machines)
    found: list[Group] = []
    ready: list[int] = []
    while sorter.is_active():
        ready += sorter.get_ready()
        ready.sort(key=lambda number: (groups[number].rank, order.index(groups[number].hosts[0].name)))
        first = ready.pop(0)
        found.append(groups[first])
        sorter.done(first)
    return tuple(found)

"""How a rolling change reads: before it begins, where it stops, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.upgrade.packages import Brought
from slipway.upgrade.plan import Group, Host, Mark, Plan

PACKAGES = "the packages"
"""The step in which they are brought."""
REBOOT = "the reboot"
"""That for packages: what was stopped runs again after it, as after each boot."""
_LEAVES_OUT = (PACKAGES, "the change", "the start", "its checks")
"""Steps after whose failure a host serves nothing; after the others what was stopped runs."""


@dataclass
class Progress:
    """What became of one group."""

    state: str = "waiting"
    """waiting, changed or failed."""
    drained_s: float | None = None
    """What ending the requests in flight took."""
    out_s: float | None = None
    """From the drain until the front saw all of it well again."""
    failure: str | None = None
    after: str | None = None
    """What had been begun when it failed."""
    packages: dict[str, Brought] = field(default_factory=dict)
    """By host what became of its system's own."""
    booted: set[str] = field(default_factory=set)
    """Hosts that were rebooted since they were drained: mark and timer are gone, and what was stopped runs."""


@dataclass
class Report:
    """A whole rolling change, as far as it came."""

    stack: str
    plan: Plan
    progress: dict[str, Progress] = field(default_factory=dict)
    """By the group's name."""
    packages: bool = False
    """Whether the systems' own are brought too."""
    hosts: Sequence[str] = ()
    """To which the run is limited; all where empty."""

    @property
    def command(self) -> str:
        """What is repeated to go on."""
        return f"{self.back}{' --packages' if self.packages else ''}"

    @property
    def back(self) -> str:
        """The same without packages."""
        return " ".join([f"slipway upgrade {self.stack}", *(f"--host {name}" for name in self.hosts)])

    def of(self, group: Group) -> Progress:
        """Of one group."""
        return self.progress.setdefault(group.name, Progress())

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "stack": self.stack,
            "order": [self._group(group) for group in self.plan.groups],
            "done": list(self.plan.done),
            "left_out": list(self.plan.left_out),
            "put_off": [{"host": name, "reboot_due": why} for name, why in self.plan.put_off],
            "away": [
                {"hosts": [host.name for host in group.hosts], "what": each.what, "name": each.name, "why": each.why}
                for group, each in self.plan.away
            ],
        }

    def _group(self, group: Group) -> dict[str, Any]:
        progress = self.of(group)
        return {
            "hosts": [
                {
                    "host": host.name,
                    "changes": [{"instance": each.instance, "kind": each.kind} for each in host.changes],
                    "stops": list(host.stops),
                    "reboots": host.reboots,
                    "gives_floating_address": host.gives_address,
                    "drain_s": host.drain_s,
                    "drained_before": host.drained is not None,
                    "packages": _packages(host, progress),
                }
                for host in group.hosts
            ],
            "state": progress.state,
            "drained_s": progress.drained_s,
            "out_s": progress.out_s,
            "failure": progress.failure,
        }


def lines(plan: Plan) -> Iterator[str]:
    """What would be done, in its order."""
    if not plan.groups and not plan.put_off:
        yield (
            "every host is as the stack says"
            if not plan.left_out
            else "every host that was asked for is as the stack says"
        )
    if plan.first:
        yield f"first: {', '.join(change.key for change in plan.first)}; no host is drained for it"
    for number, group in enumerate(plan.groups, 1):
        for host in group.hosts:
            yield f"{number}. {host.name}: {_changes(host)}"
            yield f"   {_drain(host)}"
        for model, replicas in group.stand_ins.items():
            yield f"   {model} is answered by {', '.join(name.partition('@')[2] for name in replicas)} meanwhile"
        for each in group.away:
            yield f"   AWAY meanwhile: {each.what} {each.name}: {each.why}"
    if plan.done and plan.groups:
        yield f"done: {', '.join(plan.done)}"
    for name, why in plan.put_off:
        yield f"put off: {name} is to be rebooted ({why}), and nobody stands in for what it has: --allow-outage reboots it"
    if plan.left_out:
        yield f"left out: {', '.join(plan.left_out)}"


def refusal(report: Report) -> str:
    """Why it does not begin without leave."""
    plan = report.plan
    what = "; ".join(f"{each.what} {each.name} while {group.name} changes ({each.why})" for group, each in plan.away)
    return (
        f"nothing was touched: nobody would answer for {what}. Add a replica, or say `{report.command} --allow-outage`"
    )


def taken(host: str, mark: Mark, command: str) -> str:
    """Somebody else may be at work."""
    return (
        f"nothing was touched: {host} is drained by {mark.owner} on {mark.host} since {mark.since}, and puts itself back at "
        f"{mark.until}; if that run has ended, `{command} --take-over` goes on from it"
    )


def no_stand_in(group: Group, model: str, seen: Mapping[str, bool]) -> str:
    """A replica that would have to answer alone does not."""
    replicas = group.stand_ins[model]
    down = ", ".join(name.partition("@")[2] for name in replicas if not seen.get(name, False))
    return (
        f"{group.name} was left as it is: {model} would have no replica, as the front gets no answer from {down}; look at "
        "`slipway doctor` and at its unit there, and repeat"
    )


def stopped(report: Report, group: Group) -> str:
    """It failed at a host: what, who serves, how to go on and how to go back."""
    progress = report.of(group)
    done = [each.name for each in report.plan.groups if report.of(each).state == "changed"]
    waiting = [each.name for each in report.plan.groups if report.of(each).state == "waiting"]
    told = [f"{group.name}: {progress.after} failed: {progress.failure}"]
    if done or report.plan.done:
        told.append(f"changed: {', '.join([*report.plan.done, *done])}")
    if waiting:
        told.append(f"as they were: {', '.join(waiting)}")
    if group.stand_ins:
        told.append(
            "still served: "
            + "; ".join(
                f"{model} by {', '.join(name.partition('@')[2] for name in replicas)}"
                for model, replicas in group.stand_ins.items()
            )
        )
    if group.away:
        told.append(f"not served: {', '.join(f'{each.what} {each.name}' for each in group.away)}")
    out = [host for host in group.hosts if host.name not in progress.booted]
    if any(host.stops or host.gives_address for host in out) and progress.after in (*_LEAVES_OUT, REBOOT):
        told.append(
            f"{' and '.join(host.name for host in out)} stays out of service; without a further run it puts itself back after "
            f"{max(host.lease_s for host in out) // 60} min"
        )
    if progress.booted:
        told.append(
            f"what {' and '.join(sorted(progress.booted))} has runs as after each boot: it was rebooted, and is not drained"
        )
    told.append(f"to go on: mend what it says, then `{report.command}` goes on at {group.name}")
    if progress.after in (PACKAGES, REBOOT):
        told.append(f"to go back: `{report.back}`, without --packages, puts it back with the packages that it has")
    else:
        told.append(f"to go back: put the old value into the stack's file, then `{report.command}`")
    return "\n  ".join(told)


def ended(report: Report) -> Iterator[str]:
    """How long each was out."""
    for group in report.plan.groups:
        progress = report.of(group)
        if progress.state == "changed":
            yield f"{group.name}: changed; drained in {progress.drained_s or 0:.1f} s, out for {progress.out_s or 0:.1f} s"
        for name, brought in progress.packages.items():
            yield f"{name}: {brought.words}"


def _packages(host: Host, progress: Progress) -> dict[str, Any] | None:
    """What was pending on a host, and what became of it; None where nothing was, or nobody asked."""
    if host.packages is None:
        return None
    brought = progress.packages.get(host.name)
    return {"pending": host.packages.data(), "brought": None if brought is None else brought.data()}


def _changes(host: Host) -> str:
    words = ", ".join(change.words for change in host.changes)
    if host.packages is not None:
        words = "; ".join(each for each in (words, host.packages.words) if each)
    if host.drained is not None:
        left = f"left drained by {host.drained.owner} on {host.drained.host} since {host.drained.since}"
        return f"{left}; {words}" if words else f"{left}; it is put back"
    return words


def _drain(host: Host) -> str:
    told: Sequence[str] = (
        *(["gives the floating address to the other front"] if host.gives_address else []),
        *([f"stops {', '.join(host.stops)}, what they have begun ends within {host.drain_s} s"] if host.stops else []),
        *(["reboots"] if host.reboots else []),
    )
    return "; ".join(told) or "nothing is stopped beforehand"

"""`slipway upgrade`: a stack changes host by host, each drained before, verified after, and put back."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.doctor import examined, own_order
from cli.errors import UserError
from cli.packages import Packages, RebootError
from cli.pulumi import PulumiStack
from cli.remote import RemoteError, on_machine
from components.state import drivers_in, held_in
from slipway.deployment.resolve import catalog_of, resolve
from slipway.deployment.types import Deployment, Machine
from slipway.layers import acceptance, drivers, vacate
from slipway.paths import ROOT, STATE
from slipway.settings.load import read_public, stack_file
from slipway.upgrade.changes import applied, beside_of, changes_of
from slipway.upgrade.packages import Pending
from slipway.upgrade.plan import (
    Group,
    Host,
    Mark,
    Plan,
    Seen,
    made_beside,
    pending,
    plan,
    proofs_wait,
    targets,
    with_partners,
)
from slipway.upgrade.words import PACKAGES, REBOOT, Report, ended, lines, no_stand_in, refusal, stopped, taken

_AT_ONCE = 16
_ASK_S = 60
_STOPPING_S = 120
"""What a drain may take beyond the answers in flight: the units' own end, and the address that moves."""
_MOVES_S = 30
"""Within which the other front takes the floating address."""
_EVERY_S = 1.0
_SAID = "slipway-upgrade:"


class _FailedError(Exception):
    """A step of a group's turn: which, and why."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(why)
        self.step = step


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command was told.

    Attributes:
        hosts: limited to these; all where empty.
        preview: only say what would be done.
        allow_outage: go on where nobody answers for something meanwhile.
        take_over: go on where a run on another machine left a host drained.
        packages: bring the hosts' own packages up to date too, kernels included.
        as_json: one object on stdout; all else on stderr.
    """

    hosts: Sequence[str] = ()
    preview: bool = False
    allow_outage: bool = False
    take_over: bool = False
    packages: bool = False
    as_json: bool = False


def upgrade_stack(stack: str, options: Options, root: Path = ROOT) -> None:
    """Bring `stack` to what its file says, host by host.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UpgradeError: no such host.
        UserError: it does not begin, or a host failed: which, who serves, how to go on and back.
    """
    pulumi = PulumiStack(stack)
    with _alone(stack):
        if not pulumi.exists():
            raise UserError(
                f"stack {stack} was never up, so there is nothing to change in turn: take it up first, by `pulumi up --stack "
                f"{stack}` as its file says, or by `slipway up {stack}`, which does not ask"
            )
        pulumi.select()
        _Upgrade(stack, options, pulumi, root).run()


def _user() -> str:
    """Who runs this; the number of a user that this machine has no name for, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class _Upgrade:
    """One run."""

    def __init__(self, stack: str, options: Options, pulumi: PulumiStack, root: Path) -> None:
        self._stack, self._options, self._pulumi, self._root = stack, options, pulumi, root
        resources = pulumi.resources()
        settings = read_public(stack, root)
        self._deployment: Deployment = resolve(
            settings, catalog_of(settings, root), str(stack_file(stack, root).relative_to(root)), held_in(resources)
        )
        self._present = {f"{machine}/{instance}": urn for machine, instance, urn in applied(resources)}
        self._drivers = drivers_in(resources)
        self._noted: set[str] = set()
        with_driver = {key.partition("/")[0] for key in self._present if key.endswith(f"/{drivers.NAME}")}
        self._packages = Packages(self._deployment, root, with_driver)
        self._program = (root / "playbooks/module_utils/slipway_drain.py").read_text(encoding="utf-8")

    def run(self) -> None:
        preview = self._pulumi.preview()
        found = plan(
            self._deployment,
            changes_of(preview),
            self._seen(),
            self._options.hosts,
            beside=beside_of(preview),
            allow_outage=self._options.allow_outage,
        )
        report = Report(self._stack, found, packages=self._options.packages, hosts=self._options.hosts)
        self._say("\n".join(lines(report.plan)))
        if not self._options.preview:
            self._refuse(report)
            try:
                self._change(report)
            finally:
                self._say("\n".join(ended(report)))
        if self._options.as_json:
            print(json.dumps(report.data(), indent=2))

    def _change(self, report: Report) -> None:
        self._bring_first(report.plan)
        for group in report.plan.groups:
            progress = report.of(group)
            try:
                self._turn(group, report)
            except KeyboardInterrupt:
                names = ", ".join(host.name for host in group.hosts)
                self._say(
                    f"interrupted in the turn of {names}: what is stopped there is started by its timer at the latest; "
                    f"`{report.command}` goes on with it"
                )
                raise
            except _FailedError as error:
                progress.state, progress.failure, progress.after = "failed", str(error), error.step
                if self._options.as_json:
                    print(json.dumps(report.data(), indent=2))
                raise UserError(stopped(report, group), status=1) from None
            progress.state = "changed"
        if (report.plan.rest or report.plan.beside) and not self._options.hosts and not report.plan.left_out:
            self._say("what belongs to no host in turn")
            self._pulumi.up(to_stderr=self._options.as_json)

    def _bring_first(self, found: Plan) -> None:
        """What has the models for all hosts.

        Raises:
            UserError: it failed; no host was drained.
        """
        if not found.first:
            return
        self._say("the models' store, for which no host is drained")
        urns = [*(each.urn for each in found.first), *made_beside(found, pending(self._deployment, found.groups))]
        try:
            self._pulumi.up(to_stderr=self._options.as_json, targets=urns)
        except UserError as error:
            raise UserError(f"the models' store was not brought, so no host was drained: {error}", status=1) from None

    def _turn(self, group: Group, report: Report) -> None:
        """Drain, change, verify, put back."""
        progress = report.of(group)
        self._wait_for_stand_ins(group, report.plan)
        begun = time.monotonic()
        self._say(f"{group.name}: drain")
        self._drain(group)
        progress.drained_s = round(time.monotonic() - begun, 1)
        self._bring_packages(group, report)
        self._say(f"{group.name}: change")
        later = [each for each in report.plan.groups if each is not group and report.of(each).state != "changed"]
        waiting = pending(self._deployment, later)
        urns = targets(group, report.plan, self._present, waiting) if group.urns else ()
        if urns:
            with _failing("the change"):
                self._pulumi.up(to_stderr=self._options.as_json, targets=urns)
        self._say(f"{group.name}: verify")
        for host in group.hosts:
            self._asked(host.machine, "the start", {"action": "start"}, timeout_s=_STOPPING_S + group.start_s)
        self._wait_until_back(group)
        progress.out_s = round(time.monotonic() - begun, 1)
        # A host that fails its checks is drained once more.
        progress.booted.clear()
        self._verify(group, urns, waits=proofs_wait(report.plan, waiting))
        self._say(f"{group.name}: put back")
        for host in group.hosts:
            self._asked(host.machine, "the return", {"action": "end"})

    def _bring_packages(self, group: Group, report: Report) -> None:
        """Before the stack's own change, so that it meets the kernel that stays. A host that has booted is drained once more."""
        if not any(host.packages for host in group.hosts):
            return
        self._say(f"{group.name}: packages")
        progress = report.of(group)
        options = {"allow_outage": self._options.allow_outage, "to_stderr": self._options.as_json}
        try:
            with _failing(PACKAGES):
                for name, brought in self._packages.turn(group, self._pulumi, **options):
                    progress.packages[name] = brought
                    progress.booted |= {name} if brought.rebooted else set()
        except RebootError as error:
            progress.booted.add(error.name)
            raise _FailedError(REBOOT, str(error)) from None
        for name, brought in progress.packages.items():
            if brought.reboot_due:
                self._note(f"{name} is still to be rebooted: {brought.reboot_due}")
        if group.urns and progress.booted:
            self._drain(group)
            progress.booted.clear()

    def _drain(self, group: Group) -> None:
        """All hosts of the group; where one fails, all are put back: nothing has changed there yet."""
        try:
            for host in group.hosts:
                if host.gives_address:
                    self._give_address(host, group)
                self._drained(host, host.units)
        except _FailedError:
            for host in group.hosts:
                for action in ("start", "end"):
                    with contextlib.suppress(_FailedError):
                        timeout_s = _STOPPING_S + group.start_s
                        self._asked(host.machine, "the return", {"action": action}, timeout_s=timeout_s)
            raise

    def _give_address(self, host: Host, group: Group) -> None:
        """To the other front, before anything stops: one that has it, and that nobody takes it from, keeps it."""
        floating = self._deployment.front.floating
        others = [each for each in self._deployment.front.machines if each not in {it.machine for it in group.hosts}]
        if floating is None or not others:
            return
        look = {"action": "look", "address": floating.address}
        held = self._asked(host.machine, "the drain", look)["holds"]
        if held:
            for other in others:
                self._asked(other, "the drain", {"action": "serving", "port": self._deployment.front.port})
        self._drained(host, (), address=floating.address)
        ends = time.monotonic() + _MOVES_S
        while held and not any(self._asked(other, "the drain", look)["holds"] for other in others):
            if time.monotonic() > ends:
                names = ", ".join(other.name for other in others)
                raise _FailedError(
                    "the drain",
                    f"{names} did not take the floating address {floating.address} within {_MOVES_S} s after "
                    f"{host.name} had let go of it; look at slipway-keepalived.service and at the front there",
                )
            time.sleep(_EVERY_S)

    def _drained(self, host: Host, units: Sequence[str], *, address: str | None = None) -> None:
        order = {
            "action": "drain",
            "owner": f"{_user()} (pid {os.getpid()})",
            "host": socket.gethostname(),
            "units": list(units),
            "first": [unit for unit in host.first_units if unit in units],
            "lease_s": host.lease_s,
            "address": address,
        }
        # A unit's drain may be one that it was set up with under other settings.
        self._asked(host.machine, "the drain", order, timeout_s=max(host.drain_s, vacate.LONGEST_S) + _STOPPING_S)

    def _verify(self, group: Group, urns: Sequence[str], *, waits: bool) -> None:
        """The host's own checks, and an answer of each model through the front, unless that waits for what is to be made."""
        for host in group.hosts:
            if host.machine.gpus:
                asked = own_order(self._deployment, host.machine, self._root)
                found = examined(self._deployment, host.machine, asked, self._root)
                if not found.well:
                    why = found.error or "; ".join(
                        f"{each.id}: {'; '.join(each.evidence)}: {each.mend}" for each in found.results if each.weighs
                    )
                    for each in group.hosts:
                        with contextlib.suppress(_FailedError):
                            self._drained(each, each.units)
                    raise _FailedError(
                        "its checks", why or f"`slipway doctor {self._stack} --host {host.name}` says why"
                    )
        proofs = [urn for key, urn in self._present.items() if key.endswith(f"/{acceptance.NAME}")]
        # An `up` that changed what answers has asked already.
        if not waits and not set(proofs) & set(urns):
            with _failing("the answer through the front"):
                self._pulumi.up(to_stderr=self._options.as_json, replaces=proofs)

    def _wait_for_stand_ins(self, group: Group, found: Plan) -> None:
        """Who has just been put back may be asked once more before the front trusts it.

        A model that is answered by nobody, here neither, loses nothing.
        """
        waived = {each.name for _, each in found.away} if self._options.allow_outage else set()
        asked = {model: names for model, names in group.stand_ins.items() if model not in waived}
        if not asked:
            return
        ends = time.monotonic() + _ASK_S
        while True:
            seen = self._serving(group)
            lacking = [
                model
                for model, names in asked.items()
                if model not in group.unseen
                and not any(map(seen.get, names))
                and (not seen or any(seen.get(name) for name in group.backends if name.rpartition("@")[0] == model))
            ]
            if not lacking:
                return
            if time.monotonic() > ends:
                raise _FailedError("the look at the others", no_stand_in(group, lacking[0], seen))
            time.sleep(_EVERY_S)

    def _wait_until_back(self, group: Group) -> None:
        """Until a front sees each replica here well: it has generated for the front by then."""
        ends = time.monotonic() + group.start_s
        while True:
            seen = self._serving(None)
            # One that is new is not listed until the front's own part has changed.
            lacking = [name for name in group.backends if not seen.get(name, bool(seen))]
            if not lacking:
                return
            if time.monotonic() > ends:
                raise _FailedError(
                    "the wait for an answer", f"the front gets none from {', '.join(lacking)} within {group.start_s} s"
                )
            time.sleep(_EVERY_S)

    def _serving(self, but: Group | None) -> Mapping[str, bool]:
        """What a front says of its backends: of the first one that answers, those of `but` last."""
        here = set() if but is None else {host.name for host in but.hosts}
        fronts = sorted(self._deployment.front.machines, key=lambda machine: machine.name in here)
        why = "there is no front"
        for machine in fronts:
            try:
                order = {"action": "serving", "port": self._deployment.front.port}
                found: Mapping[str, bool] = self._asked(machine, "the front", order)["backends"]
            except _FailedError as error:
                why = str(error)
                continue
            return found
        self._note(why)
        return {}

    def _seen(self) -> Seen:
        """What hosts say of themselves. All that are to change have to answer, since each may be the one that is out."""
        floating = self._deployment.front.floating
        order = {"action": "look", "address": None if floating is None else floating.address}
        known = {key.partition("/")[0] for key in self._present}
        here = [machine for name, machine in self._deployment.machines.items() if name in known]
        asked_for = with_partners(self._deployment, self._options.hosts)

        def look(machine: Machine) -> Mapping[str, Any] | str:
            try:
                return self._asked(machine, "the look at it", order)
            except _FailedError as error:
                return str(error)

        said: dict[str, Mapping[str, Any]] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for machine, answer in zip(here, pool.map(look, here), strict=True):
                if not isinstance(answer, str):
                    said[machine.name] = answer
                elif self._options.hosts and machine.name not in self._options.hosts:
                    self._note(answer)
                else:
                    raise UserError(f"nothing was touched: {answer}; mend that, or name the others by --host")
        marks = {
            name: Mark(**{key: answer["mark"][key] for key in ("owner", "host", "since", "until", "over")})
            for name, answer in said.items()
            if answer["mark"] is not None
        }
        holder = next((name for name, answer in said.items() if answer["holds"]), None)
        return Seen(
            known=known,
            drivers=self._drivers,
            marks=marks,
            holder=holder,
            listed=frozenset(self._serving(None)),
            packages=self._pending([each for each in here if each.name in said and each.name in asked_for]),
            unasked=[each.name for each in here if self._options.packages and each.name not in asked_for],
        )

    def _pending(self, machines: Sequence[Machine]) -> Mapping[str, Pending]:
        if not self._options.packages:
            return {}
        try:
            return self._packages.pending(machines, fresh=not self._options.preview)
        except UserError as error:
            raise UserError(f"nothing was touched: {error}") from None

    def _refuse(self, report: Report) -> None:
        """Before anything happens.

        Raises:
            UserError: somebody else is at work, or something would be away without leave.
        """
        for group in report.plan.groups:
            for host in group.hosts:
                mark = host.drained
                foreign = mark is not None and mark.host != socket.gethostname() and not mark.over
                if mark is not None and foreign and not self._options.take_over:
                    raise UserError(taken(host.name, mark, report.command))
        if report.plan.away and not self._options.allow_outage:
            raise UserError(refusal(report))

    def _asked(
        self, machine: Machine, step: str, order: Mapping[str, Any], *, timeout_s: float = _ASK_S
    ) -> Mapping[str, Any]:
        """What the host answers to an order of `slipway_drain`."""
        call = f"import json\nprint({_SAID!r} + json.dumps(run(json.loads({json.dumps(order)!r}))))\n"
        try:
            said = on_machine(
                self._deployment,
                machine,
                "/usr/bin/python3 -I -B -",
                given=f"{self._program}\n{call}",
                timeout_s=timeout_s,
            )
        except RemoteError as error:
            raise _FailedError(step, str(error)) from None
        text = next((line for line in said.splitlines() if line.startswith(_SAID)), None)
        if text is None:
            raise _FailedError(step, f"{machine.name} answered nothing that could be read")
        answer: Mapping[str, Any] = json.loads(text.removeprefix(_SAID))
        if "error" in answer:
            raise _FailedError(step, f"{machine.name}: {answer['error']}")
        return answer

    def _say(self, text: str) -> None:
        if text:
            print(text, file=sys.stderr if self._options.as_json else sys.stdout, flush=True)

    def _note(self, text: str) -> None:
        """What does not stop the run, once however often it is seen."""
        if text not in self._noted:
            self._noted.add(text)
            print(text, file=sys.stderr)


@contextlib.contextmanager
def _failing(step: str) -> Iterator[None]:
    try:
        yield
    except RebootError:
        raise
    except UserError as error:
        raise _FailedError(step, str(error)) from None


@contextlib.contextmanager
def _alone(stack: str) -> Iterator[None]:
    """One run of this machine on a stack: the kernel lets go of the lock of a run that was killed.

    Raises:
        UserError: another one is at work.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / f"upgrade-{stack}.lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another `slipway upgrade {stack}` is at work on this machine; wait for its end") from None
        yield

"""The packages of hosts' own systems within `slipway upgrade`: what is pending on each, bringing it, and the reboot."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cli.carried import asked
from cli.errors import UserError
from cli.pulumi import PulumiStack
from cli.remote import RemoteError
from slipway.deployment.types import Deployment, Machine
from slipway.layers import drivers
from slipway.layers.step import step_key
from slipway.upgrade.packages import BRING_S, REBOOT_S, WAIT_S, Brought, Pending, order
from slipway.upgrade.plan import Group, Host, away_at_reboot

_AT_ONCE = 16
_LOOK_S = 600 + WAIT_S
_EVERY_S = 2.0
_BESIDE = ("slipway_apt", "slipway_dnf", "slipway_kernels", "slipway_modules", "slipway_packages")


class RebootError(UserError):
    """A host has been rebooted, and is not as it should be then."""

    def __init__(self, machine: Machine, why: str) -> None:
        """Of this machine."""
        super().__init__(f"{machine.name} {why}")
        self.name = machine.name


class Packages:
    """Those of a stack's hosts."""

    def __init__(self, deployment: Deployment, root: Path, drivers_on: Collection[str]) -> None:
        """Of this stack, with the programs below `root`; `drivers_on` names the machines that Slipway has put a driver on."""
        self._deployment, self._root, self._drivers_on = deployment, root, drivers_on

    def pending(self, machines: Iterable[Machine], *, fresh: bool) -> dict[str, Pending]:
        """By machine what there is to do, without those that have nothing.

        Args:
            machines: which.
            fresh: whether the hosts fetch their lists first; else nothing changes on them.

        Raises:
            UserError: one can't be asked, or says why it can't be brought up to date.
        """
        known = list(machines)

        def look(machine: Machine) -> Pending:
            return Pending.of(
                self._asked(machine, "look", self._order(machine, fresh=fresh), timeout_s=_LOOK_S), machine
            )

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = dict(zip((each.name for each in known), pool.map(look, known), strict=True))
        return {name: each for name, each in found.items() if each.due}

    def turn(
        self, group: Group, pulumi: PulumiStack, *, allow_outage: bool, to_stderr: bool
    ) -> Iterator[tuple[str, Brought]]:
        """Brings those of a group that is drained, host by host: the host's name, and what became of it.

        The role of the driver runs again after a new kernel: it notes and holds what came, and finds all else as it is.

        Raises:
            UserError: as `bring`, or the role failed.
        """
        for host in group.hosts:
            pending = host.packages
            if pending is None:
                continue

            def may_reboot(host: Host = host, pending: Pending = pending) -> bool:
                unforeseen = not host.reboots and bool(away_at_reboot(self._deployment, group))
                return pending.may_reboot and (allow_outage or not unforeseen)

            brought = self.bring(host.machine, may_reboot)
            yield host.name, brought
            # Without a target an `up` would be one of the whole stack.
            key = f"::{step_key(host.machine, drivers.NAME)}"
            urns = [urn for urn in pulumi.resources() if urn.endswith(key)] if brought.role_due else []
            if urns:
                pulumi.up(to_stderr=to_stderr, targets=urns, refresh=True)
                self._asked(host.machine, "role_ran", self._order(host.machine, fresh=False), timeout_s=_LOOK_S)

    def bring(self, machine: Machine, may_reboot: Callable[[], bool]) -> Brought:
        """Brings a host's packages, and reboots it where that is due.

        Args:
            machine: which; it is drained.
            may_reboot: asked where a reboot is due.

        Raises:
            UserError: it did not work; then the host is not rebooted, or did not come back.
        """
        begun = time.monotonic()
        told = self._order(machine, fresh=True)
        found = self._asked(machine, "bring", told, timeout_s=BRING_S + WAIT_S)
        reason, rebooted = found["reboot"], False
        if reason and may_reboot():
            reason, rebooted = self._reboot(machine, told, found["kernel"]), True
        return Brought(
            changed=tuple(found["changed"]),
            rebooted=rebooted,
            reboot_due=reason,
            seconds=round(time.monotonic() - begun, 1),
            role_due=found["role_due"],
        )

    def _reboot(self, machine: Machine, told: Mapping[str, Any], kernel: str) -> str:
        """Why another one would be due afterwards."""
        before = self._asked(machine, "reboot", told, timeout_s=_LOOK_S)["boot_id"]
        ends = time.monotonic() + REBOOT_S
        while True:
            time.sleep(_EVERY_S)
            try:
                now = self._asked(machine, "running", told, timeout_s=60)
            except RemoteError:
                now = {"boot_id": before}
            if now["boot_id"] != before:
                break
            if time.monotonic() > ends:
                raise RebootError(machine, f"did not come back from its reboot within {REBOOT_S // 60} min")
        if kernel and now["kernel"] != kernel:
            raise RebootError(
                machine,
                f"was rebooted for kernel {kernel}, and runs {now['kernel']}: see what its boot loader takes "
                "(GRUB_DEFAULT, grubby --default-kernel)",
            )
        return str(now["reboot"])

    def _order(self, machine: Machine, *, fresh: bool) -> dict[str, Any]:
        return order(machine, fresh=fresh, driver=machine.name in self._drivers_on)

    def _asked(self, machine: Machine, what: str, told: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Raises UserError where the host says that it did not work, RemoteError where it can't be asked."""
        found = asked(
            self._deployment,
            machine,
            self._root,
            f"system_packages.turn.{what}",
            dict(told),
            timeout_s=timeout_s,
            beside=_BESIDE,
        )
        if "error" in found:
            raise UserError(f"{machine.name}: {found['error']}")
        return found

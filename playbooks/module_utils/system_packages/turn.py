"""A host's turn: what is pending, bringing it, and the reboot. Plain data in and out.

Each function takes an order, ``{"driver": {"broken_kernels": [{"system", "first", "below"}], "setting": its place in the stack}
or None, "fresh": bool, "wait_s": int}``: the driver where it is Slipway's; whether lists are fetched first; how long another run
on the host is waited for. What does not work is ``{"error": …}``.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.slipway_kernels import broken_from
from ansible.module_utils.slipway_modules import compiler_said, module_of
from ansible.module_utils.slipway_packages import PackageError, locked

from . import kernels
from .debian import Debian
from .pending import Pending, System
from .redhat import RedHat

FOLDER = Path("/var/lib/slipway/packages")
"""Where owned_packages has its records, and its lock."""
RELEASED = "released"
"""The holds that a run has lifted, until they are back."""
TRIED = "tried"
"""What a run has installed to build modules for a kernel, until they are there."""
ROLE_DUE = "role-due"
"""The kernels for which the driver's role is still to run, from before they come until it has."""
RELEASE = Path("/etc/os-release")
_REDHAT = re.compile(r"^ID(_LIKE)?=.*\b(rhel|fedora)\b", re.MULTILINE)

Order = dict[str, Any]
Answer = dict[str, Any]


def look(order: Order) -> Answer:
    """What there is to do; changes nothing, unless lists are to be fetched.

    Returns:
        ``{"upgraded", "new", "removed", "kernels": names, "unfinished": whether something was cut off, "role_due": whether the
        driver's role is to run, "reboot": why it is due already or "", "age_s": of the lists or None}``.
    """
    system = this_system()
    try:
        with locked(FOLDER, order["wait_s"]) if order["fresh"] else contextlib.nullcontext():
            if order["fresh"]:
                system.refresh()
            held = system.kernel_holds(FOLDER) | _noted(RELEASED) if order["driver"] else set()
            cut_off = system.unfinished()
            try:
                pending = system.pending(held)
            except PackageError:
                # What is half way has to be completed before anything can be told.
                if not cut_off:
                    raise
                pending = Pending()
            _refuse_kernels(order, pending)
    except PackageError as error:
        return {"error": str(error)}
    return {
        "upgraded": pending.upgraded,
        "new": pending.new,
        "removed": pending.removed,
        "kernels": pending.kernels,
        "unfinished": cut_off or bool(_noted(RELEASED) | _noted(TRIED)),
        "role_due": bool(order["driver"] and _noted(ROLE_DUE)),
        "reboot": _due(system),
        "age_s": system.age(),
    }


def bring(order: Order) -> Answer:
    """Brings all up to date; a host on which that fails is never to be rebooted.

    Returns:
        ``{"changed": names, "kernel": the one of the next boot where that is newer, "role_due": whether the driver's role is to
        run, "reboot": why it is due or "", "seconds": …}``.
    """
    begun, system = time.monotonic(), this_system()
    try:
        with locked(FOLDER, order["wait_s"]):
            before = system.versions()
            _take_back(system)
            released = _noted(RELEASED)
            try:
                system.finish()
            finally:
                _hold_again(system)
            system.refresh()
            held = system.kernel_holds(FOLDER) | released if order["driver"] else set()
            pending = system.pending(held)
            _refuse_kernels(order, pending)
            for kernel in pending.kernels if order["driver"] else ():
                _make_modules(system, kernel, order["driver"]["setting"])
            if not order["driver"]:
                _forget(ROLE_DUE)
            elif pending.kernels:
                _note(ROLE_DUE, {*_noted(ROLE_DUE), *pending.kernels})
            with _released(system, held):
                system.upgrade()
            _expect_modules(system, order)
            after = system.versions()
            reason = _due(system)
    except PackageError as error:
        return {"error": str(error)}
    return {
        "changed": sorted(name for name in {*before, *after} if before.get(name) != after.get(name)),
        "kernel": kernels.newer(),
        "role_due": bool(_noted(ROLE_DUE)),
        "reboot": reason,
        "seconds": round(time.monotonic() - begun, 1),
    }


def role_ran(order: Order) -> Answer:
    """The driver's role has noted the kernels that are there."""
    try:
        with locked(FOLDER, order["wait_s"]):
            _forget(ROLE_DUE)
    except PackageError as error:
        return {"error": str(error)}
    return {}


def reboot(order: Order) -> Answer:  # noqa: ARG001 -- as the others
    """In a moment, so that who asks has an answer → ``{"boot_id": of now}``."""
    done = subprocess.run(
        ("systemd-run", "--quiet", "--collect", "--on-active=1", "--timer-property=AccuracySec=100ms",
         "systemctl", "reboot"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (
        {"boot_id": kernels.boot_id()} if done.returncode == 0 else {"error": done.stderr.strip() or "no timer for it"}
    )


def running(order: Order) -> Answer:  # noqa: ARG001 -- as the others
    """``{"boot_id", "kernel": that runs, "reboot": why one is due or ""}``."""
    return {"boot_id": kernels.boot_id(), "kernel": kernels.running(), "reboot": _due(this_system())}


def this_system() -> System:
    """By its os-release."""
    release = RELEASE.read_text(encoding="utf-8")
    return RedHat() if _REDHAT.search(release) else Debian()


def _make_modules(system: System, kernel: str, setting: str) -> None:
    """Before the kernel comes, so that a host for whose new kernel there are none keeps the one that it has."""
    if not _lacks(kernel):
        return
    names, why = system.for_kernel(kernel), ""
    try:
        planned = system.plan(names)
        if planned:
            _note(TRIED, planned)
            _note(TRIED, {*planned, *system.install([name for name in names if name in planned], FOLDER)})
        why = system.build(kernel) if _lacks(kernel) else ""
    except PackageError as error:
        why = compiler_said() or str(error)
    lacks = _lacks(kernel)
    if lacks:
        _take_back(system)
        raise PackageError(
            f"there are no modules of the driver for kernel {kernel} ({why or lacks}), so neither it nor any "
            f"other package was brought: bring a branch that has some first ({setting}.branch, by a run without --packages), or "
            "wait for one"
        )
    _forget(TRIED)


def _take_back(system: System) -> None:
    """What was installed for modules that are not there: left half way, it would fail each later run of the package manager."""
    tried = _noted(TRIED)
    if tried:
        system.remove(sorted(tried), FOLDER)
    _forget(TRIED)


def _lacks(kernel: str) -> str:
    """Why a driver of Slipway's, which is held, does not work with a kernel; empty where it does."""
    found, runs = module_of(kernel), module_of(kernels.running())
    if found is None:
        return "nobody built them"
    if runs is not None and found[1] != runs[1]:
        return f"there are some of version {found[1]}, and the driver is {runs[1]}"
    return ""


def _expect_modules(system: System, order: Order) -> None:
    """Whoever brought the driver: what the running kernel has the next one needs."""
    kernel, ours = kernels.newer(), order["driver"]
    if not kernel or (not ours and module_of(kernels.running()) is None):
        return
    # Another one's driver may have come in a new version along with the kernel.
    why = system.build(kernel) if ours and _lacks(kernel) else ""
    if _lacks(kernel) if ours else module_of(kernel) is None:
        raise PackageError(
            f"kernel {kernel} is installed, and there are no modules of the driver for it ({why or _lacks(kernel)}); the "
            f"host was not rebooted, and must not be: see `dkms status`, build them (`dkms autoinstall -k {kernel}`), or remove "
            "that kernel"
        )


def _refuse_kernels(order: Order, pending: Pending) -> None:
    """Kernels that the driver's modules are known not to build for."""
    driver = order["driver"] or {"broken_kernels": (), "setting": ""}
    here = _identity()
    for kernel in pending.kernels:
        first = broken_from(kernel, here, driver["broken_kernels"])
        if first:
            raise PackageError(
                f"the driver's modules are known not to build for kernel {kernel} (from {first} on), so no package "
                f"was brought: bring another {driver['setting']}.branch first, by a run without --packages"
            )


def _identity() -> str:
    """Such as ``debian-12``; what is rebuilt from RHEL is ``redhat``, as the catalogue has it."""
    text = RELEASE.read_text(encoding="utf-8")
    if _REDHAT.search(text):
        return "redhat"
    found = [re.search(rf"^{key}=\"?([\w.]+)", text, re.MULTILINE) for key in ("ID", "VERSION_ID")]
    return "-".join(match[1] for match in found if match is not None)


def _due(system: System) -> str:
    kernel = kernels.newer()
    return f"kernel {kernel} is installed, and {kernels.running()} runs" if kernel else system.reboot_asked()


def _hold_again(system: System) -> None:
    """What a run that was cut off has left without its holds, also where its note can't be read; the note goes last."""
    if (FOLDER / RELEASED).exists():
        system.keep(_noted(RELEASED), FOLDER)
        _forget(RELEASED)


@contextlib.contextmanager
def _released(system: System, held: set[str]) -> Iterator[None]:
    """The note first: a run that is killed in between leaves it to the next one."""
    if not held:
        yield
        return
    _note(RELEASED, held)
    system.release(held)
    try:
        yield
    finally:
        _hold_again(system)


def _noted(name: str) -> set[str]:
    try:
        return set(json.loads((FOLDER / name).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()


def _note(name: str, packages: Iterable[str]) -> None:
    part = FOLDER / f".{name}.part"
    part.write_text(json.dumps(sorted(packages)), encoding="utf-8")
    part.replace(FOLDER / name)


def _forget(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        (FOLDER / name).unlink()

#!/usr/bin/python
"""Ansible module: packages with an owner, so that a removal takes away what was brought in and nothing else.

It installs packages, records which of them (dependencies included) were not on the host before, holds packages
against upgrades, and undoes exactly that. It does not upgrade packages and does not configure their sources. How it speaks to
apt and to dnf stands in module_utils/slipway_apt.py and slipway_dnf.py, the records in slipway_packages.py.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway_apt import Apt
from ansible.module_utils.slipway_dnf import Dnf
from ansible.module_utils.slipway_packages import (
    UNITS,
    Change,
    Manager,
    Outcome,
    PackageError,
    Record,
    Wish,
    hand_over,
    is_masked,
    locked,
    others,
    set_masks,
    sweep,
    unit_files,
)
from ansible.module_utils.slipway_systems import SUPPORTED, System, this_system

DOCUMENTATION = r"""
module: owned_packages
short_description: Install packages with apt or dnf and remember who brought them in
description:
  - Installs packages without recommended ones, and records every package that was new to the host.
  - All names are Debian's; C(module_utils/slipway_systems.py) knows what the packages are called elsewhere.
  - C(state=absent) purges what this owner brought in, unless another owner or another package needs it.
  - The plan is on disk before anything is installed, so a run that was killed is completed by the next one.
  - Services that come with new packages are not started.
options:
  owner:
    description: Name of the role that owns the packages.
    type: str
    required: true
  names:
    description: Real (not virtual) package names, as Debian has them. C(NAME=VERSION), where the version may be a shell pattern,
      asks for that version, be it older or newer than what is there, held or not.
    type: list
    elements: str
    default: []
  without:
    description: Packages that must not be there beside them; they are purged in the same step (with apt alone).
    type: list
    elements: str
    default: []
  hold:
    description: Names or shell patterns of installed packages that upgrades must leave alone, as they are called on the host.
    type: list
    elements: str
    default: []
  mask:
    description: Units that must never run, if it was this owner's packages that brought them; an administrator's own stay.
    type: list
    elements: str
    default: []
  leftovers:
    description: Paths that the packages make and leave behind when they are purged. They go with the packages, unless they
      were there before; folders only when empty.
    type: list
    elements: path
    default: []
  state:
    description: Whether the packages are to be there.
    type: str
    choices: [present, absent]
    default: present
  folder:
    description: Where the records lie.
    type: path
    default: /var/lib/slipway/packages
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Install nginx
  owned_packages:
    owner: nginx
    names: [nginx-light]
"""

RETURN = r"""
installed:
  description: Packages that were, or in check mode would be, newly installed.
  type: list
  returned: always
removed:
  description: Packages that were, or in check mode would be, purged.
  type: list
  returned: always
manages:
  description: What there is to look at on the host, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: always
"""

MANAGERS = {"apt": Apt, "dnf": Dnf}


def wish_of(arguments: dict[str, Any], system: System) -> Wish:
    """What the module's arguments say, with packages called as they are on this system."""
    pairs = [name.partition("=") for name in arguments["names"]]
    exact = {own: version for name, _, version in pairs if version for own in system.named([name])}
    names = system.named([name for name, _, _ in pairs])
    return Wish(names, exact, **{name: arguments[name] for name in ("without", "hold", "mask", "leftovers")})


def present(manager: Manager, folder: Path, owner: str, wish: Wish, *, dry: bool) -> Outcome:
    """Install what is missing, record what came with it, hold and mask what is to be held and masked."""
    path = folder / f"{owner}.json"
    stored = Record.load(path)
    record = stored or Record()
    outcome = Outcome()
    now = manager.installed()
    wish = with_holder(manager, wish, now)
    asked = set(wish.exact) & now
    have = manager.versions(asked) if asked else {}  # without names dpkg-query lists all there are
    others_there = {name for name, version in have.items() if not fnmatch.fnmatchcase(version, wish.exact[name])}
    missing = sorted((set(wish.names) - now) | others_there)
    unwanted = sorted(set(wish.without) & now)
    change = Change(missing, {name: wish.exact[name] for name in missing if name in wish.exact}, unwanted)
    expect(record, wish, fresh=bool(missing) and not record.planned)
    new_masks = {unit for unit in record.masked if not is_masked(unit)}
    outcome.notes += [f"masked: {unit}" for unit in sorted(new_masks)]
    outcome.notes += [f"another version: {name}" for name in sorted(others_there)]
    outcome.removed |= set(unwanted)
    if change or record.planned or manager.unfinished():
        outcome.changed = True
        if dry:
            with contextlib.suppress(PackageError):  # without lists no more than the names can be told
                outcome.installed = manager.plan(change, now)
            outcome.installed |= set(missing) - now
        else:
            outcome.installed = install(manager, path, record, change, now)
            now = manager.installed()
    if new_masks and not dry:
        set_masks(new_masks, masked=True)
    settle(manager, path, wish, record, outcome, now=now, stored=stored, dry=dry)
    outcome.changed |= bool(outcome.notes)
    return outcome


def with_holder(manager: Manager, wish: Wish, now: set[str]) -> Wish:
    """The wish with what the manager needs to hold anything, where there is something to hold."""
    if not matching(wish.hold, now | set(wish.names)):
        return wish
    return replace(wish, names=[*wish.names, *manager.holder])


def matching(patterns: list[str], names: set[str]) -> set[str]:
    """The names that one of the shell patterns names."""
    return {name for name in names for pattern in patterns if fnmatch.fnmatchcase(name, pattern)}


def expect(record: Record, wish: Wish, *, fresh: bool) -> None:
    """Note what the packages will bring along, as long as it can be told from what was there before."""
    # A unit that is there before our packages are is somebody else's and goes on running.
    record.masked = sorted(set(wish.mask) & ({*record.masked} | ({*wish.mask} - set(unit_files()))))
    record.leftovers = sorted(
        path for path in wish.leftovers if path in record.leftovers or (fresh and not os.path.lexists(path))
    )


def settle(
    manager: Manager,
    path: Path,
    wish: Wish,
    record: Record,
    outcome: Outcome,
    *,
    now: set[str],
    stored: Record | None,
    dry: bool,
) -> None:
    """Bring the manager's marks and the record to what was asked for."""
    wanted = matching(wish.hold, now)
    # Without anything to hold, now or before, it is not asked what is held.
    held = manager.marked("hold") if wanted or record.held else set()
    marks = {
        "manual": (set(wish.names) & now) - manager.marked("manual"),
        "hold": wanted - held,
        "unhold": (set(record.held) & held) - wanted,
    }
    updated = Record(
        requested=sorted(wish.names),
        packages=sorted((set(record.packages) | outcome.installed) & now),
        held=sorted((set(record.held) | marks["hold"]) & wanted),
        masked=record.masked,
        leftovers=record.leftovers,
        manual=sorted((set(record.manual) | (marks["manual"] - outcome.installed)) & now),
    )
    outcome.notes += [f"{mark}: {name}" for mark, names in marks.items() for name in sorted(names)]
    if updated != stored:
        outcome.notes.append(f"record {path} written")
        if not dry:
            updated.save(path)  # before the marks: what is in the record without its mark is mended, the reverse is not
    if not dry:
        for mark, names in marks.items():
            manager.mark(mark, names)


def install(manager: Manager, path: Path, record: Record, change: Change, now: set[str]) -> set[str]:
    """Install with the plan on disk first; returns the packages that are new, an earlier killed run's included."""
    if change and manager.stale():
        manager.refresh()
    if not record.planned:
        record.units = unit_files()
    before = now - set(record.planned)
    with manager.quiet(record.units):
        for attempt in (1, 2):
            try:
                manager.complete()
                plan = manager.plan(change, before) if change else set()
                record.planned = sorted(set(record.planned) | plan)
                record.save(path)
                if change:
                    manager.install(change)
                break
            except PackageError:
                # A mirror drops superseded versions: with fresh lists the second attempt finds the new ones.
                if attempt == 2:
                    raise
                manager.refresh()
    return (manager.installed() - before) & (set(record.planned) | set(change.names))


def absent(manager: Manager, folder: Path, owner: str, *, dry: bool) -> Outcome:
    """Purge what this owner brought in and nobody else needs; give marks and holds back; drop the record."""
    path = folder / f"{owner}.json"
    outcome = Outcome()
    record = Record.load(path)
    if record is None:
        return outcome
    outcome.changed = True
    now = manager.installed()
    rest = others(folder, owner)
    shared = {name for other in rest for name in (*other.packages, *other.requested, *other.planned)}
    candidates = ((set(record.packages) | set(record.planned)) & now) - shared
    held = manager.marked("hold") if record.held else set()
    holds = (set(record.held) & held) - {name for other in rest for name in other.held}
    automatic = (set(record.manual) & now) - {name for other in rest for name in other.requested}
    outcome.notes += [f"no longer held: {name}" for name in sorted(holds)]
    if dry:
        outcome.removed = candidates
        return outcome
    manager.mark("unhold", holds)
    manager.tidy()
    manager.complete()
    manager.mark("auto", automatic | candidates)
    # What is now needed by nothing, in the manager's own judgement: a package that the administrator installed later
    # and that depends on one of ours keeps it.
    outcome.removed = candidates & manager.unneeded(now)
    if outcome.removed:
        manager.remove(outcome.removed)
    hand_over(folder, owner, (set(record.packages) | set(record.planned)) & manager.installed())
    manager.purge_leftovers(set(record.packages))
    set_masks(set(record.masked), masked=False)
    sweep(record.leftovers)
    path.unlink()
    if kept := candidates - outcome.removed:
        outcome.notes.append(f"kept, other packages need them: {' '.join(sorted(kept))}")
    return outcome


def manages(folder: Path, arguments: dict[str, Any], wish: Wish) -> list[dict[str, Any]]:
    """What shows whether all is as it was left: the packages with their holds, the record and the masks."""
    things: list[dict[str, Any]] = [{"kind": "path", "path": str(folder / f"{arguments['owner']}.json")}]
    if arguments["state"] == "present":
        things.append({"kind": "packages", "names": sorted({*wish.names, *wish.without, *wish.hold})})
        things += [{"kind": "path", "path": str(UNITS / unit)} for unit in arguments["mask"]]
    return things


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "owner": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "without": {"type": "list", "elements": "str", "default": []},
            "hold": {"type": "list", "elements": "str", "default": []},
            "mask": {"type": "list", "elements": "str", "default": []},
            "leftovers": {"type": "list", "elements": "path", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "folder": {"type": "path", "default": "/var/lib/slipway/packages"},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    folder = Path(arguments["folder"])
    system = this_system()
    if system is None:
        module.fail_json(
            msg=f"packages of {arguments['owner']}: this system is not supported; Slipway needs {SUPPORTED}"
        )
        return
    manager: Manager = MANAGERS[system.manager]()
    wish = wish_of(arguments, system)
    # A check takes no lock: it must leave no folder behind, and it only reads.
    dry: bool = module.check_mode
    idle = arguments["state"] == "absent" and not (folder / f"{arguments['owner']}.json").exists()
    guard = contextlib.nullcontext() if dry or idle else locked(folder)
    try:
        with guard:
            if arguments["state"] == "present":
                outcome = present(manager, folder, arguments["owner"], wish, dry=dry)
            else:
                outcome = absent(manager, folder, arguments["owner"], dry=dry)
    except PackageError as error:
        module.fail_json(msg=f"packages of {arguments['owner']}: {error}")
        return
    except FileNotFoundError as error:
        module.fail_json(
            msg=f"packages of {arguments['owner']}: {error.filename} is not there, and {system.name} needs it to install packages"
        )
        return
    lines = [f"removed: {name}" for name in sorted(outcome.removed)]
    added = [f"installed: {name}" for name in sorted(outcome.installed)] + outcome.notes
    module.exit_json(
        changed=outcome.changed,
        installed=sorted(outcome.installed),
        removed=sorted(outcome.removed),
        manages=manages(folder, arguments, wish),
        diff={
            "before_header": f"packages of {arguments['owner']}",
            "after_header": f"packages of {arguments['owner']}",
            "before": "".join(f"{line}\n" for line in (["installed: " + name for name in sorted(outcome.removed)])),
            "after": "".join(f"{line}\n" for line in added + lines),
        },
    )


if __name__ == "__main__":
    main()

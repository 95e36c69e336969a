#!/usr/bin/python
"""Ansible module: apt packages with an owner, so that a removal takes away what was brought in and nothing else.

It installs packages, records which of them (dependencies included) were not on the host before, holds packages
against upgrades, and undoes exactly that. It does not upgrade packages and does not configure apt's sources.
"""

# ansible-core's modules still start this way: the target may run any Python from 3.10 on.
from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: owned_packages
short_description: Install apt packages and remember who brought them in
description:
  - Installs packages without recommended ones, and records every package that was new to the host.
  - C(state=absent) purges what this owner brought in, unless another owner or another package needs it.
  - The plan is on disk before apt runs, so a run that was killed is completed by the next one.
  - Services that come with new packages are not started.
options:
  owner:
    description: Name of the role that owns the packages.
    type: str
    required: true
  names:
    description: Real (not virtual) package names. C(NAME=VERSION), where the version may be a shell pattern, asks for that
      version, be it older or newer than what is there, held or not.
    type: list
    elements: str
    default: []
  without:
    description: Packages that must not be there beside them; they are purged in the same step.
    type: list
    elements: str
    default: []
  hold:
    description: Names or shell patterns of installed packages that upgrades must leave alone.
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

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "# slipway owned_packages"
UNITS = Path("/etc/systemd/system")
LISTS = Path("/var/lib/apt/lists")
LISTS_MAX_AGE = 24 * 3600
LOCK_WAIT = 300


class AptError(Exception):
    """apt or dpkg failed; the text is for the person at the keyboard."""


@dataclass
class Record:
    """What one owner asked for and brought in; the file format of the records."""

    requested: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)
    """Packages an install is about to bring in; empty unless an install was cut off."""
    units: list[str] = field(default_factory=list)
    """Unit files that were there before the planned install: only these may be started by package scripts."""
    held: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    manual: list[str] = field(default_factory=list)
    """Packages that were there as somebody's dependency and that were marked as wanted."""

    @classmethod
    def load(cls, path: Path) -> Record | None:
        """Read a record; None when there is none."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise AptError(
                f"{path} is damaged ({error}), so it is unknown which packages are Slipway's: "
                f"mend or remove that file (removing it leaves the packages on the host for good)"
            ) from error
        return cls(**{name: sorted(content.get(name, [])) for name in cls.__dataclass_fields__})

    def save(self, path: Path) -> None:
        """Write the record so that a crash leaves the old or the new one, never half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {name: sorted(set(getattr(self, name))) for name in self.__dataclass_fields__}
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in the C locale without questions; AptError with its last lines when it fails."""
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
        "NEEDRESTART_MODE": "l",
        "NEEDRESTART_SUSPEND": "1",
        "APT_LISTCHANGES_FRONTEND": "none",
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if check and result.returncode:
        said = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("E:")] or said
        raise AptError(f"{' '.join(command[:2])} failed: {' / '.join(errors[-4:])}")
    return result


def installed() -> set[str]:
    """Packages that dpkg has on the host, fully or half way; a foreign architecture's carry its name."""
    native = run("dpkg", "--print-architecture").stdout.strip()
    listing = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Architecture}\n").stdout
    found = set()
    for line in listing.splitlines():
        status, name, architecture = line.split("\t")
        if status[1] not in "nc":
            found.add(name if architecture in (native, "all") else f"{name}:{architecture}")
    return found


def versions(names: list[str]) -> dict[str, str]:
    """The installed versions of packages; without the epoch, which nobody means."""
    listing = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Version}\n", *names, check=False).stdout
    lines = (line.split("\t") for line in listing.splitlines())
    return {name: version.rpartition(":")[2] for status, name, version in lines if status[1] not in "nc"}


def available(names: list[str]) -> str:
    """The versions of packages that apt's lists have, for a message."""
    listing = run("apt-cache", "madison", *names, check=False).stdout
    words = (line.split("|") for line in listing.splitlines())
    found = dict.fromkeys(f"{line[0].strip()} {line[1].strip()}" for line in words if len(line) > 2)
    return ", ".join(found) or "none of them"


def unfinished() -> bool:
    """Whether dpkg was cut off and has packages to configure."""
    return bool(run("dpkg", "--audit").stdout.strip())


def marked(kind: str) -> set[str]:
    """Packages with an apt mark: manual or hold."""
    return set(run("apt-mark", f"show{kind}").stdout.split())


def unit_files() -> list[str]:
    """Names of the unit files on the host; empty without systemd."""
    try:
        listing = run("systemctl", "list-unit-files", "--no-legend", "--plain", check=False).stdout
    except FileNotFoundError:
        return []
    return sorted(line.split()[0] for line in listing.splitlines() if line.strip())


def apt(*arguments: str) -> str:
    """Run apt-get, waiting for another one's lock; returns what it printed."""
    return run(
        "apt-get",
        *arguments,
        "-y",
        "-q",
        "-o",
        f"DPkg::Lock::Timeout={LOCK_WAIT}",
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
    ).stdout


def simulate(*arguments: str) -> str:
    """What apt-get would do; needs no lock and changes nothing."""
    return run("apt-get", *arguments, "--simulate", "-q", "-o", "Debug::NoLocking=true").stdout


def planned(simulation: str, verb: str, known: set[str]) -> set[str]:
    """Packages after a verb (Inst, Remv, Purg) in a simulation: new ones for Inst, else those on the host."""
    names = {words[1] for line in simulation.splitlines() if (words := line.split())[:1] == [verb]}
    return names - known if verb == "Inst" else names & known


def update_lists() -> None:
    """Refresh apt's lists, waiting for another apt that holds them."""
    end = time.monotonic() + LOCK_WAIT
    while True:
        try:
            apt("update")
        except AptError as error:
            # DPkg::Lock::Timeout does not cover the lock of the lists.
            if "lock" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(2)
        else:
            return


def lists_are_old() -> bool:
    """Whether apt's lists are missing or were last refreshed more than a day ago."""
    times = [entry.stat().st_mtime for entry in LISTS.glob("*_Packages*")]
    stamps = [LISTS.stat().st_mtime] if times else []
    return not times or time.time() - max(times + stamps) > LISTS_MAX_AGE


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One run at a time on this host: the lock is the folder itself, so nothing is left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def drop_policy() -> None:
    """Take away our policy-rc.d, also one that a killed run left behind; never somebody else's."""
    with contextlib.suppress(FileNotFoundError):
        if POLICY_MARK in POLICY.read_text(encoding="utf-8"):
            POLICY.unlink()


@contextlib.contextmanager
def no_new_services(known: Sequence[str]) -> Iterator[None]:
    """While packages are installed, only services that were there before may be started or restarted."""
    drop_policy()
    if POLICY.exists():  # the administrator's own policy stands
        yield
        return
    names = " ".join(known)
    POLICY.write_text(
        f'#!/bin/sh\n{POLICY_MARK}\ncase " {names} " in\n*" $1 "*|*" $1.service "*) exit 0 ;;\nesac\nexit 101\n',
        encoding="utf-8",
    )
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        drop_policy()


@dataclass
class Outcome:
    """What was done, or would be."""

    changed: bool = False
    installed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def others(folder: Path, owner: str) -> list[Record]:
    """The records of all other owners."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [record for path in paths if path.stem != owner and (record := Record.load(path))]


def is_masked(unit: str) -> bool:
    """Whether the administrator's level of systemd's configuration masks a unit."""
    return os.path.realpath(UNITS / unit) == "/dev/null"


def set_masks(units: set[str], *, masked: bool) -> None:
    """Mask units, or undo it; a mask also keeps a unit from being started by other packages' scripts."""
    for unit in sorted(units):
        if masked:
            (UNITS / unit).unlink(missing_ok=True)
            (UNITS / unit).symlink_to("/dev/null")
        elif is_masked(unit):
            (UNITS / unit).unlink()
    if units:
        run("systemctl", "daemon-reload", check=False)


def sweep(paths: list[str]) -> None:
    """Remove what purged packages left: files, and folders in which nobody has put anything."""
    for path in sorted(map(Path, paths), key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


@dataclass(frozen=True)
class Wish:
    """What an owner asks for."""

    names: list[str]
    """Without versions."""
    exact: dict[str, str] = field(default_factory=dict)
    """Versions that are asked for, or patterns of them, by name."""
    without: list[str] = field(default_factory=list)
    hold: list[str] = field(default_factory=list)
    mask: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def wish_of(arguments: dict[str, Any]) -> Wish:
    """What the module's arguments say."""
    pairs = [name.partition("=") for name in arguments["names"]]
    return Wish(
        names=[name for name, _, _ in pairs],
        exact={name: version for name, _, version in pairs if version},
        **{name: arguments[name] for name in ("without", "hold", "mask", "leftovers")},
    )


def present(folder: Path, owner: str, wish: Wish, *, dry: bool) -> Outcome:
    """Install what is missing, record what came with it, hold and mask what is to be held and masked."""
    path = folder / f"{owner}.json"
    stored = Record.load(path)
    record = stored or Record()
    outcome = Outcome()
    now = installed()
    asked = sorted(set(wish.exact) & now)
    have = versions(asked) if asked else {}  # without names dpkg-query lists all there are
    others_there = {name for name, version in have.items() if not fnmatch.fnmatchcase(version, wish.exact[name])}
    missing = sorted((set(wish.names) - now) | others_there)
    unwanted = sorted(set(wish.without) & now)
    words = [f"{name}={wish.exact[name]}" if name in wish.exact else name for name in missing]
    words += [f"{name}-" for name in unwanted]
    if wish.exact or unwanted:
        words = ["--allow-change-held-packages", "--allow-downgrades", *words] if words else []
    expect(record, wish, fresh=bool(missing) and not record.planned)
    new_masks = {unit for unit in record.masked if not is_masked(unit)}
    outcome.notes += [f"masked: {unit}" for unit in sorted(new_masks)]
    outcome.notes += [f"another version: {name}" for name in sorted(others_there)]
    outcome.removed |= set(unwanted)
    if words or record.planned or unfinished():
        outcome.changed = True
        if dry:
            with contextlib.suppress(AptError):  # without lists apt cannot say more than the names
                outcome.installed = planned(simulate("install", "--no-install-recommends", *words), "Inst", now)
            outcome.installed |= set(missing) - now
        else:
            outcome.installed = install(path, record, words, missing, now)
            now = installed()
    if new_masks and not dry:
        set_masks(new_masks, masked=True)
    settle(path, wish, record, outcome, now, stored=stored, dry=dry)
    outcome.changed |= bool(outcome.notes)
    return outcome


def expect(record: Record, wish: Wish, *, fresh: bool) -> None:
    """Note what the packages will bring along, as long as it can be told from what was there before."""
    # A unit that is there before our packages are is somebody else's and goes on running.
    record.masked = sorted(set(wish.mask) & ({*record.masked} | ({*wish.mask} - set(unit_files()))))
    record.leftovers = sorted(
        path for path in wish.leftovers if path in record.leftovers or (fresh and not os.path.lexists(path))
    )


def settle(
    path: Path, wish: Wish, record: Record, outcome: Outcome, now: set[str], *, stored: Record | None, dry: bool
) -> None:
    """Bring apt's marks and the record to what was asked for."""
    held = marked("hold")
    wanted = {name for name in now for pattern in wish.hold if fnmatch.fnmatchcase(name, pattern)}
    marks = {
        "manual": (set(wish.names) & now) - marked("manual"),
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
            if names:
                run("apt-mark", mark, *sorted(names))


def install(path: Path, record: Record, words: list[str], missing: list[str], now: set[str]) -> set[str]:
    """Run apt with the plan on disk first; returns the packages that are new, an earlier killed run's included.

    `words` are apt's for what is to be done, `missing` the names of what is to be installed.
    """
    if words and lists_are_old():
        update_lists()
    command = ("install", "--no-install-recommends", *words)
    if not record.planned:
        record.units = unit_files()
    drop_policy()
    before = now - set(record.planned)
    with no_new_services(record.units):
        for attempt in (1, 2):
            try:
                complete()
                plan = planned(simulate(*command), "Inst", before) if words else set()
                record.planned = sorted(set(record.planned) | plan)
                record.save(path)
                if words:
                    apt(*command)
                break
            except AptError as error:
                # A mirror drops superseded versions: with fresh lists the second attempt finds the new ones.
                if attempt == 1:
                    update_lists()
                elif "Version '" in str(error) and "was not found" in str(error):
                    raise AptError(
                        f"{error}; apt's sources have {available(missing)}: ask for a version that is there, or mend the sources"
                    ) from error
                else:
                    raise
    return (installed() - before) & (set(record.planned) | set(missing))


def complete() -> None:
    """Let dpkg and apt finish what was cut off."""
    if unfinished():
        run("dpkg", "--configure", "-a", "--force-confdef", "--force-confold")
        apt("install", "--fix-broken")


def absent(folder: Path, owner: str, *, dry: bool) -> Outcome:
    """Purge what this owner brought in and nobody else needs; give marks and holds back; drop the record."""
    path = folder / f"{owner}.json"
    outcome = Outcome()
    record = Record.load(path)
    if record is None:
        return outcome
    outcome.changed = True
    now = installed()
    rest = others(folder, owner)
    shared = {name for other in rest for name in (*other.packages, *other.requested, *other.planned)}
    candidates = ((set(record.packages) | set(record.planned)) & now) - shared
    holds = (set(record.held) & marked("hold")) - {name for other in rest for name in other.held}
    automatic = (set(record.manual) & now) - {name for other in rest for name in other.requested}
    outcome.notes += [f"no longer held: {name}" for name in sorted(holds)]
    if not dry:
        if holds:
            run("apt-mark", "unhold", *sorted(holds))
        drop_policy()
        complete()
        if automatic | candidates:
            run("apt-mark", "auto", *sorted(automatic | candidates))
        # What is now needed by nothing, in apt's own judgement: a package that the administrator installed later
        # and that depends on one of ours keeps it.
        garbage = planned(
            simulate(
                "autoremove",
                "-o",
                "APT::AutoRemove::RecommendsImportant=false",
                "-o",
                "APT::AutoRemove::SuggestsImportant=false",
            ),
            "Remv",
            now,
        )
        outcome.removed = candidates & garbage
        if outcome.removed:
            apt("purge", *sorted(outcome.removed))
        hand_over(folder, owner, (set(record.packages) | set(record.planned)) & installed())
        purge_leftovers(set(record.packages))
        set_masks(set(record.masked), masked=False)
        sweep(record.leftovers)
        path.unlink()
    else:
        outcome.removed = candidates
    kept = candidates - outcome.removed
    if kept:
        outcome.notes.append(f"kept, other packages need them: {' '.join(sorted(kept))}")
    return outcome


def hand_over(folder: Path, owner: str, names: set[str]) -> None:
    """Give packages that stay to the owners who asked for one of them, so that the last one to go takes them away."""
    for path in sorted(folder.glob("*.json")):
        record = Record.load(path) if path.stem != owner else None
        if record and names & {*record.requested, *record.packages, *record.planned}:
            record.packages = sorted({*record.packages, *names})
            record.save(path)


def purge_leftovers(names: set[str]) -> None:
    """Purge the configuration of our packages that somebody removed by hand."""
    listing = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\n").stdout
    left = {line.split("\t")[1] for line in listing.splitlines() if line[1] == "c"} & names
    if left:
        run("dpkg", "--purge", *sorted(left))


def manages(folder: Path, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """What shows whether all is as it was left: the packages with their holds, the record and the masks."""
    things: list[dict[str, Any]] = [{"kind": "path", "path": str(folder / f"{arguments['owner']}.json")}]
    if arguments["state"] == "present":
        names = {name.partition("=")[0] for name in arguments["names"]}
        things.append({"kind": "packages", "names": sorted({*names, *arguments["without"], *arguments["hold"]})})
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
    # A check takes no lock: it must leave no folder behind, and it only reads.
    dry: bool = module.check_mode
    idle = arguments["state"] == "absent" and not (folder / f"{arguments['owner']}.json").exists()
    guard = contextlib.nullcontext() if dry or idle else locked(folder)
    try:
        with guard:
            if arguments["state"] == "present":
                outcome = present(folder, arguments["owner"], wish_of(arguments), dry=dry)
            else:
                outcome = absent(folder, arguments["owner"], dry=dry)
    except AptError as error:
        module.fail_json(msg=f"packages of {arguments['owner']}: {error}")
        return
    except FileNotFoundError as error:
        module.fail_json(
            msg=f"packages of {arguments['owner']}: {error.filename} is not there; this needs Debian or Ubuntu"
        )
        return
    lines = [f"removed: {name}" for name in sorted(outcome.removed)]
    added = [f"installed: {name}" for name in sorted(outcome.installed)] + outcome.notes
    module.exit_json(
        changed=outcome.changed,
        installed=sorted(outcome.installed),
        removed=sorted(outcome.removed),
        manages=manages(folder, arguments),
        diff={
            "before_header": f"packages of {arguments['owner']}",
            "after_header": f"packages of {arguments['owner']}",
            "before": "".join(f"{line}\n" for line in (["installed: " + name for name in sorted(outcome.removed)])),
            "after": "".join(f"{line}\n" for line in added + lines),
        },
    )


if __name__ == "__main__":
    main()

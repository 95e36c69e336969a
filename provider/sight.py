"""How things on a host look: each as one text that is another one when the thing has changed. Runs on the host itself.

The plugin sends this file to the host's own Python, so it needs nothing but the standard library. A look is cheap, not
complete: docs/reference/playbook-resource.md says what it can't see. No content is in it, only digests.
"""

# Paths by the thousand, for which plain strings are several times faster.
# ruff: noqa: PTH110, PTH112, PTH113, PTH115, PTH116, PTH118, PTH119, PTH123, PTH207
from __future__ import annotations

import contextlib
import fnmatch
import glob
import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import Any

WHOLE = 1 << 20
"""Bytes up to which a file is read; of a larger one, size and times are compared."""

ABSENT = "absent"
_COMMAND_LIMIT = 20
_DPKG = "/var/lib/dpkg/status"
_LOCKS = "/etc/dnf/plugins/versionlock.list"


class World:
    """The host as it is now; systemd and dpkg or rpm are asked once for all things."""

    def __init__(self, things: list[dict[str, Any]]) -> None:
        """Takes all that will be asked about, and asks nothing yet."""
        self._things = things
        self._units: dict[str, dict[str, str]] | None = None
        self._packages: dict[str, str] | None = None

    def seen(self, things: Iterable[dict[str, Any]]) -> list[str]:
        """How each of some things looks, as a text of its own."""
        looks: dict[str, Callable[[dict[str, Any]], str]] = {
            "path": _path,
            "tree": lambda thing: _tree(thing["path"], content=bool(thing.get("content"))),
            "names": _names,
            "user": _user,
            "group": _group,
            "unit": self._unit,
            "packages": self._packages_of,
            "command": _command,
        }
        found = []
        for thing in things:
            try:
                found.append(looks[thing["kind"]](thing))
            except OSError as error:
                found.append(f"error {error.errno}")
        return found

    def _unit(self, thing: dict[str, Any]) -> str:
        if self._units is None:
            names = sorted({other["name"] for other in self._things if other["kind"] == "unit"})
            self._units = dict(zip(names, _units(names)))
        unit = self._units[thing["name"]]
        active, sub = unit.get("ActiveState"), unit.get("SubState")
        up = active in {"active", "reloading"} or (active == "activating" and sub != "auto-restart")
        running = ("running" if up else "stopped") if thing.get("running") else "-"
        return " ".join(
            [running, *(unit.get(name) or "-" for name in ("LoadState", "UnitFileState", "NeedDaemonReload"))]
        )

    def _packages_of(self, thing: dict[str, Any]) -> str:
        if self._packages is None:
            self._packages = _packages()
        there = {
            name: state
            for name, state in self._packages.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in thing["names"])
        }
        # What was cut off half way concerns whoever installs next.
        unfinished = {name: state for name, state in self._packages.items() if state.split()[0][1] not in "inc"}
        return json.dumps([there, unfinished], sort_keys=True)


def _path(thing: dict[str, Any]) -> str:
    path: str = thing["path"]
    if thing.get("into") and os.path.isdir(path):
        # A file that was copied into a folder, or a folder itself.
        inner = os.path.join(path, thing["into"])
        if not os.path.lexists(inner) or os.path.isdir(inner):
            return _tree(path if not os.path.lexists(inner) else inner, content=True)
        path = inner
    try:
        state = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    if thing.get("look") == "presence":
        return stat.filemode(state.st_mode)[0]
    said = _owned(state)
    if stat.S_ISLNK(state.st_mode):
        target = os.path.realpath(path)
        said += f" {os.readlink(path)}"
        if os.path.isfile(target):
            said += f" {_owned(os.stat(target))} {_content(target, os.stat(target))}"
    elif stat.S_ISREG(state.st_mode):
        said += f" {_content(path, state)}"
    return said


def _owned(state: os.stat_result) -> str:
    try:
        owner = pwd.getpwuid(state.st_uid).pw_name
    except KeyError:
        owner = str(state.st_uid)
    try:
        group = grp.getgrgid(state.st_gid).gr_name
    except KeyError:
        group = str(state.st_gid)
    return f"{stat.filemode(state.st_mode)} {owner} {group}"


def _content(path: str, state: os.stat_result) -> str:
    if state.st_size > WHOLE:
        return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
    with open(path, "rb") as opened:
        return hashlib.sha256(opened.read()).hexdigest()


def _tree(top: str, *, content: bool) -> str:
    """All below a folder but caches; of files size and time of change, or the content where it is asked for and small."""
    if not os.path.lexists(top):
        return ABSENT
    lines = []
    for path in [top, *_below(top, recurse=True)]:
        if "__pycache__" in path:
            continue
        state = os.lstat(path)
        said = f"{os.path.relpath(path, top)} {_owned(state)}"
        if stat.S_ISLNK(state.st_mode):
            said += f" {os.readlink(path)}"
        elif stat.S_ISREG(state.st_mode):
            said += f" {_content(path, state)}" if content else f" {state.st_size} {state.st_mtime_ns}"
        lines.append(said)
    return _total(lines)


def _below(top: str, *, recurse: bool) -> Iterator[str]:
    for current, folders, files in os.walk(top):
        for name in (*folders, *files):
            yield os.path.join(current, name)
        if not recurse:
            return


def _total(lines: list[str]) -> str:
    return f"{len(lines)} {hashlib.sha256(os.fsencode(chr(10).join(sorted(lines)))).hexdigest()}"


def _names(thing: dict[str, Any]) -> str:
    """What Ansible's `find` would list; with `sizes` also each file's size and time of change."""
    lines = []
    for top in (match for path in thing["paths"] for match in glob.glob(path)):
        for path in _below(top, recurse=bool(thing.get("recurse"))):
            depth = os.path.relpath(path, top).count(os.sep) + 1
            name = os.path.basename(path)
            state = os.lstat(path)
            wanted = {"file": stat.S_ISREG, "directory": stat.S_ISDIR, "link": stat.S_ISLNK}.get(
                thing.get("type") or ""
            )
            if (
                (thing.get("depth") and depth > thing["depth"])
                or (name.startswith(".") and not thing.get("hidden"))
                or (wanted and not wanted(state.st_mode))
                or not _matches(name, thing.get("patterns") or ["*"], regex=bool(thing.get("regex")))
                or _matches(name, thing.get("excludes") or [], regex=bool(thing.get("regex")))
            ):
                continue
            sizes = thing.get("sizes") and stat.S_ISREG(state.st_mode)
            lines.append(f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}" if sizes else path)
    return _total(lines)


def _matches(name: str, patterns: list[str], *, regex: bool) -> bool:
    return any(re.match(pattern, name) if regex else fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _user(thing: dict[str, Any]) -> str:
    try:
        user = pwd.getpwnam(thing["name"])
    except KeyError:
        return ABSENT
    groups = sorted(group.gr_name for group in grp.getgrall() if user.pw_name in group.gr_mem)
    line = ""
    with contextlib.suppress(OSError), open("/etc/shadow", encoding="utf-8") as opened:
        line = next((line for line in opened if line.startswith(f"{user.pw_name}:")), "")
    shadow = hashlib.sha256(line.encode()).hexdigest()
    return f"{user.pw_uid} {user.pw_gid} {user.pw_gecos} {user.pw_dir} {user.pw_shell} {','.join(groups)} {shadow}"


def _group(thing: dict[str, Any]) -> str:
    try:
        return str(grp.getgrnam(thing["name"]).gr_gid)
    except KeyError:
        return ABSENT


def _units(names: list[str]) -> list[dict[str, str]]:
    wanted = "LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload"
    said = _run(["systemctl", "--no-pager", "show", f"--property={wanted}", "--", *names])[1]
    blocks = [block for block in said.strip().split("\n\n") if block]
    if len(blocks) != len(names):
        # A name that systemd doesn't take spoils the answer about all.
        return [_units([name])[0] for name in names] if len(names) > 1 else [{}]
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]


def _packages() -> dict[str, str]:
    """All packages: state as dpkg writes it (with a hold) and version; where dpkg keeps them, whether somebody asked for them."""
    return _packages_of_dpkg() if os.path.exists(_DPKG) else _packages_of_rpm()


def _packages_of_rpm() -> dict[str, str]:
    locked = set()
    with contextlib.suppress(OSError), open(_LOCKS, encoding="utf-8") as opened:
        locked = {match.group(1) for line in opened if (match := re.match(r"([^#!].*)-\d+:[^-]+-[^-]+$", line.strip()))}
    found: dict[str, str] = {}
    for line in sorted(_run(["rpm", "-qa", "--queryformat", "%{NAME}\\t%{EVR}\\n"])[1].splitlines()):
        name, version = line.split("\t")
        # Of a kernel there may be several.
        found[name] = f"{found[name]} {version}" if name in found else f"{'hi' if name in locked else 'ii'} {version}"
    return found


def _packages_of_dpkg() -> dict[str, str]:
    known = "${binary:Package}\t${db:Status-Abbrev}\t${Version}\n"
    automatic = set()
    with contextlib.suppress(OSError), open("/var/lib/apt/extended_states", encoding="utf-8") as opened:
        for block in opened.read().split("\n\n"):
            values = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if values.get("Auto-Installed") == "1":
                automatic.add(values.get("Package"))
    found = {}
    for line in _run(["dpkg-query", "-W", "-f", known])[1].splitlines():
        name, state, version = line.split("\t")
        name = name.split(":")[0]
        found[name] = f"{state.strip()} {version} {'automatic' if name in automatic else 'wanted'}"
    return found


def _command(thing: dict[str, Any]) -> str:
    code, said = _run(thing["argv"], chdir=thing.get("chdir"))
    return f"{code} {hashlib.sha256(said.encode()).hexdigest()}"


def _run(argv: list[str], chdir: str | None = None) -> tuple[int, str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            cwd=chdir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_COMMAND_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, ""
    return done.returncode, done.stdout.decode("utf-8", "replace")

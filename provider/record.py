"""What a role manages, as it was when it was applied: kept and compared on the host itself.

The plugin sends this file to the host's own Python, after `sight`, so it needs nothing but the standard library. A record is
a file of its own for each instance: what is managed (`things`, made by `managed`), how each was seen, the key of what was
applied, so that no record of something else is believed, and the name that the host had in the stack.
"""

# Plain paths, as in `sight`.
# ruff: noqa: PTH102, PTH105, PTH106, PTH108, PTH118, PTH119, PTH207
from __future__ import annotations

import contextlib
import glob
import json
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

from provider.sight import World

FORMAT = 1
"""Of the records: one of another format is none. To be raised when things, or how they are seen, change their meaning."""

MARK = "playbook-record "
"""What the answer's line begins with; a host's shell may print lines of its own."""

_NAMED = 5


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """Does what the plugin asks: `write`, `renew` or `forget` a record, `look` at all of a folder, or name all `owners`."""
    folder: str = order["folder"]
    verb: str = order["verb"]
    if verb == "look":
        found = dict(_records(folder))
        world = World([thing for record in found.values() for thing in record["things"]])
        return {name: _compared(record, world) for name, record in found.items()}
    if verb == "owners":
        return {name: record.get("owner", "") for name, record in _records(folder)}
    file = os.path.join(folder, f"{order['instance']}.json")
    if verb == "forget":
        for path in (file, f"{file}.new"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # of the last record; other records keep it
        return {"written": False}
    things = order["things"] if verb == "write" else dict(_records(folder))[order["instance"]]["things"]
    told = {"format": FORMAT, "key": order["key"], "owner": order.get("owner", "")}
    _write(folder, file, {**told, "things": things, "seen": World(things).seen(things)})
    return {"written": True}


def _records(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The readable records of a folder that nobody else can have written: what is in them is executed."""
    if not _ours(folder):
        return
    for file in sorted(glob.glob(os.path.join(glob.escape(folder), "*.json"))):
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, encoding="utf-8") as opened:
                content = json.load(opened) if _private(os.fstat(descriptor)) else {}
        except (OSError, ValueError):
            continue
        if content.get("format") == FORMAT:
            yield os.path.basename(file)[: -len(".json")], content


def _compared(record: dict[str, Any], world: World) -> dict[str, Any]:
    now = world.seen(record["things"])
    differing = [thing for thing, was, new in zip(record["things"], record["seen"], now) if was != new]
    return {"key": record["key"], "differs": len(differing), "first": [_label(thing) for thing in differing[:_NAMED]]}


def _label(thing: dict[str, Any]) -> str:
    value = thing.get("path") or thing.get("name") or thing.get("names") or thing.get("paths") or thing.get("argv")
    return f"{thing['kind']} {value or ''}".strip()


def _write(folder: str, file: str, record: dict[str, Any]) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)  # never its parents: nobody would take them away again
    if not _ours(folder):
        raise PermissionError(f"{folder} belongs to another user, or others may write there")
    new = f"{file}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump(record, opened)
    os.replace(new, file)


def _ours(folder: str) -> bool:
    try:
        state = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and _private(state)


def _private(state: os.stat_result) -> bool:
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022


def answer(order: dict[str, Any]) -> None:
    """Prints the answer to one order, in one line."""
    try:
        said: dict[str, Any] = {"done": carry_out(order)}
    except (OSError, KeyError, ValueError, TypeError) as error:
        said = {"failed": f"{type(error).__name__}: {error}"}
    sys.stdout.write(f"\n{MARK}{json.dumps(said)}\n")

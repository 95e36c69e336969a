"""What models lie on a host, whether they are whole, and which of them nobody needs: looked at, verified, or removed.

An order is ``{"verb": "look" | "verify" | "prune", "remove": bool, "places": [{"path", "keep": [names], "why": {name: why},
"held": why}]}``: `keep` has what the stack names, `why` what else stays and for what reason, and where `held` says something,
nothing goes, for that reason. Only folders that Slipway made are looked at.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from . import manifest
from .delivery import PLAN, incoming_of, locked, remove
from .manifest import INCOMPLETE, MARK, StoreError
from .space import free

UNITS = Path("/etc/systemd/system")
_ARRIVING = re.compile(r"\.(.+)\.incoming")


def survey(order: dict[str, Any]) -> dict[str, Any]:
    """Carries an order out.

    Returns:
        ``{"places": [{"path", "free", "models": [{"name", "bytes", "state", "kept", "files", "record", "removed"}]}]}``.
        ``state`` is whole, damaged (``files`` names what is wrong), partial (a delivery that was not ended, with ``of`` the bytes
        that it is to have), not listed (brought without a store), or missing (the stack names it, and it is not there).
        ``kept`` says why it is not removed, and is empty where nothing needs it. ``record`` is the digest of what tells versions
        apart, where known.
    """
    units = [file.read_text(encoding="utf-8", errors="replace") for file in sorted(UNITS.glob("slipway-*.service"))]
    return {
        "places": [
            _place(each, order, units) for each in order["places"] if each["keep"] or Path(each["path"]).is_dir()
        ]
    }


def _place(place: dict[str, Any], order: dict[str, Any], units: list[str]) -> dict[str, Any]:
    top = Path(place["path"])
    found = []
    for folder in sorted(top.iterdir()) if top.is_dir() else []:
        arriving = _ARRIVING.fullmatch(folder.name)
        if folder.is_symlink() or not folder.is_dir() or not (arriving or (folder / MARK).is_file()):
            continue
        name = arriving.group(1) if arriving else folder.name
        model = {
            "name": name,
            "bytes": _bytes(folder),
            "kept": _kept(top / name, place, units),
            "removed": False,
        }
        model |= _arriving(folder) if arriving else _there(folder, verify=order["verb"] == "verify")
        if order["verb"] == "prune" and order["remove"] and not model["kept"]:
            _remove(folder, model, arriving=bool(arriving))
        found.append(model)
    for name in sorted(set(place["keep"]) - {model["name"] for model in found}):
        kept = _kept(top / name, place, units)
        found.append(
            {"name": name, "bytes": 0, "kept": kept, "removed": False, "state": "missing", "files": [], "record": ""}
        )
    there = next(folder for folder in (top, *top.parents) if folder.is_dir())
    return {"path": str(top), "free": free(there), "models": found}


def _kept(folder: Path, place: dict[str, Any], units: list[str]) -> str:
    if folder.name in place["keep"]:
        return "the stack names it"
    if folder.name in place.get("why", {}):
        return str(place["why"][folder.name])
    if place.get("held"):
        return str(place["held"])
    # The stack's file may have been changed without an `up` since.
    named = re.compile(re.escape(str(folder)) + r"(?![\w.-])")
    return "a unit on this host names it" if any(named.search(text) for text in units) else ""


def _arriving(folder: Path) -> dict[str, Any]:
    total, record = None, ""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        record = manifest.digest_of(plan["record"])
        total = sum(plan["files"][name]["size"] for name in plan["fetch"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {"state": "partial", "of": total, "files": [], "record": record}


def _there(folder: Path, *, verify: bool) -> dict[str, Any]:
    try:
        mark = (folder / MARK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        mark = ""
    record = "" if mark == INCOMPLETE else manifest.digest_of(mark)
    known = manifest.read(folder)
    if known is None:
        # Brought without a store, what it ought to hold is not written down.
        half = mark == INCOMPLETE or (folder / manifest.MANIFEST).exists()
        return {
            "state": "damaged" if half else "not listed",
            "files": [manifest.MANIFEST] if half else [],
            "record": record,
        }
    files = manifest.wrong(folder, known["files"]) if verify else _other_size(folder, known["files"])
    files += manifest.strangers(folder, known["files"])
    files += [MARK] if record != known["record"] else []
    return {"state": "damaged" if files else "whole", "files": files, "record": record}


def _other_size(folder: Path, files: manifest.Files) -> list[str]:
    return [name for name, entry in sorted(files.items()) if manifest.size_of(folder / name) != entry["size"]]


def _remove(folder: Path, model: dict[str, Any], *, arriving: bool) -> None:
    try:
        with locked(folder if arriving else incoming_of(folder), model["name"], 0):
            # The mark last: by it the rest of a removal that was cut off is found again.
            if not arriving:
                (folder / manifest.MANIFEST).unlink(missing_ok=True)
            for entry in sorted(folder.iterdir(), key=lambda path: path.name == MARK):
                remove(entry)
        if folder.is_dir():
            folder.rmdir()
        model["removed"] = True
    except StoreError:
        model["kept"] = "it is being fetched"
    except OSError as error:
        model["kept"] = f"it can't be removed: {error.strerror}"


def _bytes(folder: Path) -> int:
    return sum(
        path.lstat().st_size
        for current, _, names in os.walk(folder)
        for path in (Path(current, name) for name in names)
    )

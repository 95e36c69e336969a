"""A host that is taken out of service for a change, and put back: by its units' own stops, and by the floating address.

Sent over SSH and run by the host's Python; the standard library alone. A drained host has a mark with its owner and a time, and
a timer of systemd's that puts it back at that time, so that it comes back whatever becomes of whoever drained it. Mark and timer
are in memory: a host that boots is not drained.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable

RUN = Path("/run/slipway")
MARK = "drained"
ADDRESS = "front-drained"
"""Beside it keepalived lets go of the floating address (role keepalived)."""
LEASE = "slipway-put-back"
MOVES_S = 30
"""Within which the other front takes the address."""
FORM = "%Y-%m-%dT%H:%M:%SZ"

Order = dict[str, Any]
Answer = dict[str, Any]


class DrainError(Exception):
    """What did not work, in one line."""


def run(order: Order, folder: Path = RUN) -> Answer:
    """Does what the order's ``action`` says; ``{"error": …}`` where it does not work.

    look: ``{"mark": {…} or None, "holds": whether it has ``address``}``.
    drain: ``owner``, ``host``, ``units``, ``first`` (those of them that stop before the others), ``lease_s``, ``address`` or None
        → ``{"seconds": what it took}``.
    start: starts what the mark names → ``{"units": […]}``.
    end: takes mark and timer away, and lets the address come.
    serving: what the front at ``port`` says of its backends → ``{"backends": {ID: bool}}``.
    """
    actions: dict[str, Callable[[Order, Path], Answer]] = {
        "look": look,
        "drain": drain,
        "start": start,
        "end": end,
        "serving": serving,
    }
    try:
        return actions[order["action"]](order, folder)
    except DrainError as error:
        return {"error": str(error)}


def look(order: Order, folder: Path) -> Answer:
    """Whether it is drained, and whether it has the floating address."""
    mark = marked(folder)
    return {
        "mark": None if mark is None else {**mark, "over": dt.datetime.now(dt.timezone.utc) > _time(mark["until"])},
        "holds": order.get("address") is not None and holds(order["address"]),
    }


def drain(order: Order, folder: Path) -> Answer:
    """The mark and the timer first, then the address, then the units: each ends what it has begun."""
    begun = time.monotonic()
    now = dt.datetime.now(dt.timezone.utc)
    before = marked(folder)
    # One that was left drained keeps what was stopped then: it has to be started again as well.
    units = list(dict.fromkeys([*(before or {}).get("units", []), *order["units"]]))
    mark = {
        "owner": order["owner"],
        "host": order["host"],
        "since": (before or {}).get("since") or now.strftime(FORM),
        "until": (now + dt.timedelta(seconds=order["lease_s"])).strftime(FORM),
        "units": units,
    }
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    _lease(order["lease_s"], units, folder)
    _write(folder / MARK, json.dumps(mark))
    if order["address"] is not None:
        _write(folder / ADDRESS, "")
        _until(lambda: not holds(order["address"]), "the other front did not take the floating address")
    # A gateway ends what it has begun while the engines still answer it.
    first = list(order.get("first", []))
    for batch in (first, [unit for unit in order["units"] if unit not in first]):
        if batch:
            done = _systemctl("stop", *batch)
            if done.returncode != 0:
                raise DrainError(f"{', '.join(batch)} did not stop: {done.stderr.strip()}")
    return {"seconds": round(time.monotonic() - begun, 1)}


def start(_: Order, folder: Path) -> Answer:
    """Units that a role has started already are as they are, and one that is gone is none any more."""
    units = [unit for unit in (marked(folder) or {}).get("units", []) if _enabled(unit)]
    if units:
        done = _systemctl("start", *units)
        if done.returncode != 0:
            raise DrainError(f"{', '.join(units)} did not start: {done.stderr.strip()}")
    return {"units": units}


def end(_: Order, folder: Path) -> Answer:
    """The marks first: where it is killed in between, the timer starts later on what runs already."""
    for name in (ADDRESS, MARK):
        _remove(folder / name)
    _forget_lease()
    return {}


def serving(order: Order, _: Path) -> Answer:
    """Asked on the host itself, which its front lets see them; the certificate is for the name that clients use."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    try:
        # Never by a proxy of the host's: it is asked of itself.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        with opener.open(f"https://127.0.0.1:{order['port']}/metrics", timeout=5) as answer:
            text = answer.read().decode("utf-8", "replace")
    except (OSError, urllib.error.URLError) as error:
        raise DrainError(f"the front does not answer: {error}") from None
    return {"backends": backends(text)}


def backends(text: str) -> dict[str, bool]:
    """Whether each backend is well, of the front's figures."""
    found = re.findall(r'^slipway_backend_up\{backend="([^"]*)"\} ([01])$', text, re.MULTILINE)
    return {name: value == "1" for name, value in found}


def marked(folder: Path) -> dict[str, Any] | None:
    """The mark; one that nobody can read is none, as it is written at once."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        _time(mark["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return mark if isinstance(mark, dict) else None


def holds(address: str) -> bool:
    """Whether an interface has the address."""
    done = subprocess.run(("ip", "-json", "address"), capture_output=True, text=True, check=False)
    try:
        interfaces: list[dict[str, Any]] = json.loads(done.stdout)
    except ValueError:
        raise DrainError(f"its addresses can't be read: {done.stderr.strip()}") from None
    plain = address.partition("/")[0]
    return any(each.get("local") == plain for one in interfaces for each in one.get("addr_info", []))


def _lease(seconds: int, units: list[str], folder: Path) -> None:
    """A timer in memory that puts the host back: what it starts is asked by the front before it is trusted."""
    _forget_lease()
    put_back = f"rm -f {folder / ADDRESS} {folder / MARK}"
    if units:
        put_back += f"; exec systemctl start --no-block {' '.join(units)}"
    done = subprocess.run(
        ("systemd-run", "--quiet", "--collect", f"--unit={LEASE}", f"--on-active={seconds}",
         "--timer-property=AccuracySec=1s", "/bin/sh", "-c", put_back),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise DrainError(f"no timer that would put it back, so it is not drained: {done.stderr.strip()}")


def _forget_lease() -> None:
    _systemctl("stop", f"{LEASE}.timer")
    _systemctl("reset-failed", f"{LEASE}.service")


def _until(condition: Callable[[], bool], otherwise: str) -> None:
    ends = time.monotonic() + MOVES_S
    while not condition():
        if time.monotonic() > ends:
            raise DrainError(f"{otherwise} within {MOVES_S} s")
        time.sleep(0.5)


def _enabled(unit: str) -> bool:
    return _systemctl("is-enabled", unit).stdout.strip() == "enabled"


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(("systemctl", *arguments), capture_output=True, text=True, check=False)


def _time(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, FORM).replace(tzinfo=dt.timezone.utc)


def _write(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o644)
    part.replace(file)


def _remove(file: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        file.unlink()

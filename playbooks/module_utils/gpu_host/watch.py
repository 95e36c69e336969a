"""The watch of a GPU host: makes the cheap checks, takes engines out of service whose GPU is at fault, and puts them back.

A timer runs it (role gpu_watch). An engine is taken out by a mark, which its unit does not start beside, and by a stop, in which
it ends what it has begun; the front sends it nothing from then on. It is put back once the checks have passed several times and a
kernel has run on its GPU. The marks are the memory: a watch that is killed anywhere goes on from them.

Usage: ``python -m gpu_host.watch ORDER [--put-back]``. ``--put-back`` is for who has just proved the host: engines start at once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .examine import WATCH, examine
from .machine import Machine

HOME = Path(WATCH).parent
OUT = "out"
"""The folder of marks below `HOME`: a file for each engine that is out of service, named as its instance."""
METRICS = "gpus.prom"


def main(arguments: list[str]) -> None:
    """One round."""
    order = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    look(order, put_back="--put-back" in arguments[1:])


def look(order: dict[str, Any], home: Path = HOME, root: Path = Path("/"), *, put_back: bool = False) -> dict[str, Any]:
    """Makes the checks of an order, and does what follows from them.

    Args:
        order: as `examine` takes it, with ``proof`` (the checks to be made before an engine is put back), ``passes`` (rounds
            without a fault before that) and ``textfile`` (the folder of node-exporter's text files).
        home: where marks and findings are kept.
        root: the folder that the host's files are below.
        put_back: put everything back that has no fault, without waiting for further rounds.

    Returns:
        What is kept for `slipway doctor`: ``{"out": {instance: {"since", "reason", "passes"}}, "failed": […], "ended"}``.
    """
    report = examine({**order, "ptx": ""}, root)
    marks = dict(_marks(home))

    @functools.cache
    def proof() -> dict[str, Any]:
        """The kernel on all GPUs, once for all who would be put back in this round."""
        return examine({**order, "checks": order["proof"]}, root)

    engines = Machine(root).engines()
    for instance in set(marks) - set(engines):
        _unmark(home, instance)
    out = {}
    for instance, gpus in engines.items():
        reason, unit = _reason(report, gpus), f"slipway-{instance}.service"
        kept = _next(marks.get(instance), reason)
        if kept is not None and reason is None and (put_back or kept["passes"] >= order["passes"]):
            kept = None if put_back else _proved(proof(), gpus, kept)
            if kept is None:
                _unmark(home, instance)
                _systemctl("start", "--no-block", unit)
        if kept is not None:
            _write(home / OUT / instance, json.dumps(kept))
            _systemctl("stop", "--no-block", unit)
            out[instance] = kept
    state = {
        "out": out,
        "failed": [each for each in report["results"] if each["state"] == "failed"],
        "ended": report["ended"],
    }
    _write(home / Path(WATCH).name, json.dumps(state))
    text = metrics(report, engines, out)
    _write(home / METRICS, text)
    exporter = root / order["textfile"].lstrip("/")
    if exporter.is_dir():
        _write(exporter / f"slipway_{METRICS}", text)
    return state


def metrics(report: dict[str, Any], engines: Iterable[str], out: dict[str, Any]) -> str:
    """What was found, in Prometheus' text format. The labels' values are names of checks and instances."""
    lines = [
        "# HELP slipway_gpu_check_failed Whether a check of the host's GPUs fails.",
        "# TYPE slipway_gpu_check_failed gauge",
    ]
    lines += [
        f'slipway_gpu_check_failed{{check="{each["id"]}",severity="{each["severity"]}"}} {int(each["state"] == "failed")}'
        for each in report["results"]
        if each["state"] in ("passed", "failed")
    ]
    lines += [
        "# HELP slipway_gpu_engine_out Whether an engine is out of service for its GPUs.",
        "# TYPE slipway_gpu_engine_out gauge",
    ]
    lines += [f'slipway_gpu_engine_out{{instance="{name}"}} {int(name in out)}' for name in sorted(engines)]
    lines += [
        "# HELP slipway_gpu_watch_ended_seconds When the checks were last made, in seconds since 1970.",
        "# TYPE slipway_gpu_watch_ended_seconds gauge",
        f"slipway_gpu_watch_ended_seconds {report['ended']:.0f}",
    ]
    return "\n".join(lines) + "\n"


def _reason(report: dict[str, Any], gpus: list[int]) -> str | None:
    """Why an engine on these GPUs can't serve: faults of its GPUs, and of the host as a whole."""
    faults = [
        f"{each['id']}: {'; '.join(each['evidence'])}"
        for each in report["results"]
        if each["state"] == "failed"
        and each["severity"] == "critical"
        and (not each["gpus"] or set(each["gpus"]) & set(gpus))
    ]
    return "; ".join(faults) or None


def _next(mark: dict[str, Any] | None, reason: str | None) -> dict[str, Any] | None:
    """The mark after this round; None where there is none."""
    if reason is not None:
        now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"since": mark["since"] if mark else now, "reason": reason, "passes": 0}
    return None if mark is None else {**mark, "passes": mark["passes"] + 1}


def _proved(proof: dict[str, Any], gpus: list[int], mark: dict[str, Any]) -> dict[str, Any] | None:
    """None where a kernel runs on the engine's GPUs; else its mark, with what was wrong."""
    reason = _reason(proof, gpus)
    return None if reason is None else {**mark, "reason": reason, "passes": 0}


def _marks(home: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = home / OUT
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        # A mark that nobody can read is one all the same.
        read = {"since": "an unknown time", "reason": "its mark can't be read", "passes": 0}
        with contextlib.suppress(ValueError, OSError):
            read = json.loads(file.read_text(encoding="utf-8"))
        if not file.name.startswith("."):
            yield file.name, read


def _unmark(home: Path, instance: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        (home / OUT / instance).unlink()


def _write(file: Path, text: str) -> None:
    """Writes a file as a whole: nobody ever reads half of one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o644)
    part.replace(file)


def _systemctl(*arguments: str) -> None:
    """Told and not waited for: an engine that drains takes its time, and the next round tells it again."""
    done = subprocess.run(("systemctl", *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"systemctl {' '.join(arguments)}: {done.stderr.strip()}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])

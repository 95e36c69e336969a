"""The plugin's own log: a JSON object per line and per Ansible run.

Pulumi's output goes to the person who ran the command; this file stays on the machine, to answer what ran when, how long it
took, and whether anything ran at all. It holds names and figures, no messages and no variables.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from provider.run import Outcome, Request


def record(file: Path, request: Request, outcome: Outcome) -> None:
    """Appends one run. A log that can't be written is no reason to fail an apply."""
    line = json.dumps(
        {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "mode": request.mode,
            "host": request.host.name,
            "role": request.role,
            "instance": request.instance,
            "urn": request.urn,
            "status": outcome.failure.kind if outcome.failure else "ok",
            "seconds": round(outcome.seconds, 2),
            "ok": outcome.ok,
            "changed": outcome.changed,
            "failed": outcome.failed,
            "tasks": [
                {"task": task.name, "role": task.role, "seconds": round(task.seconds, 2), "result": task.result}
                for task in outcome.tasks
            ],
        }
    )
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # One write per record: several runs end at the same time.
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

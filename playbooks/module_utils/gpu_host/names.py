"""Whether names resolve, as every program on the host would have them resolved, within a time.

The C library's look-up knows no time of its own, so it is made by processes (getent) that can be ended: all at once, since a name
server that does not answer would cost its time for each.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

GETENT = "usr/bin/getent"


def unresolved(names: Sequence[str], seconds: float, root: Path = Path("/")) -> dict[str, str]:
    """By name why it does not resolve; without those that do.

    Raises:
        OSError: nobody can be asked.
    """
    ends = time.monotonic() + seconds
    asked = [
        (
            name,
            subprocess.Popen(
                (str(root / GETENT), "ahosts", name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ),
        )
        for name in names
    ]
    found = {}
    for name, process in asked:
        try:
            if process.wait(max(0.0, ends - time.monotonic())) != 0:
                found[name] = "is not known to the host's name servers, or none answers"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            found[name] = f"is not answered within {seconds:g} s"
    return found

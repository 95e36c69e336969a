"""Malformed requests by the thousand against the front: how each was answered, or the first that got what it must not.

`python -m bench.fuzz [COUNT] [SEED]`; 10,000 by default. nginx has to be installed, and `tools/setup/setup.sh test` to have run.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.front import Front
from tests.integration.security import fuzz


def main(count: int, seed: int) -> None:
    """Send them, and print what came back."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        front = Front(Path(folder) / "nginx")
        front.start()
        try:
            front.wait()
            began = time.monotonic()
            told = fuzz.run(front, count, seed)
            print(json.dumps(told | {"seconds": round(time.monotonic() - began)}))
        finally:
            front.close()


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(*given, *(10_000, 1)[len(given) :]))

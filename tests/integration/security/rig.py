"""What the tests of the front's security share: a front with one model on one engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.front import Front, backend, model, team
from tests.integration.security.fuzz import FAMILIES, Strict, workers


@contextmanager
def guarded(folder: Path, **more: Any) -> Iterator[tuple[Front, Strict]]:
    """A front with the model tiny for the team open. No worker of it may die, and no request fail in it."""
    front, engine = Front(folder / "nginx", **more), Strict("engine")
    front.start()
    try:
        front.wait()
        front.serve(team("open"), models={"tiny": model(backend("tiny", engine.url, native=FAMILIES))})
        before = workers(front)
        yield front, engine
        assert workers(front) == before
        assert "exited on signal" not in front.journal
        assert "a request failed" not in front.journal
    finally:
        front.close()
        engine.kill()

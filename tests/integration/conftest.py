"""What the tests with real programs share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.backend_double import Double


@pytest.fixture
def make() -> Iterator[Callable[..., Double]]:
    """Makes doubles, which end with the test, whatever they wait for."""
    made: list[Double] = []

    def one(name: str, **more: Any) -> Double:
        made.append(Double(name, **more))
        return made[-1]

    yield one
    for double in made:
        double.go_on.set()
        double.left.set()
        double.kill()

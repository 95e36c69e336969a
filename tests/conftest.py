"""What all tests share."""

import os
from pathlib import Path

import hypothesis
import pytest

# A change is judged by what it changed, so that CI tries the same examples each time; on a desk they are new ones.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent

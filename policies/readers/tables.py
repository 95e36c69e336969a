"""The tables in `policies/data`, read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parents[1] / "data"


@cache
def table(name: str) -> Any:
    """What the file `policies/data/NAME.yaml` holds."""
    return yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))

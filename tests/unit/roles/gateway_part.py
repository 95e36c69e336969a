"""The modules of the gateway's part in LiteLLM, which lie with the role."""

import importlib
import sys
from typing import Any

from tests.unit.roles.loading import PLAYBOOKS

FILES = PLAYBOOKS / "roles/litellm/files/slipway"


def part(name: str) -> Any:
    """The module `slipway_gateway.NAME`."""
    sys.path.insert(0, str(FILES))
    try:
        return importlib.import_module(f"slipway_gateway.{name}")
    finally:
        sys.path.remove(str(FILES))

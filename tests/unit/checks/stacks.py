"""What the rules say of stacks."""

import datetime as dt
from typing import Any

from slipway.checks.rules import findings
from slipway.findings import Finding
from tests.unit.deployment.stacks import QWEN_1B, deployment, stack

TODAY = dt.date(2026, 11, 30)
"""So that no test ages with the drivers' ends of support."""


def found(*changes: tuple[Any, Any], model: str | None = QWEN_1B) -> dict[str, Finding]:
    """What the rules say of the stack, by id; where one speaks twice, the last."""
    return {finding.id: finding for finding in all_found(*changes, model=model)}


def all_found(*changes: tuple[Any, Any], model: str | None = QWEN_1B) -> list[Finding]:
    """All that the rules say of the stack."""
    return findings(deployment(stack(*changes, model=model)), TODAY)

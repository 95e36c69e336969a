"""What is to be said of a stack: by its checks, its sizing, its policies."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    """The deployment would fail: nothing is touched until it is mended."""
    WARNING = "warning"
    """It would run, and disappoint."""
    NOTE = "note"
    """Worth knowing; also what could not be checked."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of a check's answer."""

    id: str
    """The rule, as `group.rule`; stays the same over releases, so that others may refer to it."""
    severity: Severity
    where: str
    """The setting, with its whole path: `slipway:platform.models.chat.engine.tensor_parallel`."""
    message: str
    """What is so; what follows from it: what to do. One line."""

    @property
    def line(self) -> str:
        """As settings errors look: the key, then the message."""
        return f"{self.where}: {self.message}"


def located(problem: str) -> tuple[str, str]:
    """One line of a `SettingsError`, as the key and what is said of it."""
    where, _, message = problem.partition(": ")
    return where, message

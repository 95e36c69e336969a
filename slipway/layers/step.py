"""The unit in which layers are computed: one role, for one instance on one machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.deployment.types import Machine

RECORDS = "/var/lib/slipway/records"
"""The folder on a machine in which it is kept what each step manages there, so that a refresh has only to look."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One role to be run on one machine.

    ``variables`` is the whole of what the role gets to know: plain data, in which secrets are still `Secret`s and addresses
    references. ``timeout_s`` bounds the run, in seconds.
    """

    machine: Machine
    instance: str
    """What this application of the role is called; unique on its machine."""
    role: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Keys of the steps that must have succeeded before."""
    again_after: tuple[str, ...] = ()
    """Keys of the steps after each of whose runs this one runs again."""
    rolling: str | None = None
    """A group's name: of its steps, which serve the same, one at a time is changed."""
    timeout_s: int = 900
    playbooks: str | None = None
    """The folder with ``roles/`` where the role is not one of Slipway's."""

    @property
    def key(self) -> str:
        """What other steps and the resource call it."""
        return step_key(self.machine, self.instance)


def step_key(machine: Machine, instance: str) -> str:
    """The key of what is called `instance` on `machine`."""
    return f"{machine.name}/{instance}"

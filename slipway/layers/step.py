"""The unit in which layers are computed: one role, for one instance on one machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.deployment.types import Machine

RECORDS = "/var/lib/slipway/records"
"""The folder on a machine in which it is kept what each step manages there, so that a refresh has only to look."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """What happens where a step's machine is missing: nothing is applied to it, and the `up` goes on."""

    group: str
    """The setting that allows it; the machines of one group are counted together."""
    most: int
    """How many of the group may be missing; 0 where this machine may not."""
    refused: bool = False
    """Whether a machine is missing, too, which the role refuses; a `Quorum` counts those."""
    others: tuple[str, ...] = ()
    """Machines without which the step is nothing."""

    def data(self) -> dict[str, Any]:
        """As the resource takes it."""
        return {"group": self.group, "most": self.most, "refused": self.refused, "others": list(self.others)}


@dataclass(frozen=True, kw_only=True)
class Quorum:
    """Of a layer's machines in one pool, no more are missing than may be; else nothing above is touched."""

    key: str
    group: str
    most: int
    steps: tuple[str, ...]
    """Keys of the layer's steps on machines that may be missing."""


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
    """Keys of the steps that must have succeeded before, or of quorums."""
    again_after: tuple[str, ...] = ()
    """Keys of the steps after each of whose runs this one runs again."""
    rolling: str | None = None
    """A group's name: of its steps, which serve the same, one at a time is changed."""
    environment: tuple[str, ...] = ()
    """Variables of this machine's environment that the run is to see, as `AWS_*`; none else that may be secret reaches it."""
    absence: Absence | None = None
    """None where the `up` fails if the machine is missing. `slipway.layers` fills it in."""
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

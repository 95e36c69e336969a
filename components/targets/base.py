"""What a target says of machines once they are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pulumi

from slipway.deployment.types import Deployment


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """What one machine can be reached at; unknown in a preview where the machine is made by the same `up`."""

    public: pulumi.Input[str]
    """SSH and clients use it."""
    private: pulumi.Input[str]
    """The stack's other machines use it."""


class Bring(Protocol):
    """The function `bring` of a target's module."""

    def __call__(
        self, deployment: Deployment, *, pools: Sequence[str], opts: pulumi.ResourceOptions
    ) -> Mapping[str, Addresses]:
        """Have all machines of `pools` there, which are those of the target; their addresses, by the machine's name.

        Asked once, so that pools may share a network. Resources get `opts`. The platform is declared with these addresses, so
        nothing that is made here can be its child.
        """

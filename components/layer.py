"""The base of every layer's component: one `Playbook` per step."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pulumi

from components.wiring import host_args, to_inputs
from provider.resource import Playbook
from slipway.layers.step import Step


class Layer(pulumi.ComponentResource):
    """One layer over its hosts; the subclass names it.

    ``playbooks`` maps each host's name to the layer's `Playbook` there.
    """

    layer: ClassVar[str]

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        after: Sequence[pulumi.Resource] = (),
        triggers: Sequence[pulumi.Input[Any]] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Run `steps` once everything in `after` has succeeded, and again when one of `triggers` changes."""
        super().__init__(f"slipway:layers:{self.layer.title()}", self.layer, {}, opts)
        self.playbooks = {
            step.host.name: Playbook(
                f"{step.host.name}/{step.role}",
                host=host_args(step.host),
                role=step.role,
                variables=to_inputs(step.variables),
                timeout=step.timeout_s,
                triggers=list(triggers) or None,
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
            )
            for step in steps
        }
        self.register_outputs({})

    def on(self, *hosts: str) -> list[Playbook]:
        """The layer's playbooks on `hosts`, for what must wait for just those."""
        return [self.playbooks[host] for host in hosts if host in self.playbooks]

    @property
    def all(self) -> list[Playbook]:
        """The layer's playbooks on all its hosts."""
        return list(self.playbooks.values())

    @property
    def generations(self) -> list[pulumi.Output[int]]:
        """One value per host that changes whenever the layer is applied there."""
        return [playbook.generation for playbook in self.playbooks.values()]

"""One layer over the machines: a `Playbook` per step."""

from collections.abc import Mapping, Sequence

import pulumi

from components.wiring import Wiring
from provider.resource import Playbook
from slipway.layers import Layer
from slipway.layers.step import RECORDS, Step


class LayerComponent(pulumi.ComponentResource):
    """The resources of one layer, by the keys of its steps."""

    def __init__(
        self,
        layer: Layer,
        *,
        steps: Sequence[Step],
        below: Mapping[str, Playbook],
        wiring: Wiring,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Run each of `steps` once the steps that it comes after have succeeded, and again when it has to.

        `below` holds the playbooks of the layers below, by the keys of their steps. A step may come after earlier ones of
        `steps` as well.
        """
        super().__init__(f"slipway:layers:{layer.title}", layer.name, {}, opts)
        self.playbooks: dict[str, Playbook] = {}
        for step in steps:
            self.playbooks[step.key] = self._playbook(step, {**below, **self.playbooks}, wiring)
        self.register_outputs({})

    def _playbook(self, step: Step, below: Mapping[str, Playbook], wiring: Wiring) -> Playbook:
        return Playbook(
            step.key,
            host=wiring.host(step.machine),
            role=step.role,
            instance=step.instance,
            playbooks=step.playbooks,
            variables=wiring.inputs(step.variables),
            timeout=step.timeout_s,
            records=RECORDS,
            rolling=step.rolling,
            triggers=[below[key].generation for key in step.again_after] or None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[below[key] for key in step.after]),
        )

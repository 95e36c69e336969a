"""One layer over the machines: a `Playbook` per step."""

from collections.abc import Mapping, Sequence

import pulumi

from components.wiring import Wiring
from provider.resource import Playbook, Quorum
from slipway.layers import Layer
from slipway.layers.step import RECORDS, Step
from slipway.layers.step import Quorum as QuorumOf


class LayerComponent(pulumi.ComponentResource):
    """The resources of one layer, by the keys of its steps."""

    def __init__(
        self,
        layer: Layer,
        *,
        steps: Sequence[Step],
        quorums: Sequence[QuorumOf] = (),
        below: Mapping[str, Playbook],
        counted: Mapping[str, Quorum] | None = None,
        wiring: Wiring,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Run each of `steps` once the steps that it comes after have succeeded, and again when it has to.

        `below` holds the playbooks of the layers below, by the keys of their steps, and `counted` their quorums. A step may
        come after earlier ones of `steps` as well. The layer's own `quorums` come after its steps.
        """
        super().__init__(f"slipway:layers:{layer.title}", layer.name, {}, opts)
        self.playbooks: dict[str, Playbook] = {}
        self.quorums: dict[str, Quorum] = {}
        for step in steps:
            self.playbooks[step.key] = self._playbook(step, {**below, **self.playbooks}, counted or {}, wiring)
        for quorum in quorums:
            self.quorums[quorum.key] = Quorum(
                quorum.key,
                group=quorum.group,
                most=quorum.most,
                hosts={key.split("/", maxsplit=1)[0]: self.playbooks[key].missing for key in quorum.steps},
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})

    def _playbook(
        self, step: Step, below: Mapping[str, Playbook], counted: Mapping[str, Quorum], wiring: Wiring
    ) -> Playbook:
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
            environment=list(step.environment) or None,
            absence=None if step.absence is None else step.absence.data(),
            triggers=[below[key].generation for key in step.again_after] or None,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[counted[key] if key in counted else below[key] for key in step.after]
            ),
        )

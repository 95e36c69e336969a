"""The whole platform: the layers, and what waits for what."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.layer import LayerComponent
from components.targets.registry import addresses
from components.wiring import Wiring
from provider.resource import Playbook
from slipway import clients
from slipway.deployment.actual import Comparison, compare, deviation, planned
from slipway.deployment.types import Deployment, Instance, Machine
from slipway.doctor.order import Moment
from slipway.layers import LAYERS, acceptance, drivers, exchange, gpus, preflight
from slipway.layers.step import step_key


class Platform(pulumi.ComponentResource):
    """A private LLM service on the machines of a deployment."""

    def __init__(
        self,
        name: str,
        *,
        deployment: Deployment,
        declaration: Mapping[str, Any] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Build the layers of `deployment`.

        `declaration` (`slipway.deployment.declaration`) becomes the component's inputs, which policies judge. Each pool's target
        has its machines there before (`components.targets`), beside this component.

        Every machine's preflight comes before any machine's base, so that one refused machine leaves all untouched. Engines,
        gateway and front don't wait for one another; acceptance waits for all.
        """
        # The inputs below hold addresses: were machines its children, each would wait for the other.
        beside = pulumi.ResourceOptions(parent=None if opts is None else opts.parent)
        self._wiring = Wiring(addresses(deployment, beside))
        super().__init__("slipway:index:Platform", name, self._wiring.inputs(declaration or {}), opts)
        self._deployment = deployment
        self.playbooks: dict[str, Playbook] = {}
        self.layers: dict[str, LayerComponent] = {}
        for layer in LAYERS:
            steps = layer.steps(deployment)
            if layer.optional and not steps:
                continue
            component = LayerComponent(
                layer,
                steps=steps,
                quorums=layer.quorums(deployment),
                below=self.playbooks,
                counted=self._wiring.quorums,
                wiring=self._wiring,
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.layers[layer.name] = component
            self.playbooks |= component.playbooks
            self._wiring.quorums |= component.quorums
        self.register_outputs({"endpoint": self._wiring.text(deployment.front.endpoint)})

    def stack_outputs(self) -> dict[str, Any]:
        """What `pulumi stack output` shows: no secret among it."""
        deployment, inputs = self._deployment, self._wiring.inputs
        return {
            "endpoint": inputs(deployment.front.endpoint),
            "models": {
                route.name: {
                    "task": str(route.task),
                    "context_window": route.context_window,
                    "max_output_tokens": route.max_output_tokens,
                    "instances": {
                        step_key(each.machine, each.name): {
                            "gpus": list(each.gpus),
                            "port": each.port,
                            # The other machines of the replica.
                            "parts": {
                                step_key(part.machine, part.name): {"gpus": list(part.gpus)}
                                for part in deployment.parts(each)[1:]
                            },
                            "sizing": self._compared(each),
                        }
                        for each in deployment.of(route.name)
                    },
                }
                for route in deployment.routes.values()
            },
            "ca_certificate": self._ca_certificate(),
            "clients": {
                team: inputs(clients.configuration(deployment, team)) for team in deployment.settings.gateway.teams
            },
            "acceptance": self._acceptance(),
            "missing": self._missing(),
            "machines": {
                machine.name: {
                    "address": inputs(self._public(machine.name)),
                    "runs": deployment.runs(machine),
                    "preflight": self._found(machine),
                    **({} if machine.driver is None else {"driver": self._driver(machine)}),
                    **({"gpus": self._proved(machine)} if machine.gpus else {}),
                }
                for machine in deployment.machines.values()
            },
        }

    def _missing(self) -> pulumi.Input[dict[str, str]]:
        """The machines that the `up` left out, by name with the reason; whichever layer found it first."""
        found = [
            (step.machine.name, self.playbooks[step.key].missing)
            for layer in LAYERS
            for step in layer.steps(self._deployment)
            if step.absence is not None and step.absence.most
        ]
        names = [name for name, _ in found]

        def first(reasons: list[str]) -> dict[str, str]:
            said = [(name, reason) for name, reason in zip(names, reasons, strict=True) if reason]
            return dict(reversed(said))

        return pulumi.Output.all(*(reason for _, reason in found)).apply(first) if found else {}

    def _found(self, machine: Machine) -> pulumi.Output[Any]:
        """What preflight warned of and could not see, when it last looked.

        In Pulumi's log is what no proof looks at again, since that may have become better, or is told once more.
        """
        checks = self._deployment.catalog.checks.values() if machine.gpus else ()
        again = {check.id for check in checks if Moment.PROOF in check.moments}

        def told(results: dict[str, Any] | None) -> dict[str, Any]:
            warnings = list((results or {}).get("warnings", []))
            for warning in warnings:
                # It begins with the check's id.
                if warning.split()[0].rstrip(":") not in again:
                    pulumi.warn(f"{machine.name}: preflight: {warning}", resource=self.layers[preflight.NAME])
            return {"warnings": warnings}

        return self.playbooks[step_key(machine, preflight.NAME)].results.apply(told)

    def _proved(self, machine: Machine) -> pulumi.Output[Any]:
        """What was proved: driver, CUDA, each GPU with its bandwidths, their exchange. A warning is in Pulumi's log, too."""
        layers = [name for name in (gpus.NAME, exchange.NAME) if step_key(machine, name) in self.playbooks]

        def told(answers: list[dict[str, Any] | None]) -> dict[str, Any]:
            found: dict[str, Any] = {"warnings": []}
            for layer, results in zip(layers, answers, strict=True):
                for warning in (results or {}).get("warnings", []):
                    pulumi.warn(f"{machine.name}: {warning}", resource=self.layers[layer])
                    found["warnings"].append(warning)
                found |= {key: value for key, value in (results or {}).items() if key != "warnings"}
            return found

        return pulumi.Output.all(*(self.playbooks[step_key(machine, name)].results for name in layers)).apply(told)

    def _driver(self, machine: Machine) -> pulumi.Input[Any]:
        """What is installed, as the role found it in the end."""
        return self.playbooks[step_key(machine, drivers.NAME)].results.apply(lambda results: results or {})

    def _public(self, machine: str) -> pulumi.Input[str]:
        return self._wiring.host(self._deployment.machines[machine]).address or ""

    def _compared(self, instance: Instance) -> pulumi.Output[Comparison]:
        """Planned and actual of one engine; a large difference is a warning in Pulumi's log."""
        plan, key = planned(instance.served.measured.figures), step_key(instance.machine, instance.name)

        def side_by_side(results: dict[str, Any] | None) -> Comparison:
            comparison = compare(plan, results or {})
            if said := deviation(key, comparison):
                pulumi.warn(said, resource=self.layers["engines"])
            return comparison

        return self.playbooks[key].results.apply(side_by_side)

    def _acceptance(self) -> pulumi.Output[Any]:
        """What was measured, by model."""
        key = step_key(self._deployment.front.machine, acceptance.NAME)
        return self.playbooks[key].results.apply(lambda results: (results or {}).get("models", {}))

    def _ca_certificate(self) -> pulumi.Input[str]:
        """What clients must trust (PEM): the private CA, the site's own, or nothing beyond what they trust anyway."""
        front = self._deployment.settings.front
        if front.ca_file is not None:
            return front.ca_file.read_text(encoding="ascii")
        key = step_key(self._deployment.front.machine, self._deployment.front.name)
        return self.playbooks[key].results.apply(lambda results: str((results or {}).get("ca_certificate", "")))

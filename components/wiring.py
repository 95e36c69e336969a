"""From plain data to Pulumi inputs: secrets become Pulumi's, references become the addresses that machines turn out to have."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.targets.base import Addresses
from provider.resource import HostArgs, Quorum
from slipway.deployment.absence import Missing
from slipway.deployment.references import Reference, Side, references, resolve
from slipway.deployment.types import Machine
from slipway.settings.types import Secret


class Wiring:
    """Turns values of the deployment into inputs."""

    def __init__(self, addresses: Mapping[str, Addresses]) -> None:
        """Takes what is known of the machines, by name."""
        self._addresses = addresses
        self.quorums: dict[str, Quorum] = {}
        """Those of the layers so far, by key: who is missing."""

    def inputs(self, value: Any) -> Any:
        """`value` with every `Secret` turned into a Pulumi secret, and every reference into the address it stands for."""
        if isinstance(value, Secret):
            return pulumi.Output.secret(value.get_secret_value())
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Missing):
            return pulumi.Output.all(*(self.quorums[key].missing for key in value.quorums)).apply(_names)
        if isinstance(value, Mapping):
            return {key: self.inputs(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.inputs(inner) for inner in value]
        return value

    def text(self, text: str) -> pulumi.Input[str]:
        """`text` with its references resolved: plain text where all are known, else an output."""
        found = references(text)
        addresses = {reference: self._address(reference) for reference in found}
        plain = {reference: address for reference, address in addresses.items() if isinstance(address, str)}
        if len(plain) == len(addresses):
            return resolve(text, plain.__getitem__)

        def put_in(known: list[str]) -> str:
            by_reference = dict(zip(found, known, strict=True))
            return resolve(text, by_reference.__getitem__)

        return pulumi.Output.all(*addresses.values()).apply(put_in)

    def host(self, machine: Machine) -> HostArgs:
        """How the plugin reaches `machine`. The key stays in its file: only the path is an input."""
        return HostArgs(
            name=machine.name,
            address=self._addresses[machine.name].public,
            port=machine.port,
            user=machine.user,
            key_file=None if machine.key_file is None else str(machine.key_file),
            host_key=machine.host_key,
        )

    def _address(self, reference: Reference) -> pulumi.Input[str]:
        addresses = self._addresses[reference.machine]
        return addresses.public if reference.side is Side.PUBLIC else addresses.private


def _names(missing: list[dict[str, str]]) -> list[str]:
    return sorted(name for each in missing for name in each)

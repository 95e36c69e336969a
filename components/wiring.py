"""From plain data to Pulumi inputs."""

from collections.abc import Mapping
from typing import Any

import pulumi

from provider.resource import HostArgs
from slipway.settings.hosts import Host
from slipway.settings.types import Secret


def to_inputs(value: Any) -> Any:
    """`value` with every `Secret` in it turned into a Pulumi secret, which the engine encrypts in the state."""
    if isinstance(value, Secret):
        return pulumi.Output.secret(value.get_secret_value())
    if isinstance(value, Mapping):
        return {key: to_inputs(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_inputs(inner) for inner in value]
    return value


def host_args(host: Host) -> HostArgs:
    """How the plugin reaches `host`. The key stays in its file: only the path is an input."""
    return HostArgs(
        name=host.name,
        address=host.address,
        port=host.port,
        user=host.user,
        key_file=None if host.key_file is None else str(host.key_file),
        host_key=host.host_key,
    )

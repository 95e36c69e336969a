"""The resources that a Slipway stack will have, computed without the engine: what `slipway check` lets the rules judge.

Types, names and inputs are those that `components/` registers; a test compares the two in the real engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.node import Node, Secret
from policies.resources import PLATFORM, PLAYBOOK, STACK, Resource, Stack
from slipway.checks import Subject
from slipway.checks.declaration import declaration
from slipway.layers import LAYERS
from slipway.layers.step import Step
from slipway.settings.errors import SettingsError
from slipway.settings.hosts import Host
from slipway.settings.types import Secret as SettingsSecret

PROJECT = "slipway"


def planned_stack(name: str, subject: Subject, raw: object, config: Mapping[str, Any]) -> Stack:
    """What the rules judge of the stack called `name`.

    Args:
        name: the stack's.
        subject: the stack, examined.
        raw: what its file says under ``slipway:platform``, secrets still encrypted.
        config: all that its file says under ``config``.
    """

    def resource(kind: str, called: str, inputs: Mapping[str, Any], *parents: str) -> Resource:
        # As the engine writes them, so that an exception by URN holds here as it does there.
        urn = f"urn:pulumi:{name}::{PROJECT}::{'$'.join((*parents, kind))}::{called}"
        return Resource(type=kind, name=called, urn=urn, inputs=Node(plain(inputs)))

    return Stack(
        name=name,
        project=PROJECT,
        resources=(
            resource(STACK, f"{PROJECT}-{name}", {}),
            resource(PLATFORM, "platform", declaration(subject, raw)),
            *(
                resource(PLAYBOOK, f"{step.host.name}/{step.role}", _inputs(step), PLATFORM, layer)
                for layer, step in _steps(subject)
            ),
        ),
        config=Node({key: _setting(value) for key, value in config.items()}),
    )


def _steps(subject: Subject) -> Iterator[tuple[str, Step]]:
    """Each step with the type of its layer's component."""
    for layer in LAYERS:
        try:
            steps = layer.steps(subject.settings)
        except (SettingsError, OSError):
            # The checks say which; what else is there is judged all the same.
            continue
        kind = layer.__name__.rpartition(".")[2].title()
        yield from ((f"slipway:layers:{kind}", step) for step in steps)


def _inputs(step: Step) -> dict[str, Any]:
    """As `components.layer` and `provider.resource` make them; triggers are outputs, and nothing to judge."""
    return {
        "host": _host(step.host),
        "role": step.role,
        "variables": step.variables,
        "timeout": step.timeout_s,
    }


def _host(host: Host) -> dict[str, Any]:
    given = {
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "keyFile": None if host.key_file is None else str(host.key_file),
        "hostKey": host.host_key,
    }
    return {key: value for key, value in given.items() if value is not None}


def plain(value: Any) -> Any:
    """Plain data with secrets marked as the engine would hand them over."""
    if isinstance(value, SettingsSecret):
        return Secret(value.get_secret_value())
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def _setting(value: Any) -> Any:
    """As the engine hands configuration over: what holds something encrypted is secret as a whole."""
    return Secret(value) if _encrypted(value) else value


def _encrypted(value: Any) -> bool:
    if isinstance(value, Mapping):
        return set(value) == {"secure"} or any(_encrypted(inner) for inner in value.values())
    return isinstance(value, list) and any(_encrypted(inner) for inner in value)

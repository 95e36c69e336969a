"""The resources that a Slipway stack will have, computed without the engine: what `slipway check` lets the rules judge.

Types, names and inputs are those that `components/` registers; a test compares the two in the real engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.node import UNKNOWN, Node, Secret
from policies.resources import PLATFORM, PLAYBOOK, STACK, Resource, Stack
from slipway.deployment.absence import Missing
from slipway.deployment.declaration import declaration
from slipway.deployment.references import public, resolve_known
from slipway.deployment.types import Deployment, Machine
from slipway.layers import LAYERS
from slipway.layers.step import RECORDS, Step
from slipway.settings.errors import SettingsError
from slipway.settings.types import Secret as SettingsSecret

PROJECT = "slipway"


def planned_stack(name: str, deployment: Deployment, raw: object, config: Mapping[str, Any]) -> Stack:
    """What the rules judge of the stack called `name`.

    Args:
        name: the stack's.
        deployment: what follows from its settings.
        raw: what its file says under ``slipway:platform``, secrets still encrypted.
        config: all that its file says under ``config``.
    """
    edge = _Edge(deployment)

    def resource(kind: str, called: str, inputs: Mapping[str, Any], *parents: str) -> Resource:
        # As the engine writes them, so that an exception by URN holds here as it does there.
        urn = f"urn:pulumi:{name}::{PROJECT}::{'$'.join((*parents, kind))}::{called}"
        return Resource(type=kind, name=called, urn=urn, inputs=Node(edge.plain(inputs)))

    return Stack(
        name=name,
        project=PROJECT,
        resources=(
            resource(STACK, f"{PROJECT}-{name}", {}),
            resource(PLATFORM, "platform", declaration(deployment, raw)),
            *(resource(PLAYBOOK, step.key, _inputs(step), PLATFORM, layer) for layer, step in _steps(deployment)),
        ),
        config=Node({key: _setting(value) for key, value in config.items()}),
    )


class _Edge:
    """Puts in what is known without the engine."""

    def __init__(self, deployment: Deployment) -> None:
        self._address = deployment.address

    def plain(self, value: Any) -> Any:
        """Plain data with addresses put in and secrets marked, as the engine would hand it over in a preview."""
        if isinstance(value, str):
            text = resolve_known(value, self._address)
            return UNKNOWN if text is None else text
        if isinstance(value, Missing):
            return []  # as a preview of a new stack has it
        if isinstance(value, SettingsSecret):
            return Secret(value.get_secret_value())
        if isinstance(value, Mapping):
            return {key: self.plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(inner) for inner in value]
        return value


def _steps(deployment: Deployment) -> Iterator[tuple[str, Step]]:
    """Each step with the type of its layer's component."""
    for layer in LAYERS:
        try:
            steps = layer.steps(deployment)
        except (SettingsError, OSError):
            # The checks say which file is missing; what else is there is judged all the same.
            continue
        yield from ((f"slipway:layers:{layer.title}", step) for step in steps)


def _inputs(step: Step) -> dict[str, Any]:
    """As `components.layer` and `provider.resource` make them; triggers are outputs, and nothing to judge."""
    given = {
        "host": _host(step.machine),
        "role": step.role,
        "instance": step.instance,
        "playbooks": step.playbooks,
        "variables": step.variables,
        "timeout": step.timeout_s,
        "records": RECORDS,
        "rolling": step.rolling,
        "environment": list(step.environment) or None,
        "absence": None if step.absence is None else step.absence.data(),
    }
    return {key: value for key, value in given.items() if value is not None}


def _host(machine: Machine) -> dict[str, Any]:
    given = {
        "name": machine.name,
        "address": public(machine.name),
        "port": machine.port,
        "user": machine.user,
        "keyFile": None if machine.key_file is None else str(machine.key_file),
        "hostKey": machine.host_key,
    }
    return {key: value for key, value in given.items() if value is not None}


def _setting(value: Any) -> Any:
    """As the engine hands configuration over: what holds something encrypted is secret as a whole."""
    return Secret(value) if _encrypted(value) else value


def _encrypted(value: Any) -> bool:
    if isinstance(value, Mapping):
        return set(value) == {"secure"} or any(_encrypted(inner) for inner in value.values())
    return isinstance(value, list) and any(_encrypted(inner) for inner in value)

"""What the stack's state tells the program before it begins: what each instance was last asked to have."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from slipway.deployment.claims import Claims, Holdings, held

_READ = "pulumi:pulumi:readStackResourceOutputs"
"""A function of Pulumi's own provider, of which StackReference was made; it reads the state as it was before this run."""

AGAIN_AFTER_S = (0.1, 0.2, 0.4, 0.8)
"""Pauses before further tries. The engine writes the state of the run that begins at just that time, and one kept in files is
no state while it is being written ("failed to load checkpoint: EOF")."""


@dataclass(frozen=True)
class Before:
    """What a stack's machines had when they were last brought up; nothing of a stack that never was."""

    holdings: Holdings = field(default_factory=dict)
    """By machine and instance."""
    drivers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By machine the variables of its NVIDIA driver; empty where it has one and which is not known."""


def before() -> Before:
    """As the stack's state has it.

    Raises:
        pulumi.RunError: the state cannot be read.
    """
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    for pause_s in (*AGAIN_AFTER_S, None):
        try:
            read = pulumi.runtime.invoke(_READ, {"stackName": name}).value
            break
        except Exception as error:  # noqa: BLE001 -- the SDK raises plain ones
            if pause_s is None:
                raise pulumi.RunError(
                    f"the state of {name} could not be read: {error}; where its models are is not known, and they might be "
                    "moved: check that the backend answers (`pulumi stack`), then repeat"
                ) from None
            time.sleep(pause_s)
    resources = (read or {}).get("outputs") or {}
    return Before(held_in(resources), drivers_in(resources))


def held_in(resources: Mapping[str, Any]) -> Holdings:
    """What instances hold, of all resources of a stack: ``{urn: {type: TYPE, outputs: {…}}}``."""
    found: dict[tuple[str, str], Claims] = {}
    for machine, instance, outputs in _applied(resources, "service"):
        had = held((outputs.get("variables") or {}).get("service_claims"))
        if had is not None and instance:
            found[machine, instance] = had
    return found


def drivers_in(resources: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The variables that each machine's driver was last applied with, by the machine's name; empty where that is not known."""
    found: dict[str, Mapping[str, Any]] = {}
    for machine, _, outputs in _applied(resources, "nvidia_driver"):
        # Without a digest the variables are those of an apply that never came, or did not end: what is there is not known.
        if outputs.get("digest") != "":
            found[machine] = outputs.get("variables") or {}
        elif outputs.get("changed") is not None:
            found[machine] = {}
    return found


def _applied(resources: Mapping[str, Any], role: str) -> Iterator[tuple[str, str | None, Mapping[str, Any]]]:
    """Machine, instance and outputs of each application of a role."""
    for resource in resources.values():
        outputs = resource["outputs"]
        if resource["type"] != "playbook:index:Playbook" or outputs.get("role") != role:
            continue
        # One whose first apply was cut off may have less.
        machine = (outputs.get("host") or {}).get("name")
        if machine:
            yield machine, outputs.get("instance"), outputs

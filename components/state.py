"""What the stack's state tells the program before it begins: what each instance was last asked to have."""

from collections.abc import Mapping
from typing import Any

import pulumi

from slipway.deployment.claims import Claims, Holdings, held

_READ = "pulumi:pulumi:readStackResourceOutputs"
"""A function of Pulumi's own provider, of which StackReference was made; it reads the state as it was before this run."""


def holdings() -> Holdings:
    """By machine and instance; empty for a stack that was never up.

    Raises:
        pulumi.RunError: the state cannot be read.
    """
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    try:
        read = pulumi.runtime.invoke(_READ, {"stackName": name}).value
    except Exception as error:  # noqa: BLE001 -- the SDK raises plain ones
        raise pulumi.RunError(
            f"the state of {name} could not be read: {error}; where its models are is not known, and they might be moved: "
            "check that the backend answers (`pulumi stack`), then repeat"
        ) from None
    return held_in((read or {}).get("outputs") or {})


def held_in(resources: Mapping[str, Any]) -> Holdings:
    """What instances hold, of all resources of a stack: ``{urn: {type: TYPE, outputs: {…}}}``."""
    found: dict[tuple[str, str], Claims] = {}
    for resource in resources.values():
        outputs = resource["outputs"]
        if resource["type"] != "playbook:index:Playbook" or outputs.get("role") != "service":
            continue
        # One whose first apply was cut off may have less.
        had = held((outputs.get("variables") or {}).get("service_claims"))
        machine, instance = (outputs.get("host") or {}).get("name"), outputs.get("instance")
        if had is not None and machine and instance:
            found[machine, instance] = had
    return found

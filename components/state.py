"""What the stack's state tells the program before it begins: what each instance was last asked to have."""

import time
from collections.abc import Mapping
from typing import Any

import pulumi

from slipway.deployment.claims import Claims, Holdings, held

_READ = "pulumi:pulumi:readStackResourceOutputs"
"""A function of Pulumi's own provider, of which StackReference was made; it reads the state as it was before this run."""

AGAIN_AFTER_S = (0.1, 0.2, 0.4, 0.8)
"""Pauses before further tries. The engine writes the state of the run that begins at just that time, and one kept in files is
no state while it is being written ("failed to load checkpoint: EOF")."""


def holdings() -> Holdings:
    """By machine and instance; empty for a stack that was never up.

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

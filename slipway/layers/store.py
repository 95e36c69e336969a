"""The model store: one host fetches each model once, verified; the others have it from there by rsync, all at the same time.

On each host that serves such a model is what it is fetched with; on the store's own host also what serves it, and one step for
each model, which fills its folder. A model's step on a host (`slipway.layers.models`) comes after both.
"""

from typing import Any

from slipway.deployment.files import stored_name
from slipway.deployment.names import STORE, STORED_PREFIX
from slipway.deployment.references import private
from slipway.deployment.types import Deployment, Machine, Served, StorePlan
from slipway.layers import drivers
from slipway.layers.step import Step, step_key

NAME = STORE
MODULE = "store"
"""Of rsync's daemon: the first part of the paths that it serves."""
TRANSFER_TIMEOUT_S = 12 * 3600
"""Hundreds of gigabytes from a slow hub, once for a site."""


def steps(deployment: Deployment) -> list[Step]:
    """The means on every host that takes part, then each model once."""
    plan = deployment.store
    if plan is None:
        return []
    machines = list({machine.name: machine for machine in (plan.machine, *plan.readers)}.values())
    return [
        *(_means(plan, machine) for machine in machines),
        *(_stored(plan, served) for served in deployment.served.values() if served.settings.source.is_brought),
    ]


def source(plan: StorePlan, machine: Machine, served: Served) -> dict[str, Any]:
    """Where a host has the model from, as role model takes it."""
    folder = stored_name(served.files)
    if machine == plan.machine:
        return {"kind": "store", "path": f"{plan.path}/{folder}"}
    return {"kind": "store", "url": f"rsync://{private(plan.machine.name)}:{plan.port}/{MODULE}/{folder}"}


def after(plan: StorePlan, machine: Machine, served: Served) -> list[str]:
    """Keys of the steps that a model on a host comes after."""
    return [step_key(machine, NAME), step_key(plan.machine, name(served))]


def name(served: Served) -> str:
    """What the step is called that brings a model to the store."""
    return f"{STORED_PREFIX}{served.slug}"


def _means(plan: StorePlan, machine: Machine) -> Step:
    variables: dict[str, Any] = {}
    if machine == plan.machine:
        variables = {
            "store_path": plan.path,
            "store_address": private(machine.name) if plan.others else "",
            "store_port": plan.port,
            "store_readers": [private(other.name) for other in plan.others],
        }
    return Step(
        machine=machine,
        instance=NAME,
        role="store",
        variables=variables,
        after=(drivers.ready(machine),),
        timeout_s=900,
    )


def _stored(plan: StorePlan, served: Served) -> Step:
    files = served.files
    variables: dict[str, Any] = {
        "stored_model_name": served.name,
        "stored_model_folder": f"{plan.path}/{stored_name(files)}",
        "stored_model_source": dict(files.source),
        "stored_model_record": files.record,
    }
    if files.token is not None:
        variables["stored_model_token"] = files.token
    return Step(
        machine=plan.machine,
        instance=name(served),
        role="stored_model",
        variables=variables,
        after=(step_key(plan.machine, NAME),),
        environment=files.environment,
        timeout_s=TRANSFER_TIMEOUT_S,
    )

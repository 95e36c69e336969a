"""Models: the files of each model on each machine that serves it, shared by the replicas there."""

from typing import Any

from slipway.deployment.names import MODEL_PREFIX
from slipway.deployment.types import Deployment, Instance, Served
from slipway.layers import drivers, store
from slipway.layers.hub import PROGRAM as HUB
from slipway.layers.service import program_name
from slipway.layers.step import Step, step_key


def name(served: Served) -> str:
    """What the step of a model's files is called."""
    return f"{MODEL_PREFIX}{served.slug}"


def steps(deployment: Deployment) -> list[Step]:
    """One step per model and machine."""
    first = {(each.machine.name, each.served.name): each for each in reversed(deployment.instances)}
    return [_step(deployment, each) for each in reversed(first.values())]


def _step(deployment: Deployment, instance: Instance) -> Step:
    machine, served = instance.machine, instance.served
    files = served.files
    variables: dict[str, Any] = {
        "model_name": files.slug,
        "model_path": files.path,
        "model_source": dict(files.source),
        "model_format": "huggingface" if files.gguf is None else "gguf",
    }
    if files.gguf is not None:
        variables["model_file"] = files.gguf
    if files.record is not None:
        variables["model_record"] = files.record
    after = [drivers.ready(machine)]
    again_after: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    if deployment.store is not None and served.settings.source.is_brought:
        # Whatever its source is, the store alone asks it.
        variables["model_source"] = store.source(deployment.store, machine, served)
        after += store.after(deployment.store, machine, served)
        # What the store mended, or has anew, reaches its hosts.
        again_after = (step_key(deployment.store.machine, store.name(served)),)
    else:
        environment = files.environment
        if served.settings.source.hub is not None:
            variables["model_downloader"] = HUB.folder
            after.append(step_key(machine, program_name(HUB)))
        if files.token is not None:
            variables["model_hub_token"] = files.token
    return Step(
        machine=machine,
        instance=name(served),
        role="model",
        variables=variables,
        after=tuple(after),
        again_after=again_after,
        environment=environment,
        timeout_s=TRANSFER_TIMEOUT_S,
    )


TRANSFER_TIMEOUT_S = 4 * 3600
"""Hundreds of gigabytes from a slow mirror."""

"""Acceptance: every model is asked through the front, and each gateway, by its task, with a real key, after every change."""

from typing import Any

from slipway.deployment.names import UNIT
from slipway.deployment.references import private, public
from slipway.deployment.routes import proved
from slipway.deployment.types import Deployment, Machine, Route
from slipway.fronts import adapter as front_adapter
from slipway.layers import floating
from slipway.layers.step import Step, step_key

MAX_TOKENS = 64
NAME = "acceptance"


def steps(deployment: Deployment) -> list[Step]:
    """One step on each front's machine; it reaches the front there as a client in that network does."""
    return [_step(deployment, machine) for machine in deployment.front.machines]


def _step(deployment: Deployment, machine: Machine) -> Step:
    front, settings = deployment.front, deployment.settings
    gateways = deployment.gateways_on(machine) or deployment.gateways
    team, *private_teams = deployment.acceptance
    models = [_model(deployment, route, machine) for route in proved(deployment.routes, deployment.served)]
    variables: dict[str, Any] = {
        "acceptance_address": _address(machine),
        "acceptance_port": front.port,
        "acceptance_server_name": front.server_name,
        "acceptance_front_unit": UNIT.format(front.name),
        "acceptance_gateway_unit": UNIT.format(gateways[0].name),
        "acceptance_key": team.key,
        "acceptance_models": models,
    }
    for each in private_teams:
        # The second gateway is theirs; the front tells by the key who is asked.
        variables["acceptance_private_key"] = each.key
        variables["acceptance_private_gateway"] = UNIT.format(gateways[1].name)
    if settings.front.certificate_file is None:
        variables["acceptance_ca_file"] = front_adapter(settings.front.name).ca_file
    elif settings.front.ca_file is not None:
        variables["acceptance_ca_certificate"] = settings.front.ca_file.read_text(encoding="ascii")
    if settings.gateway.engine_key is not None and machine == gateways[0].machine:
        variables["acceptance_direct_key"] = settings.gateway.engine_key
    before = tuple(
        step_key(machine, instance)
        for machine, instance in (
            *((each.machine, each.name) for each in deployment.instances),
            *((each.machine, each.name) for each in deployment.gateways),
            *((each, front.name) for each in front.machines),
        )
    )
    moving = tuple(step.key for step in floating.steps(deployment))
    return Step(
        machine=machine,
        instance=NAME,
        role="acceptance",
        variables=variables,
        after=(*before, *moving),
        again_after=before,
        timeout_s=600 + 60 * len(deployment.routes) + 30 * len(models) * len(private_teams),
    )


def _model(deployment: Deployment, route: Route, machine: Machine) -> dict[str, Any]:
    model: dict[str, Any] = {"name": route.name, "task": str(route.task)}
    if route.task.generates and route.max_output_tokens is not None:
        model["max_tokens"] = min(MAX_TOKENS, route.max_output_tokens)
    # The engine can be asked directly only from a machine that may call it.
    if any(machine == each.machine for each in deployment.gateways) and route.name in deployment.served:
        # Of a replica that is there in any case.
        there = [
            head
            for head in deployment.of(route.name)
            if not any(part.machine.may_be_missing for part in deployment.parts(head))
        ]
        if there:
            model["direct_url"] = there[0].url
    return model


def _address(machine: Machine) -> str:
    """Of a front's machine, as its peers reach it."""
    return private(machine.name) if machine.has_private_address else public(machine.name)

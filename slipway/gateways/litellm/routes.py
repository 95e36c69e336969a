"""What LiteLLM is told of models: the contents of routes.json, which it reads again as it changes.

It follows from the deployment alone. Its form is described where it is read, in the role's files.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm
from typing import Any

from slipway.deployment.absence import machines_of, missing
from slipway.deployment.types import Deployment, GatewayInstance, Instance, Provided, Route
from slipway.gateways.litellm.config import provider_parameters

NO_KEY = "none"
"""What is sent to engines that ask for no key; the client library insists on one."""


def routes(deployment: Deployment, gateway: GatewayInstance) -> dict[str, Any]:
    """The contents of routes.json; keys in it are `Secret`s."""
    models = [entry for route in deployment.routes.values() for entry in _backends(deployment, gateway, route)]
    there = {entry["name"] for entry in models}
    return {
        "models": models,
        "aliases": {
            alias: route.name for route in deployment.routes.values() for alias in route.aliases if route.name in there
        },
        "fallbacks": {
            route.name: reachable
            for route in deployment.routes.values()
            if route.name in there and (reachable := [name for name in route.fallbacks if name in there])
        },
        "timeout_s": deployment.settings.gateway.request_timeout_s,
        **missing(deployment),
    }


def _backends(deployment: Deployment, gateway: GatewayInstance, route: Route) -> Iterator[dict[str, Any]]:
    """Everything that answers for a name, each with its part of the name's requests."""
    replicas = {target: deployment.of(target) for target in route.targets}
    # So that every weight is a whole number, however many replicas share one target's.
    common = lcm(*(len(instances) for instances in replicas.values() if instances))
    for target, weight in route.targets.items():
        provided = deployment.provided.get(target)
        if provided is None:
            each = weight * common // len(replicas[target])
            for instance in replicas[target]:
                yield {**_engine(route, instance, each), **machines_of(deployment, instance)}
        elif not gateway.private_only:
            yield _provider(route, provided, weight * common)


def _engine(route: Route, instance: Instance, weight: int) -> dict[str, Any]:
    served = instance.served
    return {
        "id": f"{route.name}@{instance.machine.name}/{instance.name}",
        "name": route.name,
        "task": str(route.task),
        "weight": weight,
        "litellm": {
            # LiteLLM's word for any server that speaks OpenAI's API and takes more parameters than it.
            "model": f"hosted_vllm/{served.name}",
            "api_base": instance.url,
            "api_key": NO_KEY if served.engine_key is None else served.engine_key,
        },
        "native": sorted(served.adapter.native),
        "url": instance.url,
        # Whatever is served here may have requests that are not to leave; a private model's are kept from leaving by its
        # fall-backs, which the settings don't let reach a provider.
        "private": True,
        "context_window": route.context_window,
        "max_output_tokens": route.max_output_tokens,
    }


def _provider(route: Route, provided: Provided, weight: int) -> dict[str, Any]:
    provider = provided.provider
    options = {
        key: value
        for key, value in provider.model_dump(mode="json", exclude={"kind", "url", "key"}).items()
        if value is not None
    }
    url = getattr(provider, "url", None)
    return {
        "id": f"{route.name}@{provided.provider_name}/{provided.name}",
        "name": route.name,
        "task": str(route.task),
        "weight": weight,
        "litellm": provider_parameters(
            provider.name,
            model=provided.model,
            url=None if url is None else str(url).rstrip("/"),
            key=getattr(provider, "key", None),
            options=options,
        ),
        "native": [],
        "url": None,
        "private": False,
        "context_window": route.context_window,
        "max_output_tokens": route.max_output_tokens,
    }

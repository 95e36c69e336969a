"""What the front is told of models: the contents of routes.json, which it reads again as it changes.

The form, as `routes.lua` of role nginx reads it::

    {"models": {NAME: {"task", "context_window", "max_output_tokens", "fallbacks": [NAME], "provided": BOOL,
                       "price": {"input", "output"} in millionths for a million tokens, or null,
                       "backends": [{"id", "group", "address", "port", "model", "key", "native": [FAMILY], "weight",
                                     "health": PATH, "probe": {"path", "body"} or null,
                                     "progress": {"path", "counter"} or null,
                                     "most": REQUESTS at once, or null where the engine itself refuses more,
                                     "places": ANSWERS and texts at once, or null where it counts requests}]}},
     "aliases": {ALIAS: NAME}, "through": {"open": [GATEWAY], "private": [GATEWAY] or null},
     "missing": [MACHINE], "currency": CODE or null, "fast_path": BOOL, "timeout_s": SECONDS, "extra_fields": {PATH: [FIELD]},
     "allowed_origins": [ORIGIN]}

A backend of a stack in which machines may be missing has ``"machines": [MACHINE]``: while one of them is ``missing``, it is
none. ``backends`` are the engines here that the front asks itself; what else answers for a name is the gateways' to know. A
GATEWAY is ``{"id", "address", "port", "key": what it is to be shown, or null for the team's own key, "health": PATH}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from math import lcm
from typing import Any

from slipway.deployment.absence import machines_of, missing
from slipway.deployment.references import LOOPBACK
from slipway.deployment.types import Deployment, GatewayInstance, Instance, Machine, Route
from slipway.engines.base import EngineAdapter
from slipway.engines.probes import PROBES
from slipway.gateways import adapter as gateway_adapter
from slipway.settings.prices import price_of
from slipway.usage.money import millionths


def routes(deployment: Deployment, machine: Machine) -> dict[str, Any]:
    """The contents of routes.json for the front on `machine`; keys in it are `Secret`s, addresses may be references."""
    gateway, front = deployment.settings.gateway, deployment.settings.front
    first, *_ = deployment.gateways
    return {
        "models": {route.name: _model(deployment, route, machine) for route in deployment.routes.values()},
        "aliases": {alias: route.name for route in deployment.routes.values() for alias in route.aliases},
        "through": {
            "open": _peers(deployment, lambda each: each.name == first.name),
            # Those that know no provider; where there is none, no team is private.
            "private": _peers(deployment, lambda each: each.private_only) or None,
        },
        **missing(deployment),
        "currency": gateway.usage.currency,
        "fast_path": gateway.fast_path,
        "timeout_s": gateway.request_timeout_s,
        "extra_fields": {path: list(fields) for path, fields in gateway.extra_fields.items()},
        "allowed_origins": [str(origin) for origin in front.allowed_origins],
    }


def _peers(deployment: Deployment, which: Callable[[GatewayInstance], bool]) -> list[dict[str, Any]]:
    health = gateway_adapter(deployment.settings.gateway.name).health_path
    return [
        {
            "id": f"{each.name}@{each.machine.name}",
            "address": each.address,
            "port": each.port,
            "key": each.front_key,
            "health": health,
        }
        for each in deployment.gateways
        if which(each)
    ]


def _model(deployment: Deployment, route: Route, machine: Machine) -> dict[str, Any]:
    return {
        "task": str(route.task),
        "context_window": route.context_window,
        "max_output_tokens": route.max_output_tokens,
        "fallbacks": list(route.fallbacks),
        "price": _price(deployment, route),
        "provided": any(target in deployment.provided for target in route.targets),
        "backends": list(_backends(deployment, route, machine)),
    }


def _price(deployment: Deployment, route: Route) -> dict[str, int] | None:
    price = price_of(deployment.settings.models, route.name)
    if price is None:
        return None
    # What generates nothing has no price for it.
    return {"input": millionths(price.input), "output": millionths(price.output or Decimal(0))}


def _backends(deployment: Deployment, route: Route, machine: Machine) -> Iterator[dict[str, Any]]:
    replicas = {target: deployment.of(target) for target in route.targets}
    # So that every weight is a whole number, however many replicas share one target's.
    common = lcm(*(len(instances) for instances in replicas.values() if instances))
    for target, weight in route.targets.items():
        for instance in replicas[target]:
            backend = _backend(route, instance, machine, weight * common // len(replicas[target]))
            yield {**backend, **machines_of(deployment, instance)}


def _backend(route: Route, instance: Instance, machine: Machine, weight: int) -> dict[str, Any]:
    served, probe = instance.served, PROBES.get(route.task)
    return {
        "id": f"{route.name}@{instance.machine.name}/{instance.name}",
        "group": served.name,
        "address": instance.address,
        "port": instance.port,
        "model": served.name,
        "key": served.engine_key,
        "native": sorted(served.adapter.native) if _reached(machine, instance) else [],
        "weight": weight,
        "health": served.adapter.health_path,
        "probe": None if probe is None else {"path": probe[0], "body": {"model": served.name, **probe[1]}},
        "progress": _progress(served.adapter),
        "most": _most(instance),
        "places": _places(instance),
    }


def _progress(adapter: EngineAdapter) -> dict[str, str] | None:
    """Where the engine tells how much it has computed; None where it does not."""
    if adapter.metrics_path is None or adapter.progress_counter is None:
        return None
    return {"path": adapter.metrics_path, "counter": adapter.progress_counter}


def _most(instance: Instance) -> int | None:
    """Requests that the engine may have at once, where only the front refuses more."""
    return None if instance.served.adapter.bounds_queue else _held(instance)


def _places(instance: Instance) -> int | None:
    """Answers and texts that the engine takes at once, where it counts each of them: a request for more never gets in."""
    return _held(instance) if instance.served.adapter.counts_texts else None


def _held(instance: Instance) -> int | None:
    """What it works on and what may wait, of all its copies; None where there is no bound."""
    settings = instance.served.settings
    queued = settings.engine.queued(lists=settings.task.lists)
    return None if queued is None else (settings.engine.slots + queued) * instance.served.parallelism.data


def _reached(machine: Machine, instance: Instance) -> bool:
    """Whether the front on `machine` can ask it: what listens on another machine's loopback is for the gateway there alone."""
    return instance.address != LOOPBACK or instance.machine == machine

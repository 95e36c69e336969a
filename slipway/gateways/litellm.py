"""LiteLLM: https://docs.litellm.ai — routing over the engines, team keys and their limits."""

from dataclasses import dataclass
from typing import Any

from slipway.settings import Settings
from slipway.settings.gateway import TeamKey
from slipway.settings.hosts import Host, Service

RELEASE = "1.106.2"
"""The release that role litellm installs; its lock pins the same."""


@dataclass(frozen=True)
class Litellm:
    """The adapter; see `slipway.gateways.base.GatewayAdapter`."""

    role: str = "litellm"
    release: str = RELEASE

    def variables(self, settings: Settings) -> dict[str, Any]:
        """The variables of role litellm."""
        gateway = settings.gateway
        variables: dict[str, Any] = {
            "litellm_bind_address": settings.bind_address(Service.GATEWAY, settings.gateway_host),
            "litellm_port": gateway.port,
            "litellm_model_name": settings.model.name,
            "litellm_backends": [_backend(settings, host) for host in settings.engine_hosts],
            "litellm_keys": [_key(entry) for entry in gateway.keys],
            "litellm_request_timeout": gateway.request_timeout_s,
            "litellm_memory_max": gateway.memory_max,
        }
        if settings.engine.key is not None:
            variables["litellm_engine_key"] = settings.engine.key
        return variables


def _backend(settings: Settings, host: Host) -> dict[str, str]:
    address = settings.bind_address(Service.ENGINE, host)
    return {"name": host.name, "url": f"http://{address}:{settings.engine.port}/v1"}


def _key(entry: TeamKey) -> dict[str, Any]:
    limits = {
        "requests_per_minute": entry.requests_per_minute,
        "tokens_per_minute": entry.tokens_per_minute,
    }
    return {
        "team": entry.team,
        "key": entry.key,
        **{name: limit for name, limit in limits.items() if limit is not None},
    }


ADAPTER = Litellm()

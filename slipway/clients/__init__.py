"""What a team needs to call the endpoint: never the key, only the name of the variable that holds it."""

from typing import Any

from slipway.deployment.routes import asked_by
from slipway.deployment.types import Deployment
from slipway.settings.gateway import key_variable


def configuration(deployment: Deployment, team: str) -> dict[str, Any]:
    """One team's configuration as plain data: base URL, key variable, and its models with task and bounds in tokens.

    The base URL may hold a reference.
    """
    entry = deployment.settings.gateway.teams[team]
    return {
        "base_url": deployment.front.endpoint,
        "key_variable": key_variable(team, entry),
        "models": [
            {
                "id": route.name,
                "task": str(route.task),
                "aliases": list(route.aliases),
                "context_window": route.context_window,
                "max_output_tokens": route.max_output_tokens if route.task.generates else None,
            }
            for route in asked_by(entry, deployment.routes)
        ],
    }

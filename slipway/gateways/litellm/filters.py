"""What LiteLLM's gateway is told of filters: the contents of filters.json, which it reads again as they change."""

from __future__ import annotations

from typing import Any

from slipway.deployment.types import Deployment


def filters(deployment: Deployment) -> dict[str, Any]:
    """The contents of filters.json, whose form is described where it is read, in the role's files."""
    gateway = deployment.settings.gateway
    return {
        "patterns": {name: pattern.model_dump() for name, pattern in gateway.filters.items()},
        "teams": {
            name: {direction: dict(actions) for direction, actions in team.filters.items() if actions}
            for name, team in gateway.teams.items()
            if any(team.filters.values())
        },
    }

"""Which models a team sees, and what it is told about one that it may not use."""

from __future__ import annotations

from typing import Any

from slipway_gateway.answers import Refusal, provider_only
from slipway_gateway.routes import Routes
from slipway_gateway.teams import Team


def resolve(routes: Routes, team: Team, asked: str) -> str:
    """The name of the model that a team asks for by its name or an alias.

    Raises:
        Refusal: 404: there is none; 403: it is not for this team.
    """
    name = routes.aliases.get(asked, asked)
    if name not in routes.models:
        raise Refusal(
            404,
            f"The model '{asked}' does not exist. GET /v1/models lists those that do.",
            "model_not_found",
            param="model",
        )
    if not team.may_use(asked, name):
        raise Refusal(403, f"The team {team.name} may not use the model '{asked}'.", "model_not_allowed", param="model")
    if not _stays(routes, team, name):
        raise provider_only(asked)
    return name


def entries(routes: Routes, team: Team) -> list[dict[str, Any]]:
    """The models that a team may use, by names and aliases, as /v1/models tells them."""
    return [
        _entry(routes, asked, name)
        for asked, name in sorted({**{name: name for name in routes.models}, **routes.aliases}.items())
        if team.may_use(asked, name) and _stays(routes, team, name)
    ]


def _stays(routes: Routes, team: Team, name: str) -> bool:
    """Whether something answers for the model that the team's requests may go to."""
    return not team.private or any(
        deployment.private for asked in routes.chain(name) for deployment in routes.models[asked]
    )


def _entry(routes: Routes, asked: str, name: str) -> dict[str, Any]:
    deployment = routes.models[name][0]
    sizes = {
        "context_window": deployment.context_window,
        "max_model_len": deployment.context_window,  # vLLM's word for it, which some tools read
        "max_output_tokens": deployment.max_output_tokens,
    }
    return {
        "id": asked,
        "object": "model",
        "created": 0,
        "owned_by": "slipway",
        "root": name,
        "task": deployment.task,
        **{key: size for key, size in sizes.items() if size is not None},
        # For Anthropic's clients.
        "type": "model",
        "display_name": asked,
        "created_at": "1970-01-01T00:00:00Z",
    }

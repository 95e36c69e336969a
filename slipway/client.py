"""What a team needs to call the endpoint: never the key, only the name of the variable that holds it."""

from typing import Any

from slipway.settings import Settings


def configuration(settings: Settings) -> dict[str, Any]:
    """The client configuration, as plain data: base URL, model id, token bounds, each team's key variable."""
    model = settings.model
    return {
        "base_url": settings.endpoint,
        "model": model.name,
        "context_window": model.max_model_len,
        "max_output_tokens": model.output_tokens,
        "key_variables": {entry.team: entry.variable for entry in settings.gateway.keys},
    }

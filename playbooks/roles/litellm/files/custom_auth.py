"""Where LiteLLM meets Slipway: it loads this file from beside its configuration, and asks it whose a request is.

Loading it puts Slipway's door around LiteLLM's application: see `slipway_gateway`. What LiteLLM is asked afterwards came
through that door, which says whose it is; anything else is refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import litellm
from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import proxy_server
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth
from slipway_gateway import routes, teams, translated
from slipway_gateway.balance import Balance
from slipway_gateway.door import Door
from slipway_gateway.filters import file
from slipway_gateway.losses import loss
from slipway_gateway.native import Native
from slipway_gateway.serving import Serving
from slipway_gateway.translated import TEAM, Translated
from slipway_gateway.watched import Watched

FOLDER = Path(os.environ.get("SLIPWAY_FOLDER", Path(__file__).parent))
"""Where teams.json, routes.json and filters.json lie."""


def door(app: object) -> Door:
    """Slipway's door around LiteLLM's application."""
    through_litellm = Translated(app)
    return Door(
        app,
        teams=Watched(FOLDER / "teams.json", teams.parse, ()),
        routes=Watched(FOLDER / "routes.json", routes.parse, routes.Routes()),
        filters=Watched(FOLDER / "filters.json", file.parse, file.UNREAD),
        front_key=os.environ.get("SLIPWAY_FRONT_KEY", ""),
        translated=through_litellm,
        serving=Serving(Native(), through_litellm, Balance()),
        router=lambda: proxy_server.llm_router,
    )


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:  # noqa: ARG001 -- LiteLLM's signature
    """Say who calls, or refuse with 401."""
    team = request.scope.get(TEAM)
    if not isinstance(team, teams.Team):
        raise ProxyException(
            message="This request did not come through the gateway's door.",
            type="invalid_request_error",
            param=None,
            code=401,
            openai_code="invalid_api_key",
        )
    return UserAPIKeyAuth(
        # The front counts limits, so none is told here.
        api_key=team.name,
        key_alias=team.name,
        team_id=team.name,
        team_alias=team.name,
        # Calls models, administers nothing.
        user_role=LitellmUserRoles.INTERNAL_USER,
    )


class Losses(CustomLogger):  # type: ignore[misc]
    """Hears of failures from LiteLLM before it answers: its answers do not say whether the backend was reached."""

    async def async_post_call_failure_hook(self, *_: object, original_exception: Exception, **__: object) -> None:
        """See LiteLLM's class."""
        if how := loss(original_exception):
            translated.lost(how)


litellm.callbacks.append(Losses())

# LiteLLM's own words about an error quote the answer, and at times the question. What counts is logged at the door.
for _logger in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
    logging.getLogger(_logger).setLevel(logging.CRITICAL)

# LiteLLM loads this file while its application starts, so that its middlewares are in place and nothing is served yet.
_door = door(proxy_server.app.middleware_stack)
proxy_server.app.middleware_stack = _door
_watching = asyncio.get_running_loop().create_task(_door.watch())

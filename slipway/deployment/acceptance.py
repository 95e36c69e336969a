"""As whom acceptance asks: teams of Slipway's own, whose keys are kept nowhere and whose limits are what it needs itself."""

import hashlib
import hmac

from slipway.deployment.types import AcceptanceTeam
from slipway.settings.gateway import OWN_TEAMS
from slipway.settings.platform import Settings
from slipway.settings.types import Secret

ACCEPTANCE = f"{OWN_TEAMS}acceptance"
PRIVATE_ACCEPTANCE = f"{OWN_TEAMS}acceptance-private"

ASKED = {ACCEPTANCE: 2, PRIVATE_ACCEPTANCE: 1}
"""How often one run of role acceptance asks a model as each team: to warm up and to measure, and once to see that it answers."""
RUNS = 4
"""Runs that may begin within a minute: two in a row, as of two changes, each of them tried again."""


def acceptance_teams(settings: Settings, models: tuple[str, ...]) -> tuple[AcceptanceTeam, ...]:
    """The team as which `models` are asked, and one for the private teams' gateway where they have one of their own."""
    names = (ACCEPTANCE, PRIVATE_ACCEPTANCE) if settings.has_private_gateway else (ACCEPTANCE,)
    return tuple(
        AcceptanceTeam(
            name=name,
            key=_key(settings, name),
            models=models,
            # How a key is made is no secret: where there is a single team and no engines' key, that team can make it, and
            # would ask without its own limits. So there is a limit, of as much as acceptance may need in a minute.
            requests_per_minute=ASKED[name] * len(models) * RUNS * len(settings.front_hosts),
            private=name == PRIVATE_ACCEPTANCE,
        )
        for name in names
    )


def _key(settings: Settings, name: str) -> Secret:
    """Made of all teams' keys and the engines', so that it is as strong, is kept nowhere, and tells nothing of them."""
    own = settings.gateway
    # Hashes of keys are no secrets; the settings see to it that there is at least one that is.
    keys = [*(team.key for team in own.teams.values()), own.engine_key]
    secret = "\n".join(key.get_secret_value() for key in keys if key is not None)
    return Secret(hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest())

"""The gateway: teams, their keys and limits."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from slipway.gateways import DEFAULT, names
from slipway.settings.base import Section
from slipway.settings.filters import FilterPattern, Filters, KindName
from slipway.settings.types import (
    Amount,
    ApiPath,
    Currency,
    HostName,
    KeyHash,
    KeyId,
    MemorySize,
    ModelName,
    Moment,
    Port,
    PositiveCount,
    RequestField,
    Salt,
    StrongSecret,
)

OWN_TEAMS = "slipway-"
"""What the names of Slipway's own teams begin with, those that acceptance asks as; no other team's does."""
if TYPE_CHECKING:
    GatewayName = str
else:
    GatewayName = Literal[names()]
    """One of the folders of `slipway.gateways`."""


class Key(Section):
    """What is kept of a key that `slipway key create` made. The key itself is kept nowhere."""

    id: KeyId
    """The part of the key by which it is found; no secret."""
    salt: Salt
    """The salt of the hash, in hexadecimal."""
    hash: KeyHash
    """HMAC-SHA256 of the whole key with the salt's bytes as its key, in hexadecimal."""
    not_after: Moment | None = None
    """Until when it is valid: a date, to its end in UTC, or a time. Default: no end."""


class Team(Section):
    """One team: its keys, what it may ask for, and how much."""

    key: StrongSecret | None = None
    """A bearer key that the site keeps itself. A team has this, or `keys`, or both."""
    keys: tuple[Key, ...] = ()
    """Hashes of keys; `slipway key create|rotate|revoke` writes them."""
    expires: Moment | None = None
    """Until when the team may ask: a date, to its end in UTC, or a time. Default: no end."""
    models: tuple[ModelName, ...] | None = Field(default=None, min_length=1)
    """The models that it may ask for, by name or alias. Default: all."""
    private: bool = False
    """Nothing of its requests leaves for a provider, whatever fails."""
    requests_per_minute: PositiveCount | None = None
    """Requests that the team may start in a minute. Default: no limit."""
    tokens_per_minute: PositiveCount | None = None
    """Tokens, prompt and completion, that the team may use in a minute. Default: no limit."""
    parallel_requests: PositiveCount | None = None
    """Requests of the team that may run at once. Default: no limit."""
    tokens_per_month: PositiveCount | None = None
    """Tokens, prompt and completion, that the team may use in a calendar month (UTC). Default: no limit."""
    money_per_month: Amount | None = None
    """What the team's tokens may cost in a calendar month (UTC), in `usage.currency`; every model that may answer it needs a
    price. At most 9 million. Default: no limit."""
    filters: Filters = Field(default_factory=dict)
    """What may not pass: under `in` (what it asks) and `out` (what it is answered) an action for each kind: block, mask or
    log. Default: all passes."""

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if self.key is None and not self.keys:
            raise ValueError(
                "has neither key nor keys; nobody could ask as this team: add `key: {env: NAME}`, or let "
                "`slipway key create` make a key"
            )
        return self


def key_variable(team: str, settings: Team | None = None) -> str:
    """The environment variable under which a client of `team` keeps the key; the usual one where the settings name none."""
    named = None if settings is None or settings.key is None else settings.key.env
    return named or f"SLIPWAY_KEY_{team.upper().replace('-', '_')}"


class Usage(Section):
    """The record of what was used, which the front keeps."""

    retention_days: PositiveCount = 400
    """Days after which a record is removed."""
    currency: Currency | None = None
    """What prices and limits of money are in: a code such as EUR. Needed as soon as a model has a price."""


class ContentLog(Section):
    """What is kept of requests with their content: what the teams named here ask and are answered, and of no other team."""

    teams: tuple[HostName, ...] = ()
    """The teams. Default: none, so that nothing more is kept, and what was kept is removed when its time is over."""
    retention_days: Annotated[PositiveCount, Field(le=3650)]
    """Days after which it is removed. Where the whole section goes, all that was kept is removed at once."""
    reason: Annotated[str, Field(min_length=1)]
    """What it is kept for, as reviewers and auditors read it."""


class Gateway(Section):
    """What stands between the front and the engines."""

    name: GatewayName = DEFAULT
    """The gateway: one of Slipway's adapters."""
    pool: HostName | None = None
    """The pool on whose first machine it runs. Default: the pool called `edge`, or the first one."""
    port: Port = 4000
    """Its port, on loopback or, where the front is on another machine, on the private network."""
    private_port: Port = 4001
    """The port of the second gateway that private teams have where there are providers too."""
    teams: dict[HostName, Team] = Field(min_length=1)
    """The teams, by the name that logs and limits give them; a request with no team's key is answered 401."""
    filters: dict[KindName, FilterPattern] = Field(default_factory=dict)
    """Patterns of the site's own, which teams' filters may name beside the kinds that are known."""
    engine_key: StrongSecret | None = None
    """The key with which the gateway calls the engines. What a front shows a gateway on another machine follows from it, unless
    there are two fronts. Needed as soon as an engine or a front is on another machine than the gateway."""
    request_timeout_s: PositiveCount = 600
    """How long one request may take, in seconds. An engine that is stopped has as long to end what it has begun."""
    fast_path: bool = True
    """Whether the front asks engines here itself, where nothing needs the gateway; else every request passes the gateway."""
    extra_fields: dict[ApiPath, tuple[RequestField, ...]] = Field(default_factory=dict)
    """Fields of requests that the front lets through beside those it knows, by path, such as `/v1/chat/completions`."""
    usage: Usage = Field(default_factory=Usage)
    """What is kept of every request: never its content."""
    content_log: ContentLog | None = None
    """What is kept with its content, on the front's machine. Default: nothing."""
    memory_max: MemorySize = "50%"
    """systemd's memory limit for the gateway: a size (`4G`) or a part of the machine's memory."""

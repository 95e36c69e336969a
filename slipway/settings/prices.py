"""What tokens cost, by the name of a model, and for which teams all of them must have a price.

Nothing is looked up or converted: a stack has one currency, and a model without a price has none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from slipway.settings.base import Problem, Section
from slipway.settings.types import Price

if TYPE_CHECKING:
    from slipway.settings.models import Model
    from slipway.settings.platform import Settings


class TokenPrice(Section):
    """What a million tokens of a model cost, in the currency of `gateway.usage.currency`."""

    input: Price
    """Of prompts; cached ones too. At most six decimals."""
    output: Price | None = None
    """Of answers. Needed where the model generates text."""


def price_of(models: Mapping[str, Model], name: str) -> TokenPrice | None:
    """The price of a name: its own, or that of all its targets where they have the same."""
    model = models[name]
    targets: Mapping[str, int] = getattr(model, "targets", {})
    if model.price is not None or not targets:
        return model.price
    first, *others = [price_of(models, target) for target in targets]
    return first if all(other == first for other in others) else None


def problems(settings: Settings, reached: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    """What is wrong with prices and limits of money.

    Args:
        settings: the stack's.
        reached: the names that may answer each team whose money is limited, fall-backs included.
    """
    for name, model in settings.models.items():
        if model.price is None:
            continue
        if settings.gateway.usage.currency is None:
            yield (
                ("gateway", "usage", "currency"),
                f"missing, while models.{name} has a price; nobody could say of what: set it, for example to EUR",
            )
        if not _tells_tokens(settings, name):
            yield (
                ("models", name, "price"),
                "its answers do not tell tokens, as of every transcription; it would never be charged: remove the price",
            )
        elif settings.task_of(name).generates and model.price.output is None:
            yield (
                ("models", name, "price", "output"),
                "missing; what the model generates would cost nothing: set it, to 0 where that is meant",
            )
    for team, names in reached.items():
        for name in sorted(names):
            if not _tells_tokens(settings, name):
                why, mend = "is for transcription and tells no tokens", ""
            elif price_of(settings.models, name) is None:
                why, mend = "has no price", f"set models.{name}.price, or "
            else:
                continue
            yield (
                ("gateway", "teams", team, "money_per_month"),
                (
                    f"{name}, which may answer the team, {why}; what it costs could not be counted: {mend}leave it out of "
                    "the team's models"
                ),
            )


def _tells_tokens(settings: Settings, name: str) -> bool:
    return settings.task_of(name) != "transcription"

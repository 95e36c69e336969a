"""Names and ports that follow from a model's name: so that one model moves no other, but where two names lead to one port."""

import re
from collections.abc import Collection
from functools import cache
from zlib import crc32

from slipway import fronts, gateways

UNIT = "slipway-{}.service"
"""The unit of an instance, and of a front."""
MAX_INSTANCE = 24
"""Characters of an instance's name. Role service refuses more: with `slipway-` before it, it is a user's name, which Linux
limits to 32."""
MAX_SLUG = 21
"""Of what a model's name becomes, which leaves room for `-` and the number of a further replica."""
MAX_REPLICAS = 9
"""Of one model on one machine, so that the number is one digit."""
PROGRAM_PREFIX, MODEL_PREFIX, STORED_PREFIX, DRAIN_PREFIX = "program-", "model-", "stored-", "drain-"
STORE = "store"
"""What has the models for all hosts."""
COUNTERS, KEEPALIVED = "counters", "keepalived"
"""What two fronts with a floating address have beside them."""
_OWN = (
    *("preflight", "base", "vacate", "acceptance", "hub", "cache", "models", "packages", "prepared", "records"),
    *(COUNTERS, KEEPALIVED, STORE),
    # The timer of a host that is drained.
    "put-back",
)
"""Steps of every machine, and folders of Slipway's own beside those of instances."""
PORTS = range(8100, 9000)
"""Where engines listen unless the stack says otherwise."""


def slug(name: str) -> str:
    """`name` as units, users, folders and resources can carry it: a-z, 0-9 and inner hyphens.

    A name that is changed by it in more than its case and punctuation, or is cut, ends in a digest of the whole.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (
        plain
        if len(plain) <= MAX_SLUG
        else f"{plain[: MAX_SLUG - 5].rstrip('-')}-{crc32(name.encode()):08x}"[:MAX_SLUG]
    )


@cache
def reserved() -> frozenset[str]:
    """What is no model's name: it is something else's on a machine, with any gateway and front that there are."""
    of_gateways = [name for program in gateways.names() for name in gateway_names(program)]
    of_fronts = [name for front in fronts.names() for name in (slug(front), *fronts.adapter(front).takes)]
    return frozenset({*_OWN, *of_gateways, *of_fronts})


def is_reserved(name: str) -> bool:
    """Whether a slug is the name of something else on a machine."""
    return name in reserved() or name.startswith((PROGRAM_PREFIX, MODEL_PREFIX, STORED_PREFIX, DRAIN_PREFIX))


def gateway_names(program: str) -> tuple[str, str]:
    """The instances of a gateway: the one of all teams, and the one of private teams alone."""
    return slug(program), f"{slug(program)}-private"


def instance_name(of: str, number: int) -> str:
    """Of the `number`-th replica on one machine, counted from 0."""
    return of if number == 0 else f"{of}-{number + 1}"


def port(instance: str, taken: Collection[int]) -> int:
    """A port for `instance` that is not taken: the same each time, unless another instance has it."""
    first = crc32(instance.encode()) % len(PORTS)
    return next(
        candidate for step in range(len(PORTS)) if (candidate := PORTS[(first + step) % len(PORTS)]) not in taken
    )

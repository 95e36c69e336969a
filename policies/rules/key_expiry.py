"""Where it is demanded, every key of a team has an end."""

import datetime as dt
from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.unknown import each
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The teams of a platform."""
    yield from each(resource.inputs, "teams")


def check(team: Node, about: About) -> Iterator[Violation]:
    """Each of its keys ends in time: by itself, or with the team."""
    days = about.parameters["maxDays"]
    if days == 0:
        return
    latest = about.today + dt.timedelta(days=days)
    for key in team.each("keys"):
        ends = [end for end in map(_day, (key.get("notAfter"), team.get("expires"))) if end is not None]
        called = f"the key {key.get('id', default='of its own')} of the team {team.get('name')}"
        if not ends:
            yield violation(key, "notAfter", what=f"{called} never ends")
        elif min(ends) > latest:
            yield violation(key, "notAfter", what=f"{called} is valid for more than {days} days")


def _day(end: object) -> dt.date | None:
    """The day of an end in ISO 8601, date or time; None where there is none that can be read."""
    try:
        return dt.date.fromisoformat(str(end)[:10])
    except ValueError:
        return None


RULE = Rule(
    id="key-expiry",
    title="Where it is demanded, every key of a team has an end",
    group=Group.SECURITY,
    severity=Severity.MEDIUM,
    reason="a key that leaked, or whose holder has left, opens the service for as long as nobody thinks of it",
    mend="make keys with `slipway key create --days` and renew them with `slipway key rotate`, or give the team an end",
    source="NIST SP 800-57 Part 1 Revision 5, 5.3 Cryptoperiods",
    url="https://csrc.nist.gov/pubs/sp/800/57/pt1/r5/final",
    types=(PLATFORM,),
    items=items,
    check=check,
    parameters={
        "maxDays": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "Days from now within which every key has to end; 0 demands nothing. A key that the site keeps itself "
            "ends only with its team.",
        },
    },
)

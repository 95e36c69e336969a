"""Log groups keep what they hold for a bounded time."""

from collections.abc import Iterator

from policies.node import Node
from policies.rule import About, Group, Rule, Severity, Violation, violation


def check(group: Node, about: About) -> Iterator[Violation]:
    """The retention is within the bounds."""
    # CloudWatch itself empties groups of the delivery class; they only pass logs on.
    if group.get("logGroupClass") == "DELIVERY":
        return
    days = int(group.number("retentionInDays", default=0))
    shortest, longest = about.parameters["minDays"], about.parameters["maxDays"]
    if days == 0:
        what = "logs are kept for ever"
    elif days < shortest:
        what = f"logs are gone after {days} days, and have to be kept for {shortest}"
    elif days > longest:
        what = f"logs are kept for {days} days, longer than {longest}"
    else:
        return
    yield violation(group, "retentionInDays", what=what)


RULE = Rule(
    id="log-retention",
    title="Log groups keep logs for a time within the site's bounds",
    group=Group.COMPLIANCE,
    severity=Severity.MEDIUM,
    reason="personal data may be kept no longer than they are needed, and an incident can't be looked into without logs",
    mend="set retentionInDays to a value of CloudWatch's within the bounds, such as 90",
    source="GDPR, Article 5(1)(e), at the address given; Cybersecurity Law of the People's Republic of China (as in force from "
    "2026), Article 23(3)",
    url="https://eur-lex.europa.eu/eli/reg/2016/679/oj",
    types=("aws:cloudwatch/logGroup:LogGroup",),
    check=check,
    parameters={
        "minDays": {
            "type": "integer",
            "minimum": 1,
            "default": 30,
            "description": "Logs are kept for at least so many days. 180 where China's Cybersecurity Law or MLPS holds: "
            "they want six months of network logs.",
        },
        "maxDays": {
            "type": "integer",
            "minimum": 1,
            "default": 400,
            "description": "Logs are kept for at most so many days.",
        },
    },
)

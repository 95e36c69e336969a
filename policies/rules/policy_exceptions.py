"""No exception in the policy configuration is past its last day."""

from collections import Counter
from collections.abc import Iterator

from policies.node import Node
from policies.resources import STACK
from policies.rule import About, Group, Rule, Scope, Severity, Violation


def check(stack: Node, about: About) -> Iterator[Violation]:
    """Every exception is in force."""
    seen: Counter[str] = Counter()
    for exception in about.exceptions:
        index = seen[exception.rule]
        seen[exception.rule] += 1
        if exception.expired(about.today):
            yield Violation(
                where=f"{exception.rule}.exceptions[{index}]",
                value=exception.resource,
                what=f"the exception was over after {exception.expires}; {exception.owner} answers for it, "
                f"and said: {exception.reason}",
            )


RULE = Rule(
    id="policy-exceptions",
    title="No exception from a rule is past its last day",
    group=Group.PACK,
    severity=Severity.MEDIUM,
    reason="an exception that nobody looks at again turns into the rule",
    mend="mend what it was for and remove it, or have its owner decide on a new day",
    source="NIST SP 800-53 Rev. 5, CM-6 Configuration Settings, item c (deviations)",
    url="https://csrc.nist.gov/pubs/sp/800/53/r5/upd1/final",
    types=(STACK,),
    scope=Scope.STACK,
    check=check,
)

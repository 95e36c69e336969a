"""A production platform ends with the acceptance layer."""

from collections.abc import Iterator

from policies.node import Node
from policies.resources import PLATFORM, PLAYBOOK
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation


def check(platform: Node, about: About) -> Iterator[Violation]:
    """A playbook of the stack asks the platform for a real answer."""
    if not about.stack.production:
        return
    if not any(playbook.inputs.get("role") == "acceptance" for playbook in about.stack.of_type(PLAYBOOK)):
        yield violation(platform, "purpose", what="no playbook of this production stack has the role acceptance")


RULE = Rule(
    id="production-acceptance",
    title="Changes of a production platform are accepted by a real answer",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="a change that broke the service would count as deployed",
    mend="keep the acceptance layer in the stack",
    source="NIST SP 800-53 Rev. 5, CM-3 Configuration Change Control, and CM-4(2) Verification of Controls",
    url="https://csrc.nist.gov/pubs/sp/800/53/r5/upd1/final",
    types=(PLATFORM,),
    scope=Scope.STACK,
    check=check,
)

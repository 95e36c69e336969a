"""Remote administration is not open to the world."""

from collections.abc import Iterator

from policies.node import UNKNOWN
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.aws import OPENINGS, is_everybody
from policies.subjects.exposure import Door, doors

_PORTS = {22: "SSH", 3389: "RDP"}


def check(door: Door, about: About) -> Iterator[Violation]:
    """Neither SSH nor RDP is open to everybody."""
    if door.data is not UNKNOWN and not is_everybody(str(door.get())):
        return
    open_ = [f"{name} (port {port})" for port, name in _PORTS.items() if port in door.ports()]
    if open_:
        # Only now does it matter who is let in.
        yield violation(door, what=f"{' and '.join(open_)} is open to {door.get()}")


RULE = Rule(
    id="ssh-world",
    title="SSH and RDP are not open to the whole internet",
    group=Group.SECURITY,
    severity=Severity.CRITICAL,
    reason="everybody may try keys, passwords and the next flaw of the server on the machines that hold models and GPUs",
    mend="let in the administrators' networks only, or none and use AWS Systems Manager Session Manager",
    source="CIS Amazon Web Services Foundations Benchmark v3.0.0, 5.2 and 5.3",
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html",
    types=OPENINGS,
    items=doors,
    check=check,
)

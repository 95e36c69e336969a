"""Remote administration is not open to the world.

Not judged: network ACLs, Lightsail; several networks that only together are wide.
"""

from collections.abc import Iterator

from policies.node import Node
from policies.readers.aws.openings import OPENINGS, Door, doors
from policies.readers.networks import is_wider
from policies.readers.unknown import any_known
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

_PORTS = {22: "SSH", 3389: "RDP"}


def check(door: Door, about: About) -> Iterator[Violation]:
    """Neither SSH nor RDP is open to more of the internet than one site has."""
    least = (about.parameters["ipvFour"], about.parameters["ipvSix"])

    def wide(network: Node) -> bool:
        return is_wider(str(network.get()), *least)

    if not door.listed and isinstance(door.data, str) and not wide(door):
        return
    open_ = [f"{name} (port {port})" for port, name in _PORTS.items() if port in door.ports()]
    # Only now does it matter who is let in.
    if open_ and any_known(door.networks(about.resource, about.stack), wide):
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
    scope=Scope.STACK,
    items=doors,
    check=check,
    parameters={
        "ipvFour": {
            "type": "integer",
            "minimum": 0,
            "maximum": 32,
            "default": 16,
            "description": "The shortest prefix of a public IPv4 network that SSH and RDP may be open to.",
        },
        "ipvSix": {
            "type": "integer",
            "minimum": 0,
            "maximum": 128,
            "default": 32,
            "description": "The shortest prefix of a public IPv6 network that SSH and RDP may be open to.",
        },
    },
)

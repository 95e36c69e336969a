"""The gateway: one unit, or a second one for private teams; and the same on a second machine beside another front.

Those of the second machine change once those of the first answer again, so that one of them always does.
"""

from slipway.deployment.absence import last_quorums
from slipway.deployment.references import LOOPBACK, private
from slipway.deployment.types import Deployment, GatewayInstance
from slipway.gateways import adapter
from slipway.layers.service import program_name, service_step
from slipway.layers.step import Step, step_key

START_TIMEOUT_S = 300


def steps(deployment: Deployment) -> list[Step]:
    """One step per gateway process."""
    gateway = adapter(deployment.settings.gateway.name)
    program = gateway.program()
    first = deployment.gateways_on(deployment.gateways[0].machine)
    return [
        service_step(
            each.machine,
            each.name,
            gateway.launch(deployment, each),
            program,
            url=f"http://{each.address}:{each.port}",
            memory_max=deployment.settings.gateway.memory_max,
            drain_s=deployment.settings.gateway.request_timeout_s,
            start_timeout_s=START_TIMEOUT_S,
            claims=each.claims,
            after=(
                step_key(each.machine, program_name(program)),
                *(step_key(other.machine, other.name) for other in first if each not in first),
                *last_quorums(deployment),
            ),
            # A gateway without providers has nothing to look for outside.
            egress=engine_ports(deployment) if each.private_only else None,
            ingress=callers(deployment, each) if each.private_only else None,
        )
        for each in deployment.gateways
    ]


def engine_ports(deployment: Deployment) -> dict[str, list[int]]:
    """The ports of engines by the address on which they listen; what is not loopback holds references."""
    found: dict[str, list[int]] = {}
    for instance in deployment.heads:
        found.setdefault(instance.address, []).append(instance.port)
    return {address: sorted(ports) for address, ports in found.items()}


def callers(deployment: Deployment, gateway: GatewayInstance) -> tuple[str, ...] | None:
    """Who may send packets to a gateway, beside loopback and the engines; None where that can't be told.

    A front elsewhere calls from its address in the private network, if it says which one that is. The gateway's own machine
    is among the callers then: it probes the gateway at the address on which that listens, and so comes from there.
    """
    if gateway.address == LOOPBACK:
        return ()
    fronts = deployment.front.machines
    if not all(front.has_private_address for front in fronts):
        return None
    return tuple(private(name) for name in dict.fromkeys([*(front.name for front in fronts), gateway.machine.name]))

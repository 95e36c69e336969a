"""What `may_be_missing` of a pool means for the models on it."""

from collections.abc import Iterator

from slipway.deployment.absence import allowed, setting
from slipway.deployment.types import Deployment
from slipway.findings import Finding, Severity


def missing(deployment: Deployment) -> Iterator[Finding]:
    """Models that nobody would serve once as many machines are missing as may be."""
    for served in deployment.served.values():
        replicas = [
            {part.machine.name: allowed(deployment, part.machine) for part in deployment.parts(head)}
            for head in deployment.of(served.name)
        ]
        most = deployment.settings.pools[served.pool].may_be_missing
        # One that needs none of them is there in any case; of those that share a machine, one machine takes all.
        if not most or any(not any(replica.values()) for replica in replicas):
            continue
        apart: list[set[str]] = []
        for replica in replicas:
            names = {name for name, may in replica.items() if may}
            if all(names.isdisjoint(other) for other in apart):
                apart.append(names)
        if len(apart) <= most:
            where = ", ".join(sorted({name for replica in replicas for name in replica}))
            yield Finding(
                id="pool.missing",
                severity=Severity.ERROR,
                where=served.at("replicas"),
                message=f"{served.name} is on {where} alone, and {setting(served.pool)} lets {most} of them be missing; nobody "
                f"would serve it then: have replicas on {most + 1} machines or more, or let fewer be missing",
            )

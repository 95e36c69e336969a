"""What a stack declares, as plain data without a secret of its settings: the inputs of the component `slipway:index:Platform`.

Policies judge it, at every preview and in `slipway check`. Everything is taken from the deployment, where the roles get it
from too. Keys are those of Pulumi's own resources: camelCase.
"""

from collections.abc import Iterator
from typing import Any

from slipway.deployment.files import describe
from slipway.deployment.references import private, public
from slipway.deployment.types import Deployment, DriverPlan, Instance, Meeting, Provided, Route, Served
from slipway.engines.options import EngineOptions
from slipway.engines.program import ProgramSource
from slipway.engines.releases import needs
from slipway.fronts import adapter as front_adapter
from slipway.gateways import adapter as gateway_adapter
from slipway.settings.gateway import ContentLog, Team
from slipway.settings.models import ModelSource
from slipway.settings.secrets import clear_secrets


def declaration(deployment: Deployment, raw: object = None) -> dict[str, Any]:
    """All that is declared, or follows from it; addresses are references.

    Args:
        deployment: the stack's.
        raw: what the stack's file says, secrets still encrypted; None where it could not be read.
    """
    settings = deployment.settings
    return {
        "purpose": settings.purpose,
        "pools": [
            {
                "name": name,
                "target": pool.target,
                "tier": pool.tier,
                "gpu": None if members[0].gpu is None else members[0].gpu.id,
                "gpus": members[0].gpus,
                "driver": _driver(members[0].driver),
                "mayBeMissing": pool.may_be_missing,
                "machines": [machine.name for machine in members],
            }
            for name, pool in settings.pools.items()
            for members in [deployment.members(name)]
        ],
        "machines": list(_machines(deployment)),
        "models": [_model(deployment, route) for route in deployment.routes.values()],
        "store": _store(deployment),
        "providers": [
            {
                "name": name,
                "kind": provider.name,
                "url": _text(getattr(provider, "url", None)),
                # As AWS and Google call it; other kinds say none.
                "region": getattr(provider, "region", None) or getattr(provider, "location", None),
            }
            for name, provider in settings.providers.items()
        ],
        "gateways": [
            {
                "name": gateway.name,
                "program": settings.gateway.name,
                "release": gateway_adapter(settings.gateway.name).release,
                "machine": gateway.machine.name,
                "address": gateway.address,
                "port": gateway.port,
                "privateOnly": gateway.private_only,
            }
            for gateway in deployment.gateways
        ],
        "teams": [_team(name, team) for name, team in settings.gateway.teams.items()],
        "contentLog": _content_log(settings.gateway.content_log),
        "front": {
            "name": deployment.front.name,
            "machine": deployment.front.machine.name,
            "serverName": deployment.front.server_name,
            "port": deployment.front.port,
            "tlsVersions": list(front_adapter(settings.front.name).tls_versions),
            "siteCertificate": settings.front.certificate_file is not None,
            "allowedNetworks": list(settings.front.allowed_networks),
            "metricsNetworks": list(settings.front.metrics_networks),
            "allowedOrigins": list(settings.front.allowed_origins),
            **_floating(deployment),
        },
        "clearSecrets": None if raw is None else sorted(clear_secrets(raw)),
    }


def _store(deployment: Deployment) -> dict[str, Any] | None:
    """Which machine has the models for the others; None where each fetches its own."""
    plan = deployment.store
    return None if plan is None else {"machine": plan.machine.name, "path": plan.path, "port": plan.port}


def _driver(plan: DriverPlan | None) -> dict[str, Any] | None:
    """The NVIDIA driver that Slipway installs; None where it installs none."""
    if plan is None:
        return None
    return {
        "source": plan.settings.source,
        "branch": plan.branch,
        # None where the archive's newest of the branch is taken.
        "version": plan.vendor_version if plan.from_vendor else plan.version,
        "modules": plan.modules,
        "ends": None if plan.entry is None else plan.entry.ends,
        "reboot": plan.settings.reboot,
    }


def _team(name: str, team: Team) -> dict[str, Any]:
    own = [] if team.key is None else [{"id": None, "notAfter": None}]
    return {
        "name": name,
        "models": None if team.models is None else list(team.models),
        "private": team.private,
        "expires": team.expires,
        "keys": [*own, *({"id": key.id, "notAfter": key.not_after} for key in team.keys)],
        "requestsPerMinute": team.requests_per_minute,
        "tokensPerMinute": team.tokens_per_minute,
        "parallelRequests": team.parallel_requests,
        "tokensPerMonth": team.tokens_per_month,
        "moneyPerMonth": None if team.money_per_month is None else float(team.money_per_month),
        # By direction and kind the action.
        "filters": {direction: dict(actions) for direction, actions in team.filters.items() if actions},
    }


def _content_log(log: ContentLog | None) -> dict[str, Any] | None:
    """Of whom what was said is kept, and for how long."""
    return (
        None if log is None else {"teams": list(log.teams), "retentionDays": log.retention_days, "reason": log.reason}
    )


def _floating(deployment: Deployment) -> dict[str, Any]:
    """Of two fronts alone."""
    floating = deployment.front.floating
    if floating is None:
        return {}
    return {
        "machines": [machine.name for machine in deployment.front.machines],
        "floatingAddress": floating.address,
        "counters": {"machine": floating.counters.name, "port": floating.counters_port},
    }


def _machines(deployment: Deployment) -> Iterator[dict[str, Any]]:
    for machine in deployment.machines.values():
        yield {
            "name": machine.name,
            "pool": machine.pool,
            "address": public(machine.name),
            # What its peers use, whether it is given or follows from the address.
            "privateAddress": private(machine.name) if machine.has_private_address else None,
            "runs": deployment.runs(machine),
            "hostKey": machine.host_key is not None,
        }


def _model(deployment: Deployment, route: Route) -> dict[str, Any]:
    common = {
        "name": route.name,
        "task": str(route.task),
        "aliases": list(route.aliases),
        "fallbacks": list(route.fallbacks),
        "private": route.private,
    }
    if route.name in deployment.served:
        return {"kind": "served", **common, **_served(deployment, deployment.served[route.name])}
    if route.name in deployment.provided:
        return {"kind": "provided", **common, **_provided(deployment.provided[route.name])}
    return {"kind": "routed", **common, "targets": dict(route.targets)}


def _provided(provided: Provided) -> dict[str, Any]:
    return {"provider": provided.provider_name, "model": provided.model}


def _served(deployment: Deployment, served: Served) -> dict[str, Any]:
    model, known = served.settings, served.entry
    return {
        "id": None if known is None else known.id,
        "licence": None if known is None else known.licence,
        "commercialUse": None if known is None else known.commercial_use,
        "attentionHeads": None if served.architecture is None else served.architecture.heads,
        "source": _source(model.source),
        "maxModelLen": model.max_model_len,
        "maxOutputTokens": model.output_tokens,
        "trustRemoteCode": model.trust_remote_code,
        "pool": served.pool,
        "gpu": None if served.gpu is None else served.gpu.id,
        "gpus": served.gpus,
        "replicas": served.replicas,
        "engine": _engine(deployment, served),
        "hosts": served.hosts,
        "instances": [_instance(part) for head in deployment.of(served.name) for part in deployment.parts(head)],
        "sizing": _sizing(served),
    }


def _source(source: ModelSource) -> dict[str, Any]:
    described = describe(source)
    renamed = {"sha256sums": "sha256"}
    kinds = {"host_path": "hostPath", "store_path": "storePath"}
    return {
        renamed.get(key, key): kinds.get(value, value) if key == "kind" else value for key, value in described.items()
    }


def _engine(deployment: Deployment, served: Served) -> dict[str, Any]:
    options, program = served.settings.engine, served.program
    need = needs(options.engine, program.release) if served.on_gpus else None
    queued = options.queued(lists=served.settings.task.lists)
    return {
        "name": options.engine,
        "release": program.release or None,
        "program": _program(options),
        "build": "cuda" if served.on_gpus else "cpu",
        "cuda": None if need is None else need.cuda,
        "driver": None if need is None else need.driver,
        "tensorParallel": served.parallelism.tensor,
        "pipelineParallel": served.parallelism.pipeline,
        "dataParallel": served.parallelism.data,
        "slots": options.slots,
        "slotsGiven": options.slots_given,
        # Of all copies; None where nothing bounds it.
        "queue": None if queued is None else queued * served.parallelism.data,
        # From where it may fetch what requests name; None where it has no such setting.
        "mediaDomains": _domains(options),
        # What the stack says itself; the rest are the adapter's defaults.
        "options": options.model_dump(mode="json", exclude_unset=True, exclude={"name", "flags", "environment"}),
        "flags": dict(options.flags),
        "environment": dict(options.environment),
        # Of the launch, since not every engine can ask for a key.
        "keyed": deployment.of(served.name)[0].launch.probe_key is not None,
        "drainSeconds": served.drain_s,
    }


def _domains(options: EngineOptions) -> list[str] | None:
    domains = getattr(options, "media_domains", None)
    return None if domains is None else list(domains)


def _program(options: EngineOptions) -> dict[str, Any] | None:
    """Where the stack has an engine's program from; None where Slipway installs it with locked hashes."""
    source = getattr(options, "program", None)
    return source.model_dump(mode="json") if isinstance(source, ProgramSource) else None


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "name": instance.name,
        "machine": instance.machine.name,
        "gpus": list(instance.gpus),
        "address": instance.address,
        # Of one that is no head, where it tells the head that it is there: it is asked nothing.
        "port": instance.port,
        "rank": instance.rank,
        **({} if instance.meeting is None else _meeting(instance.meeting)),
    }


def _meeting(meeting: Meeting) -> dict[str, Any]:
    """Of each part of a replica that machines share."""
    return {
        "head": f"{meeting.head.machine}/{meeting.head.instance}",
        "meetingPort": meeting.port,
        # Who may reach what of it is asked nothing.
        "peers": [private(seat.machine) for seat in meeting.seats],
    }


def _sizing(served: Served) -> dict[str, Any] | None:
    """Of one copy of the model; GiB are of the fullest GPU. None where nothing could be computed."""
    figures, sizing = served.measured.figures, served.measured.sizing
    if figures is None:
        return None
    found: dict[str, Any] = {
        "fits": figures.fits,
        "errors": list(figures.errors),
        "kvCacheTokens": figures.kv_cache_tokens if figures.fits else None,
        "maxConcurrency": figures.max_concurrency if figures.fits else None,
        "kvCacheGib": figures.kv_cache_gib if figures.fits else None,
    }
    if sizing is not None and sizing.memory is not None:
        found |= {
            "weightsGib": round(sizing.memory.weights.value, 2),
            "gpuGib": round(sizing.memory.total.value, 2),
            "requestedGib": round(sizing.memory.requested.value, 2),
        }
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)

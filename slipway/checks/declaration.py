"""What a stack declares, as plain data without a secret of its settings: the inputs of the component `slipway:index:Platform`.

Policies judge it, at every preview and in `slipway check`. Keys are those of Pulumi's own resources: camelCase.
"""

from typing import Any

from slipway.checks.actual import planned
from slipway.checks.compatibility import needs
from slipway.checks.subject import Subject
from slipway.engines import adapter
from slipway.gateways import adapter as gateway_adapter
from slipway.settings.engine import Build
from slipway.settings.hosts import Host, Service
from slipway.settings.model import ModelSource
from slipway.settings.secrets import clear_secrets

TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")
"""What role nginx offers."""


def declaration(subject: Subject, raw: object = None) -> dict[str, Any]:
    """All that is declared, or follows from it.

    Args:
        subject: the stack, examined.
        raw: what the stack's file says, secrets still encrypted; None where it could not be read.
    """
    settings = subject.settings
    return {
        "purpose": settings.purpose,
        "model": _model(subject),
        "hardware": {
            "tier": settings.hardware.tier,
            "gpu": None if subject.gpu is None else subject.gpu.id,
            "gpus": settings.hardware.gpus,
        },
        "engine": _engine(subject),
        "gateway": _gateway(subject),
        "front": _front(subject),
        "hosts": [_host(subject, host) for host in settings.hosts],
        "sizing": _sizing(subject),
        "clearSecrets": None if raw is None else sorted(clear_secrets(raw)),
    }


def _model(subject: Subject) -> dict[str, Any]:
    model, known = subject.settings.model, subject.model
    return {
        "name": model.name,
        "id": None if known is None else known.id,
        "licence": None if known is None else known.licence,
        "commercialUse": None if known is None else known.commercial_use,
        "attentionHeads": None if subject.architecture is None else subject.architecture.heads,
        "source": _source(model.source),
        "maxModelLen": model.max_model_len,
        "maxOutputTokens": model.output_tokens,
        "trustRemoteCode": model.trust_remote_code,
    }


def _source(source: ModelSource) -> dict[str, Any]:
    if source.hub is not None:
        endpoint = None if source.endpoint is None else str(source.endpoint)
        return {"kind": "hub", "repository": source.hub, "revision": source.revision, "endpoint": endpoint}
    if source.mirror is not None:
        return {"kind": "mirror", "url": str(source.mirror), "sha256": dict(source.sha256)}
    if source.path is not None:
        return {"kind": "path", "path": str(source.path)}
    return {"kind": "hostPath", "path": source.host_path}


def _engine(subject: Subject) -> dict[str, Any]:
    settings = subject.settings
    engine, deployed = settings.engine, adapter(settings.engine.name)
    need = needs(engine.name, deployed.release) if settings.build is Build.CUDA else None
    return {
        "name": engine.name,
        "release": deployed.release,
        "build": str(settings.build),
        "cuda": None if need is None else need.cuda,
        "driver": None if need is None else need.driver,
        "tensorParallel": settings.tensor_parallel,
        "pipelineParallel": settings.pipeline_parallel,
        "dataParallel": settings.data_parallel,
        "replicas": len(settings.engine_hosts),
        "maxNumSeqs": engine.max_num_seqs,
        "maxNumSeqsGiven": "max_num_seqs" in engine.model_fields_set,
        "flags": dict(engine.flags),
        "environment": dict(engine.environment),
        "keyed": engine.key is not None,
        "drainSeconds": settings.gateway.request_timeout_s,
        "listens": [
            {"host": host.name, "address": settings.bind_address(Service.ENGINE, host), "port": engine.port}
            for host in settings.engine_hosts
        ],
    }


def _gateway(subject: Subject) -> dict[str, Any]:
    settings = subject.settings
    gateway = settings.gateway
    return {
        "name": gateway.name,
        "release": gateway_adapter(gateway.name).release,
        "teams": [
            {
                "team": entry.team,
                "requestsPerMinute": entry.requests_per_minute,
                "tokensPerMinute": entry.tokens_per_minute,
            }
            for entry in gateway.keys
        ],
        "listens": [
            {
                "host": settings.gateway_host.name,
                "address": settings.bind_address(Service.GATEWAY, settings.gateway_host),
                "port": gateway.port,
            }
        ],
    }


def _front(subject: Subject) -> dict[str, Any]:
    settings = subject.settings
    return {
        "name": settings.front.name,
        "serverName": settings.server_name,
        "port": settings.front.port,
        "tlsVersions": list(TLS_VERSIONS),
        "siteCertificate": settings.front.certificate_file is not None,
        "allowedNetworks": list(settings.security.allowed_networks),
    }


def _host(subject: Subject, host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "address": host.address,
        "privateAddress": host.private_address,
        "runs": [str(service) for service in subject.settings.services(host)],
        "hostKey": host.host_key is not None,
    }


def _sizing(subject: Subject) -> dict[str, Any] | None:
    """Of one copy of the model; GiB are of the fullest GPU. None where nothing could be computed."""
    sizing = subject.sizing
    if sizing is None:
        return None
    figures: dict[str, Any] = {"fits": sizing.fits, "errors": list(sizing.errors)}
    plan = planned(sizing)
    figures |= {
        "kvCacheTokens": plan.get("kv_cache_tokens"),
        "maxConcurrency": plan.get("max_concurrency"),
        "kvCacheGib": plan.get("kv_cache_gib"),
    }
    if sizing.memory is not None:
        figures |= {
            "weightsGib": round(sizing.memory.weights.value, 2),
            "gpuGib": round(sizing.memory.total.value, 2),
            "requestedGib": round(sizing.memory.requested.value, 2),
        }
    return figures

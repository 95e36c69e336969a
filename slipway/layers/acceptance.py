"""Acceptance: a real completion through the front, with a real key, after every change."""

from slipway.layers.step import Step
from slipway.settings import Settings
from slipway.settings.hosts import Service

MAX_TOKENS = 64
PRIVATE_CA = "/etc/slipway/nginx/tls/authority.crt"
"""Where role nginx keeps the certificate of the private CA."""


def steps(settings: Settings) -> list[Step]:
    """One step, on the front's host; it reaches the front as a client in that network does."""
    engine = settings.engine_hosts[0]
    variables: dict[str, object] = {
        "acceptance_address": settings.front_host.internal_address or settings.front_host.address,
        "acceptance_port": settings.front.port,
        "acceptance_server_name": settings.server_name,
        "acceptance_key": settings.gateway.keys[0].key,
        "acceptance_model": settings.model.name,
        "acceptance_max_tokens": min(MAX_TOKENS, settings.model.output_tokens),
    }
    if settings.front.certificate_file is None:
        variables["acceptance_ca_file"] = PRIVATE_CA
    elif settings.front.ca_file is not None:
        variables["acceptance_ca_certificate"] = settings.front.ca_file.read_text(encoding="ascii")
    # The engine can be asked directly only from a host that may call it.
    if settings.front_host == settings.gateway_host:
        address = settings.bind_address(Service.ENGINE, engine)
        variables["acceptance_direct_url"] = f"http://{address}:{settings.engine.port}/v1"
        if settings.engine.key is not None:
            variables["acceptance_direct_key"] = settings.engine.key
    return [Step(host=settings.front_host, role="acceptance", variables=variables, timeout_s=600)]

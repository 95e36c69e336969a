"""The front: nginx on the one host that clients reach."""

from slipway.layers.step import Step
from slipway.settings import Settings
from slipway.settings.hosts import Service
from slipway.settings.types import Secret


def steps(settings: Settings) -> list[Step]:
    """One step, on the front's host."""
    front, host = settings.front, settings.front_host
    names = [host.address, *front.extra_names]
    variables: dict[str, object] = {
        "nginx_server_name": settings.server_name,
        "nginx_names": [name for name in dict.fromkeys(names) if name != settings.server_name],
        "nginx_port": front.port,
        "nginx_upstream_address": settings.bind_address(Service.GATEWAY, settings.gateway_host),
        "nginx_upstream_port": settings.gateway.port,
        "nginx_read_timeout": front.read_timeout_s,
        "nginx_body_limit_mib": front.body_limit_mib,
        "nginx_allowed_networks": list(settings.security.allowed_networks),
    }
    if front.certificate_file is not None and front.key_file is not None:
        variables["nginx_site_certificate"] = front.certificate_file.read_text(encoding="ascii")
        variables["nginx_site_key"] = Secret(front.key_file.read_text(encoding="ascii"))
    return [Step(host=host, role="nginx", variables=variables)]

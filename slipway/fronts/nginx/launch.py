"""How nginx is configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slipway.deployment.names import UNIT, gateway_names
from slipway.deployment.references import private, public
from slipway.deployment.teams import teams
from slipway.deployment.types import Deployment, FloatingPlan, FrontPlan, Machine
from slipway.fronts.nginx.routes import routes
from slipway.settings.types import Secret


@dataclass(frozen=True)
class Nginx:
    """The adapter; see `slipway.fronts.base.FrontAdapter`."""

    ca_file: str = "/etc/slipway/nginx/tls/authority.crt"
    takes: frozenset[str] = frozenset({"certificate"})
    tls_versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")

    def variables(self, deployment: Deployment, machine: Machine) -> dict[str, Any]:
        """The variables of role nginx."""
        front, plan = deployment.settings.front, deployment.front
        log = deployment.settings.gateway.content_log
        names = [public(machine.name), *front.extra_names]
        if front.floating is not None:
            names.append(front.floating.host)
        variables: dict[str, Any] = {
            "nginx_server_name": plan.server_name,
            "nginx_names": [name for name in dict.fromkeys(names) if name != plan.server_name],
            "nginx_port": plan.port,
            "nginx_tls_versions": list(self.tls_versions),
            "nginx_teams": teams(deployment),
            "nginx_routes": routes(deployment, machine),
            "nginx_usage_days": deployment.settings.gateway.usage.retention_days,
            "nginx_content_days": 0 if log is None else log.retention_days,
            # Both, whether or not there is a second one: else its coming would restart the front.
            "nginx_after": [UNIT.format(name) for name in gateway_names(deployment.settings.gateway.name)],
            "nginx_read_timeout": front.read_timeout_s,
            "nginx_body_limit_mib": front.body_limit_mib,
            "nginx_allowed_networks": list(front.allowed_networks),
            "nginx_metrics_networks": list(front.metrics_networks),
            "nginx_lua_compiler": front.lua_compiler,
        }
        if plan.floating is not None:
            variables["nginx_counters"] = _counters(plan, plan.floating, machine)
        if plan.floating is not None and front.certificate_file is None:
            variables["nginx_authority_seed"] = plan.floating.authority_seed
        if front.certificate_file is not None and front.key_file is not None:
            variables["nginx_site_certificate"] = front.certificate_file.read_text(encoding="ascii")
            variables["nginx_site_key"] = Secret(front.key_file.read_text(encoding="ascii"))
        return variables


def _counters(plan: FrontPlan, floating: FloatingPlan, machine: Machine) -> dict[str, Any]:
    """Where a front finds the counters; each by the same address, so that they listen nowhere else."""
    return {
        "address": private(floating.counters.name),
        "port": floating.counters_port,
        "password": floating.counters_password,
        "front": machine.name,
        "fronts": len(plan.machines),
    }


ADAPTER = Nginx()

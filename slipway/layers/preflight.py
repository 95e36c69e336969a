"""Preflight: what each host must offer before anything on it is changed."""

from slipway.layers.step import Step
from slipway.settings import Settings
from slipway.settings.hosts import Host, Service


def steps(settings: Settings) -> list[Step]:
    """One read-only step per host."""
    return [
        Step(host=host, role="preflight", variables=_variables(settings, host), timeout_s=180)
        for host in settings.hosts
    ]


def _variables(settings: Settings, host: Host) -> dict[str, object]:
    services = settings.services(host)
    ports = {
        Service.ENGINE: (settings.engine.port, settings.engine.name),
        Service.GATEWAY: (settings.gateway.port, settings.gateway.name),
        Service.FRONT: (settings.front.port, settings.front.name),
    }
    runs_engine = Service.ENGINE in services
    host_path = settings.model.source.host_path
    return {
        "preflight_min_disk_gib": settings.hardware.min_disk_gib,
        "preflight_min_memory_gib": settings.hardware.min_memory_gib,
        "preflight_ports": [
            {"port": port, "unit": f"slipway-{name}.service"}
            for service, (port, name) in ports.items()
            if service in services
        ],
        "preflight_gpus": settings.hardware.gpus if runs_engine else 0,
        "preflight_paths": (
            [{"path": host_path, "purpose": "the model's files", "setting": "model.source.host_path"}]
            if runs_engine and host_path is not None
            else []
        ),
    }

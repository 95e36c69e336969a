"""How LiteLLM is installed and started."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from slipway.deployment.teams import teams
from slipway.deployment.types import Deployment, GatewayInstance
from slipway.engines.base import File, Launch, Probe, Program
from slipway.engines.programs import ROLES, files_digest, lock_digest, role_file
from slipway.gateways.litellm.config import config
from slipway.gateways.litellm.filters import filters
from slipway.gateways.litellm.routes import routes

RELEASE = "1.106.2"
"""The release that role litellm installs; its lock pins the same."""
FILES = ROLES / "litellm" / "files"

ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    # Idle connections to an engine go before the engine closes them, so that no request meets one that is closing.
    "AIOHTTP_KEEPALIVE_TIMEOUT": "60",
    # It takes a stream that says the same a hundred times for a broken one, and ends it; a table's empty cells are no fault.
    "REPEATED_STREAMING_CHUNK_LIMIT": "1000000000",
    # Nothing is fetched or reported: prices, notices and metrics all come from elsewhere by default.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    # Only the API: no administration page, no documentation.
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
    "NO_REDOC": "True",
    "NO_OPENAPI": "True",
    # Reads no .env file.
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
}
"""Of every process of LiteLLM, beside what its unit adds."""

_ADMINISTRATOR = """\
# LiteLLM insists on an administrator's key. Nobody is to have one: it is another one at each start, and the key check knows
# nothing of it.
key=$(head -c 32 /dev/urandom | sha256sum | head -c 64)
printf '%s=sk-%s\\n' LITELLM_MASTER_KEY "$key" >"$1"
"""


@dataclass(frozen=True)
class Litellm:
    """The adapter; see `slipway.gateways.base.GatewayAdapter`."""

    release: str = RELEASE
    health_path: str = "/health/liveliness"

    def program(self) -> Program:
        """LiteLLM's environment."""
        return Program(
            name="litellm",
            role="litellm",
            release=RELEASE,
            digest=files_digest(FILES / "requirements.txt", otherwise=RELEASE),
            variables={"litellm_addition": _addition()},
            timeout_s=1800,
        )

    def launch(self, deployment: Deployment, gateway: GatewayInstance) -> Launch:
        """How this process is started."""
        name = gateway.name
        folder, runtime = f"/etc/slipway/{name}", f"slipway-{name}"
        settings = deployment.settings.gateway
        static = config(settings.request_timeout_s)
        files = {
            "config.yaml": File(content=yaml.safe_dump(static, sort_keys=False)),
            "routes.json": File(content=routes(deployment, gateway), secret=True, reload=True),
            "teams.json": File(content=teams(deployment), secret=True, reload=True),
            "filters.json": File(content=filters(deployment), reload=True),
        }
        files["administrator.sh"] = File(content=_ADMINISTRATOR)
        # LiteLLM looks for the key check beside its configuration, and for all else where Python does.
        files["custom_auth.py"] = File(content=role_file("litellm", "custom_auth.py"))
        whom = "the models" if gateway == deployment.gateways_on(gateway.machine)[0] else "private teams"
        return Launch(
            description=f"the gateway LiteLLM to {whom}",
            command=(
                "litellm",
                *("--config", f"{folder}/config.yaml"),
                *("--host", gateway.address, "--port", str(gateway.port)),
                *("--num_workers", "1", "--keepalive_timeout", "120", "--telemetry", "False"),
            ),
            environment=ENVIRONMENT | {"PYTHONPATH": f"{self.program().folder}/{_addition()}"},
            files=files,
            secrets={} if gateway.front_key is None else {"SLIPWAY_FRONT_KEY": gateway.front_key},
            probe=Probe(path=self.health_path),
            sandbox={
                "MemoryDenyWriteExecute": "yes",
                "ProcSubset": "pid",
                "RuntimeDirectory": runtime,
                "RuntimeDirectoryMode": "0700",
                "ExecStartPre": f"/bin/sh {folder}/administrator.sh /run/{runtime}/administrator",
                "EnvironmentFile": f"-/run/{runtime}/administrator",
            },
        )


def _addition() -> str:
    """The folder of what Slipway adds to LiteLLM, within its environment; another version is another folder."""
    return f"slipway-{lock_digest(*sorted((FILES / 'slipway').rglob('*.py')), otherwise=RELEASE)}"


ADAPTER = Litellm()

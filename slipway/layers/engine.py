"""The engine layer: one step per engine host, worded by the engine's adapter."""

from slipway.engines import adapter
from slipway.layers.step import Step
from slipway.settings import Settings


def steps(settings: Settings) -> list[Step]:
    """One step per engine host."""
    engine = adapter(settings.engine.name)
    return [
        Step(
            host=host,
            role=engine.role,
            variables=engine.variables(settings, host),
            timeout_s=settings.engine.start_timeout_s + INSTALL_TIMEOUT_S,
        )
        for host in settings.engine_hosts
    ]


INSTALL_TIMEOUT_S = 3600
"""For the Python environment and the model's files, which a slow mirror serves slowly."""

"""Base: folders, the installer of Python environments, limits."""

from slipway.layers.step import Step
from slipway.settings import Settings


def steps(settings: Settings) -> list[Step]:
    """One step per host."""
    return [Step(host=host, role="base") for host in settings.hosts]

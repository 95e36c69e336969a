"""The hardware that every engine host of the stack has, and what preflight demands of it."""

from slipway.settings.base import Section
from slipway.settings.types import Count, GiB


class Hardware(Section):
    """Promises that preflight checks on each host before anything is changed."""

    gpus: Count = 0
    """GPUs per engine host; 0 means that the engine runs on the CPU."""
    min_disk_gib: GiB = 15
    """Free disk that a host must have under /opt and /var/lib, in GiB. The engine's Python environment takes 6 to 10."""
    min_memory_gib: GiB = 3
    """Memory that a host must have, in GiB."""

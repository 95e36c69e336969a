"""The unit in which layers are computed: one role on one host."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.settings.hosts import Host


@dataclass(frozen=True, kw_only=True)
class Step:
    """One role to be run on one host.

    ``variables`` is the whole of what the role gets to know: plain data, in which secrets are still `Secret`s.
    ``timeout_s`` bounds the run, in seconds.
    """

    host: Host
    role: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: int = 900

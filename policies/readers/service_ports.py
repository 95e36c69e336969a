"""Which engines, gateways and metrics are usually behind a port or an image."""

from __future__ import annotations

import re
from collections.abc import Container

from policies.readers.tables import table


def services_at(ports: Container[int], said: str) -> list[str]:
    """Engines, gateways and metrics that usually listen on one of these ports, each with its port.

    Where many others listen as well, the name of the resource that is spoken of must say it.
    """
    known = table("service-ports")["ports"]
    return [
        f"{entry['port']} ({entry['service']})"
        for entry in known
        if entry["port"] in ports and entry.get("named", "") in said.casefold()
    ]


def metrics_of(image_name: str) -> str | None:
    """What an image is that serves metrics, or belongs to an engine, by its name without registry and tag."""
    for entry in table("service-ports")["ports"]:
        if any(re.fullmatch(pattern, image_name) for pattern in entry.get("images", [])):
            return str(entry["service"])
    return None

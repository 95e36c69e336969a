"""Keys that callers of an engine or a gateway need, as a container is given them."""

from __future__ import annotations

from policies.readers.kubernetes.pods import Container, environment

_PLACEHOLDERS = {
    *("", "empty", "none", "null", "dummy", "test", "placeholder", "changeme", "change-me", "your-api-key"),
    # The examples of LiteLLM's and vLLM's documentation.
    *("sk-1234", "token-abc123"),
}
"""What stands where a key is asked for and nobody thought of one."""


def is_placeholder(key: object) -> bool:
    """Whether everybody knows this key, so that it is none."""
    return isinstance(key, str) and key.strip().casefold() in _PLACEHOLDERS


def key_in(container: Container, name: str) -> object:
    """What the container has this variable set to; True for what comes from elsewhere or is not known, None for nothing.

    Raises:
        UnknownValueError: a variable's name is unknown.
    """
    for said, entry in environment(container):
        if said == name:
            value = entry.node("value").data
            return True if entry.has("valueFrom") or (value is not None and not isinstance(value, str)) else value
    return True if any(source.has("secretRef") for source in container.each("envFrom")) else None

"""The layers of a platform, bottom up: pure functions from the settings to the steps of each layer."""

from slipway.layers import acceptance, base, engine, front, gateway, preflight

LAYERS = (preflight, base, engine, gateway, front, acceptance)
"""Each has `steps(settings)`."""

"""Slipway's plain Python: settings, layers, adapters and the command line. Nothing here imports pulumi."""

__version__ = "0.1.0"

"""Inference engines, one folder each: its options, how it is launched and, where it is known, how it counts memory.

To add one: a folder here with `options.py` (class `Options`) and `launch.py` (`ADAPTER`), and the role that installs its
program. A distribution of somebody else's adds one by an entry point in the group `slipway.engines`.
"""

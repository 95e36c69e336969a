"""A host's own packages, brought up to date while it is drained: kernel included, with the driver's modules for it.

`slipway upgrade --packages` sends this package over SSH, so it needs nothing but the standard library of any Python from 3.9 on.
It speaks to apt and dnf by what `owned_packages` speaks to them by, configures no sources, and removes no older kernel.
"""

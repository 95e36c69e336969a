"""Targets: where a pool's machines come from. One folder each, with `settings` and `machines`; `components.targets` makes them.

A target is a key of a pool. What it knows of a machine before anything is made is a `PoolMachine`; addresses that come with
the `up` are told by its component.
"""

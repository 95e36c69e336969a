"""Readers: what several rules look for in resources of different types, in folders by what they read.

`aws/`, `kubernetes/`, `engines/`, `gateways/`, `scripts/` and `secrets/`; the modules beside them serve all of these.
"""

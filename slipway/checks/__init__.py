"""Checks of a stack before anything is touched: does each model fit, and does everything go together.

They read the deployment and never ask a host. A rule is a function from a served model to its findings, listed in
`slipway.checks.rules`.
"""

"""Policy as code: rules that judge a stack's resources, whoever wrote the stack.

A rule is one file in `rules/`: metadata, and a pure function from plain data to its violations. `judge` runs them;
`pack/` serves them to the Pulumi engine, and `slipway check` asks them without one.
"""

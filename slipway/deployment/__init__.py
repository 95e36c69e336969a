"""What follows from a stack's settings and the catalogue, computed once: sizes, places, ports, routes.

`resolve` makes a `Deployment`. Whatever needs to know what will be deployed (layers, outputs, the declaration that policies
judge, `slipway check`, reviews) reads that, so that what is declared is what is deployed.
"""

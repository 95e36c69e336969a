"""The gateway layer."""

from components.layer import Layer


class Gateway(Layer):
    """Team keys, limits and routing."""

    layer = "gateway"

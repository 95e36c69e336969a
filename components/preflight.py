"""The preflight layer."""

from components.layer import Layer


class Preflight(Layer):
    """What each host must offer before anything is changed."""

    layer = "preflight"

"""The engine layer."""

from components.layer import Layer


class Engine(Layer):
    """The inference engine on each engine host."""

    layer = "engine"

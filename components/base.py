"""The base layer."""

from components.layer import Layer


class Base(Layer):
    """Folders, the installer of Python environments, limits."""

    layer = "base"

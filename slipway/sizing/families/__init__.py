"""Families of architectures, one file each: a file's `MODEL_TYPES` maps a config.json's model_type to its reader.

Its `DEFAULTS`, if it has one, are by model_type the defaults of the class, for configs that are published without what
equals them. A new family is one new file here; nothing else names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft

Reader = Callable[[Keys], Draft]
"""From the whole config.json (multi-modal wrappers included) to the draft of an architecture.

Raises SizingError with one line for what is missing or absurd.
"""


@cache
def readers() -> dict[str, Reader]:
    """By model_type."""
    found: dict[str, Reader] = {}
    for module in _modules():
        types: dict[str, Reader] = getattr(module, "MODEL_TYPES", {})
        if twice := found.keys() & types.keys():
            raise RuntimeError(f"{module.__name__} and another module both read model_type {', '.join(sorted(twice))}")
        found.update(types)
    return found


@cache
def defaults() -> dict[str, Mapping[str, Any]]:
    """Defaults of classes, by model_type."""
    found: dict[str, Mapping[str, Any]] = {}
    for module in _modules():
        found.update(getattr(module, "DEFAULTS", {}))
    return found


@cache
def _modules() -> tuple[ModuleType, ...]:
    return tuple(import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))

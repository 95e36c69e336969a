"""Names of a checkpoint's modules, and the patterns by which its quantization names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

from slipway.sizing.architecture import Weights

PREFIXES = ("", "model.", "model.language_model.", "language_model.model.", "language_model.", "transformer.")
"""What stands before `layers.0.` in the checkpoints' names."""


def paths_of(line: Weights, number: int) -> Iterator[str]:
    """Modules of a line in a layer, without what stands before the layers."""
    for module in line.modules or (line.name,):
        yield f"layers.{number}.{module}"


def excluded(patterns: Iterable[str], paths: tuple[str, ...]) -> bool:
    """Whether any of the checkpoint's patterns names one of these modules, or what holds it."""
    return any(_matches(pattern, path) for pattern in patterns for path in paths)


def targeted(targets: tuple[str, ...], paths: tuple[str, ...]) -> bool:
    """Whether a scheme is for these modules: it says Linear (any), says nothing, or names one."""
    return not targets or "Linear" in targets or excluded(targets, paths)


@lru_cache(maxsize=1 << 16)
def _matches(pattern: str, path: str) -> bool:
    names = [f"{prefix}{path}" for prefix in PREFIXES]
    if pattern.startswith("re:"):
        expression = _compiled(pattern[3:])
        return expression is not None and any(expression.match(name) for name in names)
    if "*" in pattern:
        return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for name in names)
    if "." not in pattern:
        return pattern in path.split(".")
    return any(name == pattern or name.startswith(f"{pattern}.") or name.endswith(f".{pattern}") for name in names)


@lru_cache(maxsize=256)
def _compiled(expression: str) -> re.Pattern[str] | None:
    try:
        return re.compile(expression)
    except re.error:
        return None

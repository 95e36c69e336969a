"""Which engines there are: the folders beside this file, and those that other distributions bring by an entry point.

Only what is asked for is imported: the settings need the options of all engines, a deployment the adapters of its own.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Discriminator, Tag

from slipway import parts
from slipway.engines.options import EngineOptions
from slipway.settings.base import tag

if TYPE_CHECKING:
    from slipway.deployment.types import Measured, Plan
    from slipway.engines.base import EngineAdapter
    from slipway.findings import Finding

DEFAULT = "vllm"
GROUP = "slipway.engines"
"""The group of entry points: each names an engine and the package with its `options` and `launch`."""


def packages() -> Mapping[str, str]:
    """The package of each engine, by the engine's name."""
    return parts.packages("slipway.engines", GROUP)


@cache
def options() -> Mapping[str, type[EngineOptions]]:
    """The class of each engine's options, by the engine's name."""
    return {name: import_module(f"{package}.options").Options for name, package in packages().items()}


@cache
def adapter(name: str) -> "EngineAdapter":
    """The adapter of the engine called `name` in the settings, which admit only names that exist here."""
    found: EngineAdapter = import_module(f"{packages()[name]}.launch").ADAPTER
    return found


@cache
def memory(name: str) -> "Callable[[Plan, tuple[Finding, ...]], Measured] | None":
    """How the engine called `name` counts memory: `measure` of its `memory` module; None where it has none."""
    module = f"{packages()[name]}.memory"
    if find_spec(module) is None:
        return None
    found: Callable[[Plan, tuple[Finding, ...]], Measured] = import_module(module).measure
    return found


def _named(section: Any) -> Any:
    """`vllm` as `{name: vllm}`: an engine that is taken as it is."""
    return {"name": section} if isinstance(section, str) else section


def _engine(section: Any) -> str | None:
    name = section.get("name", DEFAULT) if isinstance(section, dict) else getattr(section, "name", None)
    return tag(name) if isinstance(name, str) and name in packages() else None


if TYPE_CHECKING:
    EngineSection = EngineOptions
else:
    EngineSection = Annotated[
        Union[tuple(Annotated[found, Tag(tag(name))] for name, found in options().items())],  # noqa: UP007
        Discriminator(
            _engine,
            custom_error_type="unknown_kind",
            custom_error_message=f"no such engine; nothing could serve the model: use one of {', '.join(options())}",
        ),
        BeforeValidator(_named),
    ]
    """The `engine` section of a model: the options of the engine that it names."""

"""What every engine's adapter does with flags: write them, and refuse those that Slipway sets itself."""

from collections.abc import Iterator, Mapping

from slipway.engines.options import EngineOptions

Flags = Mapping[str, str | int | float | bool]


def arguments(flags: Flags, *, equals: bool = True) -> Iterator[str]:
    """The flags as a command line has them, in their names' order: `--name=value`, or `--name value` without `equals`."""
    for name, value in sorted(flags.items()):
        if isinstance(value, bool):
            yield f"--{'' if value else 'no-'}{name}"
        elif equals:
            yield f"--{name}={value}"
        else:
            yield from (f"--{name}", str(value))


def taken(
    options: EngineOptions, own_flags: Mapping[str, str], own_variables: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Pairs of a key and a message for flags and variables of the stack that contradict what Slipway sets.

    Args:
        options: the stack's.
        own_flags: what Slipway sets, with the setting that governs each.
        own_variables: environment variables that would override it, likewise.
    """
    for name, owner in own_flags.items():
        if name in options.flags:
            yield (
                f"engine.flags.{name}",
                f"Slipway sets this flag itself; two values would contradict: use {owner}",
            )
    for name, owner in own_variables.items():
        if name in options.environment:
            yield (
                f"engine.environment.{name}",
                f"overrides a flag that Slipway sets; two values would contradict: use {owner}",
            )

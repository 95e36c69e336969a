"""The Pulumi program: settings in, one `Platform` out."""

import json
from collections.abc import Callable
from typing import TypeVar

import pulumi

from components.platform import Platform
from slipway.settings import Settings, SettingsError, check_files, parse
from slipway.settings.errors import PREFIX

_T = TypeVar("_T")


def main() -> None:
    """Build the platform that the stack's settings describe, and export its outputs.

    Raises:
        pulumi.RunError: the settings were refused; one line per mistake, no traceback, no resource.
    """
    settings = _refusing(_read)
    platform = _refusing(lambda: Platform("platform", settings=settings))
    for name, value in platform.stack_outputs().items():
        pulumi.export(name, value)


def _read() -> Settings:
    source = f"stacks/Pulumi.{pulumi.get_stack()}.yaml"
    # The raw text, since Config.get_object shows an undecodable value, secrets included, in its error.
    text = pulumi.runtime.get_config(PREFIX)
    try:
        document = None if text is None else json.loads(text)
    except ValueError:
        raise SettingsError(
            [f"{PREFIX}: is not a section with keys; nothing can be deployed; correct it"], source
        ) from None
    settings = parse(document, source)
    check_files(settings, source)
    return settings


def _refusing(build: Callable[[], _T]) -> _T:
    try:
        return build()
    except SettingsError as error:
        raise pulumi.RunError(error.report) from None

"""The Pulumi program: settings in, checked; one `Platform` out."""

import json
from collections.abc import Callable
from typing import TypeVar

import pulumi

from components.platform import Platform
from slipway.checks import Finding, Severity, Subject, catalog_of, examine, findings
from slipway.checks.declaration import declaration
from slipway.paths import ROOT
from slipway.settings import Settings, SettingsError, check_files, parse
from slipway.settings.errors import PREFIX
from slipway.settings.load import read_raw, refuse_misplaced_secrets

_T = TypeVar("_T")


def main() -> None:
    """Build the platform that the stack's settings describe, and export its outputs.

    Raises:
        pulumi.RunError: the settings or the checks refused it; one line per mistake, no traceback, no resource.
    """
    subject = _refusing(lambda: checked(_read(), _source()))
    platform = _refusing(
        lambda: Platform(
            "platform", settings=subject.settings, sizing=subject.sizing, declaration=declaration(subject, _raw())
        )
    )
    for name, value in platform.stack_outputs().items():
        pulumi.export(name, value)


def checked(settings: Settings, source: str) -> Subject:
    """The settings with what the catalogue and the sizing fill in; warnings go to the engine's log.

    Raises:
        SettingsError: a name that is not in the catalogue.
        pulumi.RunError: what the settings ask for would fail; one line per finding.
    """
    subject = examine(settings, catalog_of(settings), source)
    found = findings(subject)
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if errors:
        raise pulumi.RunError(_report(errors, source))
    for finding in found:
        if finding.severity is Severity.WARNING:
            pulumi.warn(finding.line)
    return subject


def _report(errors: list[Finding], source: str) -> str:
    head = f"{source}: {len(errors)} check(s) failed; nothing was touched"
    return "\n".join([head, *(f"  {finding.line}" for finding in errors)])


def _source() -> str:
    return f"stacks/Pulumi.{pulumi.get_stack()}.yaml"


def _raw() -> object:
    """The section as the stack's file has it, with what is encrypted still so; None where the settings come from elsewhere."""
    try:
        return read_raw(pulumi.get_stack(), ROOT)
    except SettingsError:
        return None


def _read() -> Settings:
    source = _source()
    refuse_misplaced_secrets(_raw(), source)
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

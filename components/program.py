"""The Pulumi program: settings in, resolved and checked; one `Platform` out."""

import json
from collections.abc import Callable
from typing import TypeVar

import pulumi

from components.platform import Platform
from components.state import Before, before
from slipway.checks.rules import findings
from slipway.deployment.declaration import declaration
from slipway.deployment.drivers import announcements
from slipway.deployment.resolve import catalog_of, resolve
from slipway.deployment.types import Deployment
from slipway.findings import Finding, Severity
from slipway.paths import ROOT
from slipway.settings.errors import PREFIX, SettingsError
from slipway.settings.load import check_files, in_order_of, parse, read_raw, refuse_misplaced_secrets
from slipway.settings.platform import Settings

_T = TypeVar("_T")


def main() -> None:
    """Build the platform that the stack's settings describe, and export its outputs.

    Raises:
        pulumi.RunError: the settings or the checks refused it; one line per mistake, no traceback, no resource.
    """
    deployment = _refusing(lambda: checked(_read(), _source(), before()))
    platform = _refusing(
        lambda: Platform("platform", deployment=deployment, declaration=declaration(deployment, _raw()))
    )
    for name, value in platform.stack_outputs().items():
        pulumi.export(name, value)


def checked(settings: Settings, source: str, had: Before | None = None) -> Deployment:
    """What follows from the settings and from what machines had; Pulumi's log gets warnings, placements and reboots.

    Raises:
        SettingsError: a name that is not in the catalogue, or models that find no room.
        pulumi.RunError: what the settings ask for would fail; one line per finding.
    """
    had = had or Before()
    deployment = resolve(settings, catalog_of(settings), source, had.holdings)
    found = findings(deployment)
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if errors:
        raise pulumi.RunError(_report(errors, source))
    for finding in found:
        if finding.severity is Severity.WARNING:
            pulumi.warn(finding.line)
    for instance in deployment.instances:
        if instance.gpus:
            pulumi.info(f"{instance.machine.name}: {instance.name} gets GPU {', '.join(map(str, instance.gpus))}")
    for line in announcements(deployment, had.drivers):
        pulumi.info(line)
    return deployment


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
    raw = _raw()
    refuse_misplaced_secrets(raw, source)
    # The raw text, since Config.get_object shows an undecodable value, secrets included, in its error.
    text = pulumi.runtime.get_config(PREFIX)
    try:
        document = None if text is None else json.loads(text)
    except ValueError:
        raise SettingsError(
            [f"{PREFIX}: is not a section with keys; nothing can be deployed; correct it"], source
        ) from None
    settings = parse(in_order_of(document, raw), source)
    check_files(settings, source)
    return settings


def _refusing(build: Callable[[], _T]) -> _T:
    try:
        return build()
    except SettingsError as error:
        raise pulumi.RunError(error.report) from None

"""What the catalogue and this machine say of the model and of other files."""

from collections.abc import Iterator

from slipway.deployment.types import Deployment, Served
from slipway.findings import Finding, Severity, located
from slipway.settings.errors import SettingsError
from slipway.settings.load import check_files

FREE_LICENCES = frozenset({"apache-2.0", "mit", "bsd-3-clause"})
"""Those that ask for nothing beyond a notice."""


def licence(served: Served) -> Iterator[Finding]:
    """Terms that somebody ought to have read."""
    model = served.entry
    if model is None or model.licence.casefold() in FREE_LICENCES:
        return
    where = served.at("catalog" if served.settings.catalog is not None else "source")
    if model.commercial_use:
        yield Finding(
            id="model.licence",
            severity=Severity.NOTE,
            where=where,
            message=f"{model.id} comes under {model.licence}, which has terms of its own; who serves it accepts them: read them",
        )
    else:
        yield Finding(
            id="model.licence",
            severity=Severity.WARNING,
            where=where,
            message=f"{model.id} comes under {model.licence}, which does not allow commercial use; serving it for business "
            "would break it: use another model, or agree on terms with its makers",
        )


def remote_code(served: Served) -> Iterator[Finding]:
    """Models that the engine loads only with their own code."""
    model = served.entry
    if model is not None and model.trust_remote_code and not served.settings.trust_remote_code:
        yield Finding(
            id="model.remote-code",
            severity=Severity.WARNING,
            where=served.at("trust_remote_code"),
            message=f"{model.id} comes with Python code of its own; the engine would refuse to load it: read that code, "
            "then set this to true",
        )


def files(deployment: Deployment) -> Iterator[Finding]:
    """Files that the deployment needs on the machine that it is run from; elsewhere, as in a review, they may be absent."""
    said = {gap.where for gap in deployment.gaps}
    try:
        check_files(deployment.settings, "")
    except SettingsError as error:
        for where, message in map(located, error.problems):
            if where not in said:
                yield Finding(id="settings.files", severity=Severity.NOTE, where=where, message=message)

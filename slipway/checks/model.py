"""What the catalogue and this machine say of the model and of other files."""

from collections.abc import Iterator

from slipway.checks.findings import Finding, Severity, key, located
from slipway.checks.subject import Subject
from slipway.settings import SettingsError, check_files

FREE_LICENCES = frozenset({"apache-2.0", "mit", "bsd-3-clause"})
"""Those that ask for nothing beyond a notice."""


def licence(subject: Subject) -> Iterator[Finding]:
    """Terms that somebody ought to have read."""
    model = subject.model
    if model is None or model.licence.casefold() in FREE_LICENCES:
        return
    where = key("model.catalog" if subject.settings.model.catalog is not None else "model.source")
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


def remote_code(subject: Subject) -> Iterator[Finding]:
    """Models that the engine loads only with their own code."""
    model = subject.model
    if model is not None and model.trust_remote_code and not subject.settings.model.trust_remote_code:
        yield Finding(
            id="model.remote-code",
            severity=Severity.WARNING,
            where=key("model.trust_remote_code"),
            message=f"{model.id} comes with Python code of its own; the engine would refuse to load it: read that code, "
            "then set this to true",
        )


def files(subject: Subject) -> Iterator[Finding]:
    """Files that the deployment needs on the machine that it is run from; elsewhere, as in a review, they may be absent."""
    said = {gap.where for gap in subject.gaps}
    try:
        check_files(subject.settings, "")
    except SettingsError as error:
        for where, message in map(located, error.problems):
            if where not in said:
                yield Finding(id="settings.files", severity=Severity.NOTE, where=where, message=message)

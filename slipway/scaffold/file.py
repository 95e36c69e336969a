"""Validate a stack's text as `slipway check` would, then put it in its place in one step."""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from slipway.checks.rules import findings
from slipway.deployment.resolve import catalog_of, resolve
from slipway.deployment.types import Deployment
from slipway.findings import Finding, Severity
from slipway.scaffold.errors import InitError
from slipway.settings.errors import SettingsError
from slipway.settings.load import read_public, stack_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_STATE_KEYS = ("encryptionsalt:", "encryptedkey:", "secretsprovider:")
_FILES = "settings.files"
"""The check of files on this machine: a note in a review, and the end of a preview."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A stack that was made."""

    file: Path
    deployment: Deployment
    findings: tuple[Finding, ...]
    """Warnings and notes; an error would have been refused."""


def free_name(stack: str, root: Path, *, force: bool) -> Path:
    """The file that `stack` is to have.

    Raises:
        InitError: not a stack's name, or taken while `force` is off.
    """
    if not _NAME.fullmatch(stack):
        raise InitError(
            f"{stack!r} can't name a stack; its file and Pulumi carry it: use letters, digits, - and _, up to 63, starting "
            "with a letter or digit"
        )
    file = stack_file(stack, root)
    if os.path.lexists(file) and not force:
        raise _taken(file, root)
    return file


def _taken(file: Path, root: Path) -> InitError:
    return InitError(
        f"{file.relative_to(root)} is there already; what is in it would be lost: choose another name, or give --force"
    )


def write(text: str, stack: str, root: Path, *, force: bool) -> Written:
    """Validate `text`, and write it whole or not at all.

    Of a file that is replaced, the lines stay with which Pulumi reads the secrets in the stack's state.

    Raises:
        InitError: the name (see `free_name`), or text that `slipway check` or a preview would refuse.
    """
    file = free_name(stack, root, force=force)
    text += _state_keys(file)
    deployment, found = validated(text, stack)
    file.parent.mkdir(exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        if force:
            part.replace(file)
        else:
            # Unlike a rename, a link never replaces a file that somebody has just made.
            os.link(part, file)
    except FileExistsError:
        raise _taken(file, root) from None
    except OSError as error:
        raise InitError(f"{file.relative_to(root)}: cannot be written: {error.strerror}; nothing was written") from None
    finally:
        part.unlink(missing_ok=True)
    return Written(file=file, deployment=deployment, findings=found)


def _state_keys(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return "".join(f"{line}\n" for line in lines if line.startswith(_STATE_KEYS))


def validated(text: str, stack: str) -> tuple[Deployment, tuple[Finding, ...]]:
    """What the checks say of a stack with this text.

    Raises:
        InitError: with every reason for which a preview would fail, one line each.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-init-") as folder:
        root = Path(folder)
        file = stack_file(stack, root)
        file.parent.mkdir()
        file.write_text(text, encoding="utf-8")
        source = str(file.relative_to(root))
        try:
            settings = read_public(stack, root)
            deployment = resolve(settings, catalog_of(settings, root), source)
        except SettingsError as error:
            raise InitError(_lines(list(error.problems), source)) from None
    found = tuple(findings(deployment))
    stopping = [finding.line for finding in found if finding.severity is Severity.ERROR or finding.id == _FILES]
    if stopping:
        raise InitError(_lines(stopping, source))
    return deployment, found


def _lines(problems: list[str], source: str) -> str:
    return "\n".join(f"{problem} ({source} was not written)" for problem in problems)

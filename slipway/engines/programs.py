"""What tells one version of a program from another, before it is on any host."""

import hashlib
from pathlib import Path

from slipway.engines.base import Program
from slipway.engines.program import ProgramSource
from slipway.paths import ROOT

ROLES = ROOT / "playbooks" / "roles"
_DIGITS, _IN_NAME = 16, 8


def files_digest(file: Path, *, otherwise: str) -> str:
    """16 hexadecimal digits of the content of `file`; of `otherwise` where it is not there, as apart from a checkout."""
    return _sha256(file, otherwise)[:_DIGITS]


def lock_digest(*files: Path, otherwise: str) -> str:
    """The same of several files: of their digests one after the other."""
    return hashlib.sha256("".join(_sha256(file, otherwise) for file in files).encode()).hexdigest()[:_DIGITS]


def role_file(role: str, name: str) -> str:
    """A file of a role of ours, by its name below the role's ``files``; empty apart from a checkout."""
    file = ROLES / role / "files" / name
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def from_source(role: str, source: ProgramSource, *, release: str) -> Program:
    """A program that the stack brings itself, as roles of programs take it: `<role>_program`.

    Its name has a part of its digest: models on one machine may bring different ones, beside the engine's own.
    """
    if source.path is not None:
        given: dict[str, str | None] = {"path": str(source.path)}
        digest = _sha256(source.path, str(source.path))
    else:
        given = {"url": str(source.url), "sha256": source.sha256}
        digest = source.sha256 or ""
    return Program(
        name=f"{role.replace('_', '-')}-{digest[:_IN_NAME]}",
        role=role,
        release=release,
        digest=digest[:_DIGITS],
        variables={f"{role}_program": given},
    )


def _sha256(file: Path, otherwise: str) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return hashlib.sha256(otherwise.encode()).hexdigest()

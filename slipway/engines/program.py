"""Where an engine's program comes from, where it is not installed from a package registry."""

from typing import Self

from pydantic import HttpUrl, model_validator

from slipway.settings.base import Section
from slipway.settings.types import LocalPath, Sha256


class ProgramSource(Section):
    """Exactly one of `path` and `url`: a single program, or an archive with `bin/` in it."""

    path: LocalPath | None = None
    """A file on the machine that runs the deployment."""
    url: HttpUrl | None = None
    """Where each machine fetches it."""
    sha256: Sha256 | None = None
    """With `url`: its SHA-256 digest."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give exactly one of path and url; it would not be known what to install")
        if (self.url is not None) != (self.sha256 is not None):
            raise ValueError("url and sha256 go together; the program could not be checked: give its digest")
        return self

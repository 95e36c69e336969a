"""The model that the stack serves, and where its files come from."""

from typing import Self

from pydantic import Field, HttpUrl, model_validator

from slipway.settings.base import Section
from slipway.settings.types import (
    CatalogName,
    LocalPath,
    ModelName,
    PositiveCount,
    Revision,
    Secret,
    Sha256,
)


class ModelSource(Section):
    """Exactly one of `path`, `host_path`, `mirror` and `hub`."""

    path: LocalPath | None = None
    """A folder on the machine that runs the deployment; its files are copied to every engine host."""
    host_path: str | None = Field(default=None, pattern=r"^/.+$")
    """A folder that is on every engine host already (local disk or a share); it is used where it lies, and never removed."""
    mirror: HttpUrl | None = None
    """A base URL under which the files of `sha256` are fetched by each engine host."""
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """With `mirror`: each file's name and SHA-256 digest."""
    hub: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
    """A repository on a model hub, `organisation/name`."""
    revision: Revision | None = None
    """With `hub`: the commit to fetch."""
    endpoint: HttpUrl | None = None
    """With `hub`: the address of a hub of one's own that speaks the same protocol."""
    token: Secret | None = None
    """With `hub`: an access token, for gated repositories."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [key for key in ("path", "host_path", "mirror", "hub") if getattr(self, key) is not None]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            raise ValueError(
                f"give exactly one of path, host_path, mirror and hub ({said} given); "
                "the engine would not know which files to load"
            )
        if (self.mirror is not None) != bool(self.sha256):
            raise ValueError("mirror and sha256 go together; files could not be checked: list every file's digest")
        if (self.hub is not None) != (self.revision is not None):
            raise ValueError("hub and revision go together; what is deployed must be pinned: give the commit")
        if self.hub is None and (self.endpoint is not None or self.token is not None):
            raise ValueError("endpoint and token belong to hub; they would have no effect: remove them")
        for name in self.sha256:
            if name.startswith("/") or ".." in name.split("/") or not name:
                raise ValueError(f"sha256: {name!r} leaves the model's folder; give a name relative to it")
        return self


class Model(Section):
    """One model, under the id that clients ask for."""

    name: ModelName
    """The model id in requests and in `/v1/models`."""
    source: ModelSource
    """Where its files come from."""
    catalog: CatalogName | None = None
    """The catalogue's id of the model, where its config.json is not on this machine: what fits is computed from it. Not
    needed with `source.path`, whose own config.json counts, or with a `source.hub` that the catalogue knows."""
    max_model_len: PositiveCount = 8192
    """The context window in tokens, prompt and completion together."""
    max_output_tokens: PositiveCount | None = None
    """The longest completion that clients should ask for, in tokens. Default: a quarter of the context window."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model's files. Leave it off unless you have read that code."""

    @property
    def output_tokens(self) -> int:
        """The longest completion that clients should ask for, in tokens."""
        return self.max_output_tokens or max(1, self.max_model_len // 4)

    @model_validator(mode="after")
    def _output_fits(self) -> Self:
        if self.max_output_tokens is not None and self.max_output_tokens > self.max_model_len:
            raise ValueError(
                f"max_output_tokens {self.max_output_tokens} is more than max_model_len {self.max_model_len}; "
                "no request could use it: lower the one or raise the other"
            )
        return self

"""Models: every name that clients can ask for, and who answers for it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, HttpUrl, Tag, model_validator

from slipway.engines.registry import EngineSection
from slipway.settings.base import Section, tag
from slipway.settings.prices import TokenPrice
from slipway.settings.types import (
    AwsProfile,
    CatalogName,
    Count,
    HostName,
    HostPath,
    LocalPath,
    ModelName,
    PositiveCount,
    ProviderName,
    Region,
    Repository,
    Revision,
    S3Address,
    Secret,
    Sha256,
)

GGUF = ".gguf"
FIRST_PART = re.compile(r"^(.+)-00001-of-(\d{5}\.gguf)$")
"""Of a model that is split into several GGUF files, which lie beside one another."""


class Task(StrEnum):
    """What a model does; acceptance proves each model by it."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"

    @property
    def generates(self) -> bool:
        """Whether the answer is text, token by token."""
        return self in {Task.CHAT, Task.COMPLETION}

    @property
    def lists(self) -> bool:
        """Whether a request usually holds many texts, each of which is read by itself."""
        return self in {Task.EMBEDDING, Task.RERANK}


_PLACES = ("path", "host_path", "store_path", "mirror", "s3", "hub")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class ModelSource(Section):
    """Exactly one of `path`, `host_path`, `store_path`, `mirror`, `s3` and `hub`. A GGUF file is one of that name or folder."""

    path: LocalPath | None = None
    """A folder, or one GGUF file, on the machine that runs the deployment; copied to every machine that serves the model."""
    host_path: HostPath | None = None
    """A folder, or one GGUF file, that is on every such machine already (local disk or a share); used where it lies, and
    never removed."""
    store_path: HostPath | None = None
    """A folder on the host of the stack's `store`, which has it for the others; it is copied, and never changed. It is copied
    once: another version needs another folder."""
    mirror: HttpUrl | None = None
    """A base URL, without a login, under which the files of `sha256` are fetched by each machine, or by the stack's `store`
    alone."""
    s3: S3Address | None = None
    """A bucket, and what the keys of the files in `sha256` begin with: `s3://bucket/prefix`. They are fetched by each machine,
    or by the stack's `store` alone, through addresses that the machine that runs the deployment signs with its AWS credentials;
    these need `s3:GetObject`."""
    region: Region | None = None
    """With `s3`: the bucket's region. Default, with an `endpoint` alone: us-east-1."""
    profile: AwsProfile | None = None
    """With `s3`: whose credentials sign, of those that the AWS configuration of the machine that runs the deployment names.
    Default: AWS's usual order, from the environment on."""
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """With `mirror` and `s3`: each file's name and SHA-256 digest."""
    hub: Repository | None = None
    """A repository on a model hub, `organisation/name`."""
    revision: Revision | None = None
    """With `hub`: the commit to fetch."""
    file: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w./-]*\.gguf$")
    """With `hub`, `mirror`, `s3` or a folder: the GGUF file to serve, where there are several; of a split one the first part."""
    endpoint: HttpUrl | None = None
    """With `hub`, or `s3`: the address of a hub, or a store, of one's own that speaks the same protocol."""
    token: Secret | None = None
    """With `hub`: an access token, for gated repositories."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [key for key in _PLACES if getattr(self, key) is not None]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            raise ValueError(
                f"give exactly one of {', '.join(_PLACES[:-1])} and {_PLACES[-1]} ({said} given); "
                "the engine would not know which files to load"
            )
        fetched = "s3" if self.s3 is not None else "mirror"
        if (getattr(self, fetched) is not None) != bool(self.sha256):
            raise ValueError(f"{fetched} and sha256 go together; files could not be checked: list every file's digest")
        if (self.hub is not None) != (self.revision is not None):
            raise ValueError("hub and revision go together; what is deployed must be pinned: give the commit")
        if self.hub is None and (self.token is not None or (self.endpoint is not None and self.s3 is None)):
            raise ValueError("endpoint and token belong to hub; they would have no effect: remove them")
        if self.path is not None and FIRST_PART.match(self.path.name):
            raise ValueError(
                f"path: {self.path.name} is one part of several; the others would not be copied: give the folder that holds "
                "all in path, and this name in file"
            )
        if self.file is not None and ".." in self.file.split("/"):
            raise ValueError(f"file: {self.file!r} leaves the model's folder; give a name relative to it")
        if self.file is not None and self.sha256 and self.file not in self.sha256:
            raise ValueError(f"file: {self.file} is not among sha256; it would not be fetched: list its digest")
        return self

    @model_validator(mode="after")
    def _store_of_objects(self) -> Self:
        if self.s3 is None:
            if self.region is not None or self.profile is not None:
                raise ValueError("region and profile belong to s3; they would have no effect: remove them")
            return self
        if self.endpoint is None and self.region is None:
            raise ValueError(
                "region is missing; S3 refuses what is signed for another one than the bucket's: give it, or the endpoint of a "
                "store of your own"
            )
        if self.endpoint is not None:
            if self.endpoint.query is not None or self.endpoint.fragment is not None:
                raise ValueError(
                    "endpoint: has more than a server and a path; nothing could be signed for it: remove the rest"
                )
            if self.endpoint.scheme != "https" and self.endpoint.host not in _LOOPBACK:
                raise ValueError(
                    "endpoint: http:// would show the signed addresses, by which anybody can read the model, to whoever listens: "
                    "use https://"
                )
        return self

    @model_validator(mode="after")
    def _names_and_addresses(self) -> Self:
        for name in self.sha256:
            if name.startswith("/") or ".." in name.split("/") or not name:
                raise ValueError(f"sha256: {name!r} leaves the model's folder; give a name relative to it")
            if str(PurePosixPath(name)) != name or name == ".":
                raise ValueError(
                    f"sha256: {name!r} is not how the file is found in the folder, where it would be taken for another model's; "
                    f"write {str(PurePosixPath(name))!r}"
                )
        for key, url in (("mirror", self.mirror), ("endpoint", self.endpoint)):
            if url is not None and (url.username is not None or url.password is not None):
                raise ValueError(
                    f"{key}: has a login in its address, which would stand in states, logs and messages: use an address without "
                    "one that only the hosts may reach, or bring the files with path or store_path"
                )
        return self

    @property
    def is_brought(self) -> bool:
        """Whether Slipway brings the files to the machines that serve the model."""
        return self.host_path is None

    @property
    def gguf(self) -> str | None:
        """The GGUF file's name within the model's folder; None where the model is a folder of a hub's usual format."""
        if self.file is not None:
            return self.file
        single = self.path.name if self.path is not None else (self.host_path or "").rpartition("/")[2]
        if single.endswith(GGUF):
            return single
        listed = [name for name in self.sha256 if name.endswith(GGUF)]
        return min(listed) if listed else None


class _Asked(Section):
    """What holds for every name that clients ask for."""

    aliases: tuple[ModelName, ...] = ()
    """Further names for it."""
    fallbacks: tuple[ModelName, ...] = ()
    """Names that are asked, in this order, where this one can't answer."""
    price: TokenPrice | None = None
    """What its tokens cost who asks for this name. Default: no price; a name that is shared out has that of its targets,
    where all have the same."""


class ServedModel(_Asked):
    """A model that is served here: an engine, on machines of a pool."""

    source: ModelSource
    """Where its files come from."""
    task: Task = Task.CHAT
    """What it does: chat, completion, embedding, rerank or transcription."""
    catalog: CatalogName | None = None
    """The catalogue's id of the model, where its config.json is not on this machine: what fits is computed from it. Not
    needed with `source.path`, whose own config.json counts, or with a `source.hub` that the catalogue knows."""
    max_model_len: PositiveCount = 8192
    """The context window in tokens, prompt and completion together."""
    max_output_tokens: PositiveCount | None = None
    """The longest completion that clients should ask for, in tokens. Default: a quarter of the context window."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model's files. Leave it off unless you have read that code."""
    private: bool = False
    """Nothing of a request for it leaves for a provider, whatever fails."""
    pool: HostName | None = None
    """The pool whose machines serve it. Default: the first one that is not called `edge`."""
    hosts: PositiveCount = 1
    """Machines of the pool that share each replica, for a model that needs more GPUs than one has: its layers are split over
    them, unless `engine.pipeline_parallel` says otherwise. The stack's gateway asks the first of them."""
    gpus: Count | None = None
    """GPUs of each replica, of all its machines together; 0 means the CPU. Default: what the pool's other models leave, shared
    out among its replicas on a machine."""
    gpu_indices: tuple[Count, ...] | None = Field(default=None, min_length=1)
    """Which GPUs of its machine, or of each of them, as nvidia-smi numbers them. Default: assigned in the order of the models,
    free ones first; so a model that goes, or takes more or fewer, moves those after it. Name them, as the outputs show them, to
    keep it where it is."""
    replicas: PositiveCount | None = None
    """Copies over the pool's machines, each an engine of its own. Default: one on each machine, or on every `hosts` of them."""
    engine: EngineSection = Field(default_factory=dict, validate_default=True)
    """The engine, and its options."""

    @property
    def output_tokens(self) -> int:
        """The longest completion that clients should ask for, in tokens."""
        return self.max_output_tokens or max(1, self.max_model_len // 4)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.max_output_tokens is not None and self.max_output_tokens > self.max_model_len:
            raise ValueError(
                f"max_output_tokens {self.max_output_tokens} is more than max_model_len {self.max_model_len}; "
                "no request could use it: lower the one or raise the other"
            )
        if self.gpu_indices is not None:
            if len(set(self.gpu_indices)) != len(self.gpu_indices):
                raise ValueError("gpu_indices names a GPU twice; the engine would not start: name each once")
            named = len(self.gpu_indices) * self.hosts
            if self.gpus is not None and self.gpus != named:
                each = f" on each of {self.hosts} hosts" if self.hosts > 1 else ""
                raise ValueError(
                    f"gpus is {self.gpus} while gpu_indices names {len(self.gpu_indices)}{each}; "
                    "one of them would be wrong: remove gpus"
                )
        if self.gpus is not None and self.gpus % self.hosts:
            fits = self.gpus - self.gpus % self.hosts or self.hosts
            raise ValueError(
                f"gpus is {self.gpus}, which {self.hosts} hosts can't share equally; the engine would not start: use {fits}, "
                "or another number of hosts"
            )
        return self


class ProvidedModel(_Asked):
    """A model that a provider serves: elsewhere, under the provider's key."""

    provider: ProviderName
    """One of the stack's `providers`."""
    model: str | None = Field(default=None, min_length=1)
    """The provider's name for it. Default: the same name."""
    task: Task = Task.CHAT
    """What it does."""
    context_window: PositiveCount | None = None
    """Its context window in tokens, for the configuration of clients."""
    max_output_tokens: PositiveCount | None = None
    """Its longest completion in tokens, for the configuration of clients."""


class RoutedModel(_Asked):
    """A name whose requests are shared out over other models, by weight."""

    targets: dict[ModelName, PositiveCount] = Field(min_length=1)
    """Models and their weights: `{a: 9, b: 1}` sends every tenth request to b."""


def _kind(value: Any) -> str:
    """Which of the three a model's section is, by the keys that only one of them has."""
    has = set(value) if isinstance(value, Mapping) else set(getattr(value, "model_fields_set", ()))
    if "provider" in has:
        return "provided"
    return "routed" if "targets" in has and "source" not in has else "served"


Model = Annotated[
    Annotated[ServedModel, Tag(tag("served"))]
    | Annotated[ProvidedModel, Tag(tag("provided"))]
    | Annotated[RoutedModel, Tag(tag("routed"))],
    Discriminator(lambda value: tag(_kind(value))),
]

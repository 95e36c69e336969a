"""What Slipway needs to know of an inference engine, and what an engine's adapter says of one placed model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slipway.settings.types import Secret

if TYPE_CHECKING:
    from slipway.deployment.types import Instance, Served


@dataclass(frozen=True, kw_only=True)
class Program:
    """What an instance runs, installed once on each machine by a role of its own.

    On a host it lies in ``/opt/slipway/<name>/<digest>``: what is changed is another folder, so nothing changes under a
    running engine.
    """

    name: str
    """Unique on a machine: the engine, and its build where there are several."""
    role: str
    digest: str
    """16 hexadecimal digits that follow from what is installed."""
    release: str
    """Empty where it is not known: of a program that the stack brings."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Of the role, beside its root and folder."""
    playbooks: Path | None = None
    """The folder with ``roles/`` where the role is not one of Slipway's."""
    nccl: str | None = None
    """Where the NCCL lies in its folder by which its processes on several GPUs speak, as a pattern; None where they don't."""
    timeout_s: int = 3600
    """A slow mirror serves an engine's environment slowly."""

    @property
    def root(self) -> str:
        """Where all versions of it lie on a host."""
        return f"/opt/slipway/{self.name}"

    @property
    def folder(self) -> str:
        """Where it lies on a host."""
        return f"{self.root}/{self.digest}"


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that an instance reads, below its own configuration folder."""

    content: Any
    """Text, or data that is written as JSON. Secrets in it stay `Secret`s."""
    secret: bool = False
    reload: bool = False
    """Whether the running program reads it again by itself; else a change restarts it."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How an engine is asked whether it is ready: it has to answer, since a health path may lie."""

    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One engine as it is started, whatever starts it: a host makes a unit of it, Kubernetes a container.

    Addresses in texts are references (see `slipway.deployment.references`).
    """

    description: str
    command: tuple[str, ...]
    """The first part is a name in the program's ``bin``."""
    environment: Mapping[str, str]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    """Environment variables."""
    files: Mapping[str, File] = field(default_factory=dict)
    probe: Probe | None
    """None for what is not asked: a part of a replica that another machine speaks for."""
    ready: str | None = None
    """Where it is not asked, what its log says once it has done all that it can do alone: a regular expression."""
    probe_key: Secret | None = None
    """What the probe has to send; `secrets` are the program's own."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Paths whose JSON is kept as a fact, by the fact's name."""
    journal: Mapping[str, str] = field(default_factory=dict)
    """What its log says when it starts: a regular expression with one group for each figure."""
    sandbox: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Lines of a unit's [Service] that it needs beyond what every service of Slipway has."""
    interfaces: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that name a network interface: the address that the interface has, which the machine looks up; a
    ``=`` before it stays before the name."""
    peers: tuple[str, ...] = ()
    """Addresses of the machines that share the replica. Only they may reach its ports, but for the one at which it is asked;
    empty where nothing of it is for other machines' parts."""
    after_start: tuple[tuple[str, ...], ...] = ()
    """Commands that are run as the engine's user once it is started; the first part is a name in the program's ``bin``."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What an engine will have of one copy of a model; None where its log says no such figure, or it has none."""

    fits: bool
    errors: tuple[str, ...] = ()
    weights_gib: float | None = None
    """Of one GPU, or of the machine for what runs on its CPU."""
    kv_cache_gib: float | None = None
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    """Requests of full length at once."""
    host_gib: float = 0
    """Memory of the machine that it takes where it runs on the CPU."""
    gpu_gib: float | None = None
    """Memory of the fullest GPU that it may take."""


class EngineAdapter(Protocol):
    """One engine: what is installed, and how a placed model is started."""

    @property
    def release(self) -> str:
        """The release that is installed where the stack brings no program of its own."""

    @property
    def metrics_path(self) -> str | None:
        """Where it serves Prometheus metrics; None where it does not."""

    @property
    def progress_counter(self) -> str | None:
        """The counter among its metrics that grows with every step that it computes, whoever it is for.

        By it an engine that is full is told from one that hangs. None where there is none.
        """

    @property
    def bounds_queue(self) -> bool:
        """Whether it refuses requests beyond its slots and its queue by itself; else the front counts for it."""

    @property
    def counts_texts(self) -> bool:
        """Whether each answer that a request asks for, and each text of a list, takes a place of its slots and its queue."""

    @property
    def health_path(self) -> str:
        """What a GET of it tells of the engine's health, at no cost and without a key."""

    @property
    def native(self) -> frozenset[str]:
        """The families of paths that it serves itself.

        Among: chat, completions, embeddings, rerank, responses, messages, tokenize, transcriptions.
        """

    def program(self, served: Served) -> Program:
        """What has to be installed to serve this model."""

    def gpu_share(self, served: Served) -> float:
        """The part of each of its GPUs that it takes, over 0 and up to 1."""

    def refusals(self, served: Served) -> Iterator[tuple[str, str]]:
        """What of the options contradicts what Slipway sets: pairs of a key below the model and a message."""

    def exposed(self, instance: Instance) -> str | None:
        """Why this instance must not be reached by other machines, in one line; None where it may."""

    def launch(self, instance: Instance) -> Launch:
        """How this instance is started."""

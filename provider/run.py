"""What the plugin asks of a run and what a run answers: plain data that travels between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Mode = Literal["apply", "check", "remove"]

FailureKind = Literal["unreachable", "access", "variables", "task", "playbook", "timeout", "interrupted", "internal"]
"""`access` is a host that answers but lets nobody in or up; `playbook` is one that Ansible can't even begin with."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine to run on, validated."""

    name: str
    address: str = ""
    port: int = 22
    user: str = ""
    key_file: str = ""
    host_key: str = ""
    connection: Literal["ssh", "local"] = "ssh"
    become: bool = True

    @property
    def label(self) -> str:
        """How messages call the host."""
        return f"{self.name} ({self.address or self.connection})"

    @property
    def target(self) -> str:
        """The address as OpenSSH's known-hosts files write it."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run of one role on one host."""

    mode: Mode
    host: Host
    role: str
    instance: str
    """What messages call this layer of the host."""
    playbooks: str
    """Absolute path of the folder with `roles/`."""
    variables: dict[str, Any] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    timeout: float
    urn: str
    run_id: int
    scratch: str
    """The plugin's private folder; the run makes its own inside it."""
    environment: tuple[str, ...] = ()
    """Names, or beginnings with `*`, of variables of the engine's environment that the run is to see."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task that changed something, would change something, or failed."""

    name: str
    role: str
    result: Literal["changed", "failed"]
    seconds: float = 0.0
    where: str = ""
    """The path, unit or package that the task is about, as far as its result tells."""
    detail: str = ""
    """A short diff, or the error."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run didn't reach its end, as one message for a person."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run went. All texts are free of secrets; `results` is what the role said, as it is."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    seconds: float = 0.0
    tasks: tuple[Task, ...] = ()
    results: dict[str, Any] = field(default_factory=dict, repr=False)
    failure: Failure | None = None
    managed: tuple[dict[str, Any], ...] | None = None
    """What an apply manages on the host, as `record` looks at it; None where that can't be told, see `unrecordable`."""
    unrecordable: str = ""
    touched: bool = False
    """Whether the host may differ from what it was before."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A step of a run under way."""

    run_id: int
    task: str
    ended: Task | None = None
    """The task's result, where it is worth a line of its own."""
    last: bool = False
    """Whether nothing of this run follows."""

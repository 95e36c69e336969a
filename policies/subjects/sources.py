"""Where the model of a launch comes from, in the terms that rules compare: `hub:org/name`, `mirror:https://…`, `path:/…`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from policies.node import Node, UnknownValueError
from policies.subjects.kubernetes import environment
from policies.subjects.launches import ContainerLaunch, Launch

_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")
_TRUE = {"1", "true", "yes", "on"}
"""What huggingface_hub takes for yes, whatever its case."""
_PUBLIC_HUBS = re.compile(
    r"^https?://(www\.)?(huggingface\.co|hf\.co|hf-mirror\.com|modelscope\.(cn|ai))(/|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Source:
    """Where the model's files come from."""

    kind: str
    """`hub`, `mirror`, `path` (of the machine that deploys), `host` (of the engine's host), or the scheme of an address."""
    address: str
    """`org/name`, a path, or an address."""

    def __str__(self) -> str:
        return self.address if "://" in self.address and self.kind != "mirror" else f"{self.kind}:{self.address}"


def source(launch: Launch) -> Source | None:
    """The launch's; None where nothing says it.

    Raises:
        UnknownValueError: it is not known yet, or it is in a variable whose value comes from elsewhere.
    """
    if isinstance(launch, ContainerLaunch):
        return _of_container(launch)
    kind = launch.get("model", "source", "kind")
    if kind is None:
        return None
    key = {"hub": "repository", "mirror": "url"}.get(kind, "path")
    return Source("host" if kind == "hostPath" else kind, str(launch.get("model", "source", key, default="")))


def _of_container(launch: ContainerLaunch) -> Source | None:
    model = launch.model
    if model is None:
        return None
    scheme, colon, _ = model.partition("://")
    if colon:
        return Source(scheme, model)
    if _HUB.fullmatch(model) and not model.startswith("."):
        return Source("hub", model)
    return Source("host", model)


def called(launch: Launch) -> str:
    """The model as messages show it.

    Raises:
        UnknownValueError: as `source`.
    """
    return launch.model or "model not said"


def revision(launch: ContainerLaunch) -> str | None:
    """The commit or branch that the container's engine fetches; None where it takes the newest.

    Raises:
        UnknownValueError: as `source`.
    """
    return launch._text("revision")  # noqa: SLF001 -- read as its other flags are


def variable(launch: ContainerLaunch, name: str) -> str | None:
    """What the container sets the variable to; None where it does not.

    Raises:
        UnknownValueError: its value is not known yet, or comes from elsewhere.
    """
    for said, entry in environment(launch.container):
        if said == name:
            if entry.has("valueFrom"):
                raise UnknownValueError(entry.at("valueFrom"))
            return str(entry.get("value", default=""))
    if launch.has("envFrom"):
        raise UnknownValueError(launch.at("envFrom"))
    return None


def hub_is_off(launch: ContainerLaunch) -> bool:
    """Whether the container's libraries are told to leave the hub alone.

    Raises:
        UnknownValueError: as `variable`.
    """
    # huggingface_hub asks for the second only where the first is not set.
    said = variable(launch, "HF_HUB_OFFLINE") or variable(launch, "TRANSFORMERS_OFFLINE")
    return said is not None and said.casefold() in _TRUE


def is_own_hub(endpoint: str | None) -> bool:
    """Whether this is the address of a hub of one's own."""
    return bool(endpoint) and _PUBLIC_HUBS.match(str(endpoint)) is None


def says_no(value: object) -> bool:
    """Whether a variable that switches something on is set, and not to yes."""
    return value is not None and str(value).casefold() not in _TRUE


def place(launch: Launch) -> Node:
    """Where the source is said, as near as it can be told: the platform's setting, or the container."""
    return launch if isinstance(launch, ContainerLaunch) else launch.node("model", "source")

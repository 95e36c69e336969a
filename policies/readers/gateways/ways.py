"""Whose servers the backends of a gateway are on, and where requests to a model go."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from policies.node import Node
from policies.readers.tables import table

_PRIVATE_NAMES = (".svc", ".cluster.local", ".local", ".internal", ".intranet", ".lan", ".corp", ".home.arpa")
BASES = ("api_base", "base_url")
"""Parameters of a backend that hold its address."""


class Where(Enum):
    """Whose servers a backend is on."""

    PRIVATE = "private"
    CLOUD = "cloud"


@dataclass(frozen=True)
class Backend:
    """One entry of `model_list`."""

    group: str
    """The name that callers use; entries of one name share its requests."""
    model: Node
    """The place of `litellm_params.model`."""
    where: Where | None
    """Whose server it is; None where nothing says it."""
    unsaid: Node | None = None
    """The address, where it does not say whose the server is: it may be one's own as well as a cloud's."""


class Ways:
    """Where requests go, by the name that a caller or a fall-back gives."""

    def __init__(self, backends: list[Backend], aliases: Mapping[str, Node], own: Collection[str]) -> None:
        self._backends = backends
        self._aliases = aliases
        self._own = own

    def group(self, name: str) -> str:
        """The model that a name stands for in the end."""
        seen: set[str] = set()
        while name in self._aliases and name not in seen:
            seen.add(name)
            name = str(self._aliases[name].get(default=""))
        return name

    def of(self, group: str) -> list[Backend]:
        """The backends of a model: those that go by its name, else those of a pattern that it fits."""
        named = [backend for backend in self._backends if backend.group == group]
        patterns = [backend for backend in self._backends if fnmatchcase(group, backend.group)]
        return named or patterns

    def private(self, group: str) -> bool:
        """Whether one of its backends is one's own."""
        return any(backend.where is Where.PRIVATE for backend in self.of(group))

    def unsaid(self, group: str) -> Node | None:
        """The address of a backend of it of which nothing says whose it is."""
        return next((backend.unsaid for backend in self.of(group) if backend.unsaid is not None), None)

    def cloud(self, target: Node) -> bool:
        """Whether a target is a cloud's: by its backends; one that is no model of the list by its own parameters.

        Raises:
            UnknownValueError: the target is not known.
        """
        params = target if isinstance(target.data, Mapping) else Node({"model": target.raw}, target.path)
        name = str(params.get("model", default=""))
        group = self.group(name)
        found = [] if any(params.has(key) for key in BASES) else self.of(group)
        if found:
            return any(backend.where is Where.CLOUD for backend in found)
        if group != name:
            params = Node({"model": group}, target.path)
        return where_is(params, self._own) is Where.CLOUD


def is_engine(model: Node) -> bool:
    """Whether LiteLLM's name of a model begins with an engine that one runs oneself.

    Raises:
        UnknownValueError: the name is not known.
    """
    return str(model.get(default="")).partition("/")[0] in table("cloud-providers")["private"]


def where_is(params: Node, own: Collection[str]) -> Where | None:
    """Whose server a backend's parameters mean; None where nothing says it.

    Args:
        params: LiteLLM's `litellm_params`.
        own: domains whose hosts are one's own.

    Raises:
        UnknownValueError: a parameter that decides is not known.
    """
    model = str(params.get("model", default=""))
    prefix = str(params.get("custom_llm_provider", default=model.partition("/")[0] if "/" in model else ""))
    base = str(params.get("api_base", default=params.get("base_url", default="")))
    providers = table("cloud-providers")
    by_address = whose(base, own)
    if by_address is not None:
        return by_address
    if prefix in providers["private"]:
        return Where.PRIVATE
    # A base of the environment's (`os.environ/NAME`), or a public name: it may be anybody's.
    if base and prefix in {*providers["compatible"], ""}:
        return None
    named = any(fnmatchcase(model, pattern) for pattern in providers["names"])
    return Where.CLOUD if named or prefix in {*providers["cloud"], *providers["compatible"]} else None


def whose(address: str, own: Collection[str]) -> Where | None:
    """Whose server a URL means; None where its host has a public name that says nothing, or there is none.

    Args:
        address: the URL.
        own: domains whose hosts are one's own.
    """
    host = _host(address)
    if host is None:
        return None
    if any(host == cloud or host.endswith(f".{cloud}") for cloud in table("cloud-providers")["hosts"]):
        return Where.CLOUD
    if is_private(host) or any(host == domain or host.endswith(f".{domain}") for domain in own):
        return Where.PRIVATE
    return None


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def is_private(host: str) -> bool:
    """Whether a host's address is a private one, or its name one that only a private network knows."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_NAMES)

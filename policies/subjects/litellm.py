"""Configurations of the gateway LiteLLM, wherever a stack keeps them, and the containers that run it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from policies.node import UNKNOWN, Key, Node, UnknownValueError
from policies.resources import Resource
from policies.subjects.kubernetes import ANY, Container, containers, environment
from policies.subjects.programs import asked, runs_litellm

TYPES = (ANY,)
"""Types in which `configurations` finds something."""

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"  # noqa: S105 -- a type
HELM = ("kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v4:Chart", "kubernetes:helm.sh/v3:Chart")

_DATA = Path(__file__).parents[1] / "data"
_SECTIONS = {"model_list", "litellm_settings", "router_settings"}
"""What a map must hold one of, to be a configuration."""
_BASES = ("api_base", "base_url")
_ALIASES = (("router_settings", "model_group_alias"), ("litellm_settings", "model_alias_map"))
_PRIVATE_NAMES = (".svc", ".cluster.local", ".local", ".internal", ".intranet", ".lan", ".corp", ".home.arpa")


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
    """None where nothing says it."""
    unsaid: Node | None = None
    """The address, where it does not say whose the server is: it may be one's own as well as a cloud's."""


class Configuration(Node):
    """One configuration."""

    __slots__ = ()

    def backends(self, unknown: list[UnknownValueError], own: Collection[str] = ()) -> list[Backend]:
        """The entries of `model_list`. What can't be told of them yet is put into `unknown`, and only an engine's prefix counts.

        Args:
            unknown: gets what is not known.
            own: domains whose hosts are one's own.

        Raises:
            UnknownValueError: the list is unknown.
        """
        found = []
        for entry in self.each("model_list"):
            where = unsaid = None
            params = entry.node("litellm_params")
            try:
                group = str(entry.get("model_name", default=""))
                model = params.node("model")
                # Until its address is known, an engine's prefix makes it one's own.
                where = Where.PRIVATE if _engine(model) else None
                where = _where(params, own)
                unsaid = next((params.node(key) for key in _BASES if where is None and params.has(key)), None)
            except UnknownValueError as error:
                unknown.append(error)
                if where is None:
                    continue
            found.append(Backend(group, model, where, unsaid))
        return found

    def aliases(self, unknown: list[UnknownValueError]) -> dict[str, Node]:
        """Names that stand for another model's, with the place of that one's. What is not known is put into `unknown`."""
        found: dict[str, Node] = {}
        for keys in _ALIASES:
            with _noted(unknown):
                for name, target in self.entries(*keys):
                    with _noted(unknown):
                        named = target.node("model") if isinstance(target.data, Mapping) else target
                        named.get()
                        found[name] = named
        return found

    def fallbacks(self, unknown: list[UnknownValueError]) -> list[tuple[str | None, Node]]:
        """From which model (None: from any) a request that failed goes on, and the place of where to: a name, or parameters.

        What is not known is put into `unknown`.
        """
        found: list[tuple[str | None, Node]] = []
        for section in ("router_settings", "litellm_settings"):
            for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
                with _noted(unknown):
                    for entry in self.each(section, kind):
                        with _noted(unknown):
                            for source, targets in entry.entries():
                                with _noted(unknown):
                                    found += ((None if source == "*" else source, each) for each in _listed(targets))
            with _noted(unknown):
                found += ((None, target) for target in self.listed(section, "default_fallbacks"))
        return found

    def listed(self, *keys: Key) -> Iterator[Node]:
        """The elements of a list there; a text counts as a list of one.

        Raises:
            UnknownValueError: the list is unknown.
        """
        return _listed(self.node(*keys))


def _listed(found: Node) -> Iterator[Node]:
    if isinstance(found.data, str):
        yield found
    else:
        yield from found.each()


@contextmanager
def _noted(unknown: list[UnknownValueError]) -> Iterator[None]:
    """What is not known in it ends it, and is put into `unknown`."""
    try:
        yield
    except UnknownValueError as error:
        unknown.append(error)


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
        found = [] if any(params.has(key) for key in _BASES) else self.of(group)
        if found:
            return any(backend.where is Where.CLOUD for backend in found)
        if group != name:
            params = Node({"model": group}, target.path)
        return _where(params, self._own) is Where.CLOUD


def configurations(resource: Resource) -> Iterator[Configuration]:
    """Every configuration of LiteLLM in the resource: in a ConfigMap, a Secret, Helm's values or a container's variable.

    Raises:
        UnknownValueError: what would hold one is not known yet.
    """
    if resource.type in {CONFIG_MAP, SECRET}:
        yield from _in_data(resource.inputs, "data" if resource.type == CONFIG_MAP else "stringData")
    elif resource.type in HELM:
        yield from _in_values(resource.inputs.node("values"))
    else:
        for container in containers(resource):
            yield from _in_variables(container)


def _in_data(inputs: Node, key: str) -> Iterator[Configuration]:
    unknown: list[UnknownValueError] = []
    for name, node in inputs.entries(key):
        # Of values that are not known, those under another name than a file's are no configuration.
        if node.data is not UNKNOWN or name.endswith((".yaml", ".yml", ".json")):
            with _noted(unknown):
                yield from _read(node)
    yield from _raised(unknown)


def _in_values(values: Node) -> Iterator[Configuration]:
    if values.data is UNKNOWN:
        raise UnknownValueError(values.path)
    for node in values.walk():
        if node.data is not UNKNOWN:
            yield from _read(node)


def _in_variables(container: Container) -> Iterator[Configuration]:
    unknown: list[UnknownValueError] = []
    for name, entry in environment(container):
        if entry.node("value").data is not UNKNOWN or "config" in name.casefold():
            with _noted(unknown):
                yield from _read(entry.node("value"))
    yield from _raised(unknown)


def _raised(unknown: list[UnknownValueError]) -> Iterator[Configuration]:
    """Nothing, or the first of what was not known; after all that was."""
    if unknown:
        raise unknown[0]
    yield from ()


def _read(node: Node) -> Iterator[Configuration]:
    """The configuration that stands there, as a map or as a text; nothing where there is none."""
    data = node.data
    # YAML is slow to read, and most texts are something else.
    if isinstance(data, str) and not any(section in data for section in _SECTIONS):
        return
    document = node.document()
    if isinstance(document.data, Mapping) and _SECTIONS & document.data.keys():
        yield Configuration(document.raw, node.path)


def gateways(resource: Resource) -> Iterator[Container | UnknownValueError]:
    """Every container that runs LiteLLM's proxy; in the place of one of which nobody knows it, what is not known.

    Raises:
        UnknownValueError: what would hold one is not known yet.
    """
    return asked(containers(resource), runs_litellm)


def _engine(model: Node) -> bool:
    return str(model.get(default="")).partition("/")[0] in _providers()["private"]


def _where(params: Node, own: Collection[str]) -> Where | None:
    model = str(params.get("model", default=""))
    prefix = str(params.get("custom_llm_provider", default=model.partition("/")[0] if "/" in model else ""))
    base = str(params.get("api_base", default=params.get("base_url", default="")))
    host = _host(base)
    providers = _providers()
    if host is not None:
        if any(host == cloud or host.endswith(f".{cloud}") for cloud in providers["hosts"]):
            return Where.CLOUD
        if is_private(host) or any(host == domain or host.endswith(f".{domain}") for domain in own):
            return Where.PRIVATE
    if prefix in providers["private"]:
        return Where.PRIVATE
    # A base of the environment's (`os.environ/NAME`), or a public name: it may be anybody's.
    if base and prefix in {*providers["compatible"], ""}:
        return None
    named = any(fnmatchcase(model, pattern) for pattern in providers["names"])
    return Where.CLOUD if named or prefix in {*providers["cloud"], *providers["compatible"]} else None


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


@cache
def _providers() -> dict[str, list[str]]:
    providers: dict[str, list[str]] = yaml.safe_load((_DATA / "cloud-providers.yaml").read_text(encoding="utf-8"))
    return providers


@cache
def names(kind: str) -> frozenset[str]:
    """Of LiteLLM's `callbacks` that pass prompts on, or of its `guardrails` that find personal data."""
    return frozenset(yaml.safe_load((_DATA / "litellm.yaml").read_text(encoding="utf-8"))[kind]["names"])


def is_true(value: object) -> bool:
    """Whether LiteLLM takes a setting for switched on."""
    return re.fullmatch(r"true|1|yes|on", str(value), re.IGNORECASE) is not None

"""Configurations of the gateway LiteLLM, wherever a stack keeps them, and the containers that run it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
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


class Configuration(Node):
    """One configuration."""

    __slots__ = ()

    def backends(self, unknown: list[UnknownValueError]) -> list[Backend]:
        """The entries of `model_list`. What can't be told of them yet is put into `unknown`, and only an engine's prefix counts.

        Raises:
            UnknownValueError: the list is unknown.
        """
        found = []
        for entry in self.each("model_list"):
            where = None
            try:
                group = str(entry.get("model_name", default=""))
                model = entry.node("litellm_params", "model")
                # Until its address is known, an engine's prefix makes it one's own.
                where = Where.PRIVATE if _engine(model) else None
                where = _where(entry.node("litellm_params"))
            except UnknownValueError as error:
                unknown.append(error)
                if where is None:
                    continue
            found.append(Backend(group, model, where))
        return found

    def fallbacks(self) -> Iterator[tuple[str | None, Node]]:
        """From which model (None: from any) a request that failed goes on, and the place of the name of where to.

        Raises:
            UnknownValueError: a list of them is unknown.
        """
        for section in ("router_settings", "litellm_settings"):
            for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
                for entry in self.each(section, kind):
                    for source, _ in entry.entries():
                        yield from ((None if source == "*" else source, target) for target in entry.each(source))
            yield from ((None, target) for target in self.each(section, "default_fallbacks"))

    def listed(self, *keys: Key) -> Iterator[Node]:
        """The elements of a list there; a text counts as a list of one.

        Raises:
            UnknownValueError: the list is unknown.
        """
        found = self.node(*keys)
        if isinstance(found.data, str):
            yield found
        else:
            yield from self.each(*keys)


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
    for name, node in inputs.entries(key):
        # Of values that are not known, those under another name than a file's are no configuration.
        if node.data is not UNKNOWN or name.endswith((".yaml", ".yml", ".json")):
            yield from _read(node)


def _in_values(values: Node) -> Iterator[Configuration]:
    if values.data is UNKNOWN:
        raise UnknownValueError(values.path)
    for node in values.walk():
        if node.data is not UNKNOWN:
            yield from _read(node)


def _in_variables(container: Container) -> Iterator[Configuration]:
    for name, entry in environment(container):
        if entry.node("value").data is not UNKNOWN or "config" in name.casefold():
            yield from _read(entry.node("value"))


def _read(node: Node) -> Iterator[Configuration]:
    """The configuration that stands there, as a map or as a text; nothing where there is none."""
    data = node.data
    # YAML is slow to read, and most texts are something else.
    if data is UNKNOWN or (isinstance(data, str) and any(section in data for section in _SECTIONS)):
        document = node.document()
    elif isinstance(data, Mapping):
        document = node
    else:
        return
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


def _where(params: Node) -> Where | None:
    model = str(params.get("model", default=""))
    prefix = str(params.get("custom_llm_provider", default=model.partition("/")[0] if "/" in model else ""))
    base = params.get("api_base", default=params.get("base_url"))
    host = None if base is None else urlsplit(str(base)).hostname
    providers = _providers()
    if host is not None:
        if any(host == cloud or host.endswith(f".{cloud}") for cloud in providers["hosts"]):
            return Where.CLOUD
        if is_private(host):
            return Where.PRIVATE
    if prefix in providers["private"]:
        return Where.PRIVATE
    # A base of the environment's (`os.environ/NAME`), or a public name: it may be anybody's.
    if base is not None and prefix in {*providers["compatible"], ""}:
        return None
    named = any(fnmatchcase(model, pattern) for pattern in providers["names"])
    return Where.CLOUD if named or prefix in {*providers["cloud"], *providers["compatible"]} else None


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

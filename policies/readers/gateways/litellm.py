"""Configurations of the gateway LiteLLM, wherever a stack keeps them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache

from policies.node import UNKNOWN, Key, Node, UnknownValueError
from policies.readers.gateways.ways import BASES, Backend, Where, is_engine, where_is
from policies.readers.kubernetes.pods import ANY, Container, containers, environment
from policies.readers.tables import table
from policies.readers.unknown import collected, raise_first
from policies.resources import Resource

TYPES = (ANY,)
"""Types in which `configurations` finds something."""

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"  # noqa: S105 -- a type
HELM = ("kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v4:Chart", "kubernetes:helm.sh/v3:Chart")

_SECTIONS = {"model_list", "litellm_settings", "router_settings"}
"""What a map must hold one of, to be a configuration."""
_ALIASES = (("router_settings", "model_group_alias"), ("litellm_settings", "model_alias_map"))


class Configuration(Node):
    """A configuration of LiteLLM."""

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
                where = Where.PRIVATE if is_engine(model) else None
                where = where_is(params, own)
                unsaid = next((params.node(key) for key in BASES if where is None and params.has(key)), None)
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
            with collected(unknown):
                for name, target in self.entries(*keys):
                    with collected(unknown):
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
                with collected(unknown):
                    for entry in self.each(section, kind):
                        with collected(unknown):
                            for source, targets in entry.entries():
                                with collected(unknown):
                                    found += ((None if source == "*" else source, each) for each in _listed(targets))
            with collected(unknown):
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
            with collected(unknown):
                yield from _read(node)
    yield from raise_first(unknown)


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
            with collected(unknown):
                yield from _read(entry.node("value"))
    yield from raise_first(unknown)


def _read(node: Node) -> Iterator[Configuration]:
    """The configuration that stands there, as a map or as a text; nothing where there is none."""
    data = node.data
    # YAML is slow to read, and most texts are something else.
    if isinstance(data, str) and not any(section in data for section in _SECTIONS):
        return
    document = node.document()
    if isinstance(document.data, Mapping) and _SECTIONS & document.data.keys():
        yield Configuration(document.raw, node.path)


@cache
def names(kind: str) -> frozenset[str]:
    """Of LiteLLM's `callbacks` that pass prompts on, or of its `guardrails` that find personal data."""
    return frozenset(table("litellm")[kind]["names"])


def is_true(value: object) -> bool:
    """Whether LiteLLM takes a setting for switched on."""
    return re.fullmatch(r"true|1|yes|on", str(value), re.IGNORECASE) is not None

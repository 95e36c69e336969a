"""Read the stacks of `bad/` and `good/`, and make of them what the rules judge, without an engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from policies.configuration import Configuration, parse_configuration
from policies.node import UNKNOWN, Node, Secret
from policies.resources import STACK, Options, Provider, Resource, Stack

FOLDER = Path(__file__).parent
REFERENCE = re.compile(r"\$\{([\w.-]+)\.(\w+)\}")
"""`${NAME.OUTPUT}`: the output of another resource, unknown at a preview of what is not there yet."""


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor(
    "!secret",
    lambda loader, node: Secret(loader.construct_scalar(node)),
)


@dataclass(frozen=True)
class Document:
    """One file: a stack's name, configuration and resources, and its policy configuration."""

    file: Path
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The rule that it is bad by; of a good one its name."""
        return self.file.stem

    @property
    def stack(self) -> str:
        """The stack's name."""
        return str(self.content.get("stack", self.file.parent.name))

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources, as the file has them."""
        return list(self.content.get("resources", []))

    @property
    def config(self) -> dict[str, Any]:
        """The stack's configuration."""
        return dict(self.content.get("config", {}))

    @property
    def policies(self) -> dict[str, Any]:
        """The policy configuration."""
        return dict(self.content.get("policies", {}))

    def configuration(self) -> Configuration:
        """The policy configuration, read."""
        return parse_configuration(self.policies, str(self.file))

    def as_stack(self) -> Stack:
        """What the rules judge; as the engine would have it at a first preview."""
        urns = {STACK: f"urn:pulumi:{self.stack}::project::{STACK}::project-{self.stack}"}
        urns |= {
            entry["name"]: f"urn:pulumi:{self.stack}::project::{entry['type']}::{entry['name']}"
            for entry in self.resources
        }
        root = Resource(type=STACK, name=f"project-{self.stack}", urn=urns[STACK])
        return Stack(
            name=self.stack,
            resources=(root, *(self._resource(entry, urns) for entry in self.resources)),
            config=Node(self.config),
        )

    def _resource(self, entry: Mapping[str, Any], urns: Mapping[str, str]) -> Resource:
        inputs = entry.get("inputs", {})
        kind = f"pulumi:providers:{entry['type'].partition(':')[0]}"
        default = {key.partition(":")[2]: value for key, value in self.config.items() if key.startswith("aws:")}
        return Resource(
            type=entry["type"],
            name=entry["name"],
            urn=urns[entry["name"]],
            inputs=Node(unresolved(inputs)),
            outputs=Node(unresolved(inputs)),
            options=Options(protect=bool(entry.get("options", {}).get("protect"))),
            provider=Provider(kind, "default", Node(entry.get("provider", default))),
            dependencies={
                key: tuple(dict.fromkeys(urns[name] for name in references(value)))
                for key, value in inputs.items()
                if list(references(value))
            },
        )


def documents(folder: str) -> list[Document]:
    """All files of `bad` or `good`."""
    return [read(file) for file in sorted((FOLDER / folder).glob("*.yaml"))]


def read(file: Path) -> Document:
    """One file."""
    return Document(file, yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader))  # noqa: S506 -- a safe loader


def references(value: Any) -> Iterator[str]:
    """The names of the resources that a value refers to."""
    for text in _texts(value):
        yield from (found[1] for found in REFERENCE.finditer(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def outputs_of(value: Any) -> dict[str, set[str]]:
    """By the name of a resource the outputs, `id` apart, that anything in `value` refers to."""
    found: dict[str, set[str]] = {}
    for text in _texts(value):
        for reference in REFERENCE.finditer(text):
            found.setdefault(reference[1], set()).update({reference[2]} - {"id"})
    return found


def unresolved(value: Any) -> Any:
    """The value with `UNKNOWN` where it refers to another resource."""
    if isinstance(value, str):
        return UNKNOWN if REFERENCE.search(value) else value
    if isinstance(value, Mapping):
        return {key: unresolved(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [unresolved(inner) for inner in value]
    return value

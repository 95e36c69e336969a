"""The Pulumi program of a stack's file: it registers what the file lists, under the real engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from policies.node import Secret
from tests.stacks.documents import REFERENCE, outputs_of, read, references


class Thing(pulumi.CustomResource):
    """A resource of whatever type."""

    def __init__(
        self, kind: str, name: str, inputs: Mapping[str, Any], outputs: set[str], opts: pulumi.ResourceOptions
    ) -> None:
        # An output is declared by an input of its name without a value.
        super().__init__(kind, name, {**dict.fromkeys(outputs), **inputs}, opts)


class Group(pulumi.ComponentResource):
    """A component, such as Slipway's own."""


class Cloud(pulumi.ProviderResource):
    """An explicit provider."""


def main() -> None:
    """Register the resources of the file that SLIPWAY_TEST_STACK names."""
    document = read(Path(os.environ["SLIPWAY_TEST_STACK"]))
    made: dict[str, pulumi.Resource] = {}
    outputs = outputs_of(document.resources)
    waiting = document.resources
    while waiting:
        ready = [entry for entry in waiting if all(name in made for name in references(entry))]
        if not ready:
            raise pulumi.RunError(f"{document.file}: resources refer to each other in a circle, or to none")
        for entry in ready:
            made[entry["name"]] = _register(entry, made, outputs.get(entry["name"], set()))
        waiting = [entry for entry in waiting if entry["name"] not in made]


def _register(entry: Mapping[str, Any], made: Mapping[str, pulumi.Resource], outputs: set[str]) -> pulumi.Resource:
    kind, name = entry["type"], entry["name"]
    inputs = _filled(entry.get("inputs", {}), made)
    opts = pulumi.ResourceOptions(protect=entry.get("options", {}).get("protect"))
    if kind.startswith("slipway:"):
        return Group(kind, name, inputs, opts)
    if "provider" in entry:
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=_provider(entry, made)))
    return Thing(kind, name, inputs, outputs, opts)


def _provider(entry: Mapping[str, Any], made: Mapping[str, pulumi.Resource]) -> Cloud:
    import json

    settings = {key: value if isinstance(value, str) else json.dumps(value) for key, value in entry["provider"].items()}
    return Cloud(entry["type"].partition(":")[0], f"{entry['name']}-provider", settings)


def _filled(value: Any, made: Mapping[str, pulumi.Resource]) -> Any:
    if isinstance(value, Secret):
        return pulumi.Output.secret(value.value)
    if isinstance(value, Mapping):
        return {key: _filled(inner, made) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, made) for inner in value]
    if not isinstance(value, str) or not REFERENCE.search(value):
        return value
    parts: list[Any] = []
    end = 0
    for found in REFERENCE.finditer(value):
        resource, output = made[found[1]], found[2]
        parts += [value[end : found.start()], resource.id if output == "id" else pulumi.get(resource, output)]
        end = found.end()
    return pulumi.Output.concat(*parts, value[end:])

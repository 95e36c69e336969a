"""From the engine's messages to plain data, and back for remediations.

The signatures are those of Pulumi's property values (sdk/go/common/resource/properties.go and plugin/rpc.go).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import analyzer_pb2

from policies.node import UNKNOWN, Key, Node, Secret
from policies.resources import Options, Provider, Resource
from policies.rule import Change

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- a signature of the protocol's, no secret
_UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_LARGEST_EXACT = 2.0**53


def raw(value: struct_pb2.Value | struct_pb2.Struct) -> Any:
    """A message as plain data with the protocol's signatures in it. JSON's own mapping refuses numbers such as infinity."""
    if isinstance(value, struct_pb2.Struct):
        return {key: raw(inner) for key, inner in value.fields.items()}
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return raw(value.struct_value)
    if kind == "list_value":
        return [raw(inner) for inner in value.list_value.values]
    return None if kind in {None, "null_value"} else getattr(value, kind)


def plain(value: Any) -> Any:
    """What `raw` gives, with `UNKNOWN` and `Secret` in the place of signatures, and whole numbers as such."""
    if isinstance(value, str):
        return UNKNOWN if value in _UNKNOWNS else value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _LARGEST_EXACT else value
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET:
            return Secret(plain(value.get("value")))
        return {key: plain(inner) for key, inner in value.items() if key != _SIGNATURE}
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    return value


def properties(message: struct_pb2.Struct) -> dict[str, Any]:
    """The message as plain data."""
    found: dict[str, Any] = plain(raw(message))
    return found


def resource(message: analyzer_pb2.AnalyzeRequest) -> Resource:
    """One resource before it is created, with its inputs."""
    return Resource(
        type=message.type,
        name=message.name,
        urn=message.urn,
        inputs=Node(properties(message.properties)),
        options=options(message.options),
        provider=provider(message),
    )


def options(message: analyzer_pb2.AnalyzerResourceOptions) -> Options:
    """The options that rules look at."""
    return Options(protect=message.protect, parent=message.parent)


def provider(message: analyzer_pb2.AnalyzeRequest | analyzer_pb2.AnalyzerResource) -> Provider | None:
    """The provider, where the resource has one."""
    if not message.HasField("provider"):
        return None
    given = message.provider
    inputs = {name: _setting(value) for name, value in properties(given.properties).items()}
    return Provider(type=given.type, name=given.name, inputs=Node(inputs))


def _setting(value: Any) -> Any:
    """A provider's nested settings are JSON texts on the wire; anything else stays what it is."""
    if not isinstance(value, str) or value[:1] not in {"{", "["}:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def changed(message: struct_pb2.Struct, changes: Iterable[Change]) -> struct_pb2.Struct:
    """The resource's properties with `changes`; secrets and unknowns that they do not touch stay what they are."""
    document = raw(message)
    for change in changes:
        _set(document, change)
    result = struct_pb2.Struct()
    result.update(document)
    return result


def _set(document: Any, change: Change) -> None:
    """Set what the change says; below what is not known yet, or is no map, nothing is touched."""
    *above, last = change.keys
    place = _inside(document)
    for key in above:
        if isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
        place = _inside(place[key]) if _holds(place, key) else None
    if isinstance(place, dict) or _holds(place, last):
        place[last] = change.value


def _holds(place: Any, key: Key) -> bool:
    if isinstance(place, dict):
        return key in place
    return isinstance(place, list) and isinstance(key, int) and key < len(place)


def _inside(value: Any) -> Any:
    """Within a secret, what it wraps."""
    return value["value"] if isinstance(value, dict) and value.get(_SIGNATURE) == _SECRET else value

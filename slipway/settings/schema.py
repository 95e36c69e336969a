"""The JSON schema of a stack file, generated from the settings, so that editors complete and check the YAML.

It takes what the settings take, short forms included; what spans several keys, or is looked up, only the settings refuse.
"""

from collections.abc import Iterator
from typing import Any

from slipway.engines.registry import DEFAULT
from slipway.engines.registry import options as engines
from slipway.settings.errors import PREFIX
from slipway.settings.platform import Settings
from slipway.settings.providers import KINDS
from slipway.targets.registry import packages as targets

_REF = "#/$defs/{model}"
_WORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""Pydantic's own words for bounds, which it leaves in place where a validator stands before the number."""


def stack_schema() -> dict[str, Any]:
    """The schema of ``stacks/Pulumi.<stack>.yaml`` (JSON Schema 2020-12)."""
    settings = Settings.model_json_schema(ref_template=_REF)
    definitions: dict[str, Any] = settings.pop("$defs")
    definitions["Settings"] = settings
    _engines(definitions)
    _providers(definitions)
    _targets(definitions["Pool"])
    whole: dict[str, Any] = _in_words(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "A Slipway stack",
            "type": "object",
            "properties": {
                "config": {
                    "type": "object",
                    "properties": {PREFIX: {"$ref": "#/$defs/Settings"}},
                    "required": [PREFIX],
                }
            },
            "required": ["config"],
            "$defs": dict(sorted(definitions.items())),
        }
    )
    return whole


def _engines(definitions: dict[str, Any]) -> None:
    """A section names its engine, unless it means the default one; an engine alone may stand as text."""
    for name, options in engines().items():
        # Classes of one name are told apart by their modules.
        long = f"{options.__module__}.{options.__qualname__}".replace(".", "__")
        definition = definitions.pop(long, None) or definitions.pop(options.__name__)
        if name != DEFAULT:
            definition["required"] = [*definition.get("required", ()), "name"]
        definitions[_engine(name)] = definition
    alone = [name for name in engines() if set(definitions[_engine(name)].get("required", ())) <= {"name"}]
    section = definitions["ServedModel"]["properties"]["engine"]
    section.pop("oneOf")
    section["anyOf"] = [{"enum": alone}, {"oneOf": [_reference(_engine(name)) for name in engines()]}]


def _engine(name: str) -> str:
    return f"engine-{name}"


def _providers(definitions: dict[str, Any]) -> None:
    """A provider that is called like a kind is of that kind unless it says another; all others say their kind."""

    def of(name: str | None) -> dict[str, Any]:
        return {
            "oneOf": [
                _reference(section.__name__) | ({} if kind == name else {"required": ["kind"]})
                for kind, section in KINDS.items()
            ]
        }

    for section in KINDS.values():
        definition = definitions[section.__name__]
        definition["required"] = [key for key in definition.get("required", ()) if key != "kind"]
    providers = definitions["Settings"]["properties"]["providers"]
    providers["properties"] = {name: of(name) for name in KINDS}
    providers["additionalProperties"] = of(None)


def _targets(pool: dict[str, Any]) -> None:
    """A pool has the key of exactly one target, and something stands there."""
    for name in targets():
        section = pool["properties"][name]
        section.pop("default")
        given = [option for option in section.pop("anyOf") if option != {"type": "null"}]
        section |= given[0] if len(given) == 1 else {"anyOf": given}
    pool["oneOf"] = [{"required": [name]} for name in targets()]


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(model=name)}


def _in_words(schema: Any) -> Any:
    """`schema` with every bound in JSON Schema's words."""
    if isinstance(schema, dict):
        return dict(_entries(schema))
    return [_in_words(inner) for inner in schema] if isinstance(schema, list) else schema


def _entries(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        # A bound is a number; what has the same name and holds more is a setting.
        yield (_WORDS.get(key, key) if isinstance(value, int | float) else key), _in_words(value)

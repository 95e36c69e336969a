"""The JSON schema of a stack file, generated from the settings, so that editors complete and check the YAML."""

from typing import Any

from slipway.settings.errors import PREFIX
from slipway.settings.platform import Settings


def stack_schema() -> dict[str, Any]:
    """The schema of ``stacks/Pulumi.<stack>.yaml`` (JSON Schema 2020-12)."""
    settings = Settings.model_json_schema(ref_template="#/$defs/{model}")
    definitions = settings.pop("$defs")
    definitions["Settings"] = settings
    return {
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
        "$defs": definitions,
    }

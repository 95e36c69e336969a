"""The base of every settings section."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of the stack's YAML: closed (unknown keys are refused), frozen, and silent about its input.

    ``hide_input_in_errors`` keeps a mistyped secret out of every message; errors are rendered by
    `slipway.settings.errors`, which drops the input a second time.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

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


Problem = tuple[tuple[str | int, ...], str]
"""A mistake: its place, as keys below the section that is validated, and what is said of it."""


class Misfit(ValueError):  # noqa: N818 -- the mistake is not the program's
    """Settings that do not fit together, each with the place that is to be mended."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(message for _, message in problems))


_TAG = "\ue000"
"""Pydantic puts a union's tags among the keys of an error's place; this character, which no key has, tells them apart."""


def tag(kind: str) -> str:
    """`kind` as a tag of a union of sections."""
    return _TAG + kind


def is_tag(part: str | int) -> bool:
    """Whether a part of an error's place is such a tag and no key."""
    return isinstance(part, str) and part.startswith(_TAG)

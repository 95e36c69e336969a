"""Stacks to check: settings, looked at with the catalogue."""

from typing import Any

from slipway.checks import Finding, Subject, catalog_of, examine, findings
from slipway.settings import parse
from tests.unit.settings.documents import changed, good

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
QWEN_1B = "Qwen/Qwen2.5-1.5B-Instruct"


def stack(*changes: tuple[str, Any], model: str | None = QWEN_1B) -> dict[str, Any]:
    """A good document with `changes`, whose model the catalogue knows."""
    document = good() if model is None else changed(good(), "model.catalog", model)
    for path, value in changes:
        document = changed(document, path, value)
    return document


def subject(*changes: tuple[str, Any], model: str | None = QWEN_1B) -> Subject:
    """The stack as the rules see it."""
    settings = parse(stack(*changes, model=model), "s")
    return examine(settings, catalog_of(settings), "s")


def found(*changes: tuple[str, Any], model: str | None = QWEN_1B) -> dict[str, Finding]:
    """What the rules say of the stack, by id; where one speaks twice, the last."""
    return {finding.id: finding for finding in findings(subject(*changes, model=model))}

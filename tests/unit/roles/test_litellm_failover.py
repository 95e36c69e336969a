"""What the gateway adds to LiteLLM's failover, with stand-ins for the three classes it takes from LiteLLM."""

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.loading import load


class MidStreamFallbackError(Exception):
    failed_deployment_id: str | None = None


class CustomStreamWrapper:
    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self._hidden_params = {"model_id": "pair-2"}

    async def __anext__(self) -> str:
        if self.error is not None:
            raise self.error
        return "chunk"


class Router:
    @staticmethod
    def _deployment_ids_to_skip_on_retry(exception: Any, already_skipped: Any) -> tuple[str, ...]:
        return (*already_skipped, "own") if exception.status_code == 404 else ()


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """LiteLLM's classes, mended."""
    parts: dict[str, dict[str, Any]] = {
        "litellm": {},
        "litellm.exceptions": {"MidStreamFallbackError": MidStreamFallbackError},
        "litellm.litellm_core_utils": {},
        "litellm.litellm_core_utils.streaming_handler": {
            "CustomStreamWrapper": type("CustomStreamWrapper", (CustomStreamWrapper,), {})
        },
        "litellm.router": {"Router": type("Router", (Router,), {})},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    load("roles/litellm/files/failover.py").carry_on()
    return SimpleNamespace(
        Stream=parts["litellm.litellm_core_utils.streaming_handler"]["CustomStreamWrapper"],
        skipped=parts["litellm.router"]["Router"]._deployment_ids_to_skip_on_retry,
    )


def test_a_lost_stream_names_its_engine(litellm: SimpleNamespace) -> None:
    with pytest.raises(MidStreamFallbackError) as lost:
        asyncio.run(litellm.Stream(MidStreamFallbackError()).__anext__())
    assert lost.value.failed_deployment_id == "pair-2"


def test_a_stream_that_named_another_engine_and_other_errors_stay_as_they_are(litellm: SimpleNamespace) -> None:
    named = MidStreamFallbackError()
    named.failed_deployment_id = "pair-1"
    with pytest.raises(MidStreamFallbackError):
        asyncio.run(litellm.Stream(named).__anext__())
    assert named.failed_deployment_id == "pair-1"
    with pytest.raises(KeyError):
        asyncio.run(litellm.Stream(KeyError()).__anext__())
    assert asyncio.run(litellm.Stream(None).__anext__()) == "chunk"


@pytest.mark.parametrize(
    ("error", "already", "skipped"),
    [
        ({"status_code": 500, "failed_deployment_id": "b"}, None, ("b",)),
        ({"status_code": 503, "retry_skip_deployment_id": "b", "failed_deployment_id": "x"}, ("a",), ("a", "b")),
        ({"status_code": 500}, ("a",), ()),
        # A caller's own mistake is one on every engine; and what LiteLLM skips by itself it goes on skipping.
        ({"status_code": 400, "failed_deployment_id": "b"}, (), ()),
        ({"status_code": 404, "failed_deployment_id": "b"}, ("a",), ("a", "own")),
        ({"failed_deployment_id": "b", "status_code": None}, (), ()),
    ],
)
def test_a_retry_skips_an_engine_that_failed(
    litellm: SimpleNamespace, error: dict[str, Any], already: Any, skipped: tuple[str, ...]
) -> None:
    assert litellm.skipped(SimpleNamespace(**error), already_skipped=already) == skipped

"""What would make it fit: each suggestion does, and the order is that of their price."""

from typing import Any

import pytest

from slipway.catalog import load
from slipway.sizing.result import Request
from slipway.sizing.size import size
from slipway.sizing.suggest import suggestions
from tests.unit.sizing.models import LLAMA_8B, LLAMA_70B, read

GPUS = load().gpus


def request(config: dict[str, Any], gpu: str, **changes: Any) -> Request:
    return Request(architecture=read(config), gpu=GPUS[gpu], **changes)


CASES = [
    pytest.param(request(LLAMA_8B, "rtx-4090"), "max_model_len: ", id="a long context on a small GPU"),
    pytest.param(
        request(LLAMA_70B, "h100-sxm-80gb", context=8192), "2 GPUs, tensor_parallel: 2", id="too many weights"
    ),
    pytest.param(
        request(LLAMA_8B, "h100-sxm-80gb", context=8192, gpu_memory_utilization=1.0),
        "gpu_memory_utilization: 0.9",
        id="too greedy",
    ),
    pytest.param(
        request(LLAMA_8B, "h100-sxm-80gb", context=8192, tensor_parallel=3, count=3), "tensor_parallel: 2", id="ranks"
    ),
    pytest.param(
        request(LLAMA_8B, "h100-sxm-80gb", context=32768, concurrency=20), "kv_cache_dtype: fp8", id="requests at once"
    ),
]


@pytest.mark.parametrize(("asked", "among"), CASES)
def test_each_suggestion_makes_it_fit(asked: Request, among: str) -> None:
    answer = size(asked)
    found = suggestions(answer, GPUS.values())
    assert not answer.fits
    assert any(each.change.startswith(among) for each in found), [each.change for each in found]
    assert 1 <= len(found) <= 8
    for each in found:
        assert size(each.request).fits
        assert "KV tokens" in each.effect


def test_what_is_asked_for_at_once_is_kept() -> None:
    found = suggestions(size(request(LLAMA_8B, "h100-sxm-80gb", context=32768, concurrency=20)), GPUS.values())
    assert all(size(each.request).concurrency_at_use >= 20 for each in found)


def test_hardware_comes_last() -> None:
    found = suggestions(size(request(LLAMA_8B, "l4", context=131072)), GPUS.values())
    kinds = ["gpu" if "gpu: " in each.change or " GPUs," in each.change else "setting" for each in found]
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {"gpu", "setting"}


def test_what_fits_needs_none() -> None:
    assert suggestions(size(request(LLAMA_8B, "h100-sxm-80gb", context=8192)), GPUS.values()) == ()


def test_the_suggested_context_is_the_longest_of_its_steps() -> None:
    answer = size(request(LLAMA_8B, "rtx-4090"))
    change = next(each for each in suggestions(answer) if each.change.startswith("max_model_len"))
    longest = change.request.context or 0
    assert not size(change.request.but(context=longest + 1024, context_used=longest + 1024)).fits


@pytest.mark.parametrize(("asked", "among"), CASES)
def test_nothing_is_given_up_beyond_need(asked: Request, among: str) -> None:
    changes = [each.change for each in suggestions(size(asked), GPUS.values())]
    assert not [both for both in changes for alone in changes if both.startswith(f"{alone}, max_model_len")], among

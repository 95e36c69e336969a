"""Speeds: the laws that hold whatever the figures are, and a few figures that physics gives."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from slipway.catalog.types import Gpu
from slipway.performance import PredictionError, Range, Workload, predict
from slipway.performance.batch import answer_lengths, work_off
from slipway.performance.predict import Replica
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config
from slipway.sizing.result import Request, Sizing
from slipway.sizing.size import size
from tests.unit.performance.planning import LARGE, SMALL, catalog

MODELS = (SMALL, LARGE, "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3")
GPUS = ("a100-sxm-80gb", "h100-sxm-80gb", "rtx-4090", "l40s", "mi300x", "b200-sxm-180gb")
workloads = st.builds(
    Workload,
    prompt_tokens=st.integers(1, 16_000),
    output_tokens=st.integers(1, 4_000),
    concurrency=st.integers(1, 2_000),
)


@cache
def deployment(model: str, gpu: str, count: int) -> tuple[Architecture, Gpu, Sizing]:
    architecture = read_config(catalog().models[model].config, model)
    hardware = catalog().gpus[gpu]
    return architecture, hardware, size(Request(architecture=architecture, gpu=hardware, count=count, context=32_768))


def fitting(model: str, gpu: str) -> tuple[Architecture, Gpu, Sizing]:
    for count in (1, 2, 4, 8, 16):
        found = deployment(model, gpu, count)
        if found[2].fits:
            return found
    raise AssertionError(model, gpu)


def ordered(figure: Range) -> bool:
    return 0 < figure.low <= figure.expected <= figure.high


@settings(max_examples=60, deadline=None)
@given(model=st.sampled_from(MODELS[:3]), gpu=st.sampled_from(GPUS), workload=workloads)
def test_ranges_are_in_order(model: str, gpu: str, workload: Workload) -> None:
    found = predict(*fitting(model, gpu), workload)
    for name in ("ttft_s", "itl_ms", "user_tokens_per_s", "output_tokens_per_s", "requests_per_s", "request_s"):
        assert ordered(getattr(found, name)), name


@settings(max_examples=60, deadline=None)
@given(model=st.sampled_from(MODELS[:3]), workload=workloads, more=st.floats(1, 4))
def test_more_bandwidth_never_lowers_speed(model: str, workload: Workload, more: float) -> None:
    architecture, gpu, sizing = fitting(model, "a100-sxm-80gb")
    faster = replace(gpu, bandwidth_gb_s=gpu.bandwidth_gb_s * more)
    before, after = (predict(architecture, each, sizing, workload) for each in (gpu, faster))
    assert after.output_tokens_per_s.expected >= before.output_tokens_per_s.expected * (1 - 1e-9)
    assert after.user_tokens_per_s.expected >= before.user_tokens_per_s.expected * (1 - 1e-9)
    # Not so the first token: where answers come faster, new prompts do too, and wait for each other.


@settings(max_examples=60, deadline=None)
@given(model=st.sampled_from(MODELS[:3]), workload=workloads, more=st.integers(1, 500))
def test_more_requests_at_once_serve_more_and_each_slower(model: str, workload: Workload, more: int) -> None:
    replica = Replica(*fitting(model, "h100-sxm-80gb"))
    before = replica.predict(workload)
    after = replica.predict(replace(workload, concurrency=workload.concurrency + more))
    assert after.output_tokens_per_s.expected >= before.output_tokens_per_s.expected * (1 - 1e-9)
    assert after.itl_ms.expected >= before.itl_ms.expected * (1 - 1e-9)


@settings(max_examples=30, deadline=None)
@given(
    requests=st.integers(1, 60),
    concurrency=st.integers(1, 60),
    prompt=st.integers(1, 5_000),
    output=st.integers(1, 60),
    lengths=st.sampled_from(["fixed", "natural"]),
)
def test_worked_off_requests_keep_littles_law(
    requests: int, concurrency: int, prompt: int, output: int, lengths: str
) -> None:
    """At any time no more requests are there than may be, and the first token comes before the last."""
    replica = Replica(*fitting(SMALL, "a100-sxm-80gb"))
    workload = Workload(
        prompt_tokens=prompt,
        output_tokens=output,
        concurrency=concurrency,
        requests=requests,
        lengths=lengths,  # type: ignore[arg-type]
    )
    run = work_off(replica.roofline, workload, prompt=prompt, slots=concurrency, chunk=2048)
    assert 0 < run.ttft_s <= run.request_s <= run.duration_s + 1e-9
    assert run.request_s * requests <= run.duration_s * min(requests, concurrency) * (1 + 1e-9)


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1000])
def test_natural_answers_keep_their_mean_and_differ(count: int) -> None:
    lengths = answer_lengths(
        Workload(prompt_tokens=1, output_tokens=200, concurrency=1, requests=count, lengths="natural")
    )
    assert len(lengths) == count
    assert sum(lengths) / count == pytest.approx(200, rel=0.01)
    assert count == 1 or len(set(lengths)) > count / 3


def test_one_request_reads_all_weights_for_each_token() -> None:
    """8.19e9 parameters of 2 bytes over 3350 GB/s are 4.9 ms; nothing can be faster, and twice that would be a fault."""
    architecture, gpu, sizing = fitting(SMALL, "h100-sxm-80gb")
    found = predict(architecture, gpu, sizing, Workload(prompt_tokens=200, output_tokens=200, concurrency=1))
    at_best = (
        2 * (architecture.parameters - architecture.vocabulary * architecture.hidden_size) / gpu.bandwidth_gb_s / 1e6
    )
    assert at_best < found.itl_ms.expected < 2 * at_best
    assert found.concurrency == 1
    assert found.limited_by == "workload"


def test_a_prompt_takes_its_operations() -> None:
    """10,000 tokens of 70e9 parameters are 1.4e15 operations: on 8 A100 at 312 TFLOPS 0.57 s at the very best."""
    found = predict(
        *deployment(LARGE, "a100-sxm-80gb", 8), Workload(prompt_tokens=10_000, output_tokens=10, concurrency=1)
    )
    assert 0.57 < found.ttft_s.expected < 3 * 0.57


def test_quantized_weights_decode_faster() -> None:
    workload = Workload(prompt_tokens=200, output_tokens=200, concurrency=1)
    plain = predict(*deployment("Qwen/Qwen2.5-32B-Instruct", "a100-sxm-80gb", 1), workload)
    awq = predict(*deployment("Qwen/Qwen2.5-32B-Instruct-AWQ", "a100-sxm-80gb", 1), workload)
    assert awq.user_tokens_per_s.expected > 2 * plain.user_tokens_per_s.expected


def test_experts_that_no_token_chose_are_not_read() -> None:
    one = predict(
        *deployment("deepseek-ai/DeepSeek-V3", "h200-sxm-141gb", 8),
        Workload(prompt_tokens=100, output_tokens=100, concurrency=1),
    )
    many = predict(
        *deployment("deepseek-ai/DeepSeek-V3", "h200-sxm-141gb", 8),
        Workload(prompt_tokens=100, output_tokens=100, concurrency=64),
    )
    assert many.step.weights_ms > 4 * one.step.weights_ms


def test_room_for_requests_limits_them() -> None:
    architecture, gpu, sizing = deployment(LARGE, "h100-sxm-80gb", 4)
    found = predict(architecture, gpu, sizing, Workload(prompt_tokens=8000, output_tokens=8000, concurrency=500))
    assert found.limited_by == "kv_cache"
    assert found.concurrency == sizing.kv_cache_tokens // 16_000


@pytest.mark.parametrize(("model", "gpu", "count"), [(LARGE, "rtx-4090", 1), (LARGE, "a100-sxm-80gb", 1)])
def test_what_does_not_fit_has_no_speed(model: str, gpu: str, count: int) -> None:
    with pytest.raises(PredictionError, match="does not fit"):
        predict(*deployment(model, gpu, count), Workload(prompt_tokens=1, output_tokens=1, concurrency=1))


def test_without_a_gpu_there_is_no_speed() -> None:
    architecture, _, sizing = fitting(SMALL, "rtx-4090")
    with pytest.raises(PredictionError, match="without a GPU"):
        predict(architecture, None, sizing, Workload(prompt_tokens=1, output_tokens=1, concurrency=1))

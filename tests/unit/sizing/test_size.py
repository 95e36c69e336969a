"""Does it fit, with how much room: the engine's budget, and what follows from it for any model and GPU."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.catalog import load
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size
from slipway.units import GiB
from tests.unit.sizing.models import DEEPSEEK_V2_LITE, GEMMA_3_1B, LLAMA_8B, LLAMA_70B, read

GPUS = load().gpus
H100, L4, RTX_4090, A100_40 = (GPUS[name] for name in ("h100-sxm-80gb", "l4", "rtx-4090", "a100-sxm-40gb"))
ARCHITECTURES = {
    name: read(config)
    for name, config in {"8b": LLAMA_8B, "70b": LLAMA_70B, "mla": DEEPSEEK_V2_LITE, "windows": GEMMA_3_1B}.items()
}
MODELS = st.sampled_from(sorted(ARCHITECTURES))
VERSIONS = st.sampled_from(["0.10.1", "0.11.0", "0.16.0", "0.19.0", "0.24.0", "0.32.0"])


def llama(**changes: Any) -> Request:
    return replace(Request(architecture=read(LLAMA_8B), gpu=H100, engine_version="0.19.0"), **changes)


def test_llama_on_an_h100_is_what_vllm_0_19_printed() -> None:
    """Llama-3.1-8B on H100 80 GB, 0.19.0: 14.99 GiB of weights, 52.0 GiB for the KV cache at the defaults."""
    answer = size(llama(context=8192))
    assert answer.memory is not None
    assert answer.memory.weights.value == pytest.approx(14.99, abs=0.01)
    assert answer.kv_bytes_per_token == 131072
    assert answer.kv_cache_tokens == int(answer.memory.kv_cache.bytes) // (16 * 131072) * 16
    assert answer.max_concurrency == pytest.approx(answer.kv_cache_tokens / 8192)
    assert answer.fits


def test_the_parts_add_up() -> None:
    memory = size(llama(context=8192, tensor_parallel=2, count=2)).memory
    assert memory is not None
    parts = memory.weights + memory.kv_cache + memory.activation + memory.cuda_graphs + memory.non_torch + memory.free
    assert parts.value == pytest.approx(memory.total.value)


@pytest.mark.parametrize(
    ("gpu", "version", "seqs", "batched", "utilization"),
    [
        (H100, "0.19.0", 1024, 8192, 0.9),
        (H100, "0.32.0", 1024, 8192, 0.92),
        (L4, "0.19.0", 256, 2048, 0.9),
        pytest.param(GPUS["a100-sxm-80gb"], "0.19.0", 256, 2048, 0.9, id="an A100 counts as small"),
        pytest.param(GPUS["b200-sxm-180gb"], "0.32.0", 1024, 16384, 0.92, id="160 GiB and more, of late"),
    ],
)
def test_defaults_by_gpu_and_release(gpu: Any, version: str, seqs: int, batched: int, utilization: float) -> None:
    request = size(llama(gpu=gpu, engine_version=version)).request
    assert (request.max_num_seqs, request.max_num_batched_tokens, request.gpu_memory_utilization) == (
        seqs,
        batched,
        utilization,
    )


def test_graphs_are_inside_the_budget_from_0_20_on() -> None:
    before, after = (size(llama(engine_version=v, gpu_memory_utilization=0.9)).memory for v in ("0.19.0", "0.20.0"))
    assert before is not None
    assert after is not None
    assert (before.kv_cache - after.kv_cache).value == pytest.approx(after.cuda_graphs.value)


def test_two_stages_hold_half_each_and_the_fuller_one_counts() -> None:
    one, two = size(llama(context=8192)), size(llama(context=8192, tensor_parallel=1, pipeline_parallel=2, count=2))
    assert one.memory is not None
    assert two.memory is not None
    assert two.memory.weights.value < 0.55 * one.memory.weights.value
    assert two.kv_bytes_per_token == one.kv_bytes_per_token // 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"gpu": L4, "context": 8192, "architecture": read(LLAMA_70B)},
            "no memory is left for the KV cache: weights 131.",
        ),
        ({"gpu": RTX_4090, "context": 131072}, "one request of 131072 tokens takes 16.00 GiB of KV cache and"),
        (
            {"context": 200_000, "context_used": 1000},
            "a context of 200000 tokens is more than the 131072 that the model knows",
        ),
        ({"gpu_memory_utilization": 1.0}, "gpu_memory_utilization 1 asks for 79.1"),
        ({"context": 8192, "concurrency": 100}, "and 100 are wanted; the rest would wait"),
        (
            {"quantization": "bitsandbytes", "engine_version": "0.32.0"},
            "vLLM 0.32.0 no longer has bitsandbytes, which left it",
        ),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], said: str) -> None:
    answer = size(replace(llama(), **changes))
    assert not answer.fits
    assert said in answer.errors[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 0}, "count is 0; give a whole number from 1 on"),
        ({"context": -1}, "context is -1; give a whole number from 1 on"),
        ({"max_num_seqs": 0}, "max_num_seqs is 0; give a whole number from 1 on"),
        ({"gpu_memory_utilization": 1.1}, "gpu_memory_utilization is 1.1; give a part between 0 and 1, such as 0.9"),
        ({"gpu_memory_utilization": 0.0}, "gpu_memory_utilization is 0; give a part between 0 and 1, such as 0.9"),
        ({"gpu_memory": GiB(0)}, "the GPU's memory is 0 GiB; give what CUDA reports, such as 79.19"),
        ({"engine": "vlm"}, "engine 'vlm' has no memory model; use one of vllm"),
        ({"gpu": None}, "without a GPU the room for the KV cache must be given, in GiB"),
    ],
)
def test_questions_that_make_no_sense(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SizingError) as caught:
        size(replace(llama(), **changes))
    assert str(caught.value) == said


def test_gpus_that_share_a_model_hold_buffers_for_it() -> None:
    """Non-torch memory in 0.19 on H100 with NVSwitch: 0.25 GiB alone, 2.07 with two ranks, 2.14 with four; 0.55 in 0.11."""
    found = {
        (version, ranks): size(llama(engine_version=version, tensor_parallel=ranks, count=ranks, context=8192)).memory
        for version, ranks in (("0.19.0", 1), ("0.19.0", 2), ("0.19.0", 4), ("0.11.0", 2))
    }
    assert [memory and round(memory.non_torch.value, 2) for memory in found.values()] == [0.25, 2.07, 2.14, 0.55]


def test_buffers_of_experts_are_kept_from_0_14_on() -> None:
    """DeepSeek-V2-Lite, 8192 tokens x 6 experts x (2048 + 2 x 1408) elements stay beside the sampler's."""
    before, after = (
        size(llama(architecture=read(DEEPSEEK_V2_LITE), engine_version=version, context=8192)).memory
        for version in ("0.13.0", "0.14.0")
    )
    assert before is not None
    assert after is not None
    kept = GiB.of_bytes(8192 * 6 * (2048 + 2 * 1408) * 2)
    assert (after.activation - before.activation).value == pytest.approx(kept.value)


def test_the_stage_with_the_least_room_decides() -> None:
    """The last of two stages has the head and the sampler."""
    two = size(llama(context=8192, tensor_parallel=1, pipeline_parallel=2, count=2))
    assert two.memory is not None
    assert two.first is not None
    assert two.memory.kv_cache < two.first.kv_cache
    assert two.kv_cache_tokens == int(two.memory.kv_cache.bytes) // (16 * 65536) * 16


def test_on_a_cpu_the_room_is_given() -> None:
    answer = size(llama(gpu=None, cpu_kv_cache=GiB(1), context=8192))
    assert (answer.memory, answer.kv_cache_tokens) == (None, 8192)
    uneven = size(llama(gpu=None, cpu_kv_cache=GiB.of_bytes(200 * 131072), context=128))
    assert uneven.kv_cache_tokens == 128, "blocks of a CPU hold 128 tokens"
    assert size(llama(gpu=None, cpu_kv_cache=GiB(0.5), context=8192)).fits is False


def tokens(answer: Sizing) -> float:
    """Room for requests; none where it does not fit for want of memory."""
    return answer.max_concurrency if answer.memory is not None or answer.fits else 0.0


@settings(max_examples=80, deadline=None)
@given(
    model=MODELS,
    version=VERSIONS,
    ranks=st.sampled_from([1, 2, 4]),
    contexts=st.tuples(*[st.integers(1, 32768)] * 2),
)
def test_more_context_never_raises_concurrency(model: str, version: str, ranks: int, contexts: tuple[int, int]) -> None:
    shorter, longer = (
        size(
            llama(
                architecture=ARCHITECTURES[model],
                engine_version=version,
                context=context,
                count=ranks,
                tensor_parallel=ranks,
            )
        )
        for context in sorted(contexts)
    )
    assert longer.max_concurrency <= shorter.max_concurrency


@settings(max_examples=80, deadline=None)
@given(
    model=MODELS,
    version=VERSIONS,
    memory=st.tuples(*[st.floats(10, 300)] * 2),
    context=st.integers(1, 32768),
)
def test_more_memory_never_lowers_concurrency(
    model: str, version: str, memory: tuple[float, float], context: int
) -> None:
    # Defaults follow the memory, so the batch is given, as one who compares two GPUs gives it.
    smaller, larger = (
        size(
            llama(
                architecture=ARCHITECTURES[model],
                engine_version=version,
                context=context,
                gpu_memory=GiB(amount),
                max_num_batched_tokens=2048,
                max_num_seqs=256,
            )
        )
        for amount in sorted(memory)
    )
    assert tokens(larger) >= tokens(smaller)
    assert larger.fits or not smaller.fits


@settings(max_examples=50, deadline=None)
@given(model=MODELS, version=VERSIONS, ranks=st.integers(1, 40))
def test_ranks_that_do_not_divide_are_refused_and_others_are_not(model: str, version: str, ranks: int) -> None:
    answer = size(
        llama(
            architecture=ARCHITECTURES[model],
            engine_version=version,
            count=ranks,
            tensor_parallel=ranks,
            gpu=GPUS["b200-sxm-180gb"],
        )
    )
    refused = any("does not divide" in error for error in answer.errors)
    architecture = ARCHITECTURES[model]
    heads = {layer.heads for layer in architecture.layers}
    assert refused == (
        any(number % ranks for number in heads)
        or any(layer.intermediate % ranks for layer in architecture.layers)
        or not kv_heads_fit(architecture.kv_heads, ranks)
    )


def kv_heads_fit(heads: int, ranks: int) -> bool:
    """Whole heads on a rank, or whole ranks on a head; MLA has none to cut."""
    return heads == 0 or heads % ranks == 0 or ranks % heads == 0

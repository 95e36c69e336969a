"""Does it fit, with how much room: the engine's budget, and what follows from it for any model and GPU."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.catalog import load
from slipway.sizing.architecture import Cache, Layer
from slipway.sizing.config import read_config
from slipway.sizing.engines.vllm import Vllm
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
        ({"context": 8192, "concurrency": 20, "max_num_seqs": 16}, "max_num_seqs lets 16 requests run at once, and 20"),
        (
            {"max_num_batched_tokens": 100, "max_num_seqs": 1000},
            "max_num_batched_tokens 100 is less than max_num_seqs 1000",
        ),
        ({"gpu": GPUS["v100-sxm2-32gb"], "engine_version": "0.32.0"}, "is built for compute capability 7.5 and later"),
        ({"gpu": GPUS["t4"], "dtype": "bfloat16"}, "NVIDIA T4 has no bfloat16"),
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
        ({"engine_version": "banana"}, "engine version 'banana' is none of vLLM's; write it like 0.32.0"),
        (
            {"kv_cache_dtype": "int4"},
            "kv_cache_dtype is 'int4'; known are auto, float16, bfloat16, float32, fp8, fp8_e4m3, fp8_e5m2, fp8_inc, fp8_ds_mla",
        ),
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


@pytest.mark.parametrize(
    ("version", "stages", "under_way"),
    [("0.25.0", 1, 1), ("0.26.0", 1, 2), ("0.32.0", 1, 2), ("0.28.0", 2, 2), ("0.32.0", 2, 3)],
)
def test_windows_hold_what_is_under_way(version: str, stages: int, under_way: int) -> None:
    request = llama(
        architecture=read(GEMMA_3_1B), engine_version=version, context=32768, tensor_parallel=1, pipeline_parallel=stages,
        count=stages, max_num_batched_tokens=2048, max_num_seqs=16,
    )  # fmt: skip
    one = Vllm().layout(Vllm().filled(request), request.architecture.layers)
    assert one.chunk == under_way * 2048


@pytest.mark.parametrize(
    ("model", "changes", "blocks_of_a_request"),
    [
        # Full layers with 512 tokens of 2048 x 2 bytes each, chunks of 8192 and 2048 under way; one layer in four is full.
        pytest.param("chunked", {"engine_version": "0.13.0"}, 131072 // 16, id="chunks were full until 0.13"),
        pytest.param(
            "chunked", {"engine_version": "0.14.0"}, 131072 // 16 + 3 * (8192 + 2048) // 16, id="and are not since"
        ),
        pytest.param(
            "even",
            {"engine_version": "0.11.0"},
            131072 // 16 + 2 * 193,
            id="groups as large as the smallest until 0.11",
        ),
        pytest.param("even", {"engine_version": "0.12.0"}, 131072 // 16 + 193, id="then padded"),
    ],
)
def test_groups_by_release(model: str, changes: dict[str, Any], blocks_of_a_request: int) -> None:
    full, window = Cache("full", kv_heads=8, head_dim=128), Cache("sliding", kv_heads=8, head_dim=128, window=1024)
    chunked = Cache("chunked", kv_heads=8, head_dim=128, window=8192)
    caches = {"chunked": [full, chunked, chunked, chunked], "even": [full] * 5 + [window] * 6}[model]
    architecture = replace(read(LLAMA_8B), layers=tuple(Layer(cache, ()) for cache in caches))
    request = Vllm().filled(llama(architecture=architecture, max_num_batched_tokens=2048, max_num_seqs=64, **changes))
    assert Vllm().layout(request, architecture.layers).blocks_of_request(131072) == blocks_of_a_request


@pytest.mark.parametrize(
    ("version", "dtype", "bytes_per_token"),
    [("0.11.0", "auto", 788), ("0.19.0", "auto", 1152 + 132), ("0.19.0", "fp8", 788)],
)
def test_sparse_attention_packs_its_latents(version: str, dtype: str, bytes_per_token: int) -> None:
    """DeepSeek V3.2: 656 bytes and the indexer's 132."""
    cache = Cache("mla", latent=576, index_dim=128)
    architecture = replace(read(DEEPSEEK_V2_LITE), layers=(Layer(cache, ()),))
    request = Vllm().filled(llama(architecture=architecture, engine_version=version, kv_cache_dtype=dtype))
    assert Vllm().layout(request, architecture.layers).block_bytes == 16 * bytes_per_token


def test_outputs_of_a_long_video_are_kept() -> None:
    """Qwen2.5-VL at its whole context: seven images' worth of 16,384 tokens."""
    entry = load().models["Qwen/Qwen2.5-VL-7B-Instruct"]
    asked = llama(architecture=read_config(entry.config, entry.id), max_num_seqs=1, max_num_batched_tokens=2048)
    short, long = (size(asked.but(context=context)).memory for context in (16384, 7 * 16384))
    assert short is not None
    assert long is not None
    patches = 16384 * 4 * (1176 + 2 * 1280 + 3 * 3420) * 2
    assert (long.activation - short.activation).value == pytest.approx(GiB.of_bytes(6 * patches).value, rel=0.02)


def test_the_second_runner_keeps_counters_in_place_of_copies_of_logits() -> None:
    old, new = (
        size(llama(architecture=read(GEMMA_3_1B), engine_version=version, context=8192)).memory
        for version in ("0.19.0", "0.32.0")
    )
    assert old is not None
    assert new is not None
    logits = 1024 * 262144
    assert (old.activation - new.activation).value == pytest.approx(
        GiB.of_bytes(logits * (14 - 2 - 4.125) + 132 * 262144 * 4).value
    )


def test_states_are_kept_twice_with_prefix_caching() -> None:
    architecture = read_config(load().models["Qwen/Qwen3.6-35B-A3B"].config, "Qwen/Qwen3.6-35B-A3B")
    blocks = {}
    for version, caching in (("0.24.0", None), ("0.24.0", True), ("0.32.0", None), ("0.32.0", False)):
        request = Vllm().filled(
            llama(architecture=architecture, engine_version=version, prefix_caching=caching, kv_cache_dtype="fp8")
        )
        # vLLM 0.24 with prefix caching took 69 blocks for a request of 131072 tokens: 63, and twice three groups of states.
        blocks[version, caching] = Vllm().layout(request, architecture.layers).blocks_of_request(131072)
    assert list(blocks.values()) == [66, 69, 69, 66]


def test_a_tower_that_sees_much_takes_more_than_the_sampler() -> None:
    """Qwen 3.6 on 65,536 patches: 1.52 GiB, where one request at a time leaves the sampler little."""
    architecture = read_config(load().models["Qwen/Qwen3.6-35B-A3B"].config, "Qwen/Qwen3.6-35B-A3B")
    seeing = llama(architecture=architecture, engine_version="0.24.0", max_num_seqs=1, max_num_batched_tokens=8192)
    blind = seeing.but(architecture=replace(architecture, encoders=()))
    (with_tower, without) = (size(request).memory for request in (seeing, blind))
    assert with_tower is not None
    assert without is not None
    assert with_tower.activation.value == pytest.approx(1.58, abs=0.02)
    assert without.activation.value < 0.9


def test_a_host_without_gpu_must_hold_weights_and_cache() -> None:
    tight = size(llama(gpu=None, cpu_kv_cache=GiB(4), host_memory=GiB(16), context=8192))
    assert "weights 14.9" in tight.errors[0]
    assert "more than the host's 16.00 GiB of memory" in tight.errors[0]
    assert size(llama(gpu=None, cpu_kv_cache=GiB(4), host_memory=GiB(32), context=8192)).fits


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tensor_parallel": 2, "pipeline_parallel": 1, "count": 4}, "2 of the 4 GPUs stay idle"),
        ({"tensor_parallel": 16, "count": 16}, "16 GPUs are more than one host has"),
        ({"gpu": GPUS["mi300x"]}, "Slipway deploys vLLM's CUDA build only"),
    ],
)
def test_what_fits_and_is_still_worth_a_word(changes: dict[str, Any], said: str) -> None:
    answer = size(replace(llama(context=8192), **changes))
    assert answer.fits
    assert any(said in warning for warning in answer.warnings)


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

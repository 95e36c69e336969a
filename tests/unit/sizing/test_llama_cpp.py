"""Memory of llama.cpp and Ollama, against what they printed when they were started, and against their rules."""

from collections.abc import Callable
from typing import Any

import pytest

from slipway.catalog import load
from slipway.deployment.actual import ROWS
from slipway.sizing.engines.llama_cpp import MOST_PARALLEL, size_gguf
from slipway.sizing.engines.llama_cpp_memory import checkpoint_bytes
from slipway.sizing.gguf.model import GgufModel
from slipway.sizing.gguf.result import GgufRequest, GgufSizing
from slipway.sizing.result import SizingError
from slipway.units import BYTES_PER_MIB, GiB
from tests.unit.sizing import gguf_models as models

H100 = load().gpus["h100-sxm-80gb"]

Make = Callable[[], GgufModel]
Measured = tuple[Make, int, int, dict[str, Any], float, float]

# llama.cpp b11549, as xllamacpp 2026.10.11549 carries it, on an x86-64 CPU; 2026-11-28. Log level 4, no warm-up.
# context (a slot's), slots, further settings, "compute buffer size", the "KV buffer size" and "RS buffer size" lines added up
MEASURED: list[Measured] = [
    (models.llama_8b, 4096, 1, {}, 128.02, 512.0),
    (models.llama_8b, 4000, 1, {}, 128.02, 512.0),
    (models.llama_8b, 32768, 1, {}, 156.02, 4096.0),
    (models.llama_8b, 4096, 8, {}, 128.02, 4096.0),
    (models.llama_8b, 16384, 1, {"ubatch": 2048}, 560.07, 2048.0),
    (models.llama_70b, 4096, 2, {}, 252.02, 2560.0),
    (models.qwen2_7b, 4096, 2, {}, 150.02, 448.0),
    (models.qwen3_half, 4096, 2, {}, 32.02, 896.0),
    (models.qwen3_half, 3334, 3, {"cache_type": "q8_0"}, 31.66, 624.75),
    (models.qwen3_half, 4096, 2, {"cache_type": "q4_0"}, 32.10, 252.0),
    (models.qwen3_half, 4096, 2, {"pooling": "last"}, 310.77, 896.0),
    (models.qwen3_half, 4096, 2, {"pooling": "last", "ubatch": 2048}, 1243.08, 896.0),
    (models.qwen3_30b, 4096, 2, {}, 92.02, 768.0),
    (models.qwen3_30b, 16384, 4, {}, 104.02, 6144.0),
    (models.gemma3_1b, 4096, 2, {}, 56.78, 32.0 + 44.0),
    (models.gemma3_1b, 4096, 2, {"swa_full": True}, 59.78, 32.0 + 176.0),
    (models.gemma3_27b, 4096, 2, {}, 184.03, 640.0 + 1248.0),
    (models.gemma3_27b, 8192, 4, {}, 188.03, 2560.0 + 2496.0),
    (models.gpt_oss_20b, 4096, 2, {}, 100.40, 192.0 + 36.0),
    (models.deepseek_v2_lite, 4096, 2, {}, 88.14, 243.0),
    (models.bge_m3, 8192, 1, {"ubatch": 512}, 18.51, 0.0),
    (models.bge_m3, 8192, 1, {}, 416.19, 0.0),
    (models.bge_m3, 8192, 4, {}, 416.19, 0.0),
    (models.lfm2_1b, 4096, 2, {}, 72.02, 96.0 + 0.31),
    (models.granite_4_h, 4096, 2, {}, 76.02, 64.0 + 147.59),
    (models.qwen35_4b, 4096, 2, {}, 83.02, 256.0 + 100.50),
]
WEIGHTS = [  # "model buffer size" of the same start-ups, in MiB, where the tests have every tensor
    (models.llama_8b, 15317.02),
    (models.llama_70b, 134573.03),
    (models.qwen2_7b, 14526.27),
    (models.qwen3_half, 1137.00),
    (models.gemma3_1b, 1907.39),
    (models.gemma3_27b, 51518.17),
]


def sized(make: Make, context: int, parallel: int = 1, **settings: Any) -> GgufSizing:
    return size_gguf(GgufRequest(model=make(), context=context, parallel=parallel, **settings))


def mib(amount: GiB) -> float:
    return amount.bytes / BYTES_PER_MIB


@pytest.mark.parametrize(
    "measured", MEASURED, ids=lambda measured: f"{measured[0].__name__}-{measured[1]}-{measured[2]}"
)
def test_a_start_up_is_met(measured: Measured) -> None:
    make, context, parallel, settings, compute, cache = measured
    sizing = sized(make, context, parallel, **settings)
    assert mib(sizing.kv_cache) == pytest.approx(cache, abs=0.006)
    assert mib(sizing.host.compute) == pytest.approx(compute, rel=0.06 if make is models.granite_4_h else 0.005)


@pytest.mark.parametrize(("make", "weights"), WEIGHTS)
def test_weights_are_exact(make: Make, weights: float) -> None:
    assert mib(sized(make, 4096).weights) == pytest.approx(weights, abs=0.006)


# Ollama 0.17.4 on an x86-64 CPU, two at once with num_ctx 4096; 2026-11-28. "model weights", "kv cache", "compute graph" (or
# "compute buffer size", where llama.cpp runs the model). qwen3 and gemma3 run in its own engine.
@pytest.mark.parametrize(
    ("make", "weights", "cache", "compute"),
    [
        (models.qwen2_half, 942.4, 96.0, 311.76),
        (models.qwen3_half, 1434.0, 896.0, 32.0),
        (models.gemma3_1b, 2483.0, 70.5, 58.8),
    ],
)
def test_a_start_up_of_ollama_is_met(make: Make, weights: float, cache: float, compute: float) -> None:
    sizing = sized(make, 4096, 2, engine="ollama")
    assert mib(sizing.weights) == pytest.approx(weights, rel=0.003)
    assert mib(sizing.kv_cache) == pytest.approx(cache, rel=0.001 if make is not models.gemma3_1b else 0.1)
    assert mib(sizing.host.compute) == pytest.approx(compute, rel=0.04)
    assert sizing.flags == {"num_ctx": 4096, "OLLAMA_NUM_PARALLEL": 2}


def test_the_caches_are_as_the_log_lists_them() -> None:
    full, window = sized(models.gemma3_27b, 4096, 2).caches
    # size =  640.00 MiB (  4096 cells,  10 layers,  2/2 seqs)  and  size = 1248.00 MiB (  1536 cells,  52 layers,  2/2 seqs)
    assert (full.kind, full.cells, full.layers) == ("full", 4096, 10)
    assert (window.kind, window.cells, window.layers) == ("window", 1536, 52)
    state = sized(models.granite_4_h, 4096, 2).caches[-1]
    assert (state.kind, state.layers) == ("state", 36)


def test_a_slot_has_room_for_the_context_and_flags_have_the_sum() -> None:
    sizing = sized(models.llama_8b, 4000, 3)
    assert sizing.flags["ctx-size"] == 3 * 4096 == sizing.kv_cache_tokens
    assert sizing.flags["parallel"] == 3 == sizing.max_concurrency
    assert sizing.kv_bytes_per_token == 2 * 8 * 128 * 2 * 32
    assert set(sizing.plan()) == set(ROWS)
    assert sizing.plan()["kv_cache_gib"] == 1.5


def test_all_layers_go_to_the_gpu_and_the_table_stays() -> None:
    sizing = sized(models.llama_8b, 8192, 2, gpu=H100)
    (gpu,) = sizing.gpus
    table = 4096 * 128256 * 2 / BYTES_PER_MIB
    assert mib(gpu.weights) == pytest.approx(15317.02 - table, abs=0.01)
    assert mib(sizing.host.weights) == pytest.approx(table)
    assert gpu.kv_cache == sizing.kv_cache
    assert sizing.host.kv_cache == GiB(0)
    assert sizing.fits
    assert sizing.flags["n-gpu-layers"] == 33


def test_a_table_that_is_the_head_too_is_on_the_gpu_once_more() -> None:
    sizing = sized(models.qwen3_half, 4096, gpu=H100)
    assert mib(sizing.gpus[0].weights) == pytest.approx(1137.0, abs=0.01)
    assert mib(sizing.host.weights) == pytest.approx(296.75)
    assert mib(sizing.weights) == pytest.approx(1137.0 + 296.75, abs=0.01)


def test_layers_are_dealt_out_over_gpus_in_order() -> None:
    sizing = sized(models.llama_70b, 8192, gpu=H100, gpus=2)
    first, second = sizing.gpus
    # 81 with the output: layers 0 to 40 are on the first (il * 2 / 81 < 1), the rest and the output on the second
    assert mib(first.kv_cache) == pytest.approx(41 * 8192 * 4096 / BYTES_PER_MIB)
    assert mib(second.kv_cache) == pytest.approx(39 * 8192 * 4096 / BYTES_PER_MIB)
    assert sizing.fits
    alone = sized(models.llama_70b, 8192, gpu=H100)
    assert not alone.fits
    assert alone.errors[0].startswith("GPU 0 has 79.19 GiB, and ")
    assert "the engine would not start: take a smaller quantization, or more GPUs" in alone.errors[0]


def test_what_is_not_offloaded_stays_on_the_host() -> None:
    sizing = sized(models.llama_8b, 4096, gpu=H100, gpu_layers=10)
    assert mib(sizing.gpus[0].kv_cache) == pytest.approx(9 * 16)  # nine layers and the output
    assert mib(sizing.host.kv_cache) == pytest.approx(23 * 16)
    assert "23 of 33 layers stay on the CPU" in sizing.warnings[0]
    assert sized(models.llama_8b, 4096, gpu=H100, gpu_layers=0).gpus == ()


def test_a_host_too_small_is_refused_with_what_would_fit() -> None:
    sizing = sized(models.llama_8b, 131072, 2, host_memory=GiB(24))
    assert not sizing.fits
    assert sizing.plan() == {}
    (error,) = sizing.errors
    assert error.startswith("the host has 24.00 GiB, and 47.")
    assert "weights 14.96 GiB, KV cache 32.00 GiB" in error
    context = int(error.partition("a context of ")[2].split()[0])
    assert sized(models.llama_8b, context, 2, host_memory=GiB(24)).fits
    assert not sized(models.llama_8b, context + 256, 2, host_memory=GiB(24)).fits
    assert "a smaller quantization, or another machine" in sized(models.llama_8b, 4096, host_memory=GiB(8)).errors[0]


def test_saved_prompts_give_way_to_the_hosts_memory() -> None:
    roomy, tight = (sized(models.llama_8b, 4096, host_memory=GiB(size)) for size in (64, 20))
    assert roomy.flags["cache-ram"] == 8192
    assert 0 < tight.flags["cache-ram"] < 3000
    assert tight.fits
    # Without a window or state there is nothing to save besides.
    assert "ctx-checkpoints" not in tight.flags
    assert sized(models.llama_8b, 4096).flags["cache-ram"] == 8192
    assert sized(models.llama_8b, 4096, prompt_cache=GiB(1)).flags["cache-ram"] == 1024


def test_saved_states_of_windows_count() -> None:
    # "created context checkpoint 2 of 32 (pos_min = 472, pos_max = 1495, n_tokens = 1496, size = 11.006 MiB)"
    assert checkpoint_bytes(sized(models.gemma3_1b, 4096).request) / BYTES_PER_MIB == pytest.approx(11.006, abs=0.01)
    unknown = sized(models.gemma3_27b, 8192, 4)
    assert unknown.flags["ctx-checkpoints"] == 32
    # 416 MiB each: 32 of them in four slots are 52 GiB
    assert mib(unknown.host.other) == pytest.approx(32 * 4 * 416 + 8192 + 102.4 + 4, abs=1)
    known = sized(models.gemma3_27b, 8192, 4, host_memory=GiB(80))
    assert known.fits
    assert known.flags["ctx-checkpoints"] == 7
    assert "ctx-checkpoints" not in sized(models.gemma3_27b, 8192, swa_full=True, host_memory=GiB(80)).flags


def test_embedding_needs_a_whole_text_at_once_unless_it_takes_the_last_token() -> None:
    flags = sized(models.bge_m3, 8192, 2).flags
    assert flags == {
        "ctx-size": 16384,
        "parallel": 2,
        "ubatch-size": 8192,
        "batch-size": 8192,
        "embeddings": True,
        "pooling": "cls",
    }
    assert "ubatch-size" not in sized(models.qwen3_half, 8192, pooling="last").flags
    assert sized(models.qwen3_half, 8192, pooling="mean").flags["ubatch-size"] == 8192
    assert sized(models.bge_m3, 8192).kv_cache_tokens == 0


def test_what_the_engine_would_not_do_is_said() -> None:
    odd = models.decoder("llama", models.Shape(2, 160, 320, 4, 2, 40, 512))
    (error,) = size_gguf(GgufRequest(model=odd, context=1024, cache_type="q8_0")).errors
    assert "in blocks of 32, and heads have 40 numbers; the engine would not start" in error
    assert size_gguf(GgufRequest(model=odd, context=1024)).fits
    (warning,) = sized(models.qwen2_7b, 200_000).warnings
    assert "more than the 131072 that the model was trained on" in warning
    (warning,) = sized(models.qwen2_7b, 4096, engine="ollama", cache_type="q8_0").warnings
    assert "without a word" in warning


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": 0}, "context is 0; give a whole number from 1 on"),
        ({"context": 64, "parallel": MOST_PARALLEL + 1}, "parallel is 257; llama.cpp has 256 slots at most: lower it"),
        ({"context": 64, "gpu_layers": -1}, "gpu_layers is -1; give a whole number from 0 on"),
        ({"context": 64, "cache_type": "fp8"}, "cache_type is 'fp8'; known are f32, f16, bf16, q8_0"),
        ({"context": 64, "pooling": "max"}, "pooling is 'max'; known are none, mean, cls, last, rank"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError, match=message):
        size_gguf(GgufRequest(model=models.qwen3_half(), **settings))


def test_a_longer_context_never_takes_less() -> None:
    for make in (models.llama_8b, models.gemma3_1b, models.qwen35_4b):
        amounts = [sized(make, context, 2).kv_cache.value for context in (256, 1000, 4096, 10_000, 131_072)]
        assert amounts == sorted(amounts)
        assert amounts[0] < amounts[-1]


def test_each_figure_is_explained() -> None:
    names = [term.name for term in sized(models.gemma3_1b, 4096).terms]
    assert names == ["weights", "kv_cache (full)", "kv_cache (window)", "compute", "saved prompts"]

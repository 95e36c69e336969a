"""Weights on a rank, against what vLLM printed at "Model loading took" and against sums done by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.catalog import load
from slipway.catalog.load import find, find_or_none
from slipway.sizing.allocator import allocated
from slipway.sizing.architecture import QuantizedWeights
from slipway.sizing.config import read_config
from slipway.sizing.mxfp4 import FLASHINFER, MARLIN, TRITON_35, TRITON_36, expert_bytes, kernel
from slipway.sizing.parallel import stage_layers
from slipway.sizing.result import SizingError
from slipway.sizing.weights import weights_per_rank
from tests.unit.sizing.counts import SMALL
from tests.unit.sizing.models import DEEPSEEK_V2_LITE, LLAMA_8B

CATALOG = load()
ROWS = [
    row
    for row in map(
        json.loads, (Path(__file__).parents[2] / "data/sizing/memory.jsonl").read_text(encoding="utf-8").splitlines()
    )
    if row["weights_gib_per_gpu"] and find_or_none(CATALOG.models, row["model"])
]
GIB = 1 << 30
CLOSE = 0.005
HOPPER, AMPERE, BLACKWELL = 9.0, 8.0, 10.0


def small(**keys):
    return read_config({"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SMALL, **keys}, "owner/name")


def bytes_of(architecture, ranks=1, **options):
    return weights_per_rank(architecture, tensor_parallel=ranks, **options)[0]


def test_there_are_rows_of_several_kinds_to_compare_with():
    assert len({(row["model"], row["tensor_parallel"]) for row in ROWS}) > 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_the_engine_took_as_much(row):
    model = find(CATALOG.models, row["model"], "the model")
    held = weights_per_rank(
        read_config(model.config, model.id),
        tensor_parallel=row["tensor_parallel"],
        pipeline_parallel=row["pipeline_parallel"],
        # The rows without a version are those of a study made with 0.11.0.
        engine_version=row["vllm_version"] or "0.11.0",
        capability=AMPERE if "A100" in row["gpu"] else HOPPER,
    )[0]
    assert held / GIB == pytest.approx(row["weights_gib_per_gpu"], rel=CLOSE)


@pytest.mark.parametrize(
    ("size", "counted"),
    [
        (1, 512),
        (512, 512),
        (513, 1024),
        ((10 << 20) - 512, (10 << 20) - 512),
        # Whole segments of 2 MiB; up to 1 MiB of what is left over belongs to the tensor.
        (10 << 20, 10 << 20),
        ((11 << 20) - 512, (11 << 20) - 512),
        (11 << 20, 12 << 20),
        (12 << 20, 12 << 20),
    ],
)
def test_the_allocator_rounds_as_pytorch_does(size, counted):
    assert allocated(size) == counted


def test_a_rank_holds_its_share_and_all_of_what_is_copied():
    one, two = bytes_of(small()), bytes_of(small(), 2)
    norms_and_rotary = (2 * 4 * 256 + 256 + 512 * 32) * 2
    assert two == pytest.approx((one + norms_and_rotary) / 2, abs=64 * 512)


def test_ranks_beyond_the_kv_heads_hold_copies_of_them():
    # 2 KV heads: 4 ranks hold one each, so that keys and values shrink no further than to a half.
    four = bytes_of(small(hidden_size=2048, num_attention_heads=16), 4)
    many = bytes_of(small(hidden_size=2048, num_attention_heads=16, num_key_value_heads=4), 4)
    assert four == many


def test_the_vocabulary_is_padded_before_it_is_split():
    assert bytes_of(small(vocab_size=1025)) == bytes_of(small(vocab_size=1088))


def test_what_is_outside_the_layers_is_on_the_first_and_last_stage():
    first, middle, last = weights_per_rank(small(num_hidden_layers=6), tensor_parallel=1, pipeline_parallel=3)
    embedding = 1024 * 256 * 2
    assert first == middle + embedding
    assert last == middle + embedding + 512


@pytest.mark.parametrize(
    ("layers", "stages", "bounds"),
    [
        (4, 1, [(0, 4)]),
        (4, 2, [(0, 2), (2, 4)]),
        (7, 3, [(0, 2), (2, 5), (5, 7)]),
        (8, 3, [(0, 3), (3, 6), (6, 8)]),
    ],
)
def test_layers_that_do_not_divide_go_to_the_stages_before_the_last(layers, stages, bounds):
    assert stage_layers(layers, stages) == bounds


@pytest.mark.parametrize(("layers", "stages"), [(4, 5), (4, 0), (4, -1)])
def test_a_stage_without_a_layer_is_refused(layers, stages):
    with pytest.raises(SizingError, match="pipeline_parallel"):
        stage_layers(layers, stages)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tensor_parallel": 0}, "tensor_parallel: 0"),
        ({"tensor_parallel": 1, "dtype": "int3"}, "dtype: 'int3'"),
        ({"tensor_parallel": 1, "quantization": "awq"}, "quantization: 'awq' is not made at run time"),
    ],
)
def test_what_the_engine_would_not_take_is_refused(options, said):
    with pytest.raises(SizingError, match=said):
        weights_per_rank(small(), **options)


def test_quantization_leaves_embeddings_head_and_norms_alone():
    architecture = read_config(LLAMA_8B, "meta-llama/Llama-3.1-8B-Instruct")
    full, half = bytes_of(architecture), bytes_of(architecture, quantization="fp8")
    linear = architecture.parameters - 2 * 128256 * 4096 - (2 * 32 + 1) * 4096
    assert full - half == pytest.approx(linear, rel=0.001)


def test_what_a_checkpoint_excludes_stays_as_it_is():
    scheme = QuantizedWeights("fp8", 8, None, scale_bits=32)
    architecture = small(hidden_size=1024, num_attention_heads=8)
    all_of_it = bytes_of(replace(architecture, quantization=scheme))
    excluded = replace(scheme, excluded=("re:.*down_proj",))
    assert bytes_of(replace(architecture, quantization=excluded)) - all_of_it == pytest.approx(4 * 1024 * 512, abs=8192)


def test_a_symmetric_gptq_checkpoint_keeps_its_zero_points_on_hopper():
    gptq = QuantizedWeights("gptq", 4, 128)
    architecture = replace(read_config(LLAMA_8B, "a/b"), quantization=gptq)
    linear = architecture.parameters - 2 * 128256 * 4096 - (2 * 32 + 1) * 4096
    kept = bytes_of(architecture, capability=HOPPER) - bytes_of(architecture, capability=AMPERE)
    indices = 32 * 4 * (3 * 4096 + 14336)
    assert kept == pytest.approx(linear / 128 / 2 + indices, rel=0.01)


def test_zero_points_take_16_bits_in_the_kernel_of_hopper():
    awq = QuantizedWeights("awq", 4, 128, zero_point_bits=4)
    architecture = replace(read_config(LLAMA_8B, "a/b"), quantization=awq)
    linear = architecture.parameters - 2 * 128256 * 4096 - (2 * 32 + 1) * 4096
    more = bytes_of(architecture, capability=HOPPER) - bytes_of(architecture, capability=AMPERE)
    assert more == pytest.approx(linear / 128 * 12 / 8, rel=0.01)


@pytest.mark.parametrize(
    ("version", "capability", "workspaces"),
    [
        ("0.11.0", HOPPER, 0),
        ("0.19.0", HOPPER, 1),
        ("0.19.0", AMPERE, 1),
        ("0.11.0", BLACKWELL, 1),
        ("0.19.0", BLACKWELL, 2),
    ],
)
@pytest.mark.parametrize("ranks", [1, 4])
def test_the_kernels_of_latent_attention_allocate_as_they_are_imported(version, capability, workspaces, ranks):
    latent = read_config(DEEPSEEK_V2_LITE, "deepseek-ai/DeepSeek-V2-Lite")
    options = {"engine_version": version, "capability": capability}
    base = bytes_of(latent, ranks, engine_version="0.11.0", capability=HOPPER)
    assert bytes_of(latent, ranks, **options) - base == workspaces * 128 << 20
    plain = read_config(LLAMA_8B, "a/b")
    assert bytes_of(plain, ranks, **options) == bytes_of(plain, ranks)


@pytest.mark.parametrize(
    ("version", "capability", "chosen"),
    [
        ((0, 10, 1), AMPERE, MARLIN),
        ((0, 10, 1), HOPPER, MARLIN),
        ((0, 11, 0), HOPPER, TRITON_35),
        ((0, 19, 0), HOPPER, TRITON_36),
        ((0, 19, 0), AMPERE, MARLIN),
        ((0, 19, 0), BLACKWELL, FLASHINFER),
        ((0, 19, 0), 12.0, MARLIN),
    ],
)
def test_the_gpu_and_the_release_decide_the_kernel_of_mxfp4(version, capability, chosen):
    assert kernel(version, capability) == chosen


@pytest.mark.parametrize(
    ("chosen", "weights", "scales", "biases"),
    [
        # One expert, hidden size 2880, inner size 720 (a quarter of gpt-oss); weights in half bytes, scales one byte for 32.
        (MARLIN, 3 * 3072 * 768 // 2, 3 * 3072 * 768 // 32, 2 * (2 * 768 + 3072)),
        (FLASHINFER, 3 * 3072 * 768 // 2, 3 * 3072 * 768 // 32, 4 * (2 * 768 + 3072)),
        # Rows of 1,440 bytes become 1,472; scales are kept twice, once with their rows padded to 256.
        (TRITON_36, 1536 * 1472 + 2880 * 384, 3 * 2880 * 768 // 32 + 1536 * 90 + 3072 * 24, 4 * (2 * 768 + 2880)),
        (TRITON_35, 1536 * 1440 + 2880 * 384, 3 * 2880 * 768 // 32 + 1536 * 90 + 3072 * 24, 4 * (2 * 768 + 2880)),
    ],
)
def test_a_kernel_of_mxfp4_pads_as_it_does(chosen, weights, scales, biases):
    held = expert_bytes(experts=1, hidden=2880, inner=720, biased=True, gated=True, chosen=chosen)
    assert held == pytest.approx(weights + scales + biases, abs=8 * 512)


def test_a_pooler_is_loaded_only_to_score():
    base = {"model_type": "bert", **SMALL, "num_key_value_heads": 8}
    embedding = read_config({"architectures": ["BertModel"], **base}, "a/b")
    scoring = read_config({"architectures": ["BertForSequenceClassification"], **base}, "a/b")
    assert bytes_of(scoring) - bytes_of(embedding) >= 256 * 256 * 2


def test_a_reranker_is_loaded_without_its_output_head():
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", **SMALL, "head_dim": 32}
    chat, reranker = read_config(config, "a/b"), read_config(config, "a/b-reranker")
    assert chat.parameters == reranker.parameters
    assert bytes_of(chat) - bytes_of(reranker) == 1024 * 256 * 2


def test_more_ranks_never_hold_more():
    for model in CATALOG.models.values():
        architecture = read_config(model.config, model.id)
        held = [bytes_of(architecture, ranks) for ranks in (1, 2, 4, 8)]
        assert held == sorted(held, reverse=True), model.id

"""What divides, and where stages are cut."""

from typing import Any

import pytest

from slipway.catalog import load
from slipway.sizing.parallel import divides, stages
from slipway.sizing.result import Request
from slipway.sizing.size import size
from tests.unit.sizing.models import DEEPSEEK_V2_LITE, GEMMA_3_1B, LLAMA_8B, LLAMA_70B, read

H100 = load().gpus["h100-sxm-80gb"]


@pytest.mark.parametrize(
    ("config", "ranks"),
    [
        (LLAMA_8B, 1),
        (LLAMA_8B, 8),
        pytest.param(LLAMA_8B, 16, id="KV heads are copied"),
        (DEEPSEEK_V2_LITE, 16),
        (GEMMA_3_1B, 4),
    ],
)
def test_divides(config: dict[str, Any], ranks: int) -> None:
    assert divides(read(config), ranks)


@pytest.mark.parametrize(
    ("config", "ranks", "said"),
    [
        (LLAMA_8B, 3, "32 attention heads and 14336 columns of the feed-forward network"),
        (LLAMA_8B, 64, "32 attention heads"),
        (DEEPSEEK_V2_LITE, 32, "16 attention heads"),
        (GEMMA_3_1B, 8, "4 attention heads"),
        ({**LLAMA_8B, "num_key_value_heads": 6, "num_attention_heads": 24, "head_dim": 128}, 4, "6 KV heads"),
        ({**LLAMA_8B, "intermediate_size": 14340}, 8, "14340 columns"),
    ],
)
def test_tensor_parallel_that_does_not_divide_is_refused(config: dict[str, Any], ranks: int, said: str) -> None:
    assert not divides(read(config), ranks)
    answer = size(Request(architecture=read(config), gpu=H100, tensor_parallel=ranks, count=ranks))
    assert not answer.fits
    assert answer.memory is None
    assert said in answer.errors[0]
    assert "use one of 1, " in answer.errors[0]


@pytest.mark.parametrize(
    ("count", "layers"),
    [
        (1, [32]),
        (2, [16, 16]),
        pytest.param(3, [11, 11, 10], id="the last stage has the head, and no more"),
        pytest.param(5, [6, 6, 7, 7, 6], id="from the back, as vLLM cuts"),
        (32, [1] * 32),
    ],
)
def test_stages(count: int, layers: list[int]) -> None:
    assert [len(stage) for stage in stages(read(LLAMA_8B), count)] == layers


def test_more_stages_than_layers_is_refused() -> None:
    answer = size(Request(architecture=read(LLAMA_8B), gpu=H100, tensor_parallel=1, pipeline_parallel=33, count=33))
    assert answer.errors == ("pipeline parallel 33 is more than the model's 32 layers; use fewer",)


@pytest.mark.parametrize(
    ("count", "parallel"),
    [(1, (1, 1)), (4, (4, 1)), pytest.param(6, (2, 3), id="what does not divide is stages"), (16, (16, 1))],
)
def test_gpus_are_spread_by_themselves(count: int, parallel: tuple[int, int]) -> None:
    request = size(Request(architecture=read(LLAMA_70B), gpu=H100, count=count)).request
    assert (request.tensor_parallel, request.pipeline_parallel) == parallel


def test_whole_experts_are_not_cut() -> None:
    """1408 columns of an expert on four ranks are 352, which blocks of 128 do not divide."""
    config = {
        **DEEPSEEK_V2_LITE,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
        "intermediate_size": 4096,
    }
    request = Request(architecture=read(config), gpu=H100, tensor_parallel=4, count=4)
    assert "352 columns to a rank" in size(request).errors[0]
    assert size(request.but(expert_parallel=True)).errors == ()


def test_quantization_blocks_are_not_cut() -> None:
    config = {
        **LLAMA_8B,
        "intermediate_size": 1408,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
    }
    answer = size(Request(architecture=read(config), gpu=H100, tensor_parallel=2, count=2))
    assert "704 columns to a rank, which the checkpoint's quantization blocks of 128 do not divide" in answer.errors[0]

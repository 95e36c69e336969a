"""How a model may be spread over GPUs: what divides, and the layers of each pipeline stage."""

from __future__ import annotations

from itertools import pairwise

from slipway.sizing.architecture import Architecture, Layer, Split
from slipway.sizing.result import Request, SizingError

GPUS_OF_A_HOST = 8
"""An engine runs on one host, and hosts with more are rare."""
VOCABULARY_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this before it is cut."""


def stages(architecture: Architecture, count: int) -> tuple[tuple[Layer, ...], ...]:
    """The layers of each of `count` pipeline stages."""
    return tuple(architecture.layers[start:end] for start, end in stage_layers(len(architecture.layers), count))


def stage_layers(layers: int, stages: int) -> list[tuple[int, int]]:
    """First layer and the one past the last of each pipeline stage.

    What does not divide evenly goes to the last stages but one, as vLLM's get_pp_indices does (vllm/distributed/utils.py).

    Raises:
        SizingError: A stage would have no layer.
    """
    if not 1 <= stages <= layers:
        raise SizingError(f"pipeline_parallel: {stages}; from 1 to {layers}, the model's layers, is possible")
    sizes = [layers // stages] * stages
    for place in range(2, layers % stages + 2):
        sizes[-place] += 1
    bounds = [sum(sizes[:stage]) for stage in range(stages + 1)]
    return list(pairwise(bounds))


def refusals(request: Request) -> list[str]:
    """Why the engine would refuse this tensor and pipeline parallelism; empty when it would not."""
    architecture = request.architecture
    ranks, count = request.tensor_parallel or 1, request.pipeline_parallel or 1
    said: list[str] = []
    whole = request.expert_parallel
    uneven = [f"{amount} {what}" for what, amount in _shapes(architecture, whole_experts=whole) if amount % ranks]
    if uneven or not _kv_heads_divide(architecture, ranks):
        fitting = ", ".join(str(n) for n in range(1, 65) if divides(architecture, n))
        kv_heads = f"{architecture.kv_heads} KV heads"
        said.append(
            f"tensor parallel {ranks} does not divide the model's {' and '.join(uneven or [kv_heads])}; the engine would not "
            f"start: use one of {fitting}"
        )
    else:
        said += _blocks_cut(architecture, ranks, whole_experts=whole)
    dealt = request.decode_context_parallel
    if ranks % dealt:
        said.append(f"decode context parallel {dealt} does not divide tensor parallel {ranks}; use a divisor of it")
    if count > len(architecture.layers):
        said.append(f"pipeline parallel {count} is more than the model's {len(architecture.layers)} layers; use fewer")
    return said


def divides(architecture: Architecture, ranks: int) -> bool:
    """Whether `ranks` divides every shape of the model that vLLM cuts."""
    return (
        all(amount % ranks == 0 for _, amount in _shapes(architecture))
        and _kv_heads_divide(architecture, ranks)
        and not _blocks_cut(architecture, ranks)
    )


def _shapes(architecture: Architecture, *, whole_experts: bool = False) -> list[tuple[str, int]]:
    """What is cut into equal parts: (what, how many), each once."""
    shapes = [("attention heads", layer.heads) for layer in architecture.layers]
    shapes += [("columns of the feed-forward network", layer.intermediate) for layer in architecture.layers]
    if not whole_experts and not _experts_are_padded(architecture):
        shapes += [("columns of an expert", layer.expert_intermediate) for layer in architecture.layers]
    padded = -(-architecture.vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING
    shapes.append(("padded rows of the vocabulary", padded))
    return [(what, amount) for what, amount in dict.fromkeys(shapes) if amount]


def _kv_heads_divide(architecture: Architecture, ranks: int) -> bool:
    """Ranks hold whole heads, or several hold the same one."""
    heads = {layer.cache.kv_heads for layer in architecture.attention_layers if layer.cache.kv_heads}
    return all(number % ranks == 0 if number >= ranks else ranks % number == 0 for number in heads)


def _experts_are_padded(architecture: Architecture) -> bool:
    """mxfp4 kernels pad what each rank holds."""
    return architecture.quantization is not None and architecture.quantization.method == "mxfp4"


def _blocks_cut(architecture: Architecture, ranks: int, *, whole_experts: bool = False) -> list[str]:
    """Scales of a block or group must not be shared by two ranks."""
    quantization = architecture.quantization
    if quantization is None or ranks == 1:
        return []
    unit = quantization.block[0] if quantization.block else (quantization.group_size or 0)
    if unit <= 1:
        return []
    inners = {layer.intermediate for layer in architecture.layers if layer.intermediate}
    if not whole_experts and not _experts_are_padded(architecture):
        inners |= {layer.expert_intermediate for layer in architecture.layers if layer.expert_intermediate}
    cut = sorted(inner for inner in inners if inner % ranks == 0 and inner // ranks % unit)
    quantized = {weights.name for weights in architecture.inventory if weights.linear and weights.split is Split.RANKS}
    if not cut or not quantized:
        return []
    said = (
        f"tensor parallel {ranks} leaves {cut[0] // ranks} columns to a rank, which the checkpoint's quantization blocks of "
        f"{unit} do not divide; the engine would not start: use fewer ranks"
    )
    return [said]

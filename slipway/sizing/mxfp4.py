"""Routed experts in MXFP4 on one rank: the kernel that the engine takes decides how they are padded.

After vLLM 0.11.0 and 0.19.0 (layers/quantization/mxfp4.py, layers/fused_moe/oracle/mxfp4.py) and the layouts of
triton_kernels (tensor_details/layout_details/hopper_value.py and hopper_scale.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.sizing.allocator import allocated, up

BLOCK = 32
"""Weights per scale of 8 bits."""


@dataclass(frozen=True)
class Kernel:
    """What a kernel makes of a rank's experts."""

    hidden: int
    """The hidden size is padded to a multiple of it."""
    inner: int
    """The inner size of a rank's part too."""
    swizzled: int = 0
    """Triton's layout for Hopper: the bytes that the inputs of a row are padded to; 0 where the weights stay as they are."""
    bias_bytes: int = 2


MARLIN = Kernel(hidden=256, inner=128)
FLASHINFER = Kernel(hidden=256, inner=256, bias_bytes=4)
TRITON_35 = Kernel(hidden=1, inner=64, swizzled=32, bias_bytes=4)
TRITON_36 = Kernel(hidden=1, inner=64, swizzled=64, bias_bytes=4)
SCALE_ROWS, SCALE_COLUMNS = 256, 2
"""Triton's layout for Hopper pads the scales' rows and columns to these, with its 8 warps."""


def kernel(release: tuple[int, ...], capability: float) -> Kernel:
    """The kernel by vLLM's release and the GPU's CUDA capability.

    vLLM 0.11.0 came with triton_kernels 3.5 and 0.19.0 with 3.6; the change is taken to be at 0.15, with PyTorch 2.10.
    """
    if 10 <= capability < 11:
        return FLASHINFER
    if 9 <= capability < 10 and release >= (0, 11):
        return TRITON_36 if release >= (0, 15) else TRITON_35
    return MARLIN


def expert_bytes(*, experts: int, hidden: int, inner: int, biased: bool, gated: bool, chosen: Kernel) -> int:
    """Bytes of one layer's routed experts on one rank, as the allocator counts them.

    Args:
        experts: How many.
        hidden: Hidden size of the model.
        inner: Inner size of an expert's part on the rank.
        biased: They have biases.
        gated: They have a gate.
        chosen: The kernel.
    """
    wide, deep = up(hidden, chosen.hidden), up(inner, chosen.inner)
    total = 0
    for rows, inputs in ((deep * (2 if gated else 1), wide), (wide, deep)):
        scales = experts * rows * -(-inputs // BLOCK)
        row_bytes = -(-inputs // 2)
        if chosen.swizzled:
            row_bytes = up(row_bytes, chosen.swizzled)
            # The layer keeps the scales that it was loaded with beside those of the kernel's layout.
            total += allocated(experts * up(rows, SCALE_ROWS) * up(-(-inputs // BLOCK), SCALE_COLUMNS))
        total += allocated(experts * rows * row_bytes) + allocated(scales)
        total += allocated(experts * rows * chosen.bias_bytes) if biased else 0
    return total

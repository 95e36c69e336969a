"""What PyTorch's CUDA allocator counts for a tensor (c10/cuda/CUDACachingAllocator.cpp).

Sizes are multiples of 512 bytes; a tensor of 10 MiB or more gets a segment of whole 2 MiB, and what is left over in it
belongs to the tensor unless it is more than 1 MiB.
"""

from __future__ import annotations

SMALLEST, SEGMENT, LEFTOVER, LARGE = 512, 2 << 20, 1 << 20, 10 << 20


def allocated(size: float) -> int:
    """Bytes that the allocator counts for a tensor of `size` bytes."""
    rounded = -(-int(size) // SMALLEST) * SMALLEST
    if rounded < LARGE:
        return rounded
    left = -rounded % SEGMENT
    return rounded + left if left <= LEFTOVER else rounded


def up(number: int, multiple: int) -> int:
    """`number` rounded up to a multiple of `multiple`."""
    return -(-number // multiple) * multiple

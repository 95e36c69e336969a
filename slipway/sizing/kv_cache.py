"""How vLLM lays out its KV cache: blocks, groups of layers, and what one request takes.

After vLLM 0.19, vllm/v1/core/kv_cache_utils.py and vllm/v1/kv_cache_interface.py (also read: 0.10.1.1, 0.11.0, 0.16.0,
0.24.0). Layers that keep the same thing form a type. With one type there is one group, and each of its layers has its own
pages. With several, every type is cut into groups of the same number of layers, all groups share one pool of equally large
pages, and a block of the pool serves one group at a time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

from slipway.sizing.architecture import Architecture, Cache, Layer


@dataclass(frozen=True)
class Page:
    """What one layer keeps, on one rank. Layers with equal pages are of one type."""

    kind: str
    """full, window, chunk or state."""
    bytes_per_token: int
    """0 for state."""
    window: int = 0
    state_bytes: int = 0


@dataclass(frozen=True)
class Layout:
    """The cache of one pipeline stage, ready to be filled."""

    block_size: int
    """Tokens."""
    page_bytes: int
    """One block of one layer."""
    pool_layers: int
    """Layers whose pages one block of the pool is made of: block bytes = page_bytes * pool_layers."""
    groups: tuple[tuple[str, int, int], ...]
    """(kind, window, tokens in a block) of each group."""
    uniform: bool
    """One group, whose block takes `page_bytes` for all its layers together."""
    chunk: int
    """Tokens under way: a window's layers hold that much more while a prompt is worked on."""
    state_blocks: int
    """Blocks that a state takes per request: 1, or 2 where prefix caching keeps an aligned copy; 0 where it keeps one at
    every block of tokens."""
    context_ranks: int = 1
    """Ranks over which decode context parallelism deals a sequence's tokens out; each holds its share of them."""

    @property
    def block_bytes(self) -> int:
        """One block of the pool."""
        return self.page_bytes if self.uniform else self.page_bytes * self.pool_layers

    def blocks(self, room: int) -> int:
        """Blocks that `room` bytes hold."""
        return max(0, room) // self.block_bytes if self.block_bytes else 0

    def blocks_of_request(self, tokens: int) -> int:
        """Blocks that one request of `tokens` tokens takes, all groups together."""
        return sum(self._group_blocks(kind, window, size, tokens) for kind, window, size in self.groups)

    def _group_blocks(self, kind: str, window: int, size: int, tokens: int) -> int:
        if kind == "state":
            return self.state_blocks or -(-tokens // size)
        if kind == "window":
            # One more, since a window may begin inside a block.
            return -(-min(window - 1 + self.chunk, tokens) // size) + 1
        if kind == "chunk":
            return -(-min(window + self.chunk, tokens) // size)
        return -(-tokens // (size * self.context_ranks))

    def concurrency(self, blocks: int, tokens: int) -> float:
        """Requests of `tokens` tokens that `blocks` blocks hold at once."""
        needed = self.blocks_of_request(tokens)
        return blocks / needed if needed else 0.0

    def tokens(self, blocks: int, context: int, *, by_concurrency: bool) -> int:
        """Room in tokens, as the engine's log prints it.

        Up to 0.20 it is the share of one group in all blocks; later releases multiply the concurrency with the context.
        """
        if by_concurrency:
            return int(self.concurrency(blocks, context) * context)
        smallest = min((size for *_, size in self.groups), default=0)
        return blocks // len(self.groups) * smallest * self.context_ranks if self.groups else 0


def layout(
    architecture: Architecture,
    layers: tuple[Layer, ...],
    *,
    tensor_parallel: int,
    element_bytes: int,
    model_bytes: int,
    block_size: int,
    chunk: int,
    state_blocks: int = 1,
    context_ranks: int = 1,
    windows_are_full: bool = False,
    chunks_are_full: bool = False,
    padding: float = 1.5,
    sparse_latent: int = 0,
    state_step: int = 16,
) -> Layout:
    """The layout of `layers`, one pipeline stage of `architecture`, on one of `tensor_parallel` ranks.

    Args:
        architecture: The whole model: its types of layers decide the groups, also where a stage has not all of them.
        layers: Those of the stage.
        tensor_parallel: Ranks.
        element_bytes: Of a cached key or value: 2 for 16 bits, 1 for fp8.
        model_bytes: Of a state's element: the model's own type.
        block_size: Tokens in a block as configured; raised where a state is larger than a page.
        chunk: Tokens under way at once.
        state_blocks: Blocks of a state per request.
        context_ranks: Ranks that share a sequence's tokens.
        windows_are_full: The engine keeps all tokens in windowed layers too (its hybrid manager is off).
        chunks_are_full: The same for chunked layers alone.
        padding: Where the largest type has less than this times the layers of the smallest, groups are as large as the
            largest, and the others are padded.
        sparse_latent: Bytes of a token's latent where a sparse MLA kernel has a format of its own; 0 where it has none.
        state_step: Tokens by which a block is raised to the size of a state.
    """

    def page_of(layer: Layer) -> Page:
        page = page_of_cache(layer.cache, tensor_parallel, element_bytes, model_bytes, sparse_latent)
        full = windows_are_full or (chunks_are_full and page.kind == "chunk")
        return Page("full", page.bytes_per_token) if full and page.kind in ("window", "chunk") else page

    common = {"chunk": chunk, "state_blocks": state_blocks, "context_ranks": context_ranks}
    every = Counter(page_of(layer) for layer in architecture.layers if layer.cache.kind != "none")
    here = Counter(page_of(layer) for layer in layers if layer.cache.kind != "none")
    if not every:
        return Layout(block_size, 0, 0, (), uniform=True, **common)
    if len({(page.kind, page.window) for page in every}) == 1:
        kind, window = next((page.kind, page.window) for page in every)
        total = sum(count * (page.state_bytes or page.bytes_per_token * block_size) for page, count in here.items())
        return Layout(block_size, total, 1, ((kind, window, block_size),), uniform=True, **common)
    attention = max((page.bytes_per_token for page in every), default=0)
    state = max((page.state_bytes for page in every), default=0)
    if state and attention:
        # Pages must be equally large, so the attention's block grows until it is as large as a state, step by step.
        block_size = max(block_size, state_step * -(-state // (state_step * attention)))
    page_bytes = max(attention * block_size, state)
    size = min(every.values())
    if max(every.values()) < size * padding:
        size = max(every.values())
    groups: list[tuple[str, int, int]] = []
    stage_layers = 0
    for page, count in every.items():
        number = -(-count // size)
        # Smaller pages get as many more tokens as they are smaller (unify_kv_cache_spec_page_size).
        tokens = block_size * (attention // page.bytes_per_token) if page.bytes_per_token else block_size
        groups += [(page.kind, page.window, tokens)] * number
        stage_layers = max(stage_layers, -(-here[page] // number))
    return Layout(
        block_size,
        page_bytes,
        stage_layers if sum(here.values()) < sum(every.values()) else size,
        tuple(groups),
        uniform=False,
        **common,
    )


def page_of_cache(
    cache: Cache, tensor_parallel: int, element_bytes: int, model_bytes: int, sparse_latent: int = 0
) -> Page:
    """What one layer keeps on one of `tensor_parallel` ranks."""
    if cache.kind == "state":
        return Page("state", 0, 0, _state_bytes(cache, tensor_parallel, model_bytes))
    if cache.kind == "mla":
        # Every rank keeps the whole latent. The sparse indexer's key is fp8 with one 32-bit scale per 128 values.
        indexer = cache.index_dim + cache.index_dim // 128 * 4
        latent = sparse_latent if cache.index_dim and sparse_latent else cache.latent * element_bytes
        return Page("full", latent + indexer)
    # Ranks beyond the number of KV heads hold copies.
    heads = max(1, cache.kv_heads // tensor_parallel)
    width = heads * (cache.head_dim + (cache.value_dim or cache.head_dim)) * element_bytes
    kind = {"sliding": "window", "chunked": "chunk"}.get(cache.kind, "full")
    return Page(kind, width, cache.window if kind != "full" else 0)


def _state_bytes(cache: Cache, tensor_parallel: int, model_bytes: int) -> int:
    """Convolution states are of the model's type; a recurrent one may be kept in 32 bits, as the Cache says."""
    total = 0
    for number, shape in enumerate(cache.state_elements):
        size = cache.state_bytes[number] if number < len(cache.state_bytes) else 0
        total += -(-prod(shape) // tensor_parallel) * (size or model_bytes)
    return total

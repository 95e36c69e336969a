"""Blocks, groups and what a request takes."""

from dataclasses import replace
from typing import Any

import pytest

from slipway.sizing.architecture import Architecture, Cache, Layer
from slipway.sizing.kv_cache import Layout, layout, page_of_cache
from tests.unit.sizing.models import DEEPSEEK_V2_LITE, GEMMA_3_1B, LLAMA_8B, read

FULL = Cache("full", kv_heads=8, head_dim=128)
SLIDING = Cache("sliding", kv_heads=8, head_dim=128, window=1024)
STATE = Cache("state", state_elements=((3, 8192), (32, 128, 128)), state_bytes=(2, 4), state_kind="gdn")


def laid_out(*caches: Cache, chunk: int = 2048, ranks: int = 1, **options: Any) -> Layout:
    architecture = replace(read(LLAMA_8B), layers=tuple(Layer(cache, ()) for cache in caches))
    return layout(
        architecture,
        architecture.layers,
        tensor_parallel=ranks,
        element_bytes=2,
        model_bytes=2,
        block_size=16,
        chunk=chunk,
        **options,
    )


@pytest.mark.parametrize(
    ("cache", "ranks", "element", "bytes_per_token"),
    [
        (FULL, 1, 2, 8 * 256 * 2),
        (FULL, 4, 2, 2 * 256 * 2),
        (FULL, 8, 2, 256 * 2),
        pytest.param(FULL, 16, 2, 256 * 2, id="ranks beyond the KV heads hold copies"),
        pytest.param(FULL, 1, 1, 8 * 256, id="fp8 halves the bytes"),
        pytest.param(
            Cache("full", kv_heads=4, head_dim=192, value_dim=128), 1, 2, 4 * 320 * 2, id="unequal key and value"
        ),
        pytest.param(Cache("mla", latent=576), 8, 2, 1152, id="MLA's latent is on every rank"),
        pytest.param(Cache("mla", latent=576, index_dim=128), 1, 2, 1152 + 132, id="the indexer's key lies beside it"),
    ],
)
def test_bytes_of_a_token(cache: Cache, ranks: int, element: int, bytes_per_token: int) -> None:
    assert page_of_cache(cache, ranks, element, 2).bytes_per_token == bytes_per_token


def test_a_state_is_as_large_however_long_the_sequence() -> None:
    page = page_of_cache(STATE, 1, 2, 2)
    assert (page.bytes_per_token, page.state_bytes) == (0, 3 * 8192 * 2 + 32 * 128 * 128 * 4)
    assert page_of_cache(STATE, 4, 2, 2).state_bytes == page.state_bytes // 4


def test_one_type_of_layer_is_one_group() -> None:
    dense = laid_out(FULL, FULL, FULL)
    assert (dense.uniform, dense.block_bytes, len(dense.groups)) == (True, 3 * 16 * 4096, 1)
    assert dense.blocks(10 * dense.block_bytes + 1) == 10
    assert dense.blocks_of_request(17) == 2
    assert dense.tokens(10, 17, by_concurrency=False) == 160
    assert dense.tokens(10, 17, by_concurrency=True) == 85


def test_windows_are_groups_of_their_own() -> None:
    hybrid = laid_out(FULL, SLIDING, SLIDING, SLIDING)
    assert [kind for kind, _, _ in hybrid.groups] == ["full", "window", "window", "window"]
    assert hybrid.block_bytes == 16 * 4096
    # full: 625 blocks; a window holds 1023 and the chunk of 2048, and may begin inside a block: 192 + 1.
    assert hybrid.blocks_of_request(10_000) == 625 + 3 * 193
    assert hybrid.blocks_of_request(160) == 10 + 3 * 11


def test_nearly_as_many_of_each_kind_are_padded_to_the_larger() -> None:
    hybrid = laid_out(*[FULL] * 4, *[SLIDING] * 5)
    assert len(hybrid.groups) == 2
    assert hybrid.pool_layers == 5


def test_windows_cost_as_much_as_all_where_the_manager_is_off() -> None:
    hybrid = laid_out(FULL, SLIDING, SLIDING, SLIDING, windows_are_full=True)
    assert (hybrid.uniform, hybrid.blocks_of_request(10_000)) == (True, 625)


def test_attention_blocks_grow_to_the_size_of_a_state() -> None:
    mixed = laid_out(FULL, STATE, STATE, STATE)
    state = 3 * 8192 * 2 + 32 * 128 * 128 * 4
    assert mixed.block_size == 16 * -(-state // (16 * 4096))
    assert mixed.page_bytes == mixed.block_size * 4096 >= state
    assert mixed.blocks_of_request(mixed.block_size) == 1 + 3


def test_chunked_layers() -> None:
    chunked = Cache("chunked", kv_heads=8, head_dim=128, window=8192)
    assert laid_out(FULL, chunked).blocks_of_request(100_000) == 6250 + (8192 + 2048) // 16
    assert laid_out(FULL, chunked, chunks_are_full=True).blocks_of_request(100_000) == 6250


@pytest.mark.parametrize(
    ("config", "groups", "bytes_per_block"),
    [
        pytest.param(LLAMA_8B, 1, 16 * 131072, id="llama: 128 KiB a token"),
        pytest.param(DEEPSEEK_V2_LITE, 1, 16 * 27 * 1152, id="deepseek v2 lite"),
        pytest.param(GEMMA_3_1B, 7, 16 * 4 * 1024, id="gemma 3: 4 full layers, 22 windows in groups of 4"),
    ],
)
def test_published_models(config: dict[str, object], groups: int, bytes_per_block: int) -> None:
    architecture: Architecture = read(config)
    found = layout(
        architecture, architecture.layers, tensor_parallel=1, element_bytes=2, model_bytes=2, block_size=16, chunk=2048
    )
    assert (len(found.groups), found.block_bytes) == (groups, bytes_per_block)


def test_smaller_pages_hold_more_tokens() -> None:
    """Gemma 4's kind: windows with 16 heads of 256, full layers with 4 of 512, so that a full block holds 32 tokens."""
    full, window = Cache("full", kv_heads=4, head_dim=512), Cache("sliding", kv_heads=16, head_dim=256, window=1024)
    hybrid = laid_out(full, window)
    assert hybrid.groups == (("full", 0, 32), ("window", 1024, 16))
    assert hybrid.blocks_of_request(10_000) == 313 + 193
    assert hybrid.tokens(10, 100, by_concurrency=False) == 5 * 16


def test_a_state_at_every_block() -> None:
    mixed = laid_out(FULL, STATE, state_blocks=0, state_step=256)
    assert mixed.block_size % 256 == 0
    assert mixed.blocks_of_request(10 * mixed.block_size) == 20


@pytest.mark.parametrize(("padding", "groups"), [(1.0, 3), (1.25, 2), (1.5, 2)])
def test_when_groups_are_padded_depends_on_the_release(padding: float, groups: int) -> None:
    assert len(laid_out(*[FULL] * 9, *[SLIDING] * 10, padding=padding).groups) == groups


def test_sparse_latents_have_a_format_of_their_own() -> None:
    sparse, dense = Cache("mla", latent=576, index_dim=128), Cache("mla", latent=576)
    assert page_of_cache(sparse, 1, 1, 2, 656).bytes_per_token == 656 + 132
    assert page_of_cache(dense, 1, 1, 2, 656).bytes_per_token == 576


def test_an_embedding_model_without_cache_has_no_groups() -> None:
    none = laid_out(Cache("none"))
    assert (none.groups, none.blocks(1 << 30), none.tokens(0, 512, by_concurrency=False)) == ((), 0, 0)

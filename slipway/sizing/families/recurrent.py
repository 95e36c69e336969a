"""Mixers that keep a state of fixed size in place of keys and values.

Mamba 1 and 2, gated delta nets, Kimi's delta attention, lightning attention, short convolutions. Shapes of the states are
those of vLLM 0.19.0 (vllm/model_executor/layers/mamba/mamba_utils.py), in all ranks together.
"""

from __future__ import annotations

from slipway.sizing.architecture import Cache, Split
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Lines, Mixer, column, copied, norm, row, vector

WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}


def state_width(keys: Keys, *names: str) -> int:
    """Bytes of a recurrent state's element: what the config asks for, or 0 for the model's own type."""
    for name in names:
        if name in keys:
            return WIDTHS.get(keys.text(name), 0)
    return 0


def mamba2(
    hidden: int,
    *,
    heads: int,
    head_dim: int,
    groups: int,
    state: int,
    kernel: int,
    bias: bool = False,
    conv_bias: bool = True,
    normed: bool = True,
    width: int = 0,
    at: str = "mamba",
) -> Mixer:
    """Mamba 2: `heads` heads of `head_dim`, each with a state of `state` values a channel; `width` bytes of its element."""
    inner = heads * head_dim
    mixed = inner + 2 * groups * state
    weights = column("in_proj", hidden, inner + mixed + heads, bias=bias, at=(f"{at}.in_proj",))
    weights += vector("conv1d", mixed * (kernel + conv_bias), Split.RANKS)
    weights += vector("mamba_heads", 3 * heads, Split.RANKS)
    weights += vector("mamba_norm", inner, Split.RANKS) if normed else ()
    weights += row("out_proj", inner, hidden, bias=bias, at=(f"{at}.out_proj",))
    cache = Cache(
        "state",
        state_elements=((kernel - 1, mixed), (heads, head_dim, state)),
        state_bytes=(0, width),
        state_kind="mamba2",
    )
    return Mixer(cache, weights)


def mamba1(
    hidden: int,
    inner: int,
    *,
    state: int,
    kernel: int,
    rank: int,
    bias: bool = False,
    conv_bias: bool = True,
    normed: bool = False,
    at: str = "mamba",
) -> Mixer:
    """Mamba 1: `inner` channels, each with a state of `state` values. `normed`: Jamba's norms of the time step, B and C."""
    weights = column("in_proj", hidden, 2 * inner, bias=bias, at=(f"{at}.in_proj",))
    weights += vector("conv1d", inner * (kernel + conv_bias), Split.RANKS)
    weights += row("x_proj", inner, rank + 2 * state, at=(f"{at}.x_proj",))
    weights += column("dt_proj", rank, inner, bias=True, at=(f"{at}.dt_proj",))
    weights += vector("A_log", inner * state, Split.RANKS) + vector("D", inner, Split.RANKS)
    weights += row("out_proj", inner, hidden, bias=bias, at=(f"{at}.out_proj",))
    if normed:
        weights += norm("mamba_norms", rank + 2 * state)
    cache = Cache(
        "state", state_elements=((kernel - 1, inner), (inner, state)), state_bytes=(0, 0), state_kind="mamba1"
    )
    return Mixer(cache, weights)


def gated_delta_net(keys: Keys, hidden: int, at: str = "linear_attn") -> Mixer:
    """Qwen's gated delta net (Qwen3-Next, Qwen 3.5)."""
    key_heads = keys.count("linear_num_key_heads", default=16, most=1 << 12)
    value_heads = keys.count("linear_num_value_heads", default=32, most=1 << 12)
    key_dim = keys.count("linear_key_head_dim", default=128, most=1 << 16)
    value_dim = keys.count("linear_value_head_dim", default=128, most=1 << 16)
    kernel = keys.count("linear_conv_kernel_dim", default=4, most=1 << 10)
    if value_heads % key_heads:
        raise keys.wrong("linear_num_key_heads", f"is {key_heads}; it must divide the {value_heads} value heads")
    keyed, valued = key_heads * key_dim, value_heads * value_dim
    wide = (f"{at}.in_proj_qkvz", f"{at}.in_proj_qkv", f"{at}.in_proj_z")
    weights = column("in_proj_qkvz", hidden, 2 * keyed + 2 * valued, at=wide)
    weights += column(
        "in_proj_ba", hidden, 2 * value_heads, at=(f"{at}.in_proj_ba", f"{at}.in_proj_b", f"{at}.in_proj_a")
    )
    weights += vector("conv1d", (2 * keyed + valued) * kernel, Split.RANKS)
    weights += vector("delta_heads", 2 * value_heads, Split.RANKS) + norm("delta_norm", value_dim)
    weights += row("out_proj", valued, hidden, at=(f"{at}.out_proj",))
    cache = Cache(
        "state",
        state_elements=((kernel - 1, 2 * keyed + valued), (value_heads, value_dim, key_dim)),
        state_bytes=(0, state_width(keys, "mamba_ssm_dtype")),
        state_kind="gdn",
    )
    return Mixer(cache, weights)


def delta_attention(hidden: int, *, heads: int, head_dim: int, kernel: int, at: str = "self_attn") -> Mixer:
    """Kimi's delta attention (Kimi-Linear)."""
    size = heads * head_dim
    weights: Lines = ()
    for name in ("q_proj", "k_proj", "v_proj"):
        weights += column(name, hidden, size, at=(f"{at}.{name}",))
    for gate in ("f", "g"):
        weights += copied(f"{gate}_a_proj", hidden, head_dim, at=(f"{at}.{gate}_a_proj",))
        weights += column(f"{gate}_b_proj", head_dim, size, at=(f"{at}.{gate}_b_proj",))
    weights += column("b_proj", hidden, heads, at=(f"{at}.b_proj",))
    weights += vector("conv1d", 3 * size * kernel, Split.RANKS)
    weights += vector("delta_heads", size + heads, Split.RANKS) + norm("delta_norm", head_dim)
    weights += row("o_proj", size, hidden, at=(f"{at}.o_proj",))
    convolution = (kernel - 1, size)
    cache = Cache(
        "state",
        state_elements=(convolution, convolution, convolution, (heads, head_dim, head_dim)),
        state_bytes=(0, 0, 0, 4),
        state_kind="gdn",
    )
    return Mixer(cache, weights)


def lightning(hidden: int, *, heads: int, head_dim: int, at: str = "self_attn") -> Mixer:
    """MiniMax's linear attention; its state is of the model's type."""
    size = heads * head_dim
    weights = column("qkv_proj", hidden, 3 * size, at=(f"{at}.qkv_proj",))
    weights += column("output_gate", hidden, size, at=(f"{at}.output_gate",)) + norm("linear_norm", size)
    weights += row("out_proj", size, hidden, at=(f"{at}.out_proj",))
    cache = Cache("state", state_elements=((heads, head_dim, head_dim),), state_bytes=(0,), state_kind="linear")
    return Mixer(cache, weights)


def short_convolution(hidden: int, *, inner: int, kernel: int, bias: bool, at: str = "conv") -> Mixer:
    """LFM 2's gated convolution."""
    weights = column("in_proj", hidden, 3 * inner, bias=bias, at=(f"{at}.in_proj",))
    weights += vector("conv1d", inner * (kernel + bias), Split.RANKS)
    weights += row("out_proj", inner, hidden, bias=bias, at=(f"{at}.out_proj",))
    cache = Cache("state", state_elements=((kernel - 1, inner),), state_bytes=(0,), state_kind="short_conv")
    return Mixer(cache, weights)

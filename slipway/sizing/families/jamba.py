"""Jamba (Mamba 1, every eighth layer attention, every second one with experts) and pure Mamba."""

from __future__ import annotations

from slipway.sizing.families.decoder import attention, decoder, experts, head_size, hidden_size, mlp
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, FeedForward
from slipway.sizing.families.recurrent import mamba1, mamba2, state_width


def jamba(keys: Keys) -> Draft:
    """Which layer is which follows from periods and offsets."""
    hidden, size = hidden_size(keys), head_size(keys)
    inner = keys.count("intermediate_size")
    attending = attention(keys, head_dim=size)
    recurrent = mamba1(
        hidden,
        keys.count("mamba_expand", default=2, most=64) * hidden,
        state=keys.count("mamba_d_state", default=16, most=1 << 16),
        kernel=keys.count("mamba_d_conv", default=4, most=1 << 10),
        rank=_rank(keys, "mamba_dt_rank", hidden),
        bias=keys.flag("mamba_proj_bias", default=False),
        conv_bias=keys.flag("mamba_conv_bias", default=True),
        normed=True,
    )
    dense, count = mlp(hidden, inner, at="feed_forward"), keys.count("num_experts", default=16)
    top_k = keys.count("num_experts_per_tok", default=2)
    routed = experts(hidden, count, top_k, inner, at="feed_forward", router="router") if count > 1 else dense
    attends = _every(keys, "attn_layer", 8, 4)
    routes = _every(keys, "expert_layer", 2, 1)
    return decoder(
        keys,
        lambda i: attending if i % attends[0] == attends[1] else recurrent,
        lambda i: routed if i % routes[0] == routes[1] else dense,
    )


def _every(keys: Keys, what: str, period: int, offset: int) -> tuple[int, int]:
    number = keys.count(f"{what}_period", default=period)
    first = keys.count(f"{what}_offset", default=offset, least=0)
    if first >= number:
        raise keys.wrong(f"{what}_offset", f"is {first}; it must be below {what}_period, {number}")
    return number, first


def _rank(keys: Keys, name: str, hidden: int) -> int:
    return -(-hidden // 16) if keys.get(name, "auto") == "auto" else keys.count(name)


def mamba(keys: Keys) -> Draft:
    """Mamba 1 and Falcon-Mamba."""
    hidden = hidden_size(keys)
    mixer = mamba1(
        hidden,
        keys.count("intermediate_size", "d_inner", default=keys.count("expand", default=2, most=64) * hidden),
        state=keys.count("state_size", "d_state", default=16, most=1 << 16),
        kernel=keys.count("conv_kernel", "d_conv", default=4, most=1 << 10),
        rank=_rank(keys, "time_step_rank", hidden),
        bias=keys.flag("use_bias", default=False),
        conv_bias=keys.flag("use_conv_bias", default=True),
        at="mixer",
    )
    return decoder(keys, lambda _: mixer, lambda _: FeedForward(()), norms=1, tied=True)


def pure_mamba2(keys: Keys) -> Draft:
    """Mamba 2, Codestral-Mamba."""
    hidden = hidden_size(keys)
    mixer = mamba2(
        hidden,
        heads=keys.count("num_heads", default=128, most=1 << 16),
        head_dim=keys.count("head_dim", default=64, most=1 << 16),
        groups=keys.count("n_groups", default=8, most=1 << 16),
        state=keys.count("state_size", default=128, most=1 << 16),
        kernel=keys.count("conv_kernel", default=4, most=1 << 10),
        bias=keys.flag("use_bias", default=False),
        conv_bias=keys.flag("use_conv_bias", default=True),
        width=state_width(keys, "mamba_ssm_cache_dtype"),
        at="mixer",
    )
    return decoder(keys, lambda _: mixer, lambda _: FeedForward(()), norms=1)


MODEL_TYPES = {"jamba": jamba, "mamba": mamba, "falcon_mamba": mamba, "mamba2": pure_mamba2}

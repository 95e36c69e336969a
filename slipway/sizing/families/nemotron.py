"""Nemotron-H and Nemotron 3: a letter a layer (Mamba 2, attention, a dense network, or routed experts), one norm each."""

from __future__ import annotations

from dataclasses import replace

from slipway.sizing.architecture import Cache, Layer
from slipway.sizing.families.decoder import attention, decoder, experts, head_size, hidden_size, layer_count, mlp
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import inner_size
from slipway.sizing.families.parts import Draft, FeedForward, Mixer, column, layer, norm, row
from slipway.sizing.families.recurrent import mamba2, state_width

KINDS = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
NOTHING = Mixer(Cache("none"), ())


def nemotron_h(keys: Keys) -> Draft:
    """The pattern is `hybrid_override_pattern`, or `layers_block_type` with words."""
    hidden, pattern = hidden_size(keys), _pattern(keys)
    ready: dict[str, Layer] = {}
    for kind in set(pattern):
        mixer, network = _part(keys, hidden, kind)
        ready[kind] = layer(mixer, network, norm("norm", hidden))
    plain = decoder(Keys({**keys.values, "num_hidden_layers": 1}, keys.path, keys.fallback, keys.name), _none, _nothing)
    return Draft(hidden, plain.vocabulary, tuple(ready[kind] for kind in pattern), plain.outside, plain.tied)


def _none(_: int) -> Mixer:
    return NOTHING


def _nothing(_: int) -> FeedForward:
    return FeedForward(())


def _pattern(keys: Keys) -> str:
    listed = keys.items("layers_block_type")
    if listed and all(isinstance(item, str) and item in KINDS for item in listed):
        return "".join(KINDS[item] for item in listed)
    pattern = keys.text("hybrid_override_pattern")
    if not pattern:
        raise keys.wrong("hybrid_override_pattern", "is missing; a letter of M*-E for each layer is wanted")
    wrong = set(pattern) - set("M*-E")
    if wrong:
        raise keys.wrong("hybrid_override_pattern", f"has {min(wrong)!r}; the letters M, *, - and E are known")
    count = layer_count(keys)
    if len(pattern) != count:
        raise keys.wrong("hybrid_override_pattern", f"has {len(pattern)} letters for {count} layers")
    return pattern


def _part(keys: Keys, hidden: int, kind: str) -> tuple[Mixer, FeedForward]:
    if kind == "M":
        mixer = mamba2(
            hidden,
            heads=keys.count("mamba_num_heads", most=1 << 16),
            head_dim=keys.count("mamba_head_dim", most=1 << 16),
            groups=keys.count("n_groups", "mamba_n_groups", default=8, most=1 << 16),
            state=keys.count("ssm_state_size", default=128, most=1 << 16),
            kernel=keys.count("conv_kernel", default=4, most=1 << 10),
            bias=keys.flag("mamba_proj_bias", default=keys.flag("use_bias", default=False)),
            conv_bias=keys.flag("use_conv_bias", default=True),
            width=state_width(keys, "mamba_ssm_cache_dtype"),
            at="mixer",
        )
        return mixer, FeedForward(())
    if kind == "*":
        bias = keys.flag("attention_bias", default=False)
        size = head_size(keys, default=keys.count("attention_head_dim", default=128, most=1 << 16))
        return attention(keys, head_dim=size, bias=bias, out_bias=bias, at="mixer"), FeedForward(())
    bias = keys.flag("mlp_bias", default=False)
    if kind == "-":
        return NOTHING, mlp(
            hidden, inner_size(keys), gated=False, bias=bias, at="mixer", names=("up_proj", "down_proj")
        )
    return NOTHING, _routed(keys, hidden)


def _routed(keys: Keys, hidden: int) -> FeedForward:
    """Experts may work in a latent of their own (`moe_latent_size`) between two projections."""
    latent = keys.count("moe_latent_size", default=0, least=0)
    shared = keys.count("n_shared_experts", default=1, least=0)
    part = experts(
        latent or hidden,
        keys.count("n_routed_experts"),
        keys.count("num_experts_per_tok", default=6),
        keys.count("moe_intermediate_size"),
        correction=True,
        gated=False,
        at="mixer",
        names=("up_proj", "down_proj"),
    )
    # The correction is a buffer, which published counts leave out.
    weights = tuple(replace(line, on_disk=line.name != "router.correction_bias") for line in part.weights)
    if latent:
        weights = tuple(line for line in weights if line.name != "router")
        weights += tuple(line for line in experts(hidden, part.experts, 1, 1).weights if line.name == "router")
        weights += column("latent.1", hidden, latent, at=("mixer.fc1_latent_proj",))
        weights += row("latent.2", latent, hidden, at=("mixer.fc2_latent_proj",))
    if shared:
        inner = shared * keys.count("moe_shared_expert_intermediate_size", default=part.expert_intermediate)
        weights += mlp(hidden, inner, gated=False, at="mixer.shared_experts", names=("up_proj", "down_proj")).weights
        return FeedForward(weights, 0, part.experts, part.top_k, part.expert_intermediate, inner)
    return FeedForward(weights, 0, part.experts, part.top_k, part.expert_intermediate)


MODEL_TYPES = {"nemotron_h": nemotron_h}

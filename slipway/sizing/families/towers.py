"""Towers that see: SigLIP and CLIP, Qwen's, MoonViT, InternViT, Llama 4's, and one of the common kind for what is not known.

Parameter counts follow Hugging Face Transformers (4.57), splits vLLM 0.19.0. No quantization is taken to apply to them:
published checkpoints leave them out.
"""

from __future__ import annotations

from slipway.sizing.architecture import Encoder
from slipway.sizing.families.keys import MOST_LAYERS, Keys
from slipway.sizing.families.parts import Lines, column, copied, norm, row, vector
from slipway.sizing.families.wrappers import tower_layer, unquantized

MOST_SIDE = 1 << 14


def width_of(vision: Keys, default: int | None = None) -> tuple[int, int, int]:
    """Hidden size, inner size and layers of a tower."""
    width = vision.count("hidden_size", "embed_dim", "width", default=default, most=1 << 16)
    inner = vision.count(
        "intermediate_size", default=round(width * vision.positive("mlp_ratio", 4.0)) or 1, most=1 << 20
    )
    return width, inner, vision.count("num_hidden_layers", "depth", "layers", default=24, most=MOST_LAYERS)


def side_of(vision: Keys, image: int, patch: int) -> int:
    """Patches along an image's side."""
    return max(1, _length(vision, "image_size", image) // _length(vision, "patch_size", patch))


def _length(vision: Keys, name: str, default: int) -> int:
    """A side in pixels; where height and width are listed, the height."""
    value = vision.get(name, default)
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return vision.whole(name, value, most=MOST_SIDE)


def patches(vision: Keys, width: int, patch: int = 14, *, bias: bool = True, frames: int = 1) -> Lines:
    """The convolution that makes a vector of each patch."""
    size = _length(vision, "patch_size", patch)
    channels = vision.count("num_channels", "in_channels", "in_chans", default=3, most=1 << 10)
    return vector("vision.patch", channels * frames * size * size * width + (width if bias else 0))


def siglip(vision: Keys, *, clip: bool = False) -> tuple[Lines, int, int]:
    """SigLIP's or CLIP's tower: its lines, its hidden size and the patches along a side."""
    width, inner, layers = width_of(vision, 768)
    side = side_of(vision, 224, 16)
    lines = patches(vision, width, 16, bias=not clip)
    lines += vector("vision.positions", (side * side + clip) * width)
    if clip:
        lines += vector("vision.class", width) + norm("vision.norm_before", width, bias=True)
    part = tower_layer(width, inner, split=True, bias=True) + norm("vision.norms", 2 * width, bias=True)
    lines += part * layers + norm("vision.norm_after", width, bias=True)
    if not clip and vision.flag("vision_use_head", default=True):
        head = copied("vision.head", width, 4 * width + 2 * inner) + vector("vision.head.bias", 7 * width + inner)
        lines += head + vector("vision.head.probe", width)
    return lines, width, side


def qwen2_vision(vision: Keys, hidden: int) -> Encoder:
    """Qwen2-VL's: patches of two frames, LayerNorm, networks without a gate."""
    width = vision.count("embed_dim", default=1280, most=1 << 16)
    merge = vision.count("spatial_merge_size", default=2, most=64)
    inner = round(width * vision.positive("mlp_ratio", 4.0)) or 1
    lines = patches(vision, width, bias=False, frames=vision.count("temporal_patch_size", default=2, most=64))
    part = tower_layer(width, inner, split=True, bias=True) + norm("vision.norms", 2 * width, bias=True)
    lines += part * vision.count("depth", default=32, most=MOST_LAYERS) + norm("merger.norm", width, bias=True)
    return _qwen(lines + _merger(width * merge * merge, hidden), width, merge, videos=7)


def qwen2_5_vision(vision: Keys, hidden: int) -> Encoder:
    """Qwen2.5-VL's: RMS norms, gated networks."""
    width = vision.count("hidden_size", default=1280, most=1 << 16)
    merge = vision.count("spatial_merge_size", default=2, most=64)
    inner = vision.count("intermediate_size", default=3420, most=1 << 20)
    lines = patches(vision, width, bias=False, frames=vision.count("temporal_patch_size", default=2, most=64))
    part = tower_layer(width, inner, split=True, bias=True, gated=True) + norm("vision.norms", 2 * width)
    lines += part * vision.count("depth", default=32, most=MOST_LAYERS) + norm("merger.norm", width)
    out = vision.count("out_hidden_size", default=hidden)
    return _qwen(lines + _merger(width * merge * merge, out), width, merge, videos=7)


def qwen3_vision(vision: Keys, hidden: int) -> Encoder:
    """Qwen3-VL's and Qwen 3.5's: learned positions, and mergers of some layers beside the last one's."""
    width, inner, layers = width_of(vision, 1152)
    merge = vision.count("spatial_merge_size", default=2, most=64)
    lines = patches(vision, width, 16, frames=vision.count("temporal_patch_size", default=2, most=64))
    lines += vector("vision.positions", vision.count("num_position_embeddings", default=2304) * width)
    part = tower_layer(width, inner, split=True, bias=True) + norm("vision.norms", 2 * width, bias=True)
    merged, out = width * merge * merge, vision.count("out_hidden_size", default=hidden)
    lines += part * layers + norm("merger.norm", width, bias=True) + _merger(merged, out)
    deep = norm("deepstack.norm", merged, bias=True) + _merger(merged, out)
    return _qwen(lines + deep * len(vision.items("deepstack_visual_indexes")), width, merge)


def _merger(inputs: int, out: int) -> Lines:
    return column("merger.1", inputs, inputs, bias=True) + row("merger.2", inputs, out, bias=True)


def _qwen(lines: Lines, width: int, merge: int, *, videos: int = 1) -> Encoder:
    """As many tokens as Qwen's processors allow at most: 16,384; before Qwen3-VL a video has up to 7 pairs of such frames."""
    return Encoder(
        "image",
        unquantized(lines),
        hidden_size=width,
        tokens_per_item=16384,
        patches_per_item=16384 * merge * merge,
        most_images=videos,
    )


def moonvit(vision: Keys, hidden: int) -> Encoder:
    """MoonViT (Kimi-VL) with its projector, which every rank holds."""
    width, inner, layers = width_of(vision, 1152)
    high = vision.count("init_pos_emb_height", default=64, most=MOST_SIDE)
    wide = vision.count("init_pos_emb_width", default=64, most=MOST_SIDE)
    kernel = [vision.whole("merge_kernel_size", item, most=64) for item in vision.items("merge_kernel_size")] or [2, 2]
    if len(kernel) != 2:
        raise vision.wrong("merge_kernel_size", f"has {len(kernel)} items; two are wanted")
    lines = patches(vision, width) + vector("vision.positions", high * wide * width)
    part = tower_layer(width, inner, split=True, bias=True) + norm("vision.norms", 2 * width, bias=True)
    lines += part * layers + norm("vision.norm", width, bias=True)
    merged = width * kernel[0] * kernel[1]
    lines += norm("projector.norm", width, bias=True)
    lines += copied("projector.1", merged, merged, bias=True) + copied("projector.2", merged, hidden, bias=True)
    return Encoder("image", unquantized(lines), hidden_size=width, tokens_per_item=4096, patches_per_item=16384)


def intern_vision(vision: Keys, keys: Keys, hidden: int) -> Encoder:
    """InternViT with InternVL's projector."""
    width, inner, layers = width_of(vision, 1024)
    side = side_of(vision, 448, 14)
    own = keys.text("model_type") == "internvl_chat"
    bias = vision.flag("qkv_bias", default=vision.flag("attention_bias", default=own))
    lines = (
        patches(vision, width) + vector("vision.class", width) + vector("vision.positions", (side * side + 1) * width)
    )
    part = column("vision.qkv", width, 3 * width, bias=bias) + row("vision.proj", width, width, bias=True)
    part += column("vision.up", width, inner, bias=True) + row("vision.down", inner, width, bias=True)
    rms = vision.text("norm_type", "layer_norm") == "rms_norm"
    part += norm("vision.norms", 2 * width, bias=not rms) + vector("vision.scales", 2 * width)
    if vision.flag("qk_normalization", default=vision.flag("use_qk_norm", default=False)):
        part += norm("vision.qk_norm", 2 * width)
    lines += part * layers
    ratio = keys.real("downsample_ratio", 0.5)
    merge = round(1 / ratio) if 0.01 < ratio <= 1 else 2
    merged = width * merge * merge
    lines += norm("projector.norm", merged, bias=True)
    lines += copied("projector.1", merged, hidden, bias=True) + copied("projector.2", hidden, hidden, bias=True)
    tiles = keys.count("max_dynamic_patch", default=12, most=1 << 10) + 1
    tokens = max(1, side // merge) ** 2 * tiles
    return Encoder("image", unquantized(lines), width, tokens, patches_per_item=side * side * tiles)


def llama4_vision(vision: Keys, hidden: int) -> Encoder:
    """Llama 4's tower, adapter and projector."""
    width, inner, layers = width_of(vision, 768)
    side, out = side_of(vision, 448, 14), vision.count("vision_output_dim", default=7680)
    first = vision.count("projector_input_dim", default=4096)
    second = vision.count("projector_output_dim", default=4096)
    ratio = vision.real("pixel_shuffle_ratio", 0.5)
    merge = round(1 / ratio) if 0.01 < ratio <= 1 else 2
    bias = vision.flag("multi_modal_projector_bias", default=False)
    lines = patches(vision, width, bias=False) + vector("vision.class", width)
    lines += vector("vision.positions", (side * side + 1) * width) + norm("vision.norm_ends", 2 * width, bias=True)
    part = tower_layer(width, inner, split=True, bias=True) + norm("vision.norms", 2 * width, bias=True)
    lines += part * layers
    lines += column("adapter.1", inner, first, bias=bias) + row("adapter.2", first, second, bias=bias)
    lines += column("projector", out, hidden)
    tokens = max(1, side // merge) ** 2
    return Encoder("image", unquantized(lines), width, tokens * 17, patches_per_item=(side * side + 1) * 17)


def common(vision: Keys, hidden: int) -> Encoder:
    """A tower of the common kind: an estimate for those that have no reader."""
    width, inner, layers = width_of(vision)
    side = side_of(vision, 448, 14)
    lines = patches(vision, width) + vector("vision.positions", side * side * width)
    part = tower_layer(width, inner, split=True, bias=True) + norm("vision.norms", 2 * width, bias=True)
    lines += part * layers + norm("vision.norm", width, bias=True)
    lines += column("projector.1", width, hidden, bias=True) + row("projector.2", hidden, hidden, bias=True)
    return Encoder("image", unquantized(lines), width, side * side, patches_per_item=side * side)

"""Read a checkpoint's quantization_config in the words of each method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.sizing.architecture import QuantizedWeights
from slipway.sizing.families.keys import Keys

FLOAT32 = 32
EXPERTS = ("experts.gate_up_proj", "experts.down_proj")


def read_quantization(keys: Keys | None) -> QuantizedWeights | None:
    """The scheme of a quantization_config; None without one.

    Args:
        keys: Of the quantization_config.

    Raises:
        SizingError: The method is missing or not known.
    """
    if keys is None or not list(keys):
        return None
    method = keys.text("quant_method").lower() or ("modelopt" if "quantization" in keys or "quant_algo" in keys else "")
    method = {"auto_round": "auto-round", "autoround": "auto-round", "intel/auto-round": "auto-round"}.get(
        method, method
    )
    if not method and "config_groups" in keys:
        method = "compressed-tensors"
    reader = READERS.get(method)
    if reader is None:
        known = ", ".join(sorted(READERS))
        raise keys.wrong("quant_method", f"is {method!r}; known are {known}" if method else "is missing")
    return reader(keys)


def _names(keys: Keys, *names: str) -> tuple[str, ...]:
    for name in names:
        if name in keys:
            value = keys.get(name)
            if isinstance(value, str):
                return (value,)
            return tuple(str(item) for item in (value if isinstance(value, dict) else keys.items(name)))
    return ()


def _block(keys: Keys, value: Any, name: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise keys.wrong(name, f"is {value!r}; two whole numbers are wanted")
    return keys.whole(name, value[0]), keys.whole(name, value[1])


def _fp8(keys: Keys) -> QuantizedWeights:
    return QuantizedWeights(
        "fp8",
        8,
        None,
        scale_bits=FLOAT32,
        block=_block(keys, keys.get("weight_block_size"), "weight_block_size"),
        dynamic_activations=keys.text("activation_scheme", "dynamic") == "dynamic",
        excluded=_names(keys, "modules_to_not_convert", "ignored_layers"),
    )


def _fbgemm(keys: Keys) -> QuantizedWeights:
    return QuantizedWeights(
        "fbgemm_fp8", 8, None, scale_bits=FLOAT32, per_channel=True, excluded=_names(keys, "modules_to_not_convert")
    )


def _group(keys: Keys, default: int = 128) -> int | None:
    """Weights per scale; -1 is one scale per channel."""
    size = keys.count("group_size", "q_group_size", default=default, least=-1)
    return size if size > 0 else None


def _gptq(keys: Keys) -> QuantizedWeights:
    symmetric = keys.flag("sym", default=True)
    bits = keys.count("bits", "w_bit", default=4, most=16)
    group = _group(keys)
    dynamic = keys.get("dynamic")
    left_out = (
        tuple(f"re:{name[2:]}" for name in dynamic if str(name).startswith("-:")) if isinstance(dynamic, dict) else ()
    )
    return QuantizedWeights(
        "gptq",
        bits,
        group,
        zero_point_bits=0 if symmetric else bits,
        per_channel=group is None,
        excluded=left_out + _names(keys, "modules_to_not_convert"),
    )


def _awq(keys: Keys) -> QuantizedWeights:
    bits = keys.count("bits", "w_bit", default=4, most=16)
    group = _group(keys)
    return QuantizedWeights(
        "awq",
        bits,
        group,
        zero_point_bits=bits if keys.flag("zero_point", default=True) else 0,
        per_channel=group is None,
        excluded=_names(keys, "modules_to_not_convert"),
    )


def _auto_round(keys: Keys) -> QuantizedWeights:
    extra = keys.section("extra_config")
    excluded = []
    for name in extra or ():
        item = extra.get(name) if extra else None
        if isinstance(item, dict) and isinstance(item.get("bits"), int) and item["bits"] >= 16:
            excluded.append(f"re:{name}" if any(sign in name for sign in "*\\^$") else name)
    symmetric = keys.flag("sym", default=True)
    bits = keys.count("bits", default=4, most=16)
    group = _group(keys)
    return QuantizedWeights(
        "auto-round",
        bits,
        group,
        zero_point_bits=0 if symmetric else bits,
        per_channel=group is None,
        excluded=tuple(excluded),
    )


def _mxfp4(keys: Keys) -> QuantizedWeights:
    return QuantizedWeights(
        "mxfp4",
        4,
        32,
        scale_bits=8,
        excluded=_names(keys, "modules_to_not_convert"),
        quantizes=EXPERTS,
    )


def _bitsandbytes(keys: Keys) -> QuantizedWeights:
    four = keys.flag("load_in_4bit", default=keys.flag("_load_in_4bit", default=False))
    eight = keys.flag("load_in_8bit", default=keys.flag("_load_in_8bit", default=False))
    skipped = _names(keys, "llm_int8_skip_modules")
    if eight and not four:
        return QuantizedWeights("bitsandbytes", 8, None, scale_bits=FLOAT32, per_channel=True, excluded=skipped)
    return QuantizedWeights("bitsandbytes", 4, 64, scale_bits=FLOAT32, excluded=skipped)


def _modelopt(keys: Keys) -> QuantizedWeights:
    inner = keys.section("quantization") or keys
    algorithm = inner.text("quant_algo").upper()
    excluded = _names(inner, "exclude_modules", "ignore") or _names(keys, "ignore")
    if algorithm in {"NVFP4", "W4A16_NVFP4", "NVFP4_AWQ", "FP4"}:
        return QuantizedWeights(
            "modelopt_fp4", 4, inner.count("group_size", default=16), scale_bits=8, excluded=excluded
        )
    if algorithm == "MXFP8":
        return QuantizedWeights("modelopt_mxfp8", 8, 32, scale_bits=8, excluded=excluded)
    if algorithm in {"FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO"}:
        block = (128, 128) if algorithm == "FP8_PB_WO" else None
        return QuantizedWeights(
            "modelopt", 8, None, scale_bits=FLOAT32, block=block, per_channel="CHANNEL" in algorithm, excluded=excluded
        )
    raise inner.wrong("quant_algo", f"is {algorithm!r}; NVFP4, FP8 or MXFP8 is known")


def _compressed(keys: Keys) -> QuantizedWeights:
    excluded = _names(keys, "ignore")
    groups = keys.section("config_groups")
    found = []
    for name in groups or ():
        section = groups.needed(name) if groups else keys
        weights = section.section("weights")
        if weights is not None:
            found.append(replace(_compressed_group(weights), excluded=excluded, targets=_names(section, "targets")))
    if not found:
        raise keys.wrong("config_groups", "is missing or quantizes no weights; a mapping with weights is wanted")
    first, *rest = found
    return replace(first, further=tuple(rest))


def _compressed_group(keys: Keys) -> QuantizedWeights:
    bits = keys.count("num_bits", default=8, most=16)
    strategy = keys.text("strategy", "tensor")
    floating = keys.text("type", "int") == "float"
    group = keys.count("group_size", default=128, least=-1) if strategy in {"group", "tensor_group"} else None
    microscaled = floating and bits == 4
    scale = 8 if microscaled or (floating and group is not None and group <= 32) else (FLOAT32 if bits == 8 else 16)
    return QuantizedWeights(
        "compressed-tensors",
        bits,
        group if group and group > 0 else None,
        scale_bits=scale,
        zero_point_bits=0 if keys.flag("symmetric", default=True) else bits,
        block=_block(keys, keys.get("block_structure"), "block_structure") if strategy == "block" else None,
        per_channel=strategy == "channel" or group == -1,
    )


READERS = {
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "gptq": _gptq,
    "gptq_marlin": _gptq,
    "awq": _awq,
    "awq_marlin": _awq,
    "auto-round": _auto_round,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "compressed-tensors": _compressed,
}

"""Quantized checkpoints by the names that people give them, where no quantization_config is at hand.

Hubs and logs say `RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16` or `quantization=fp8`. The name says of which model it
is a copy and in which scheme; the details are then those with which the scheme is commonly published.
"""

from __future__ import annotations

import re
from typing import Any

from slipway.sizing.weights import RUN_TIME

_SCHEME = re.compile(
    r"[-_.](fp8[-_]dynamic|fp8[-_]block|fp8[-_]kv|fp8|quantized\.w\d+a\d+|w\d+a\d+|nvfp4|mxfp4|awq([-_]int4)?|"
    r"gptq([-_]int[48]|[-_][48]bit)?|(autoround|auto[-_]round)([-_]int4)?|int[48]|[48]bit|bnb([-_][48]bit)?)(?=$|[-_.])",
    re.IGNORECASE,
)
_IGNORED = {"ignore": ["lm_head"]}


def base_name(name: str) -> str:
    """The model's own name without owner and scheme: `Llama-3.1-8B-Instruct` of the example above."""
    bare = name.rpartition("/")[2]
    return re.sub(r"^Meta-", "", _SCHEME.sub("", bare.replace(" ", "-")))


def scheme_of(name: str) -> str:
    """The scheme in a checkpoint's name, in lower case; empty where it names none."""
    found = _SCHEME.search(name.replace(" ", "-"))
    return found[1].casefold().replace("_", "-") if found else ""


def declared(label: str, name: str) -> tuple[dict[str, Any] | None, str | None]:
    """The quantization_config that a checkpoint called `name` commonly has, or the scheme to make at run time.

    Args:
        label: What the engine's log says, such as `gptq_marlin`; may be empty.
        name: Of the checkpoint.

    Returns:
        Exactly one of the two, or neither where nothing is quantized.
    """
    label, scheme = label.casefold(), scheme_of(name)
    said = f"{label} {scheme}"
    for signs, config in _PUBLISHED:
        if any(sign in said for sign in signs):
            return config, None
    if "fp8" in scheme:
        return (_CHANNEL_FP8 if "compressed" in label or "dynamic" in scheme else _BLOCK_FP8), None
    if not label or label == "none":
        return None, None
    if "compressed" in label:
        return _CHANNEL_FP8, None
    return None, label if label in RUN_TIME else label.split()[0].replace("-", "_")


def _compressed(bits: int, kind: str, strategy: str, group: int | None = None) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": True}
    if group is not None:
        weights["group_size"] = group
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quant_method": "compressed-tensors", "config_groups": groups, **_IGNORED}


_CHANNEL_FP8 = _compressed(8, "float", "channel")
_BLOCK_FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
_PUBLISHED: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("nvfp4",), {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16, **_IGNORED}),
    (("modelopt",), {"quant_method": "modelopt", "quant_algo": "FP8", **_IGNORED}),
    (("mxfp4",), {"quant_method": "mxfp4"}),
    (("awq",), {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}),
    (("w4a16",), _compressed(4, "int", "group", 128)),
    (("w8a8", "w8a16"), _compressed(8, "int", "channel")),
    (("gptq-int8", "gptq-8bit"), {"quant_method": "gptq", "bits": 8, "group_size": 128, "sym": True}),
    (("gptq",), {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}),
    (
        ("auto-round", "auto_round", "autoround"),
        {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True},
    ),
    (
        ("int4 experts",),
        {
            **_compressed(4, "int", "group", 32),
            "ignore": [
                "re:.*self_attn.*",
                "re:.*shared_experts.*",
                "re:.*mlp\\.(gate|up|gate_up|down)_proj.*",
                "lm_head",
            ],
        },
    ),
    (("bitsandbytes", "bnb"), {"quant_method": "bitsandbytes", "load_in_4bit": True}),
)
"""What the label or the name has in it, with the scheme as its most used tool publishes it; the first that holds."""

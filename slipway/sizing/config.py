"""Turn a published config.json into an `Architecture`.

What is common to all families is here: context, type of the weights, whether it pools, and the checkpoint's
quantization (`slipway.sizing.quantized`). Layers and weights are the business of `slipway.sizing.families`.
It reads no weights and asks no hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.sizing.architecture import Architecture
from slipway.sizing.families import defaults, readers
from slipway.sizing.families.guess import guess
from slipway.sizing.families.keys import CONTEXT_KEYS, MOST_POSITIONS, Keys
from slipway.sizing.families.parts import Lines
from slipway.sizing.families.wrappers import TEXT
from slipway.sizing.quantized import read_quantization
from slipway.sizing.result import SizingError

DTYPES = {"bfloat16", "float16", "float32"}
UNSCALED_ROPE = {"su", "longrope", "llama3", "default", "mrope", ""}
"""Kinds of rope scaling whose max_position_embeddings is the scaled one already."""
CONTEXT_UNKNOWN = 2048
"""What vLLM assumes where no key tells (vllm/config/model.py)."""
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert"}
"""Their positions begin at 2, so that two of them hold no token."""
POOLING = re.compile(r"embed|rerank|(?:^|[-_/])(?:bge|gte|e5)[-_]", re.IGNORECASE)


def read_config(config: Mapping[str, Any], name: str, *, pooled: bool = False) -> Architecture:
    """The architecture of a config.json.

    Args:
        config: As published; a multi-modal model's has its parts nested.
        name: Of the model, best as its repository has it (`owner/name`).
        pooled: It is known to be for embedding or reranking, whatever its class.

    Raises:
        SizingError: One line that names the key, what is wrong with it, and what would be right.
    """
    if not isinstance(config, Mapping):
        raise SizingError(f"config.json: is {type(config).__name__}; a mapping is wanted")
    try:
        return _read(config, name, pooled)
    except (OverflowError, RecursionError):
        raise SizingError(
            "config.json: a number in it is absurdly large, or it is nested absurdly deep; mend it"
        ) from None


def _read(config: Mapping[str, Any], name: str, pooled: bool) -> Architecture:  # noqa: FBT001 - of read_config
    if config.get("is_encoder_decoder") is True:
        raise SizingError(
            "config.json: is_encoder_decoder is true; models with an encoder and a decoder are not known here"
        )
    model_type = Keys(config).text("model_type")
    keys = Keys(config, fallback=_usual(model_type), name=name)
    reader = readers().get(model_type)
    draft = reader(keys) if reader else guess(keys)
    text = keys.section(*TEXT, "thinker_config") or keys
    text = text.section(*TEXT) or text
    if text is not keys:
        text = Keys(text.values, text.path, _usual(text.text("model_type")), name)
    dtype, assumed = _dtype(keys, text)
    pooling = draft.pooling or pooled or _pools(keys, name)
    return Architecture(
        name=name,
        model_type=model_type,
        hidden_size=draft.hidden_size,
        vocabulary=draft.vocabulary,
        layers=draft.layers,
        outside=_without_head(draft.outside) if pooling and not _scores(keys, name) else draft.outside,
        context=_context(text),
        dtype=dtype,
        tied=draft.tied,
        encoders=draft.encoders,
        quantization=read_quantization(
            keys.section("quantization_config", "compression_config") or text.section("quantization_config")
        ),
        pooling=pooling,
        logit_softcap=draft.logit_softcap,
        notes=draft.notes + assumed,
    )


def read_folder(path: Path) -> Architecture:
    """The architecture of a model's folder, or of a config.json itself.

    Raises:
        SizingError: The file is missing or is no JSON, or what `read_config` raises.

    A modules.json beside it, as Sentence Transformers writes one, says that the model is for embedding.
    """
    path = Path(path)
    file = path / "config.json" if path.is_dir() else path
    config = _json(file)
    if not isinstance(config, dict):
        raise SizingError(f"{file}: is no mapping; a model's config.json is wanted")
    beside = file.with_name("hf_quant_config.json")
    if not config.get("quantization_config") and beside.is_file():
        config = {**config, "quantization_config": {"quant_method": "modelopt", **_json(beside)}}
    try:
        name = str(config.get("_name_or_path") or "") or file.resolve().parent.name
        return read_config(config, name, pooled=file.with_name("modules.json").is_file())
    except SizingError as error:
        raise SizingError(str(error).replace("config.json", str(file), 1)) from error


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SizingError(f"{file}: there is no such file; name a model's folder or its config.json") from error
    except OSError as error:
        raise SizingError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SizingError(f"{file}: is no text; a config.json is wanted") from error
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise SizingError(f"{file}: is no JSON{where}; download it again") from error


def _usual(model_type: str) -> Keys | None:
    """The class's defaults, where a family names them."""
    values = defaults().get(model_type)
    return Keys(values) if values else None


def _dtype(keys: Keys, text: Keys) -> tuple[str, tuple[str, ...]]:
    for section in (keys, text):
        for key in ("dtype", "torch_dtype"):
            if key in section:
                value = section.text(key).removeprefix("torch.")
                if value in DTYPES:
                    return value, ()
                return "bfloat16", (f"{section.path}{key} is {value!r}; bfloat16 was assumed",)
    return "bfloat16", ("torch_dtype is missing; bfloat16 was assumed",)


def _context(text: Keys) -> int:
    """The longest context as vLLM derives it: the smallest of the keys that are there, times the rope scaling."""
    longest = [text.count(key, most=MOST_POSITIONS) for key in CONTEXT_KEYS if key in text]
    context: float = min(longest, default=CONTEXT_UNKNOWN)
    if text.text("model_type") in OFFSET_POSITIONS:
        context = max(1, context - 2)
    rope = text.section("rope_scaling") or text.section("rope_parameters")
    if rope is not None and "gemma3" not in text.text("model_type"):
        kind = str(rope.get("rope_type") or rope.get("type") or "")
        if kind == "yarn":
            context = rope.count("original_max_position_embeddings", default=int(context), most=MOST_POSITIONS)
        if kind not in UNSCALED_ROPE:
            context *= rope.positive("factor", 1.0)
    return max(1, int(context))


def _pools(keys: Keys, name: str) -> bool:
    """Whether it is for embedding or reranking: by its class, or by its name where the class is that of a chat model."""
    classes = [str(item) for item in keys.items("architectures")]
    if classes:
        generates = any(
            word in item for item in classes for word in ("ForCausalLM", "LMHead", "ForConditionalGeneration")
        )
        if not generates:
            return True
    # A repository's name says so where the class is that of a chat model; what somebody calls a folder says nothing.
    return "/" in name and bool(POOLING.search(name))


def _scores(keys: Keys, name: str) -> bool:
    """Whether it is a chat model that reranks: the head makes the scores, so that the checkpoint holds it."""
    return "rerank" in name.lower() and any("ForCausalLM" in str(item) for item in keys.items("architectures"))


def _without_head(outside: Lines) -> Lines:
    """A chat model for embedding is published, and loaded, without the output head."""
    return tuple(line for line in outside if not line.name.startswith("lm_head"))

"""Write a Llama with a unigram tokenizer as a GGUF file: what the lab's tiny model needs.

No quantization and no conversion of other people's models: those are the business of llama.cpp's own converter. PyPI's
`gguf` could write the file too; it would bring requests and tqdm for what is 40 lines here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_MAGIC, _VERSION, _ALIGNMENT = b"GGUF", 3, 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_STRUCTS = {_UINT32: "I", _INT32: "i", _FLOAT32: "f", _BOOL: "?"}
"""Kinds of metadata, and their letters in module `struct`."""
_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}
"""enum ggml_type."""
_SPACE = "\u2581"
"""How a unigram vocabulary of llama.cpp writes a space."""
_NORMAL, _CONTROL = 1, 3
"""Kinds of tokens (include/llama.h, enum llama_token_type)."""
_F16_FILE = 1
"""general.file_type of a file whose matrices are F16."""
_NAMES = {
    "embed_tokens": "token_embd",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "norm": "output_norm",
    "lm_head": "output",
}
"""Parts of a Llama's names in safetensors, and in a GGUF."""


def llama_gguf(
    config: Mapping[str, Any], weights: Mapping[str, npt.NDArray[np.float32]], metadata: Mapping[str, Any]
) -> bytes:
    """A Llama as a GGUF with matrices of 16 bits and norms of 32, as llama.cpp's converter writes it.

    Args:
        config: As in config.json.
        weights: By their names in safetensors.
        metadata: What else goes into the header, before what follows from `config`; the tokenizer above all.
    """
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    of_model = {
        "general.architecture": "llama",
        "general.file_type": _F16_FILE,
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.block_count": config["num_hidden_layers"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.key_length": config["head_dim"],
        "llama.attention.value_length": config["head_dim"],
        "llama.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "llama.rope.dimension_count": config["head_dim"],
        "llama.rope.freq_base": config["rope_theta"],
        "llama.vocab_size": config["vocab_size"],
    }
    return gguf_bytes({**metadata, **of_model}, dict(_tensors(weights, heads)))


def unigram_metadata(pieces: Sequence[tuple[str, float]], *, controls: Container[int], unknown: int) -> dict[str, Any]:
    """The tokenizer's part of the metadata: a unigram vocabulary that neither adds nor removes spaces, and begins with BOS.

    llama.cpp makes one token of several unknown characters, and of `?` too where that is the unknown one: `??` becomes `?`.
    """
    return {
        # llama.cpp calls its unigram tokenizer after the model that brought it.
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": [piece.replace(" ", _SPACE) for piece, _ in pieces],
        "tokenizer.ggml.scores": [float(score) for _, score in pieces],
        "tokenizer.ggml.token_type": [_CONTROL if number in controls else _NORMAL for number in range(len(pieces))],
        "tokenizer.ggml.unknown_token_id": unknown,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.ggml.remove_extra_whitespaces": False,
    }


def _tensors(
    weights: Mapping[str, npt.NDArray[np.float32]], heads: Mapping[str, int]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for name, weight in weights.items():
        layer = re.match(r"model\.layers\.(\d+)\.", name)
        short = _NAMES[name.removeprefix(layer[0] if layer else "model.").removesuffix(".weight")]
        tensor = _paired(weight, heads[short]) if short in heads else weight
        yield (
            f"blk.{layer[1]}.{short}.weight" if layer else f"{short}.weight",
            tensor if tensor.ndim == 1 else tensor.astype(np.float16),
        )


def _paired(weight: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Rows so that the two numbers that a rotary position turns stand side by side: in safetensors half a head lies between."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def gguf_bytes(metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The file's bytes, the same each time for the same content in the same order.

    Args:
        metadata: Text, bool, int (32 bits, unsigned), float (32 bits), and lists of one of these; ints in lists are signed.
        tensors: float32 or float16, with rows first as numpy and PyTorch have them; GGUF counts dimensions the other way round.

    Raises:
        KeyError: a tensor of another type.
    """
    parts = [_MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key), *_value(value)]
    offset = 0
    for name, tensor in tensors.items():
        parts += [_text(name), struct.pack(f"<I{tensor.ndim}Q", tensor.ndim, *reversed(tensor.shape))]
        parts.append(struct.pack("<IQ", _TYPES[tensor.dtype], offset))
        offset += tensor.nbytes + -tensor.nbytes % _ALIGNMENT
    header = b"".join(parts)
    return b"".join((header, bytes(-len(header) % _ALIGNMENT), *_data(tensors)))


def _data(tensors: Mapping[str, npt.NDArray[Any]]) -> Iterator[bytes]:
    for tensor in tensors.values():
        yield tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
        yield bytes(-tensor.nbytes % _ALIGNMENT)


def _text(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _value(value: Any) -> Iterator[bytes]:
    if isinstance(value, list):
        kind = _kind(value[0], _INT32)
        yield struct.pack("<IIQ", _ARRAY, kind, len(value))
        for item in value:
            yield _content(kind, item)
        return
    kind = _kind(value, _UINT32)
    yield struct.pack("<I", kind)
    yield _content(kind, value)


def _kind(value: Any, whole: int) -> int:
    if isinstance(value, str):
        return _STRING
    if isinstance(value, bool):
        return _BOOL
    return whole if isinstance(value, int) else _FLOAT32


def _content(kind: int, value: Any) -> bytes:
    return _text(value) if kind == _STRING else struct.pack(f"<{_STRUCTS[kind]}", value)

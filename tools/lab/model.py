"""A tiny random Llama whose every answer has as many visible tokens as were asked for.

No model weights come from a package registry, yet an engine has to be proved by generating. This module writes one
with numpy alone: the right shapes, random weights, and two properties that latency figures depend on:

- every token except the two specials decodes to printable ASCII, so each generated token is one non-empty delta
  (gateways drop empty deltas, and then the time to the first token is wrong);
- the end-of-sequence token is never generated, so a request for N tokens is answered with N.

The text is nonsense and the model is no measure of an engine's real speed.

It is written as a folder of safetensors, or as one GGUF file of 16-bit weights for llama.cpp and Ollama: the same weights,
the same tokens, so the same greedy answers.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import shutil
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tools.lab.gguf import llama_gguf, unigram_metadata

# Part of the digest: raise it when the code below changes what it writes without changing a constant.
RECIPE = 1
SEED = 77
BOS, EOS = "<s>", "</s>"
BOS_ID, EOS_ID = 0, 1
CHARACTERS = tuple(string.ascii_letters + string.digits + string.punctuation + " ")
UNKNOWN_ID = 2 + CHARACTERS.index("?")
WORD_COUNT = 415

HIDDEN = 256
# vLLM's CPU kernels need heads of at least 32; 64 is what the large models have.
HEADS, KEY_VALUE_HEADS, HEAD_SIZE = 4, 2, 64
INTERMEDIATE = 512
LAYERS = 2
CONTEXT = 4096

MARKER = "recipe.sha256"
GGUF_NAME = "tiny-llama-F16.gguf"
_GGUF_MARK = "slipway.recipe"
"""First key of the file's metadata, so that a file of ours is known from its first bytes."""
_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


class ModelError(Exception):
    """The model cannot be written where the caller wants it."""


def words() -> list[str]:
    """The words of the vocabulary: invented, four letters, each with the space before it."""
    letters = itertools.product("bdfklmnrst", "aeiou", "dklmnrstv", "aeiou")
    return [" " + "".join(word) for word in itertools.islice(letters, 0, None, 5)][:WORD_COUNT]


def make_tiny_llama(folder: Path) -> Path:
    """Write the model to `folder` (7 MB) and return it; does nothing if the same recipe is already there.

    The folder appears whole or not at all. A folder that holds anything else is refused with `ModelError`.
    """
    files = _contents()
    digest = _digest(files)
    with _alone(folder.parent):
        if _marker(folder) == digest and all((folder / name).is_file() for name in files):
            return folder
        if folder.exists() and _marker(folder) is None and any(folder.iterdir()):
            raise ModelError(
                f"{folder} is not empty and was not made here, so it is left alone: name another folder, or remove it"
            )
        making, old = (folder.parent / f".{folder.name}.{suffix}" for suffix in ("making", "old"))
        for leftover in (making, old):
            shutil.rmtree(leftover, ignore_errors=True)
        making.mkdir(mode=0o755)
        for name, content in {**files, MARKER: f"{digest}\n".encode()}.items():
            (making / name).write_bytes(content)
            # An engine runs as its own user; the caller's umask must not lock it out.
            (making / name).chmod(0o644)
        making.chmod(0o755)
        if folder.exists():
            folder.rename(old)
        making.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def make_tiny_gguf(place: Path) -> Path:
    """Write the same model as one GGUF file (2 MB, 16-bit weights) and return it; does nothing if it is already there.

    Args:
        place: The file, with a name that ends in .gguf; or a folder, in which it is called `GGUF_NAME`.

    Raises:
        ModelError: something else is there, which is left alone.

    The file appears whole or not at all, with the same bytes each time.
    """
    file = place if place.suffix == ".gguf" else place / GGUF_NAME
    content = _gguf()
    with _alone(file.parent):
        if file.exists():
            there = file.read_bytes() if file.is_file() else b""
            if there == content:
                return file
            if _GGUF_MARK.encode() not in there[:256]:
                raise ModelError(f"{file} was not made here, so it is left alone: name another file, or remove it")
        making = file.with_name(f".{file.name}.making")
        making.write_bytes(content)
        making.chmod(0o644)
        making.rename(file)
    return file


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time in `folder`, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    # The lock is on the folder itself, so that it leaves no file behind and ends with the process.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _marker(folder: Path) -> str | None:
    try:
        return (folder / MARKER).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(files: dict[str, bytes]) -> str:
    total = hashlib.sha256(f"recipe {RECIPE}".encode())
    for name in sorted(files):
        total.update(f"\n{name} {hashlib.sha256(files[name]).hexdigest()}".encode())
    return total.hexdigest()


def _contents() -> dict[str, bytes]:
    tokenizer = make_tokenizer()
    return {
        "config.json": _document(_config(tokenizer.get_vocab_size())),
        "generation_config.json": _document({"bos_token_id": BOS_ID, "eos_token_id": EOS_ID}),
        "model.safetensors": save(_weights(tokenizer.get_vocab_size()), metadata={"format": "pt"}),
        "special_tokens_map.json": _document({"bos_token": BOS, "eos_token": EOS}),
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": _document(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": BOS,
                "eos_token": EOS,
                "model_max_length": CONTEXT,
                "chat_template": _CHAT_TEMPLATE,
                # Cleaning up would eat the space of a token before punctuation: the delta would be empty.
                "clean_up_tokenization_spaces": False,
            }
        ),
    }


def _gguf() -> bytes:
    tokenizer = make_tokenizer()
    pieces: list[tuple[str, float]] = json.loads(tokenizer.to_str())["model"]["vocab"]
    metadata = {
        _GGUF_MARK: RECIPE,
        "general.name": "tiny-llama",
        **unigram_metadata(pieces, controls={BOS_ID, EOS_ID}, unknown=UNKNOWN_ID),
        "tokenizer.ggml.bos_token_id": BOS_ID,
        "tokenizer.ggml.eos_token_id": EOS_ID,
        "tokenizer.chat_template": _CHAT_TEMPLATE,
    }
    return llama_gguf(_config(len(pieces)), _weights(len(pieces)), metadata)


def _document(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def make_tokenizer() -> Tokenizer:
    """A unigram tokenizer over whole words and single ASCII characters; anything else becomes `?`."""
    pieces = [(BOS, 0.0), (EOS, 0.0)]
    pieces += [(character, -10.0) for character in CHARACTERS]
    pieces += [(word, -5.0) for word in words()]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=UNKNOWN_ID, byte_fallback=False))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s"), " ")
    # Unknown characters next to one another become one token, and `?` is the unknown one: it stands alone, or `??` is `?`.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("?", "isolated"), pre_tokenizers.Split(" ", "merged_with_next")]
    )
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, BOS_ID)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (BOS, EOS)])
    return tokenizer


def _config(vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def _weights(vocabulary: int) -> dict[str, npt.NDArray[np.float32]]:
    # RandomState and not Generator: numpy promises its streams for ever, and the digest rests on them.
    random = np.random.RandomState(SEED)

    def normal(rows: int, columns: int, scale: float) -> npt.NDArray[np.float32]:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    def ones() -> npt.NDArray[np.float32]:
        return np.ones(HIDDEN, dtype=np.float32)

    query, key_value = HEADS * HEAD_SIZE, KEY_VALUE_HEADS * HEAD_SIZE
    weights = {"model.embed_tokens.weight": normal(vocabulary, HIDDEN, 1.0)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        weights |= {
            f"{prefix}.input_layernorm.weight": ones(),
            f"{prefix}.self_attn.q_proj.weight": normal(query, HIDDEN, 0.06),
            f"{prefix}.self_attn.k_proj.weight": normal(key_value, HIDDEN, 0.06),
            f"{prefix}.self_attn.v_proj.weight": normal(key_value, HIDDEN, 0.06),
            f"{prefix}.self_attn.o_proj.weight": normal(HIDDEN, query, 0.06),
            f"{prefix}.post_attention_layernorm.weight": ones(),
            f"{prefix}.mlp.gate_proj.weight": normal(INTERMEDIATE, HIDDEN, 0.06),
            f"{prefix}.mlp.up_proj.weight": normal(INTERMEDIATE, HIDDEN, 0.06),
            f"{prefix}.mlp.down_proj.weight": normal(HIDDEN, INTERMEDIATE, 0.06),
        }
    weights["model.norm.weight"] = ones()
    weights["lm_head.weight"] = normal(vocabulary, HIDDEN, 0.15)
    _favour_words(weights)
    return weights


def _favour_words(weights: dict[str, npt.NDArray[np.float32]]) -> None:
    """Make one dimension of the residual stream a constant, and hang the unwanted tokens on it.

    A Llama's output layer has no bias, and zero rows would still leave the specials a fair chance. So every embedding
    has the same large value in dimension 0, no layer writes to it, and the final norm keeps its sign: whatever the
    prompt, that dimension is positive. A negative weight there is therefore a bias, and a sure one.
    """
    weights["model.embed_tokens.weight"][:, 0] = 8.0
    for layer in range(LAYERS):
        weights[f"model.layers.{layer}.self_attn.o_proj.weight"][0, :] = 0.0
        weights[f"model.layers.{layer}.mlp.down_proj.weight"][0, :] = 0.0
    head = weights["lm_head.weight"]
    head[:, 0] = 0.0
    specials, characters = slice(0, 2), slice(2, 2 + len(CHARACTERS))
    head[specials, :] = 0.0
    head[specials, 0] = -40.0
    # Single characters stay possible where a grammar allows nothing else; otherwise words read better.
    head[characters, 0] = -10.0

"""The tiny model: its tokens are visible, its answers as long as asked for, its files readable and repeatable."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from slipway.sizing.gguf import read_header
from slipway.sizing.gguf.format import GGML_TYPES
from tools.lab import model

Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.make_tiny_llama(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_every_token_but_the_specials_is_printable_ascii(tokenizer: Tokenizer) -> None:
    size = tokenizer.get_vocab_size()
    assert size == 512
    for token in range(2, size):
        text = tokenizer.decode([token])
        assert text, token
        assert text.isascii(), (token, text)
        assert text.isprintable(), (token, text)
    assert tokenizer.decode([model.BOS_ID, model.EOS_ID]) == ""


@given(st.lists(st.integers(min_value=2, max_value=511), min_size=1, max_size=60))
@settings(deadline=None)
def test_each_generated_token_is_one_delta(tokenizer: Tokenizer, tokens: list[int]) -> None:
    stream = DecodeStream(skip_special_tokens=True)
    deltas = [stream.step(tokenizer, token) for token in tokens]
    assert all(deltas)
    assert "".join(delta or "" for delta in deltas) == tokenizer.decode(tokens)


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), max_size=80))
@example("a??b ???")
@settings(deadline=None)
def test_ascii_survives_a_round_trip(tokenizer: Tokenizer, text: str) -> None:
    assume("<s>" not in text and "</s>" not in text)  # those are tokens of their own, which decoding leaves out
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_what_is_not_ascii_becomes_a_question_mark(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\né\U0001f6a2").ids).startswith("a ?")
    assert tokenizer.encode("word").ids[0] == model.BOS_ID


def test_the_end_is_never_generated(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    random = np.random.RandomState(5)
    for _ in range(40):
        tokens = random.randint(0, 512, size=24)
        logits = _forward(weights, tokens)
        best_word = logits[:, 97:].max(axis=1)
        # Sampled at temperature 2 the odds are still below one in a million million.
        assert (best_word - logits[:, :2].max(axis=1)).min() > 2 * 28
        assert (logits.argmax(axis=1) >= 97).all()
        assert len(set(logits.argmax(axis=1))) > 1, "the model answers the same whatever it is asked"


def _forward(weights: dict[str, Array], tokens: npt.NDArray[np.int64], *, pairs: bool = False) -> Array:
    """A Llama in twenty lines: enough to see the logits without an engine.

    `pairs`: positions turn neighbours, as in a GGUF; else numbers that are half a head apart.
    """

    def norm(values: Array, name: str) -> Array:
        scale = np.sqrt((values**2).mean(-1, keepdims=True) + 1e-5)
        return np.asarray(values / scale * weights[f"{name}.weight"], dtype=np.float32)

    def rotate(values: Array) -> Array:
        angles = np.outer(np.arange(len(values)), 10000.0 ** (-np.arange(0, 64, 2) / 64))
        if pairs:
            cos, sin = (np.repeat(turn(angles), 2, axis=1)[:, None] for turn in (np.cos, np.sin))
            turned = np.stack([-values[..., 1::2], values[..., ::2]], axis=-1).reshape(values.shape)
            return np.asarray(values * cos + turned * sin, dtype=np.float32)
        cos, sin = np.tile(np.cos(angles), 2)[:, None], np.tile(np.sin(angles), 2)[:, None]
        turned = np.concatenate([-values[..., 32:], values[..., :32]], axis=-1)
        return np.asarray(values * cos + turned * sin, dtype=np.float32)

    stream = weights["model.embed_tokens.weight"][tokens]
    count = len(tokens)
    mask = np.triu(np.full((count, count), -1e9, dtype=np.float32), 1)
    for layer in range(model.LAYERS):
        prefix = f"model.layers.{layer}"
        hidden = norm(stream, f"{prefix}.input_layernorm")
        query, key, value = (
            (hidden @ weights[f"{prefix}.self_attn.{kind}_proj.weight"].T).reshape(count, -1, 64) for kind in "qkv"
        )
        query, key, value = rotate(query), np.repeat(rotate(key), 2, axis=1), np.repeat(value, 2, axis=1)
        scores = np.einsum("qhd,khd->hqk", query, key) / 8 + mask
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", chances, value).reshape(count, -1)
        stream = stream + mixed @ weights[f"{prefix}.self_attn.o_proj.weight"].T
        hidden = norm(stream, f"{prefix}.post_attention_layernorm")
        gate = hidden @ weights[f"{prefix}.mlp.gate_proj.weight"].T
        inner = gate / (1 + np.exp(-gate)) * (hidden @ weights[f"{prefix}.mlp.up_proj.weight"].T)
        stream = stream + inner @ weights[f"{prefix}.mlp.down_proj.weight"].T
    return np.asarray(norm(stream, "model.norm") @ weights["lm_head.weight"].T, dtype=np.float32)


def test_the_files_are_for_everyone_to_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = model.make_tiny_llama(tmp_path / "tiny")
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    assert {stat.S_IMODE(file.stat().st_mode) for file in made.iterdir()} == {0o644}
    config = json.loads((made / "config.json").read_text())
    assert config["hidden_size"] // config["num_attention_heads"] == 64


def test_the_same_recipe_is_written_once_and_is_the_same_anywhere(folder: Path, tmp_path: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    model.make_tiny_llama(folder)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    other = model.make_tiny_llama(tmp_path / "other")
    for file in folder.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_an_older_recipe_a_missing_file_and_a_killed_run_are_mended(tmp_path: Path) -> None:
    made = model.make_tiny_llama(tmp_path / "tiny")
    (made / model.MARKER).write_text("older\n")
    (tmp_path / ".tiny.making").mkdir()
    (tmp_path / ".tiny.making" / "config.json").write_text("half")
    model.make_tiny_llama(made)
    assert (made / model.MARKER).read_text() != "older\n"
    (made / "tokenizer.json").unlink()
    model.make_tiny_llama(made)
    assert (made / "tokenizer.json").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model.safetensors").write_text("precious")
    with pytest.raises(model.ModelError, match="was not made here"):
        model.make_tiny_llama(tmp_path / "theirs")
    assert (tmp_path / "theirs" / "model.safetensors").read_text() == "precious"


# llama-server b11549 (xllamacpp 2026.10.11549) with this GGUF, temperature 0, prompt "Hello, what is a ship for", 2026-11-28.
PROMPT = "Hello, what is a ship for"
ANSWER = [477, 320, 411, 411, 411, 411, 411, 411, 427, 142, 235, 246]
ANSWER += [374, 448, 374, 328, 456, 506, 139, 180, 243, 445, 134, 454]
# Its /tokenize of the same day.
TOKENIZED = [0, 35, 6, 13, 13, 16, 75, 96, 24, 9, 2, 21, 96, 10, 20, 96, 21, 9, 10, 20, 84]


def _of_gguf(file: Path) -> dict[str, Array]:
    """The file's weights under the names of safetensors, their rows as they are."""
    with file.open("rb") as stream:
        header = read_header(stream, file.name)
    names = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
    }
    content = file.read_bytes()
    weights = {}
    for tensor in header.tensors:
        kind = {"F16": "<f2", "F32": "<f4"}[GGML_TYPES[tensor.type].name]
        values = np.frombuffer(content, kind, tensor.elements, header.data + tensor.offset)
        parts = tensor.name.removesuffix(".weight").split(".")
        name = f"model.layers.{parts[1]}.{names[parts[2]]}" if len(parts) > 1 else names[parts[0]]
        weights[f"{name}.weight"] = values.astype(np.float32).reshape(tensor.shape[::-1])
    return weights


def _greedy(weights: dict[str, Array], prompt: list[int], count: int, *, pairs: bool) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(_forward(weights, np.array(tokens), pairs=pairs)[-1].argmax()))
    return tokens[len(prompt) :]


def test_both_forms_of_the_model_answer_as_llama_cpp_did(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    prompt = tokenizer.encode(PROMPT).ids
    assert len(prompt) == 26  # as many as llama-server counted
    safetensors = load_file(folder / "model.safetensors")
    gguf = _of_gguf(model.make_tiny_gguf(tmp_path))
    assert _greedy(safetensors, prompt, len(ANSWER), pairs=False) == ANSWER
    assert _greedy(gguf, prompt, len(ANSWER), pairs=True) == ANSWER
    assert _greedy(gguf, prompt, len(ANSWER), pairs=False) != ANSWER, "the order of the rows makes no difference"
    assert tokenizer.encode("Hello, what is this?").ids == TOKENIZED


def test_the_gguf_has_the_tokenizer_and_the_template(tmp_path: Path, folder: Path) -> None:
    file = model.make_tiny_gguf(tmp_path)
    with file.open("rb") as stream:
        metadata = read_header(stream, file.name).metadata
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert metadata["tokenizer.chat_template"] == config["chat_template"]
    assert metadata["tokenizer.ggml.model"] == "t5"
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.token_type"] == (3, 3, *[1] * 510)
    content = file.read_bytes()
    assert "\u2581bada".encode() in content
    assert b" bada" not in content


def test_the_gguf_is_the_same_anywhere_and_written_once(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        first, second = (model.make_tiny_gguf(tmp_path / name) for name in ("first", "second/other.gguf"))
    finally:
        os.umask(before)
    assert (first.name, second.name) == (model.GGUF_NAME, "other.gguf")
    assert first.read_bytes() == second.read_bytes()
    # Of the file whose answers stand above.
    assert hashlib.sha256(first.read_bytes()).hexdigest().startswith("d778c12f38fc51e3")
    assert stat.S_IMODE(first.stat().st_mode) == 0o644
    written = first.stat().st_mtime_ns, first.stat().st_ino
    model.make_tiny_gguf(first)
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == written
    assert [entry.name for entry in first.parent.iterdir()] == [model.GGUF_NAME]


def test_an_older_gguf_of_ours_is_replaced_and_another_is_left_alone(tmp_path: Path) -> None:
    file = model.make_tiny_gguf(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    (tmp_path / f".{file.name}.making").write_text("half")
    assert model.make_tiny_gguf(file).read_bytes() == whole
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]
    file.write_bytes(b"GGUF precious")
    with pytest.raises(model.ModelError, match="was not made here"):
        model.make_tiny_gguf(file)
    assert file.read_bytes() == b"GGUF precious"

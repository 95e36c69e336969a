"""The tiny model: its tokens are visible, its answers as long as asked for, its files readable and repeatable."""

from __future__ import annotations

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


def _forward(weights: dict[str, Array], tokens: npt.NDArray[np.int64]) -> Array:
    """A Llama in twenty lines: enough to see the logits without an engine."""

    def norm(values: Array, name: str) -> Array:
        scale = np.sqrt((values**2).mean(-1, keepdims=True) + 1e-5)
        return np.asarray(values / scale * weights[f"{name}.weight"], dtype=np.float32)

    def rotate(values: Array) -> Array:
        angles = np.outer(np.arange(len(values)), 10000.0 ** (-np.arange(0, 64, 2) / 64))
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

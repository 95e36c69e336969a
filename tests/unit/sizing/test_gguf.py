"""GGUF headers: read as their writers meant them, refused in one line when faulty, and never more read than the header."""

import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.sizing.gguf import GgufModel, Header, model_of, read_gguf, read_header
from slipway.sizing.gguf.format import BY_NAME, GGML_TYPES, MAGIC, Value
from slipway.sizing.gguf.reader import Skipped
from slipway.sizing.result import SizingError
from tests.unit.sizing.gguf_models import Shape, decoder_keys
from tools.lab.gguf import gguf_bytes
from tools.lab.model import make_tiny_gguf

BY_PYPI = Path(__file__).parents[2] / "data" / "sizing" / "by-pypi-gguf.gguf"
KEYS = decoder_keys("llama", Shape(2, 64, 128, 4, 2, 16, 8, 2048)) | {"tokenizer.ggml.tokens": ["a"] * 8}
TENSORS = {
    "token_embd.weight": np.zeros((8, 64), np.float16),
    "blk.0.attn_q.weight": np.zeros((64, 64), np.float16),
    "blk.1.attn_q.weight": np.zeros((64, 64), np.float16),
    "output_norm.weight": np.zeros(64, np.float32),
}
SMALL = gguf_bytes(KEYS, TENSORS)


def parsed(content: bytes) -> Header:
    return read_header(io.BytesIO(content), "m.gguf")


def model(**changes: Any) -> GgufModel:
    """The small model with other metadata; None leaves a key out."""
    keys = {key: value for key, value in (KEYS | changes).items() if value is not None}
    return model_of([parsed(gguf_bytes(keys, TENSORS))], ("m.gguf",))


def refusal(content: bytes) -> str:
    with pytest.raises(SizingError) as caught:
        parsed(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_of_the_formats_own_package_is_read_as_that_package_reads_it() -> None:
    # Written with PyPI's gguf 0.19.0; the figures are what its GGUFReader says of it.
    with BY_PYPI.open("rb") as stream:
        header = read_header(stream, "m.gguf")
    assert {
        tensor.name: (
            GGML_TYPES[tensor.type].name,
            tensor.shape,
            tensor.elements,
            tensor.bytes,
            header.data + tensor.offset,
        )
        for tensor in header.tensors
    } == {
        "token_embd.weight": ("F16", (256, 4), 1024, 2048, 1664),
        "blk.0.attn_q.weight": ("Q8_0", (256, 1), 256, 272, 3712),
        "blk.0.attn_k.weight": ("Q4_0", (256, 2), 512, 288, 4032),
        "blk.1.ffn_up.weight": ("BF16", (256, 1), 256, 512, 4352),
        "blk.1.ffn_gate.weight": ("MXFP4", (256, 1), 256, 136, 4864),
        "blk.1.attn_q.weight": ("Q4_K", (256, 1), 256, 144, 5056),
        "blk.1.attn_v.weight": ("Q6_K", (256, 2), 512, 420, 5248),
        "blk.1.attn_k.weight": ("IQ2_XXS", (256, 1), 256, 66, 5696),
        "output_norm.weight": ("F32", (256,), 256, 1024, 5824),
    }
    assert {key: value for key, value in header.metadata.items() if key.startswith("kinds.")} == {
        "kinds.u8": 255,
        "kinds.i8": -128,
        "kinds.u16": 65535,
        "kinds.i16": -32768,
        "kinds.u32": 2**32 - 1,
        "kinds.i32": -(2**31),
        "kinds.f32": 1.5,
        "kinds.bool": True,
        "kinds.u64": 2**64 - 1,
        "kinds.i64": -(2**63),
        "kinds.f64": 0.1,
        "kinds.flags": (True, False),
        "kinds.floats": (0.5, 1.5),
    }
    assert header.end == BY_PYPI.stat().st_size
    found = read_gguf(BY_PYPI)
    assert (found.quantization, found.weights, found.parameters, found.vocabulary) == ("Q4_K_M", 4910, 3584, 4)
    assert found.chat_template
    assert found.tied


def test_the_types_are_those_of_the_formats_own_package() -> None:
    # GGML_QUANT_SIZES of PyPI's gguf 0.19.0. It has 40 bytes for Q8_1, which no file holds; ggml-common.h has 36.
    sizes = {
        "F32": (1, 4), "F16": (1, 2), "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24),
        "Q8_0": (32, 34), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176),
        "Q6_K": (256, 210), "Q8_K": (256, 292), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ3_XXS": (256, 98),
        "IQ1_S": (256, 50), "IQ4_NL": (32, 18), "IQ3_S": (256, 110), "IQ2_S": (256, 82), "IQ4_XS": (256, 136),
        "I8": (1, 1), "I16": (1, 2), "I32": (1, 4), "I64": (1, 8), "F64": (1, 8), "IQ1_M": (256, 56), "BF16": (1, 2),
        "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18),
    }  # fmt: skip
    numbers = {
        "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q8_1": 9, "Q2_K": 10, "Q3_K": 11,
        "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "Q8_K": 15, "IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18, "IQ1_S": 19,
        "IQ4_NL": 20, "IQ3_S": 21, "IQ2_S": 22, "IQ4_XS": 23, "I8": 24, "I16": 25, "I32": 26, "I64": 27, "F64": 28,
        "IQ1_M": 29, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35, "MXFP4": 39, "NVFP4": 40, "Q1_0": 41,
    }  # fmt: skip
    assert {name: GGML_TYPES[BY_NAME[name]][1:] for name in sizes} == sizes
    assert {name: BY_NAME[name] for name in numbers} == numbers
    assert set(BY_NAME) - set(sizes) == {"Q8_1", "Q2_0"}


def test_the_labs_model_is_what_llama_cpp_says_of_it(tmp_path: Path) -> None:
    # llama.cpp b11549 on 2026-11-28: arch llama, n_ctx_train 4096, n_vocab 512, 1.44 M parameters, 2.75 MiB, F16
    found = read_gguf(make_tiny_gguf(tmp_path))
    assert (found.architecture, found.context, found.vocabulary, found.quantization) == ("llama", 4096, 512, "F16")
    assert round(found.parameters / 1e6, 2) == 1.44
    assert round(found.weights / 2**20, 2) == 2.75
    assert (found.layers, found.heads, found.kv_heads, found.key_length, found.pooling) == (2, 4, 2, 64, "")
    assert found.name == "tiny-llama"
    assert found.chat_template
    assert not found.tied


def test_only_the_header_is_read() -> None:
    class Stream(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.taken += len(content)
            return content

    stream = Stream(SMALL + bytes(64 << 20))
    read_header(stream, "m.gguf")
    assert stream.taken < 1 << 20


def test_a_vocabulary_is_passed_over_and_counted() -> None:
    keys = KEYS | {
        "tokenizer.ggml.tokens": [f"word {number}" for number in range(200_000)],
        "tokenizer.ggml.scores": [0.5] * 200_000,
    }
    header = parsed(gguf_bytes(keys, TENSORS))
    assert header.metadata["tokenizer.ggml.tokens"] == header.metadata["tokenizer.ggml.scores"] == Skipped(200_000)
    assert [tensor.name for tensor in header.tensors] == list(TENSORS)


def patched(old: bytes, new: bytes) -> bytes:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def key(name: str) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode()


DIMENSIONS = key("token_embd.weight") + struct.pack("<I", 2)
OF_EMBEDDING = DIMENSIONS + struct.pack("<2Q", 64, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no GGUF file"),
        (b"PK\x03\x04" + bytes(40), "it does not begin as a GGUF file does"),
        (MAGIC + struct.pack("<I", 1) + bytes(40), "its version is 1, which llama.cpp does not read"),
        (MAGIC + struct.pack(">I", 3) + bytes(40), "its version is big-endian, which llama.cpp does not read"),
        (MAGIC + struct.pack("<I", 9) + bytes(40), "its version is 9; known are 2 and 3"),
        (MAGIC + struct.pack("<IQQ", 3, 1 << 60, 5), "tensors and 5 keys, more than any model has"),
        (SMALL[:100], "its header is cut short"),
        (
            patched(key("llama.block_count") + struct.pack("<I", 4), key("llama.block_count") + struct.pack("<I", 77)),
            "'llama.block_count' is of kind 77, which GGUF does not have",
        ),
        (
            patched(
                key("general.architecture") + struct.pack("<IQ", 8, 5),
                key("general.architecture") + struct.pack("<IQ", 8, 1 << 62),
            ),
            "a text in it has 4611686018427387904 bytes",
        ),
        (
            patched(
                key("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 8),
                key("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 9, 8),
            ),
            "is a list of lists",
        ),
        (
            patched(
                key("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 8),
                key("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 4, 1 << 62),
            ),
            "its header would be larger than any model has",
        ),
        (patched(DIMENSIONS, DIMENSIONS[:-4] + struct.pack("<I", 5)), "has 5 dimensions; 4 is the most"),
        (patched(OF_EMBEDDING, DIMENSIONS + struct.pack("<2Q", 1 << 62, 8)), "is larger than any file"),
        (
            patched(OF_EMBEDDING + struct.pack("<I", 1), OF_EMBEDDING + struct.pack("<I", 4)),
            "is of type 4, which llama.cpp b11434 does not know; no engine would load it: convert the model again",
        ),
        (
            patched(OF_EMBEDDING + struct.pack("<I", 1), OF_EMBEDDING + struct.pack("<I", 12)),
            "has rows of 64, and Q4_K stores blocks of 256",
        ),
        (
            patched(OF_EMBEDDING + struct.pack("<IQ", 1, 0), OF_EMBEDDING + struct.pack("<IQ", 1, 32)),
            "'token_embd.weight' does not lie at the beginning",
        ),
        (
            patched(OF_EMBEDDING + struct.pack("<IQ", 1, 0), OF_EMBEDDING + struct.pack("<IQ", 0, 0)),
            "'blk.0.attn_q.weight' does not lie where the one before it ends",
        ),
        (patched(b"blk.1.attn_q", b"blk.0.attn_q"), "two of its tensors have one name"),
        (
            gguf_bytes({"same key": 1, "sane key": 2}, {}).replace(b"sane", b"same"),
            "key 'same key' is there twice",
        ),
        (gguf_bytes({"": 1}, {}), "key '' is empty"),
        (gguf_bytes(KEYS | {"general.alignment": 24}, TENSORS), "general.alignment is no power of two"),
    ],
)
def test_a_faulty_header_is_refused_in_one_line(content: bytes, message: str) -> None:
    assert message in refusal(content)
    assert refusal(content).startswith("m.gguf: ")


def test_an_architecture_that_is_no_name_is_refused_in_one_line() -> None:
    content = gguf_bytes(KEYS | {"general.architecture": "lla\nma"}, TENSORS)
    with pytest.raises(SizingError) as refused:
        model_of([parsed(content)], ("m.gguf",))
    assert str(refused.value).startswith("m.gguf: general.architecture is no name; ")
    assert "\n" not in str(refused.value)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_whatever_the_bytes_it_answers_or_refuses(data: st.DataObject) -> None:
    content = bytearray(SMALL[: data.draw(st.integers(0, 1600))])
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            at = data.draw(st.integers(0, len(content) - 1))
            piece = data.draw(
                st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 8, bytes(8), b"\xff" * 7 + b"\x7f"])
            )
            content[at : at + len(piece)] = piece
    try:
        model_of([parsed(bytes(content))], ("m.gguf",))
    except SizingError as error:
        assert "\n" not in str(error)


@given(
    st.integers(0, len(SMALL) - 9), st.sampled_from([1 << 16, 1 << 24, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
)
@settings(deadline=None, max_examples=200)
def test_no_number_in_the_file_makes_it_take_memory(at: int, number: int) -> None:
    content = SMALL[:at] + struct.pack("<Q", number) + SMALL[at + 8 :]
    tracemalloc.start()
    try:
        model_of([parsed(content)], ("m.gguf",))
    except SizingError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general.architecture": None}, "general.architecture is missing"),
        ({"llama.context_length": None}, "llama.context_length is missing"),
        ({"llama.block_count": 0}, "llama.block_count is 0; a whole number from 1 to 2147483647 is wanted"),
        ({"llama.block_count": 513}, "llama.block_count is 513; llama.cpp has room for 512 layers"),
        ({"llama.embedding_length": "64"}, "llama.embedding_length is str; a whole number"),
        ({"llama.embedding_length": 1.5}, "llama.embedding_length is 1.5; a whole number"),
        ({"llama.attention.head_count_kv": [2]}, "llama.attention.head_count_kv has 1 numbers for 2 layers"),
        ({"llama.attention.head_count_kv": [2, -1]}, "llama.attention.head_count_kv is -1"),
        ({"llama.pooling_type": 9}, "llama.pooling_type is 9; known are 0, 1, 2, 3, 4"),
        ({"general.type": "adapter"}, "it holds an adapter (LoRA), no language model"),
        ({"general.architecture": "clip"}, "it holds an image or audio projector (mmproj)"),
        ({"tokenizer.chat_template": 5}, "tokenizer.chat_template is no text"),
    ],
)
def test_faulty_metadata_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as caught:
        model(**changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("m.gguf: ")


def test_what_the_metadata_say() -> None:
    found = model(**{"llama.attention.head_count_kv": [4, 1], "llama.pooling_type": 3, "general.name": None})
    assert [cache.keys for cache in found.caches] == [64, 16]
    assert (found.pooling, found.name, found.vocabulary) == ("last", "m", 8)
    assert found.layer_weights == (8192, 8192)
    assert (found.input_weights, found.output_weights) == (1024, 256)
    assert found.weights == 2 * 8192 + 1024 + 256
    assert model(**{"general.file_type": None}).quantization == "F16"
    assert model(**{"llama.attention.head_count_kv": None}).kv_heads == 4


def test_windows_are_where_the_architecture_has_them() -> None:
    def windows(name: str, **keys: Any) -> list[int]:
        metadata = decoder_keys(name, Shape(6, 64, 128, 4, 2, 16, 8, 2048)) | {"tokenizer.ggml.tokens": ["a"] * 8}
        metadata |= {f"{name}.{key.replace('__', '.')}": value for key, value in keys.items()}
        return [cache.window for cache in model_of([parsed(gguf_bytes(metadata, {}))], ("m.gguf",)).caches]

    assert windows("llama", attention__sliding_window=128) == [0] * 6, "llama.cpp passes it over there"
    assert windows("gpt-oss", attention__sliding_window=128) == [128, 0] * 3
    assert windows("gemma3", attention__sliding_window=512) == [512] * 5 + [0]
    assert windows("gemma3") == [0] * 6
    assert windows("gemma2") == [4096, 0] * 3
    assert windows("smallthinker", attention__sliding_window=1) == [0, 4096, 4096, 4096, 0, 4096]
    assert windows("llama4") == [8192, 8192, 8192, 0, 8192, 8192]
    own = [True, False, True, True, False, True]
    assert windows("gemma3", attention__sliding_window=9, attention__sliding_window_pattern=own) == [9, 0, 9, 9, 0, 9]
    assert windows("cohere2", attention__sliding_window=9, attention__sliding_window_pattern=3) == [9, 9, 0] * 2
    with pytest.raises(SizingError, match=r"gemma4\.attention\.sliding_window_pattern is missing"):
        windows("gemma4", attention__sliding_window=9)


def test_an_architecture_with_caches_of_its_own_says_so() -> None:
    keys = {name.replace("llama.", "deepseek4.", 1): value for name, value in KEYS.items()} | {
        "general.architecture": "deepseek4"
    }
    (note,) = model_of([parsed(gguf_bytes(keys, {}))], ("m.gguf",)).notes
    assert "the KV cache is a lower bound" in note


def split(folder: Path, count: int = 3, **changes: Any) -> Path:
    """The small model in `count` parts; changes by `part__key`."""
    names = list(TENSORS)
    for number in range(count):
        keys: dict[str, Any] = {
            **(KEYS if number == 0 else {}),
            "split.no": number,
            "split.count": count,
            "split.tensors.count": 4,
        }
        for name, value in changes.items():
            part, _, changed = name.partition("__")
            if int(part.removeprefix("part")) == number:
                keys["split." + changed] = value
        own = {name: TENSORS[name] for name in names[number::count]}
        (folder / f"small-{number + 1:05}-of-{count:05}.gguf").write_bytes(gguf_bytes(keys, own))
    return folder / f"small-00001-of-{count:05}.gguf"


def test_the_parts_of_a_split_file_are_one_model(tmp_path: Path) -> None:
    whole = model()
    found = read_gguf(split(tmp_path))
    assert (found.weights, found.parameters, found.layer_weights) == (
        whole.weights,
        whole.parameters,
        whole.layer_weights,
    )
    assert found.files == tuple(f"small-{number:05}-of-00003.gguf" for number in (1, 2, 3))
    assert read_gguf(tmp_path) == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part1__no": 2}, "small-00002-of-00003.gguf: it does not say that it is part 2 of 3"),
        ({"part2__count": 4}, "small-00003-of-00003.gguf: it does not say that it is part 3 of 3"),
        ({"part0__tensors.count": 5}, "its parts have 4 tensors together, and it says 5"),
        ({"part0__count": 1}, "it says that it is one of 1 parts, and its name stands for 3"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError) as caught:
        read_gguf(split(tmp_path, **changes))
    assert message in str(caught.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(SizingError) as caught:
            read_gguf(path)
        return str(caught.value)

    first = split(tmp_path)
    assert said(first.with_name("small-00002-of-00003.gguf")).endswith("name small-00001-of-00003.gguf")
    (tmp_path / "small-00003-of-00003.gguf").unlink()
    assert "small-00003-of-00003.gguf: there is no such file; give a GGUF file, and all of its parts" in said(first)
    assert said(tmp_path / "none.gguf").endswith("and all of its parts where it is split")
    lone = tmp_path / "whole.gguf"
    lone.write_bytes(first.read_bytes())
    assert "it says that it is one of 3 parts, and its name stands for 1" in said(lone)
    lone.write_bytes(SMALL[:-3000])
    assert "it was cut short" in said(lone)
    assert said(tmp_path) == f"{tmp_path}: 2 models in it; name the GGUF file that is meant, such as {first.name}"
    (tmp_path / "empty").mkdir()
    assert said(tmp_path / "empty") == f"{tmp_path / 'empty'}: no model in it; name the GGUF file that is meant"
    assert "there is no such file" in said(Path("/dev/null"))
    (tmp_path / "empty" / "m.gguf").write_bytes(SMALL)
    (tmp_path / "empty" / "mmproj-F16.gguf").write_bytes(b"")
    assert read_gguf(tmp_path / "empty").architecture == "llama"


def test_kinds_of_metadata_are_the_formats() -> None:
    assert [kind.name for kind in Value] == [
        "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FLOAT32", "BOOL", "STRING", "ARRAY", "UINT64", "INT64", "FLOAT64",
    ]  # fmt: skip

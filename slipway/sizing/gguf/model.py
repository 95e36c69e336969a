"""What a GGUF file holds, from its own header: weights to the byte, layers and their caches, context, vocabulary, template.

One file, or the first of a split one (`name-00001-of-00003.gguf`) with the others beside it. What engines make of it is the
business of `slipway.sizing.engines`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slipway.sizing.gguf.caches import NO_CACHE, PARTLY_KNOWN, LayerCache, caches, head_counts, head_sizes
from slipway.sizing.gguf.format import FILE_TYPES, GGML_TYPES, POOLING
from slipway.sizing.gguf.keys import Keys
from slipway.sizing.gguf.reader import Header, Metadata, read_header
from slipway.sizing.result import SizingError
from slipway.units import GiB

_MOST_LAYERS = 512  # LLAMA_MAX_LAYERS
_MOST_PARTS = 512
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII)
_LAYER = re.compile(r"blk\.(\d{1,4})\.", re.ASCII)
_INPUT = ("token_embd", "per_layer_token_embd", "position_embd", "token_types")
"""Tensors that llama.cpp leaves on the host, since only rows of them are read."""
_NO_MODELS = {
    "clip": "an image or audio projector (mmproj)",
    "adapter": "an adapter (LoRA)",
    "imatrix": "an importance matrix",
}
_MEND = "no engine would load it: download it again"


@dataclass(frozen=True, kw_only=True)
class GgufModel:
    """A model as its GGUF describes it. Sizes in bytes."""

    name: str
    """general.name, else the file's."""
    files: tuple[str, ...]
    """Names of the parts; one where it is not split."""
    architecture: str
    """In llama.cpp's words: llama, qwen3moe, gpt-oss…"""
    quantization: str
    """As files are named: F16, Q4_K_M…; else the type of most of the bytes."""
    parameters: int
    weights: int
    """Of all tensors."""
    weights_by_type: Mapping[str, int]
    """The same by the ggml type that they are stored in."""
    input_weights: int
    """Embedding tables, which stay on the host."""
    output_weights: int
    """Output head and final norm; the head is the embedding table where it has none of its own."""
    layer_weights: tuple[int, ...]
    """Of each layer."""
    caches: tuple[LayerCache, ...]
    """What each layer keeps of a sequence."""
    context: int
    """Tokens that it was trained on."""
    hidden_size: int
    feed_forward: int
    """Inner size of the widest feed-forward network; 0 where no layer has one that all tokens pass."""
    gated: bool
    """Its feed-forward networks have a gate beside the way up."""
    experts: int
    experts_used: int
    expert_feed_forward: int
    """Inner size of one expert; 0 without."""
    heads: int
    """The most in a layer."""
    kv_heads: int
    key_length: int
    value_length: int
    vocabulary: int
    pooling: str
    """In llama-server's words; empty where the model is not for embedding or reranking."""
    chat_template: bool
    """Whether one is in the file."""
    tied: bool
    """It has no output head of its own: the embedding table is that too."""
    notes: tuple[str, ...]
    """What could not be known and was assumed."""

    @property
    def layers(self) -> int:
        """How many there are."""
        return len(self.caches)


def read_gguf(path: Path) -> GgufModel:
    """Read the header of the file at `path`, and of its other parts where it is split.

    Args:
        path: The file, or the first part; or a folder with one model in it.

    Raises:
        SizingError: Nothing is there, a part is missing or cut short, or what `model_of` raises.
    """
    first = _file(Path(path).expanduser())
    parts = _parts(first)
    headers = [_header(part) for part in parts]
    return model_of(headers, tuple(part.name for part in parts))


def model_of(headers: list[Header], files: tuple[str, ...]) -> GgufModel:
    """The model whose parts have these `headers`, the first part first.

    Raises:
        SizingError: A key is missing or faulty, or it holds no model of language; one line with file, key and mend.
    """
    first, name = headers[0], files[0]
    keys = Keys(first.metadata, name)
    _check_kind(keys, name)
    _check_parts(headers, files)
    layers = keys.whole("block_count", least=1)
    if layers > _MOST_LAYERS:
        keys.refuse(f"{keys.architecture}.block_count is {layers}; llama.cpp has room for {_MOST_LAYERS} layers")
    heads, kv_heads = head_counts(keys, layers)
    key_length, value_length = head_sizes(keys, heads[0])
    feed_forward = max(keys.each("feed_forward_length", layers, 0))
    weights = _Weights(headers, layers)
    experts = keys.whole("expert_count", 0)
    pooling = keys.whole("pooling_type", 0)
    notes: tuple[str, ...] = ()
    if keys.architecture in PARTLY_KNOWN:
        notes = (f"{keys.architecture} has caches that are not all modelled; the KV cache is a lower bound",)
    return GgufModel(
        name=keys.text("general.name") or _stem(name),
        files=files,
        architecture=keys.architecture,
        quantization=_quantization(first.metadata, weights.by_type),
        parameters=weights.parameters,
        weights=sum(weights.by_type.values()),
        weights_by_type=weights.by_type,
        input_weights=weights.input,
        output_weights=weights.output,
        layer_weights=tuple(weights.layers),
        caches=caches(keys, layers),
        context=keys.whole("context_length", least=1),
        hidden_size=keys.whole("embedding_length", least=1),
        feed_forward=feed_forward,
        gated=weights.gate or weights.rows_up > feed_forward,
        experts=experts,
        experts_used=max(keys.each("expert_used_count", layers, 0)) if experts else 0,
        expert_feed_forward=max(keys.each("expert_feed_forward_length", layers, 0)) if experts else 0,
        heads=max(heads),
        kv_heads=max(kv_heads),
        key_length=key_length,
        value_length=value_length,
        vocabulary=keys.length("tokenizer.ggml.tokens") or keys.whole("vocab_size", 0),
        pooling=_pooling(keys, pooling),
        chat_template=bool(keys.text("tokenizer.chat_template")),
        tied=not weights.head,
        notes=notes,
    )


class _Weights:
    """The tensors of all parts, added up by where llama.cpp puts them."""

    def __init__(self, headers: list[Header], layers: int) -> None:
        self.parameters = self.input = self.output = 0
        self.head = self.gate = False
        self.rows_up = 0
        """Of ffn_up; where it holds the gate too, twice the inner size."""
        self.layers = [0] * layers
        self.by_type: dict[str, int] = {}
        for header in headers:
            for tensor in header.tensors:
                size = tensor.bytes
                kind = GGML_TYPES[tensor.type].name
                self.by_type[kind] = self.by_type.get(kind, 0) + size
                self.parameters += tensor.elements
                self.head = self.head or tensor.name == "output.weight"
                self.gate = self.gate or ".ffn_gate" in tensor.name
                if tensor.name.endswith(".ffn_up.weight"):
                    self.rows_up = max(self.rows_up, *tensor.shape[1:], 0)
                layer = _LAYER.match(tensor.name)
                if layer and int(layer[1]) < layers:
                    self.layers[int(layer[1])] += size
                elif tensor.name.startswith(_INPUT):
                    self.input += size
                else:
                    self.output += size


def _check_kind(keys: Keys, name: str) -> None:
    kind = keys.text("general.type")
    said = _NO_MODELS.get(kind) or _NO_MODELS.get(keys.architecture)
    if said or kind == "mmproj":
        raise SizingError(
            f"{name}: it holds {said or _NO_MODELS['clip']}, no language model; an engine would not start with it alone: "
            "name the model's own GGUF"
        )


def _check_parts(headers: list[Header], files: tuple[str, ...]) -> None:
    count = headers[0].metadata.get("split.count", 0) or 1
    if count != len(headers):
        raise SizingError(
            f"{files[0]}: it says that it is one of {count} parts, and its name stands for {len(headers)}; {_MEND}, "
            "under the name that it was published with"
        )
    if count == 1:
        return
    for number, (header, file) in enumerate(zip(headers, files, strict=True)):
        if header.metadata.get("split.no") != number or header.metadata.get("split.count") != count:
            raise SizingError(f"{file}: it does not say that it is part {number + 1} of {count}; {_MEND}")
    expected, found = headers[0].metadata.get("split.tensors.count"), sum(len(header.tensors) for header in headers)
    if expected != found:
        raise SizingError(f"{files[0]}: its parts have {found} tensors together, and it says {expected}; {_MEND}")


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(
        each
        for each in path.glob("*.gguf")
        if each.is_file() and not ((part := _PART.fullmatch(each.name)) and part["number"] != "00001")
    )
    models = [each for each in found if not each.name.casefold().startswith("mmproj")]
    if len(models) != 1:
        raise SizingError(
            f"{path}: {f'{len(models)} models' if models else 'no model'} in it; name the GGUF file that is meant"
            + (f", such as {models[0].name}" if models else "")
        )
    return models[0]


def _parts(first: Path) -> list[Path]:
    named = _PART.fullmatch(first.name)
    if not named:
        return [first]
    count = int(named["count"])
    if not 1 <= count <= _MOST_PARTS:
        raise SizingError(f"{first}: its name says {count} parts; 1 to {_MOST_PARTS} can be: {_MEND}")
    if int(named["number"]) != 1:
        raise SizingError(
            f"{first}: it is part {int(named['number'])} of {count}; the engine is given the first, which names the others: "
            f"name {named['stem']}-00001-of-{named['count']}.gguf"
        )
    return [first.with_name(f"{named['stem']}-{number:05}-of-{named['count']}.gguf") for number in range(1, count + 1)]


def _header(path: Path) -> Header:
    try:
        if not path.is_file():
            raise SizingError(
                f"{path}: there is no such file; give a GGUF file, and all of its parts where it is split"
            )
        with path.open("rb", buffering=0) as stream:
            header = read_header(_raw(stream), str(path))
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        if isinstance(error, SizingError):
            raise
        raise SizingError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if size < header.end:
        there, whole = GiB.of_bytes(size), GiB.of_bytes(header.end)
        raise SizingError(
            f"{path}: it has {there:.3f} of the {whole:.3f} that its header says; it was cut short, and {_MEND}"
        )
    return header


def _raw(stream: object) -> BinaryIO:
    return stream  # type: ignore[return-value]  # a FileIO reads bytes, which is all that is asked of it


def _quantization(metadata: Mapping[str, Metadata], by_type: Mapping[str, int]) -> str:
    said = metadata.get("general.file_type")
    if isinstance(said, int) and said in FILE_TYPES:
        return FILE_TYPES[said]
    return max(by_type, key=lambda kind: by_type[kind], default="")


def _pooling(keys: Keys, number: int) -> str:
    if number:
        if number not in POOLING:
            keys.refuse(f"{keys.architecture}.pooling_type is {number}; known are {', '.join(map(str, POOLING))}")
        return POOLING[number]
    return "none" if keys.architecture in NO_CACHE and "pooling_type" in keys else ""


def _stem(name: str) -> str:
    named = _PART.fullmatch(name)
    return named["stem"] if named else name.removesuffix(".gguf")

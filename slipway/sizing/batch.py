"""Many questions at once: rows with the field names of vLLM's measured start-ups, in and out."""

from __future__ import annotations

import ast
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from slipway.catalog import Catalog, CatalogError, Gpu
from slipway.catalog.load import find, find_gpu, find_or_none
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config
from slipway.sizing.labels import base_name, declared
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size
from slipway.units import GiB

_UNKNOWN_RELEASE = "0.11.0"
"""Of a row whose version is null, as in extracts of logs that lack their head: those at hand are of this release or near it.
A row that says nothing of a version is asked for the release that Slipway deploys."""
_HUNDREDTH = 0.01
_YOUNG = ("qwen3_5", "gemma4")
_FIRST_OF_THE_YOUNG = "0.21.0"
"""The same for families that 0.11 did not know: their logs at hand print tokens as releases from 0.21 on do."""


class Answer(msgspec.Struct, frozen=True):
    """One line of output; figures of the first rank, as vLLM prints them. Null where the engine would not get so far."""

    id: str | int | None
    status: str
    """ok, failed (the engine would not start), or refused (the question makes no sense)."""
    error: str | None = None
    weights_gib_per_gpu: float | None = None
    kv_cache_gib_per_gpu: float | None = None
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    activation_gib: float | None = None
    non_torch_gib: float | None = None
    cuda_graph_gib: float | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None


def answers(lines: Iterable[str | bytes], catalog: Catalog) -> Iterator[Answer]:
    """One answer per line that is not empty; a line that makes no sense is answered so, and the others go on."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _answer(line, number, catalog)


def _answer(line: str | bytes, number: int, catalog: Catalog) -> Answer:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Answer(None, "refused", f"line {number} is no JSON: {error}")
    except RecursionError:
        return Answer(None, "refused", f"line {number} is nested absurdly deep")
    if not isinstance(row, dict):
        return Answer(None, "refused", f"line {number} is no JSON object")
    identity = row.get("id")
    try:
        sizing = size(request_of(row, catalog))
    except (SizingError, CatalogError) as error:
        return Answer(identity, "refused", str(error))
    return answer_of(identity, sizing)


def answer_of(identity: str | int | None, sizing: Sizing) -> Answer:
    """The figures of `sizing` under the names of the measured data."""
    request, first = sizing.request, sizing.first
    if first is None:
        return Answer(identity, "ok" if sizing.fits else "failed", "; ".join(sizing.errors) or None)
    return Answer(
        id=identity,
        status="ok" if sizing.fits else "failed",
        error="; ".join(sizing.errors) or None,
        weights_gib_per_gpu=round(first.weights.value, 4),
        kv_cache_gib_per_gpu=round(first.kv_cache.value, 4),
        kv_cache_tokens=sizing.kv_cache_tokens,
        max_concurrency=round(sizing.max_concurrency, 2),
        activation_gib=round(first.activation.value, 4),
        non_torch_gib=round(first.non_torch.value, 4),
        cuda_graph_gib=round(first.cuda_graphs.value, 4),
        tensor_parallel=request.tensor_parallel,
        pipeline_parallel=request.pipeline_parallel,
    )


def request_of(row: Mapping[str, Any], catalog: Catalog) -> Request:
    """The question that `row` asks.

    Raises:
        SizingError: a field is of the wrong type or absurd.
        CatalogError: the model or the GPU is not in the catalogue.
    """
    flags = read_flags(_text(row, "other_flags") or "")
    architecture, quantization = _architecture(row, catalog)
    ranks = _count(row, "tensor_parallel") or _flag_count(flags, "tensor_parallel_size") or 1
    stages = _count(row, "pipeline_parallel") or _flag_count(flags, "pipeline_parallel_size") or 1
    memory = _number(row, "gpu_memory_gib")
    gpu = _gpu(_text(row, "gpu"), memory, catalog)
    return Request(
        architecture=architecture,
        gpu=gpu,
        count=ranks * stages,
        tensor_parallel=ranks,
        pipeline_parallel=stages,
        decode_context_parallel=_flag_count(flags, "decode_context_parallel_size") or 1,
        context=_count(row, "max_model_len") or _flag_count(flags, "max_model_len"),
        dtype=_text(row, "dtype") or "auto",
        quantization=quantization,
        kv_cache_dtype=_text(row, "kv_cache_dtype") or "auto",
        gpu_memory_utilization=_number(row, "gpu_memory_utilization"),
        max_num_batched_tokens=_count(row, "max_num_batched_tokens") or _flag_count(flags, "max_num_batched_tokens"),
        max_num_seqs=_count(row, "max_num_seqs") or _flag_count(flags, "max_num_seqs"),
        block_size=_flag_count(flags, "block_size"),
        expert_parallel=_switch(flags, "expert_parallel") is True,
        prefix_caching=_switch(flags, "prefix_caching"),
        enforce_eager=flags.get("enforce_eager") in (True, "true", "True"),
        engine_version=_text(row, "vllm_version")
        or (_unknown_release(architecture) if "vllm_version" in row else None),
        gpu_memory=None if memory is None or _of_the_box(memory, gpu) else GiB(memory),
    )


def read_flags(text: str) -> dict[str, Any]:
    """Flags as they stand in logs: a Python or JSON dictionary, a command line, or name=value pairs in prose."""
    found: dict[str, Any] = {}
    braces = re.match(r"\s*(\{.*?\})(.*)", text, re.DOTALL)
    if braces:
        found.update(_literal(braces[1]))
        text = braces[2]
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    for number, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        key = name.replace("-", "_")
        if equals:
            found[key] = value
        elif word.startswith("--"):
            following = words[number + 1] if number + 1 < len(words) else ""
            found[key] = True if not following or following.startswith("-") else following
        elif "-" in name[1:] and number + 1 < len(words) and words[number + 1].isdigit():
            found[key] = words[number + 1]
    return found


def _literal(text: str) -> dict[str, Any]:
    """A dictionary in Python's or JSON's spelling; empty where it is neither, since prose has braces too."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _architecture(row: Mapping[str, Any], catalog: Catalog) -> tuple[Architecture, str | None]:
    """The model, and the quantization that is to be made of it at run time."""
    config, name = row.get("config"), _text(row, "model") or ""
    label = _text(row, "quantization") or ""
    if config is not None:
        if not isinstance(config, dict):
            raise SizingError("config: the content of a config.json is wanted, an object")
    elif not name:
        raise SizingError("model or config is missing; there is nothing to size")
    else:
        model = find_or_none(catalog.models, name) or find_or_none(catalog.models, base_name(name))
        config = (model or find(catalog.models, name, "the model")).config
    own = isinstance(config.get("text_config"), dict) and config["text_config"].get("quantization_config")
    if config.get("quantization_config") or config.get("compression_config") or own:
        return _read(msgspec.json.encode(config), name or "config"), None
    published, at_run_time = declared(label, name)
    if published is not None:
        config = {**config, "quantization_config": published}
    return _read(msgspec.json.encode(config), name or "config"), at_run_time


def _unknown_release(architecture: Architecture) -> str:
    return _FIRST_OF_THE_YOUNG if architecture.model_type.startswith(_YOUNG) else _UNKNOWN_RELEASE


@cache
def _read(config: bytes, name: str) -> Architecture:
    """Rows repeat models; reading one again would cost more than sizing it."""
    return read_config(msgspec.json.decode(config), name)


def _gpu(name: str | None, memory: float | None, catalog: Catalog) -> Gpu:
    if name is None:
        raise SizingError("gpu is missing; give a name of the catalogue")
    return find_gpu(catalog.gpus, name, memory)


def _text(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, dict):
        return str(value)
    raise SizingError(f"{key}: {value!r} is no text")


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SizingError(f"{key}: {value!r} is no number")
    return float(value)


def _count(row: Mapping[str, Any], key: str) -> int | None:
    value = _number(row, key)
    if value is None:
        return None
    if value < 1 or not value.is_integer():
        raise SizingError(f"{key}: {value:g} is no whole number from 1 on")
    return int(value)


def _of_the_box(memory: float, gpu: Gpu) -> bool:
    """Whether the figure is the one that is printed on the box, or the driver's, and not what CUDA reports."""
    return memory.is_integer() or abs(memory - gpu.driver_mib / 1024) < _HUNDREDTH


def _switch(flags: Mapping[str, Any], key: str) -> bool | None:
    """Of `--enable-KEY`, `--no-enable-KEY` or a dictionary's `enable_KEY`; None where it is not given."""
    if flags.get(f"no_enable_{key}"):
        return False
    value = flags.get(f"enable_{key}")
    return None if value is None else value in (True, "true", "True")


def _flag_count(flags: Mapping[str, Any], key: str) -> int | None:
    value = flags.get(key)
    text = str(value) if value is not None and value is not True else ""
    return int(text) if text.isdigit() and int(text) > 0 else None

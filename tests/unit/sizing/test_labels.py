"""Quantized checkpoints known by their names."""

import pytest

from slipway.sizing.labels import base_name, declared, scheme_of


@pytest.mark.parametrize(
    ("name", "base", "scheme"),
    [
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "Llama-3.1-8B-Instruct", "quantized.w4a16"),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "Llama-3.3-70B-Instruct", "fp8-dynamic"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen2.5-7B-Instruct", "gptq-int4"),
        ("Qwen/Qwen3-32B-AWQ", "Qwen3-32B", "awq"),
        ("Qwen3.6-27B AutoRound int4", "Qwen3.6-27B", "autoround-int4"),
        ("nvidia/Gemma-4-31B-IT-NVFP4", "Gemma-4-31B-IT", "nvfp4"),
        ("openai/gpt-oss-20b", "gpt-oss-20b", ""),
        pytest.param("mistralai/Mistral-Small-3.1-24B", "Mistral-Small-3.1-24B", "", id="figures are no schemes"),
    ],
)
def test_names(name: str, base: str, scheme: str) -> None:
    assert (base_name(name), scheme_of(name)) == (base, scheme)


@pytest.mark.parametrize(
    ("label", "name", "method", "at_run_time"),
    [
        ("", "a/model", None, None),
        ("none", "a/model", None, None),
        ("fp8", "a/model", None, "fp8"),
        ("bitsandbytes", "a/model", "bitsandbytes", None),
        ("fp8", "a/model-FP8", "fp8", None),
        ("compressed-tensors", "a/model-FP8-dynamic", "compressed-tensors", None),
        ("gptq_marlin", "a/model", "gptq", None),
        ("awq_marlin", "a/model", "awq", None),
        ("modelopt nvfp4", "a/model", "modelopt", None),
        ("auto_round", "a/model", "auto-round", None),
        ("", "a/model-w8a8", "compressed-tensors", None),
        ("mxfp4", "a/model", "mxfp4", None),
    ],
)
def test_declared(label: str, name: str, method: str | None, at_run_time: str | None) -> None:
    config, made = declared(label, name)
    assert (config["quant_method"] if config else None, made) == (method, at_run_time)

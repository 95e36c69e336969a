"""The models' entries against arithmetic: what follows from a published config must be what its makers count."""

import re

import pytest

from slipway.catalog import types
from slipway.catalog.load import find, load
from slipway.sizing.config import read_config

MODELS = load().models
ROUNDED = 0.015
"""What a rounded count may be off: half of the last digit of `32B` is 1.6 %."""
SPECULATION = 0.03
"""More where the published count has a layer for multi-token prediction, which the engine leaves out."""
ACTIVE = 0.05
WHOLE_BILLIONS = 500_000_000
"""What an active count may be off that is published in whole billions."""
NON_COMMERCIAL = re.compile(r"-NC|\bNC\b|Research|Non-Production")

# Both in vllm/tool_parsers/__init__.py and vllm/reasoning/__init__.py of 0.19.0, and still there in 0.24.0.
TOOL_CALL_PARSERS = {
    "deepseek_v3", "deepseek_v31", "deepseek_v32", "glm45", "glm47", "granite", "granite4", "hermes", "internlm", "kimi_k2",
    "llama3_json", "llama4_pythonic", "minimax_m2", "mistral", "olmo3", "openai", "phi4_mini_json", "pythonic", "qwen3_coder",
    "qwen3_xml", "seed_oss",
}  # fmt: skip
REASONING_PARSERS = {
    "deepseek_r1", "deepseek_v3", "glm45", "granite", "kimi_k2", "minimax_m2", "mistral", "nemotron_v3", "olmo3",
    "openai_gptoss", "qwen3", "seed_oss",
}  # fmt: skip

models = pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.id)


def test_the_families_of_every_size_class_are_there():
    assert len(MODELS) >= 60
    assert {"chat", "base", "code", "reasoning", "embedding", "rerank", "vision"} == {m.task for m in MODELS.values()}
    assert {"gptq", "awq", "fp8", "compressed-tensors", "mxfp4"} <= {
        m.config.get("quantization_config", {}).get("quant_method") for m in MODELS.values()
    }


def test_no_name_means_two_models():
    owners: dict[str, set[str]] = {}
    for model in MODELS.values():
        for name in (model.id, model.id.rpartition("/")[2], *model.aliases):
            owners.setdefault(name.casefold(), set()).add(model.id)
    assert {name: ids for name, ids in owners.items() if len(ids) > 1} == {}


def test_an_alias_is_said_once():
    for model in MODELS.values():
        assert len({alias.casefold() for alias in model.aliases}) == len(model.aliases), model.id


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct"),
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("LLAMA-3.3-70B", "meta-llama/Llama-3.3-70B-Instruct"),
        ("deepseek-r1", "deepseek-ai/DeepSeek-R1"),
        ("gpt-oss-120b", "openai/gpt-oss-120b"),
        ("bge-m3", "BAAI/bge-m3"),
    ],
)
def test_the_short_names_that_people_use_are_found(name, repository):
    assert find(MODELS, name, "model").id == repository


@models
def test_the_config_has_as_many_parameters_as_its_makers_count(model):
    derived = read_config(model.config, model.id).parameters
    if model.parameters_exact:
        assert derived == model.parameters
    else:
        text = model.config.get("text_config", model.config)
        speculates = any(text.get(key) for key in ("mtp_num_hidden_layers", "num_nextn_predict_layers"))
        assert derived == pytest.approx(model.parameters, rel=SPECULATION if speculates else ROUNDED)


@pytest.mark.parametrize("key", ["hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"])
def test_a_slip_in_a_config_would_be_seen(key):
    model = MODELS["meta-llama/Llama-3.1-8B-Instruct"]
    slipped = {**model.config, key: model.config[key] * 2}
    assert read_config(slipped, model.id).parameters != model.parameters


@pytest.mark.parametrize(
    "model", [m for m in MODELS.values() if m.active_parameters is not None], ids=lambda model: model.id
)
def test_a_token_passes_as_many_parameters_as_published(model):
    architecture = read_config(model.config, model.id)
    # Makers differ: some count the input embedding, of which a token passes a single row, or the head, and some do not.
    embedding = next(line.parameters for line in architecture.outside if line.name == "embed_tokens")
    head = sum(line.parameters for line in architecture.outside if line.name == "lm_head")
    active = architecture.active_parameters
    counts = (active, active - embedding, active - embedding - head)
    whole = 0 if model.active_parameters % 10**9 else WHOLE_BILLIONS
    allowed = max(ACTIVE * model.active_parameters, whole)
    assert min(abs(count - model.active_parameters) for count in counts) < allowed, counts
    assert model.active_parameters < model.parameters


@models
def test_the_context_fits_the_config(model):
    assert model.context <= read_config(model.config, model.id).context


@models
def test_the_task_is_what_the_engine_will_take_it_for(model):
    assert read_config(model.config, model.id).pooling == (model.task in {"embedding", "rerank"})


@models
def test_the_licence_is_named_and_agrees_with_the_permission(model):
    assert model.licence.strip()
    assert model.commercial_use == (NON_COMMERCIAL.search(model.licence) is None)


@models
def test_every_figure_has_a_dated_source(model):
    fields = set(types.Model.__struct_fields__)
    for source in model.sources:
        assert set(source.figures) <= fields | {"all"}
        assert "2019" <= source.date[:4] <= "2026"
    assert any("all" in source.figures for source in model.sources)


@models
def test_the_parsers_are_the_engines(model):
    assert model.parsers.tool_call in TOOL_CALL_PARSERS | {None}
    assert model.parsers.reasoning in REASONING_PARSERS | {None}

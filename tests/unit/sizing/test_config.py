"""Reading a config.json: context, type, pooling, quantization, and one clear line for whatever is wrong in it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.catalog import load
from slipway.sizing.config import read_config, read_folder
from slipway.sizing.result import SizingError
from tests.unit.sizing.counts import SMALL
from tests.unit.sizing.models import DEEPSEEK_V2_LITE, GEMMA_3_1B, LLAMA_8B

MODELS = load().models
GEMMA_3_4B_AS_PUBLISHED: dict[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "mm_tokens_per_image": 256,
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "image_size": 896,
        "patch_size": 14,
        "vision_use_head": False,
    },
    "torch_dtype": "bfloat16",
}


def small(**keys):
    return read_config({"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SMALL, **keys}, "owner/name")


def refusal(config: Any) -> str:
    with pytest.raises(SizingError) as caught:
        read_config(config, "owner/name")
    return str(caught.value)


def test_what_a_published_config_leaves_out_is_the_class_default():
    architecture = read_config(GEMMA_3_4B_AS_PUBLISHED, "google/gemma-3-4b-it")
    assert architecture.parameters == MODELS["google/gemma-3-4b-it"].parameters
    assert architecture.context == 131072


@pytest.mark.parametrize(
    ("keys", "context"),
    [
        ({}, 512),
        ({"rope_scaling": {"rope_type": "linear", "factor": 4}}, 2048),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 1024),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 256}}, 1024),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, 512),
        ({"rope_scaling": {"type": "longrope"}}, 512),
        ({"rope_scaling": None}, 512),
        ({"max_seq_len": 100}, 100),
        ({"max_position_embeddings": None}, 2048),
    ],
)
def test_the_context_is_that_of_the_engine(keys, context):
    assert small(**keys).context == context


@pytest.mark.parametrize(
    ("keys", "dtype", "assumed"),
    [
        ({"torch_dtype": "float16"}, "float16", False),
        ({"dtype": "float32"}, "float32", False),
        ({"torch_dtype": "torch.bfloat16"}, "bfloat16", False),
        ({"torch_dtype": "float8_e4m3fn"}, "bfloat16", True),
        ({}, "bfloat16", True),
    ],
)
def test_the_type_is_the_checkpoint_or_a_note_says_what_was_assumed(keys, dtype, assumed):
    architecture = small(**keys)
    assert architecture.dtype == dtype
    assert any("assumed" in note for note in architecture.notes) == assumed


@pytest.mark.parametrize(
    ("architectures", "name", "pools"),
    [
        (["LlamaForCausalLM"], "owner/name", False),
        (["LlamaForCausalLM"], "owner/name-Embedding-8B", True),
        (["LlamaForCausalLM"], "BAAI/bge-x", True),
        (["LlamaForCausalLM"], "owner/name-reranker", True),
        (["LlamaModel"], "owner/name", True),
        (["LlamaForSequenceClassification"], "owner/name", True),
        ([], "owner/name", False),
    ],
)
def test_a_model_pools_by_its_class_or_by_its_name(architectures, name, pools):
    config = {"architectures": architectures, "model_type": "llama", **SMALL}
    assert read_config(config, name).pooling == pools


@pytest.mark.parametrize(("name", "has"), [("a/b", True), ("a/b-Embedding", False), ("a/b-Reranker", True)])
def test_an_embedding_model_has_no_output_head_and_a_reranker_has(name, has):
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SMALL}
    assert any(line.name == "lm_head" for line in read_config(config, name).outside) == has


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; it must be at least 1"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1e+06; no model has more than 1024"),
        ({"vocab_size": 10**12}, "vocab_size is 1e+12; no model has more than"),
        ({"hidden_size": -4096}, "hidden_size is -4096; it must be at least 1"),
        ({"hidden_size": "4096"}, "hidden_size is '4096'; a whole number"),
        ({"hidden_size": 4096.5}, "hidden_size is 4096.5; a whole number"),
        ({"hidden_size": True}, "hidden_size is True; a whole number"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"intermediate_size": [1, 2]}, "intermediate_size is [1, 2]; a whole number"),
        ({"intermediate_size": float("nan")}, "intermediate_size is nan; a whole number"),
        ({"num_attention_heads": 7, "num_key_value_heads": 7}, "num_attention_heads is 7, which does not divide"),
        ({"num_attention_heads": 9}, "num_key_value_heads is 8; it must divide the 9 attention heads"),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3; it must divide the 32 attention heads"),
        ({"num_key_value_heads": 64}, "num_key_value_heads is 64; it must divide the 32 attention heads"),
        ({"head_dim": 0}, "head_dim is 0; it must be at least 1"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'; true or false is wanted"),
        ({"model_type": 7}, "model_type is 7; a string is wanted"),
        ({"torch_dtype": 16}, "torch_dtype is 16; a string is wanted"),
        ({"rope_scaling": "yarn"}, "rope_scaling is 'yarn'; a mapping is wanted"),
        ({"rope_scaling": {"rope_type": "linear", "factor": -1}}, "rope_scaling.factor is -1; a number above 0"),
        ({"architectures": "LlamaForCausalLM"}, "architectures is 'LlamaForCausalLM'; a list is wanted"),
        ({"layer_types": [1] * 32}, "layer_types has 1; names of kinds are wanted"),
        ({"partial_rotary_factor": 40}, "partial_rotary_factor is 40; a share above 0 and up to 1"),
        ({"quantization_config": {"quant_method": "zebra"}}, "quantization_config.quant_method is 'zebra'; known are"),
        ({"quantization_config": "fp8"}, "quantization_config is 'fp8'; a mapping is wanted"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 99}}, "quantization_config.bits is 99"),
        (
            {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128]}},
            "weight_block_size is [128]; two whole numbers",
        ),
    ],
)
def test_a_key_that_makes_no_sense_is_named(keys, said):
    message = refusal({**LLAMA_8B, **keys})
    assert said in message
    assert message.startswith("config.json: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"]
)
def test_a_key_that_is_missing_is_named(key):
    assert f"{key} is missing" in refusal({name: value for name, value in LLAMA_8B.items() if name != key})


@pytest.mark.parametrize("config", [None, [], "llama", 7])
def test_what_is_no_mapping_is_refused(config):
    assert "a mapping is wanted" in refusal(config)


def test_nested_keys_are_named_with_their_section():
    config = copy.deepcopy(GEMMA_3_4B_AS_PUBLISHED)
    config["text_config"]["hidden_size"] = 0
    assert "text_config.hidden_size is 0" in refusal(config)
    config = copy.deepcopy(GEMMA_3_4B_AS_PUBLISHED)
    config["vision_config"]["num_hidden_layers"] = -1
    assert "vision_config.num_hidden_layers is -1" in refusal(config)


def test_a_folder_and_its_file_read_alike(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA_8B))
    assert read_folder(tmp_path) == read_folder(file)
    assert read_folder(tmp_path).parameters == 8030261248


def test_the_quantization_beside_the_config_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    beside = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside))
    quantization = read_folder(tmp_path).quantization
    assert quantization is not None
    assert (quantization.method, quantization.bits) == ("modelopt", 8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "is no JSON (line 1)"),
        (b'{"a": \n', "is no JSON (line 2)"),
        (b"\xff\xfe\x00", "is no text"),
        (b"[]", "is no mapping"),
        (b"[" * 100_000, "is no JSON"),
        (b"{}", "model_type is missing"),
    ],
)
def test_a_file_that_is_no_config_is_refused_by_its_name(tmp_path, content, said):
    file = tmp_path / "config.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SizingError) as caught:
        read_folder(tmp_path)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def _paths(config, path=()):
    for key, value in config.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _paths(value, (*path, key))


VALID = [
    LLAMA_8B,
    DEEPSEEK_V2_LITE,
    GEMMA_3_1B,
    GEMMA_3_4B_AS_PUBLISHED,
    *({json.dumps(model.config): model.config for model in MODELS.values()}.values()),
]
ABSURD = st.one_of(
    st.sampled_from(
        [0, -1, 1, 3, 10**12, -(10**12), 10**40, 1.5, "", "x", None, True, False, [], {}, [None], {"a": 1}]
    ),
    st.floats(),
    st.integers(),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)),
    st.dictionaries(st.sampled_from(["factor", "rope_type", "hidden_size", "quant_method"]), st.integers() | st.text()),
)


@st.composite
def mutated(draw):
    config = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        *path, key = draw(st.sampled_from(list(_paths(config))))
        section = config
        for name in path:
            section = section[name]
        if draw(st.booleans()):
            del section[key]
        else:
            # A copy, since what is drawn may be changed in its turn.
            section[key] = copy.deepcopy(draw(ABSURD))
        if not config:
            break
    return config


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutated())
def test_any_config_is_an_architecture_or_one_line_of_refusal(config):
    try:
        architecture = read_config(config, "owner/name")
    except SizingError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 600
    else:
        assert architecture.parameters > 0
        assert architecture.context > 0
        assert architecture.vocabulary > 0
        assert architecture.layers
        assert all(line.parameters >= 0 for line in architecture.inventory)

"""Families: parameters as Transformers' classes count them, caches as the engine keeps them, and what is said of the rest."""

import pytest

from slipway.catalog import load
from slipway.sizing.architecture import Split
from slipway.sizing.config import read_config
from slipway.sizing.families import readers
from slipway.sizing.result import SizingError
from tests.unit.sizing.counts import COUNTED, SMALL


def small(model_type, **keys):
    return read_config({"architectures": ["TheForCausalLM"], "model_type": model_type, **SMALL, **keys}, "owner/name")


@pytest.mark.parametrize(
    ("model_type", "ending", "keys", "parameters"),
    COUNTED,
    ids=[f"{number}-{model_type}" for number, (model_type, *_) in enumerate(COUNTED)],
)
def test_a_family_counts_what_its_class_has(model_type, ending, keys, parameters):
    config = {"architectures": [f"The{ending}"], "model_type": model_type, **keys}
    assert read_config(config, "owner/name").parameters == parameters


@pytest.mark.parametrize("model_type", sorted({model_type for model_type, *_ in COUNTED} - {"helium"}))
def test_a_counted_family_has_a_reader_of_its_own(model_type):
    assert model_type in readers()


def test_every_model_of_the_catalogue_has_a_reader_of_its_own():
    types = {model.config["model_type"] for model in load().models.values()}
    assert types <= readers().keys()


def test_no_part_of_an_architecture_is_negative_or_empty():
    for model in load().models.values():
        architecture = read_config(model.config, model.id)
        assert all(line.parameters >= 0 for line in architecture.inventory), model.id
        assert architecture.layers, model.id
        assert architecture.vocabulary > 0, model.id


LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 48,
}


@pytest.mark.parametrize(
    ("model_type", "keys", "kinds"),
    [
        ("llama", {}, ["full"] * 4),
        ("mistral", {"sliding_window": 128}, ["sliding"] * 4),
        ("qwen2", {"sliding_window": 128, "use_sliding_window": False}, ["full"] * 4),
        (
            "qwen2",
            {"sliding_window": 128, "use_sliding_window": True, "max_window_layers": 2},
            ["full", "full", "sliding", "sliding"],
        ),
        ("gemma2", {"head_dim": 48}, ["sliding", "full"] * 2),
        ("gpt_oss", {"num_local_experts": 4}, ["sliding", "full"] * 2),
        ("cohere2", {"sliding_window": 128}, ["sliding"] * 3 + ["full"]),
        ("olmo3", {"sliding_window": 128}, ["sliding"] * 3 + ["full"]),
        ("exaone4", {"sliding_window": 128, "sliding_window_pattern": "LG"}, ["sliding", "full", "sliding", "full"]),
        ("exaone4", {}, ["full"] * 4),
        ("llama4_text", {"attention_chunk_size": 128}, ["chunked"] * 3 + ["full"]),
        ("bert", {}, ["none"] * 4),
        ("mamba", {}, ["state"] * 4),
        ("bamba", {"attn_layer_indices": [2], "mamba_n_heads": 16}, ["state", "state", "full", "state"]),
        ("jamba", {"attn_layer_period": 4, "attn_layer_offset": 1}, ["state", "full", "state", "state"]),
        ("qwen3_next", LINEAR, ["state"] * 3 + ["full"]),
        ("lfm2", {"layer_types": ["conv", "full_attention"] * 2}, ["state", "full"] * 2),
    ],
)
def test_a_layer_keeps_what_the_engine_keeps_of_it(model_type, keys, kinds):
    assert [layer.cache.kind for layer in small(model_type, **keys).layers] == kinds


@pytest.mark.parametrize(
    ("model_type", "keys", "shapes", "state_bytes"),
    [
        # conv_kernel - 1 rows of channels and twice the groups' states; heads of head_dim by state.
        (
            "bamba",
            {"mamba_n_heads": 16, "mamba_d_head": 32, "mamba_d_state": 16, "mamba_n_groups": 2},
            ((3, 512 + 2 * 2 * 16), (16, 32, 16)),
            (0, 0),
        ),
        ("qwen3_next", LINEAR, ((3, 2 * 64 + 192), (4, 48, 32)), (0, 0)),
        ("qwen3_5_text", {**LINEAR, "mamba_ssm_dtype": "float32"}, ((3, 2 * 64 + 192), (4, 48, 32)), (0, 4)),
        ("mamba", {"state_size": 8, "conv_kernel": 5}, ((4, 512), (512, 8)), (0, 0)),
        ("minimax", {"num_local_experts": 4, "attn_type_list": [0] * 4}, ((8, 32, 32),), (0,)),
        ("lfm2", {"layer_types": ["conv"] * 4, "conv_L_cache": 3}, ((2, 256),), (0,)),
    ],
)
def test_a_state_has_the_shapes_of_the_engine(model_type, keys, shapes, state_bytes):
    cache = small(model_type, **keys).layers[0].cache
    assert cache.state_elements == shapes
    assert cache.state_bytes == state_bytes


def test_nemotron_has_a_mixer_or_a_network_in_a_layer():
    architecture = small(
        "nemotron_h",
        hybrid_override_pattern="M*-E",
        mamba_num_heads=16,
        mamba_head_dim=32,
        n_routed_experts=4,
        moe_intermediate_size=96,
    )
    assert [layer.cache.kind for layer in architecture.layers] == ["state", "full", "none", "none"]
    assert [layer.experts for layer in architecture.layers] == [0, 0, 0, 4]
    assert [layer.intermediate for layer in architecture.layers] == [0, 0, 512, 0]


def test_a_dense_network_beside_experts_is_a_shared_expert():
    mixed = small("granitemoeshared", num_local_experts=4, shared_intermediate_size=96).layers[0]
    assert (mixed.intermediate, mixed.shared_intermediate, mixed.expert_intermediate) == (0, 96, 512)
    alone = small("granitemoehybrid", num_local_experts=0, shared_intermediate_size=96, mamba_n_heads=16).layers[0]
    assert (alone.intermediate, alone.shared_intermediate, alone.experts) == (96, 0, 0)


def test_falcon_h1_keeps_both_a_state_and_keys_in_each_of_its_layers():
    architecture = small("falcon_h1", mamba_d_ssm=512, mamba_n_heads=16)
    assert [layer.cache.kind for layer in architecture.layers] == ["state", "full"] * 4


def test_gemma3n_shares_the_caches_of_its_last_layers():
    architecture = small("gemma3n_text", num_hidden_layers=10, num_kv_shared_layers=4)
    assert [layer.cache.kind for layer in architecture.layers].count("none") == 4
    assert architecture.layers[5].cache.kind == "sliding"


def test_gemma4_holds_values_that_its_checkpoint_does_not_have():
    keys = {
        "head_dim": 32,
        "global_head_dim": 64,
        "num_global_key_value_heads": 1,
        "layer_types": ["full_attention"] * 4,
    }
    apart, same = small("gemma4_text", **keys), small("gemma4_text", attention_k_eq_v=True, **keys)
    held = sum(line.parameters for line in same.layers[0].weights if line.split is Split.KV_HEADS)
    on_disk = sum(line.parameters for line in same.layers[0].weights if line.split is Split.KV_HEADS and line.on_disk)
    assert held == 2 * on_disk == 2 * 256 * 64
    assert apart.layers[0].cache.kv_heads == 2
    assert same.layers[0].cache.kv_heads == 1


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        ({}, 512),
        ({"rope_scaling": {"rope_type": "linear", "factor": 8}}, 4096),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 256}}, 1024),
        ({"rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 128}}, 640),
        ({"rope_scaling": {"rope_type": "default", "mrope_section": [4, 6, 6]}}, 2048),
        ({"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2}}}, 1024),
    ],
)
def test_the_rotary_table_is_as_long_as_the_scaling_makes_it(rope, positions):
    table = next(line for line in small("llama", **rope).outside if line.name == "rotary_table")
    assert table.parameters == positions * 32
    assert not table.on_disk


def test_an_unknown_decoder_is_read_as_llama_and_says_so():
    known, unknown = small("llama"), small("zebra")
    assert unknown.parameters == known.parameters
    assert any("model_type 'zebra' is not known" in note and "Llama" in note for note in unknown.notes)


def test_an_unknown_mixture_counts_its_experts():
    unknown = small("zebra", num_experts=8, num_experts_per_tok=2, moe_intermediate_size=96)
    assert unknown.layers[0].experts == 8
    assert unknown.parameters == small("qwen3_moe", num_experts=8, moe_intermediate_size=96).parameters - 4 * 2 * 32
    assert any("mixture" in note for note in unknown.notes)


def test_an_unknown_wrapper_is_read_by_its_language_model():
    config = {
        "model_type": "zebra_vl",
        "text_config": {"model_type": "llama", **SMALL},
        "vision_config": {"hidden_size": 128, "num_hidden_layers": 2, "image_size": 56, "patch_size": 14},
    }
    architecture = read_config(config, "owner/name")
    assert architecture.layers == small("llama").layers
    assert len(architecture.encoders) == 1
    assert any("estimate" in note for note in architecture.notes)


def test_an_unknown_model_with_recurrent_layers_is_refused():
    with pytest.raises(
        SizingError, match="model_type 'zebra' is not known, and mamba_d_state speaks of recurrent layers"
    ):
        small("zebra", mamba_d_state=16)


@pytest.mark.parametrize("lacking", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_an_unknown_model_without_the_keys_of_a_decoder_is_refused(lacking):
    config = {"model_type": "zebra", **SMALL}
    del config[lacking]
    with pytest.raises(SizingError, match=rf"model_type 'zebra' is not known.*{lacking} missing"):
        read_config(config, "owner/name")


@pytest.mark.parametrize(
    ("model_type", "keys", "said"),
    [
        ("nemotron_h", {"hybrid_override_pattern": "M*"}, "hybrid_override_pattern has 2 letters for 4 layers"),
        ("nemotron_h", {"hybrid_override_pattern": "MMMX"}, "hybrid_override_pattern has 'X'"),
        ("nemotron_h", {}, "hybrid_override_pattern is missing"),
        ("granitemoehybrid", {"layer_types": ["zebra"] * 4, "mamba_n_heads": 16}, "layer_types has 'zebra'"),
        ("qwen3_next", {**LINEAR, "linear_num_key_heads": 3}, "linear_num_key_heads is 3; it must divide"),
        ("jamba", {"attn_layer_offset": 9}, "attn_layer_offset is 9; it must be below"),
        ("chatglm", {"multi_query_attention": True, "multi_query_group_num": 3}, "multi_query_group_num is 3"),
        ("hunyuan_v1_moe", {"num_experts": [4, 8], "moe_topk": 1}, "num_experts differs from layer to layer"),
        ("llama", {"layer_types": ["full_attention"] * 3}, "layer_types has 3 items; one for each of the 4 layers"),
        ("llama", {"layer_types": ["mamba"] * 4}, "layer_types has 'mamba'"),
    ],
)
def test_a_family_names_the_key_that_makes_no_sense(model_type, keys, said):
    with pytest.raises(SizingError) as caught:
        small(model_type, **keys)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)

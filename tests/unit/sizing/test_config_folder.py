"""What a folder says of its model, and what it does not."""

import json
from pathlib import Path

import pytest

from slipway.sizing.config import read_config, read_folder
from slipway.sizing.result import SizingError
from tests.unit.sizing.models import LLAMA_8B


def folder(path: Path, name: str, *beside: str) -> Path:
    made = path / name
    made.mkdir()
    (made / "config.json").write_text(json.dumps(LLAMA_8B), encoding="utf-8-sig")
    for file in beside:
        (made / file).write_text("[]", encoding="utf-8")
    return made


def test_the_name_of_a_folder_says_nothing(tmp_path: Path) -> None:
    assert not read_folder(folder(tmp_path, "my-embed-tuned")).pooling


def test_a_list_of_modules_says_that_it_embeds(tmp_path: Path) -> None:
    assert read_folder(folder(tmp_path, "tuned", "modules.json")).pooling


def test_the_name_of_a_repository_does() -> None:
    assert read_config(LLAMA_8B, "team/llama-embed-8b").pooling


def test_two_positions_of_roberta_hold_no_token() -> None:
    config = {
        "model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "hidden_size": 1024, "intermediate_size": 4096,
        "num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 250002, "max_position_embeddings": 8194,
    }  # fmt: skip
    assert read_config(config, "BAAI/bge-m3").context == 8192


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_encoder_decoder": True}, "config.json: is_encoder_decoder is true"),
        ({"hidden_size": 10**400}, "config.json: "),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 10**400}}, "config.json: "),
    ],
)
def test_what_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SizingError, match=said):
        read_config({**LLAMA_8B, **changes}, "x")

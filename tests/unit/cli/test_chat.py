"""Whom `slipway chat` and `slipway up` ask, of what a stack's outputs say; and the example that they print."""

from pathlib import Path
from typing import Any

import pytest

from cli import chat, up
from cli.chat import Client, client_for, example
from cli.errors import UserError
from cli.lab import made_by_lab
from slipway.paths import MODELS
from slipway.settings.load import parse
from slipway.settings.platform import Settings
from tests.unit.settings.documents import changed, good


def model(name: str, task: str = "chat", aliases: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"id": name, "task": task, "aliases": list(aliases), "context_window": 2048, "max_output_tokens": 512}


def outputs(**but: Any) -> dict[str, Any]:
    """A provider's model first, one served here for all, one for the second team alone."""
    return {
        "endpoint": "https://h/v1",
        "ca_certificate": "PEM",
        "models": {
            "cloud": {"task": "chat", "instances": {}},
            "embedder": {"task": "embedding", "instances": {"h-1/embedder": {"gpus": [], "port": 8101}}},
            "own": {"task": "chat", "instances": {"h-1/own": {"gpus": [0], "port": 8100}}},
        },
        "clients": {
            "first": {
                "base_url": "https://h/v1",
                "key_variable": "KEY_FIRST",
                "models": [model("cloud"), model("embedder", "embedding")],
            },
            "second": {
                "base_url": "https://h/v1",
                "key_variable": "KEY_SECOND",
                "models": [model("cloud"), model("own", aliases=("mine",))],
            },
        },
    } | but


@pytest.fixture(autouse=True)
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(chat, "STACKS", tmp_path)
    return tmp_path


def test_what_is_served_here_is_asked_first(stacks: Path) -> None:
    client = client_for("s", outputs())
    assert (client.model, client.team, client.key_variable) == ("own", "second", "KEY_SECOND")
    assert client.ca_file == str(stacks / "s/ca.pem")
    assert Path(client.ca_file).read_text() == "PEM"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"model": "own"}, ("own", "second")),
        ({"model": "mine"}, ("mine", "second")),
        ({"model": "cloud"}, ("cloud", "first")),
        ({"model": "cloud", "team": "second"}, ("cloud", "second")),
        ({"team": "first"}, ("cloud", "first")),
    ],
)
def test_what_is_asked_for_counts(asked: dict[str, str], found: tuple[str, str]) -> None:
    client = client_for("s", outputs(), **asked)
    assert (client.model, client.team) == found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"team": "third"}, "stack s has no team 'third'; its teams: first, second"),
        (
            {"model": "embedder"},
            "stack s has no chat model 'embedder' that a team may ask; the chat models: cloud, own",
        ),
        ({"model": "own", "team": "first"}, "has no chat model 'own' that first may ask; the chat models: cloud"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(asked: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        client_for("s", outputs(), **asked)
    assert said in str(refused.value)


def test_a_site_certificate_needs_no_file(stacks: Path) -> None:
    assert client_for("s", outputs(ca_certificate="")).ca_file is None
    assert not (stacks / "s").exists()


@pytest.mark.parametrize("ca_file", [None, "/a folder/ca's.pem"])
def test_the_example_is_python(ca_file: str | None) -> None:
    text = example(Client(team="t", base_url="https://h/v1", key_variable="KEY", model='a"b', ca_file=ca_file))
    compile(text, "example", "exec")
    assert "os.environ['KEY']" in text
    assert "verify=True" in text if ca_file is None else ca_file in text


def test_every_model_is_told_with_where_it_runs() -> None:
    told = up._model("own", {**model("own"), **outputs()["models"]["own"]}, {"ttft_ms": 12.5, "tokens_per_second": 80})
    assert told == (
        "own (chat, context 2048, output 512 tokens); h-1/own on GPU 0, port 8100; TTFT 12.5 ms, tokens/s 80"
    )


def settings(*sources: Path, address: str = "10.0.0.11") -> Settings:
    document = changed(good(), "pools.main.hosts.gpu-1.address", address)
    document["models"] = {
        f"m{number}": {"source": {"path": str(source)}, "engine": "llama_cpp" if source.suffix == ".gguf" else "vllm"}
        for number, source in enumerate(sources)
    }
    return parse(document, "s")


def test_the_labs_model_is_made_where_a_stack_names_it() -> None:
    folder, file = MODELS / "tiny-llama", MODELS / "tiny-llama.gguf"
    assert up._tiny_models(settings(folder, file, Path("/srv/own"))) == {folder, file}
    assert up._tiny_models(settings(Path("/srv/own"))) == set()


def test_a_lab_host_is_known_by_its_address() -> None:
    assert made_by_lab(settings(Path("/srv/m"), address="10.213.77.11"))
    assert not made_by_lab(settings(Path("/srv/m")))
    mixed = changed(good(), "pools.other", {"hosts": {"lab-1": {"address": "10.213.77.11", "user": "u"}}})
    mixed["gateway"]["engine_key"] = "0f9e8d7c6b5a493827160f5e4d3c2b1a"
    with pytest.raises(UserError, match="some do not; use one kind in a stack"):
        made_by_lab(parse(mixed, "s"))

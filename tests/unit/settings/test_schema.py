"""The JSON schema and the settings say the same of what can be said of one key; the reference tells every key."""

import re
from typing import Any

import jsonschema
import pytest
import yaml

from slipway.engines.registry import options
from slipway.settings.errors import SettingsError, tagged_models
from slipway.settings.load import parse, stack_file, stack_names
from slipway.settings.platform import Settings
from slipway.settings.reference import settings_reference
from slipway.settings.schema import stack_schema

KEY = {"env": "SLIPWAY_KEY_A"}
HOST = {"address": "10.0.0.11", "user": "ubuntu"}
GGUF = {"host_path": "/srv/m.gguf"}
PROGRAM = {"url": "https://mirror.example/p.tar.gz", "sha256": "0" * 64}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_KEY_A", "a1b2c3d4e5f60718293a4b5c6d7e8f90")


def stack(**but: Any) -> dict[str, Any]:
    return {
        "pools": {"gpu": {"hosts": {"gpu-1": HOST}}},
        "models": {"m": {"source": {"host_path": "/srv/m"}}},
        "gateway": {"teams": {"a": {"key": KEY}}},
    } | but


def served(**but: Any) -> dict[str, Any]:
    return stack(models={"m": {"source": {"host_path": "/srv/m"}} | but})


def provided(name: str, **section: Any) -> dict[str, Any]:
    """With a model of the provider `name`."""
    return stack(models={"m": {"source": {"host_path": "/srv/m"}}, "p": {"provider": name}}, providers={name: section})


GOOD: dict[str, dict[str, Any]] = {
    "the least": stack(),
    "an engine as text": served(engine="vllm"),
    "an engine as text, with a file that it reads": served(engine="llama_cpp", source=GGUF),
    "options of the engine that is meant without a name": served(engine={"max_num_seqs": 8}),
    "options that every engine has": served(engine={"memory_max": "24G"}),
    "options of a named engine": served(engine={"name": "llama_cpp", "parallel": 2}, source=GGUF),
    "an engine with a program": served(engine={"name": "ollama", "program": PROGRAM}, source=GGUF),
    "a provider called like its kind": provided("openai", key=KEY),
    "a provider with its kind": provided("desktop", kind="openai_compatible", url="http://192.0.2.9:1234/v1"),
    "a provider called like another kind": provided("openai", kind="anthropic", key=KEY),
    "a name that is shared out": stack(
        models={"m": {"source": {"host_path": "/srv/m"}}, "r": {"targets": {"m": 3}}},
    ),
    "lists": served(aliases=["x"], gpu_indices=None),
    "a team's bounds": stack(gateway={"teams": {"a": {"key": KEY, "models": ["m"], "requests_per_minute": 5}}}),
    "a price and a limit of money": {
        **served(price={"input": 0.000001, "output": 1_000_000}),
        "gateway": {"teams": {"a": {"key": KEY, "money_per_month": 9_000_000}}, "usage": {"currency": "EUR"}},
    },
}
BAD: dict[str, dict[str, Any]] = {
    "an unknown section": stack(hosts=[]),
    "an unknown key of a pool": stack(pools={"gpu": {"hosts": {"gpu-1": HOST}, "gpuz": 1}}),
    "an unknown key of a host": stack(pools={"gpu": {"hosts": {"gpu-1": HOST | {"addres": "x"}}}}),
    "no pool": stack(pools={}),
    "no host": stack(pools={"gpu": {"hosts": {}}}),
    "nothing where hosts are": stack(pools={"gpu": {"hosts": None}}),
    "no machines": stack(pools={"gpu": {"gpus": 0}}),
    "no model": stack(models={}),
    "no team": stack(gateway={"teams": {}}),
    "no gateway": {key: value for key, value in stack().items() if key != "gateway"},
    "a model without a source": stack(models={"m": {"max_model_len": 5}}),
    "a task that there is not": served(task="dancing"),
    "a context of nothing": served(max_model_len=0),
    "half a GPU": served(gpus=0.5),
    "no index": served(gpu_indices=[]),
    "an engine that there is not": served(engine="steam"),
    "the same with options": served(engine={"name": "steam"}),
    "another engine's options": served(engine={"name": "llama_cpp", "max_num_seqs": 3}, source=GGUF),
    "another engine's options without a name": served(engine={"parallel": 3}, source=GGUF),
    "an engine as text that has no program": served(engine="ollama", source=GGUF),
    "an engine that has no program": served(engine={"name": "ollama"}, source=GGUF),
    "more of a GPU than there is": served(engine={"gpu_memory_utilization": 1.5}),
    "a provider of no kind": provided("desktop", url="http://192.0.2.9:1234/v1"),
    "a provider of an unknown kind": provided("desktop", kind="oracle", key=KEY),
    "a provider without its key": provided("openai"),
    "a provider with another one's key": provided("openai", key=KEY, region="eu-west-1"),
    "no weight": stack(models={"m": {"source": {"host_path": "/srv/m"}}, "r": {"targets": {"m": 0}}}),
    "a price as text": served(price={"input": "1.5", "output": 6}),
    "a negative price": served(price={"input": -1, "output": 6}),
    "a price of nothing": served(price={"output": 6}),
    "a limit of no money": stack(gateway={"teams": {"a": {"key": KEY, "money_per_month": 0}}}),
    "a limit that is no number": stack(gateway={"teams": {"a": {"key": KEY, "money_per_month": True}}}),
    "a limit that could not be counted": stack(gateway={"teams": {"a": {"key": KEY, "money_per_month": 9_000_001}}}),
    "a port that there is not": stack(front={"port": 70000}),
    "a secret in a list": stack(gateway={"teams": {"a": {"key": [KEY]}}}),
}


def refused_by_schema(section: Any) -> bool:
    return not jsonschema.Draft202012Validator(stack_schema()).is_valid({"config": {"slipway:platform": section}})


def refused_by_settings(section: Any) -> bool:
    try:
        parse(section, "s")
    except SettingsError:
        return True
    return False


@pytest.mark.parametrize("case", GOOD)
def test_what_settings_take_the_schema_takes(case: str) -> None:
    assert (refused_by_settings(GOOD[case]), refused_by_schema(GOOD[case])) == (False, False)


@pytest.mark.parametrize("case", BAD)
def test_what_settings_refuse_at_one_key_the_schema_refuses(case: str) -> None:
    assert (refused_by_settings(BAD[case]), refused_by_schema(BAD[case])) == (True, True)


def test_every_ready_stack_is_as_the_schema_says(root: Any) -> None:
    validator = jsonschema.Draft202012Validator(stack_schema())
    validator.check_schema(stack_schema())
    for name in stack_names(root):
        document = yaml.safe_load(stack_file(name, root).read_text())
        assert [error.message for error in validator.iter_errors(document)] == []


def test_only_words_of_json_schema_bound_numbers() -> None:
    def words(schema: Any) -> set[str]:
        if isinstance(schema, dict):
            bounds = {key for key, value in schema.items() if isinstance(value, int | float)}
            return bounds.union(*map(words, schema.values()))
        return set().union(*map(words, schema)) if isinstance(schema, list) else set()

    assert not words(stack_schema()) & {"ge", "gt", "le", "lt"}
    assert {"minimum", "exclusiveMinimum", "maximum"} <= words(stack_schema())


def test_the_reference_tells_every_key() -> None:
    text = settings_reference()
    seen: set[type] = set()

    def tell(model: Any) -> None:
        seen.add(model)
        for name, info in model.model_fields.items():
            assert f"| `{name}` |" in text
            assert info.description, (model, name)
            for _, inner in tagged_models(info.annotation):
                if inner not in seen:
                    tell(inner)

    tell(Settings)
    assert len(seen) > 15


def test_the_reference_has_each_engine_and_kind_apart() -> None:
    text = settings_reference()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert len(heads) == len(set(heads))
    assert [f"`models.NAME.engine`, `name: {name}`" in heads for name in options()] == [True] * len(options())
    assert "`models.NAME.engine`, every engine" in heads
    assert "`providers.NAME`, `kind: vertex`" in heads
    assert "`pools.NAME.hosts.NAME`" in heads
    # What every engine has stands once.
    assert text.count("| `start_timeout_s` |") == 1

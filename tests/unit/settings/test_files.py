"""The files that settings name, stack files, the schema and the reference."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from slipway.settings.errors import SettingsError
from slipway.settings.load import (
    check_files,
    in_order_of,
    made_secrets,
    parse,
    read_public,
    read_raw,
    refuse_misplaced_secrets,
    secret_variables,
    stack_names,
)
from slipway.settings.reference import settings_reference
from slipway.settings.schema import stack_schema
from tests.unit.settings.documents import changed, good, many, with_changes

STACKS = {"cluster", "cpu", "lab", "lab-pair", "poc", "prod", "team"}


def test_missing_files_are_named(tmp_path: Path) -> None:
    document = with_changes(
        good(),
        ("pools.main.hosts.gpu-1.key_file", str(tmp_path / "key")),
        ("models.m.source", {"path": str(tmp_path / "model")}),
        (("models", "q-1.5"), {"source": {"path": str(tmp_path / "q.gguf")}, "engine": "llama_cpp"}),
        ("front", {name: str(tmp_path / name) for name in ("certificate_file", "key_file", "ca_file")}),
    )
    (tmp_path / "ca_file").write_bytes(b"\xff")
    with pytest.raises(SettingsError) as refused:
        check_files(parse(document, "s"), "s")
    assert list(refused.value.problems) == [
        f"slipway:platform.pools.main.hosts.gpu-1.key_file: {tmp_path}/key does not exist; gpu-1 could not be reached: "
        "correct the path, or make the key with ssh-keygen",
        f"slipway:platform.models.m.source.path: {tmp_path}/model does not exist; the engine would have nothing to load: "
        "give the folder that holds the model's config.json",
        f'slipway:platform.models["q-1.5"].source.path: {tmp_path}/q.gguf does not exist; the engine would have nothing to '
        "load: give the GGUF file, or the folder that holds it",
        f"slipway:platform.front.certificate_file: {tmp_path}/certificate_file does not exist; the front could not serve TLS: "
        "correct the path",
        f"slipway:platform.front.key_file: {tmp_path}/key_file does not exist; the front could not serve TLS: correct the path",
        f"slipway:platform.front.ca_file: {tmp_path}/ca_file can't be read as PEM text (not ASCII); the front could not serve "
        "TLS: correct the path",
    ]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        check_files(parse(changed(good(), "models.m.source", {"path": str(tmp_path)}), "s"), "s")
    assert list(refused.value.problems) == [
        f"slipway:platform.models.m.source.path: {tmp_path} holds no config.json; the engine would have nothing to load: "
        "give the folder that holds the model's config.json",
    ]


@pytest.mark.parametrize("source", [{"path": "."}, {"path": "m.gguf"}, {"path": ".", "file": "m.gguf"}], ids=str)
def test_present_files_pass(tmp_path: Path, source: dict[str, str]) -> None:
    for name in ("key", "config.json", "m.gguf"):
        (tmp_path / name).touch()
    engine = "llama_cpp" if "m.gguf" in source.values() else "vllm"
    document = with_changes(
        good(),
        ("pools.main.hosts.gpu-1.key_file", str(tmp_path / "key")),
        ("models.m", {"source": {**source, "path": str(tmp_path / source["path"])}, "engine": engine}),
    )
    check_files(parse(document, "s"), "s")


def test_no_stack_is_committed_with_the_salt_of_somebodys_passphrase(root: Path) -> None:
    """An `up` writes it into the file; with it, nobody with another passphrase can use the stack."""
    found = subprocess.run(
        ["git", "grep", "--name-only", "^encryptionsalt:", "HEAD", "--", "stacks"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 says that nothing was found; 128 that git could not look.
    assert (found.stdout, found.returncode) == ("", 1), found.stderr


def test_unknown_stack_names_the_known_ones(root: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read_raw("nope", root)
    said, _, names = str(refused.value).partition(": ")
    assert said == "there is no such stack; the stacks here are"
    assert names.split(", ") == stack_names(root)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.x.yaml").write_text("config:\n  a: [1\n  b: 2\n")
    with pytest.raises(SettingsError, match=r"line 3: not valid YAML; the stack can't be read; correct the line"):
        read_raw("x", tmp_path)


def test_every_stack_in_the_checkout_is_valid(root: Path) -> None:
    names = stack_names(root)
    assert set(names) >= STACKS
    for name in names:
        assert read_public(name, root).machines


def test_stacks_name_their_secret_variables(root: Path) -> None:
    assert list(secret_variables(read_raw("lab-pair", root))) == ["SLIPWAY_ENGINE_KEY", "SLIPWAY_KEY_DEMO"]


def test_only_own_keys_are_made_up() -> None:
    document = with_changes(
        good(),
        ("models.m.source", {"hub": "o/m", "revision": "0" * 40, "token": {"env": "HF_TOKEN"}}),
        ("providers.openai", {"key": {"env": "OPENAI_API_KEY"}}),
        ("gateway.teams.a.key", {"env": "SLIPWAY_KEY_A"}),
        ("gateway.engine_key", {"env": "SLIPWAY_ENGINE_KEY"}),
    )
    assert list(made_secrets(document)) == ["SLIPWAY_ENGINE_KEY", "SLIPWAY_KEY_A"]
    assert set(secret_variables(document)) >= {"HF_TOKEN", "OPENAI_API_KEY"}
    assert list(made_secrets(changed(good(), "gateway.teams.a.key", {"env": "X; reboot"}))) == []
    odd: list[Any] = [None, [], {"gateway": []}, {"gateway": {"teams": "x"}, "engine_key": 1}]
    for document in odd:
        assert list(made_secrets(document)) == []


def test_what_is_encrypted_in_a_wrong_place_is_refused() -> None:
    document = changed(many(), ("models", "qwen-1.5b", "engine", "environment", "TOKEN"), {"secure": "v1:abc"})
    with pytest.raises(SettingsError) as refused:
        refuse_misplaced_secrets(document, "s")
    (problem,) = refused.value.problems
    assert problem == (
        'slipway:platform.models["qwen-1.5b"].engine.environment.TOKEN: is encrypted, and no secret is kept there: its value '
        "would be readable in the stack's state and on the hosts; keep secrets in models.*.source.token, providers.*.key, "
        "gateway.teams.*.key, gateway.engine_key, front.floating.secret, or have the "
        "host's own administration bring it"
    )


def test_stacks_point_to_the_schema(root: Path) -> None:
    for name in stack_names(root):
        first = (root / "stacks" / f"Pulumi.{name}.yaml").read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=../docs/reference/stack.schema.json"


def test_schema_and_reference_are_current(root: Path) -> None:
    assert json.loads((root / "docs/reference/stack.schema.json").read_text()) == stack_schema()
    assert (root / "docs/reference/settings.md").read_text() == settings_reference()


def test_schema_judges_as_the_settings_do(root: Path) -> None:
    validator = jsonschema.Draft202012Validator(stack_schema())
    for name in stack_names(root):
        document = yaml.safe_load((root / "stacks" / f"Pulumi.{name}.yaml").read_text())
        assert not list(validator.iter_errors(document))
        document["config"]["slipway:platform"]["frnt"] = {}
        assert list(validator.iter_errors(document))


def test_the_order_of_the_file_is_kept():
    """Pulumi hands the program its configuration with all keys sorted."""
    raw = {"z": {"b": 1, "a": {"secure": "…"}}, "a": [{"y": 1, "x": 2}], "gone": 1}
    document = {"a": [{"x": 2, "y": 1}], "new": 3, "z": {"a": "decrypted", "b": 1}}
    ordered = in_order_of(document, raw)
    assert ordered == document
    assert list(ordered) == ["z", "a", "new"]
    assert list(ordered["z"]) == ["b", "a"]
    assert list(ordered["a"][0]) == ["y", "x"]

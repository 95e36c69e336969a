"""The files that settings name, stack files, the schema and the reference."""

import json
from pathlib import Path

import pytest
import yaml

from slipway.settings import SettingsError, check_files, parse
from slipway.settings.load import made_secrets, read_public, read_raw, secret_variables, stack_names
from slipway.settings.reference import settings_reference
from slipway.settings.schema import stack_schema
from tests.unit.settings.documents import changed, good


def test_missing_files_are_named(tmp_path: Path) -> None:
    document = changed(good(), "hosts.0.key_file", str(tmp_path / "key"))
    document = changed(document, "model.source", {"path": str(tmp_path / "model")})
    with pytest.raises(SettingsError) as refused:
        check_files(parse(document, "s"), "s")
    assert list(refused.value.problems) == [
        f"slipway:platform.hosts[0].key_file: {tmp_path}/key does not exist; gpu-1 could not be reached: "
        "correct the path, or make the key with ssh-keygen",
        f"slipway:platform.model.source.path: {tmp_path}/model does not exist; the engine would have nothing to load: "
        "give the folder that holds the model's config.json",
    ]


def test_present_files_pass(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    (tmp_path / "config.json").touch()
    document = changed(good(), "hosts.0.key_file", str(tmp_path / "key"))
    check_files(parse(changed(document, "model.source", {"path": str(tmp_path)}), "s"), "s")


def test_unknown_stack_names_the_known_ones(root: Path) -> None:
    names = "cluster, cpu, lab, lab-pair, poc, prod, team"
    with pytest.raises(SettingsError, match=f"there is no such stack; the stacks here are: {names}"):
        read_raw("nope", root)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.x.yaml").write_text("config:\n  a: [1\n  b: 2\n")
    with pytest.raises(SettingsError, match=r"line 3: not valid YAML; the stack can't be read; correct the line"):
        read_raw("x", tmp_path)


def test_every_stack_in_the_checkout_is_valid(root: Path) -> None:
    names = stack_names(root)
    assert {"cluster", "cpu", "lab", "lab-pair", "poc", "prod", "team"} <= set(names)
    for name in names:
        assert read_public(name, root).hosts


def test_stacks_name_their_secret_variables(root: Path) -> None:
    assert list(secret_variables(read_raw("lab-pair", root))) == ["SLIPWAY_ENGINE_KEY", "SLIPWAY_KEY_DEMO"]


def test_only_own_keys_are_made_up() -> None:
    document = changed(good(), "model.source", {"hub": "o/m", "revision": "0" * 40, "token": {"env": "HF_TOKEN"}})
    document = changed(document, "gateway.keys.0.key", {"env": "SLIPWAY_KEY_A"})
    assert list(made_secrets(document)) == ["SLIPWAY_KEY_A"]
    assert list(made_secrets(changed(document, "gateway.keys.0.key", {"env": "X; reboot"}))) == []
    for odd in (None, [], {"gateway": []}, {"gateway": {"keys": "x"}, "engine": 1}):
        assert list(made_secrets(odd)) == []


def test_stacks_point_to_the_schema(root: Path) -> None:
    for name in stack_names(root):
        first = (root / "stacks" / f"Pulumi.{name}.yaml").read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=../docs/reference/stack.schema.json"


def test_schema_and_reference_are_current(root: Path) -> None:
    assert json.loads((root / "docs/reference/stack.schema.json").read_text()) == stack_schema()
    assert (root / "docs/reference/settings.md").read_text() == settings_reference()


def test_schema_judges_as_the_settings_do(root: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")  # comes with ansible-lint
    validator = jsonschema.Draft202012Validator(stack_schema())
    for name in stack_names(root):
        document = yaml.safe_load((root / "stacks" / f"Pulumi.{name}.yaml").read_text())
        assert not list(validator.iter_errors(document))
        document["config"]["slipway:platform"]["frnt"] = {}
        assert list(validator.iter_errors(document))

"""`slipway key`: what is shown, what is kept, and that nothing else of a stack's file changes."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from cli.errors import UserError
from cli.key import create_key, list_keys, revoke_key, rotate_key
from slipway.deployment.teams import key_hash
from slipway.keys import make, with_keys
from slipway.settings.load import read_public

TEAM = ("config", "slipway:platform", "gateway", "teams", "demo")
FORMS = {
    "braces": """config:
  slipway:platform:
    gateway:
      teams:
        # who they are
        demo: {key: {env: X}} # ours
        other: {key: {env: Y}}
    purpose: lab
""",
    "block": """config:
  slipway:platform:
    gateway:
      teams:
        demo:
          key: {env: X}
          # kept
          private: true

        # after it
        other: {key: {env: Y}}
""",
    "with keys": """config:
  slipway:platform:
    gateway:
      teams:
        demo:
          keys:
            - {id: a, salt: b, hash: c}
          # after them
          private: true
    purpose: lab
""",
    "no end of line": "config:\n  slipway:platform:\n    gateway:\n      teams:\n        demo:\n          key: {env: X}",
}


@pytest.mark.parametrize("form", FORMS)
def test_only_the_keys_of_a_stacks_file_change(form: str) -> None:
    text = FORMS[form]
    one, two = make().entry, make("2027-01-01").entry
    both = with_keys(text, TEAM, [one, two])
    data = yaml.safe_load(both)["config"]["slipway:platform"]
    assert data["gateway"]["teams"]["demo"].pop("keys") == [one, two]
    before = yaml.safe_load(text)["config"]["slipway:platform"]
    before["gateway"]["teams"]["demo"].pop("keys", None)
    assert data == before
    assert re.findall("#.*", both) == re.findall("#.*", text)
    none = with_keys(both, TEAM, [])
    assert "keys" not in yaml.safe_load(none)["config"]["slipway:platform"]["gateway"]["teams"]["demo"]
    assert with_keys(none, TEAM, [one, two]) in {both, both.rstrip("\n")} or form == "with keys"


def test_braces_in_braces_are_refused() -> None:
    with pytest.raises(Exception, match="stands within braces"):
        with_keys("config: {'slipway:platform': {gateway: {teams: {demo: {key: x}}}}}", TEAM, [make().entry])


def test_a_key_is_long_and_its_entry_tells_nothing_of_it() -> None:
    made = make("2027-01-01")
    assert re.fullmatch(r"sk-[a-z0-9]{8}-[A-Za-z0-9]{43}", made.key)
    assert made.entry["hash"] == key_hash(made.entry["salt"], made.key)
    assert made.key.rsplit("-", 1)[1] not in repr(made) + json.dumps(made.entry)
    assert make().key != make().key


@pytest.fixture
def root(tmp_path: Path, root: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    shutil.copy(root / "stacks/Pulumi.lab.yaml", tmp_path / "stacks")
    return tmp_path


def ids(root: Path) -> list[str]:
    return [key.id for key in read_public("lab", root).gateway.teams["demo"].keys]


def test_keys_come_are_renewed_and_go(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_key("lab", "demo", days=30, until=None, as_json=False, root=root)
    shown = capsys.readouterr()
    first = shown.out.strip()
    (kept,) = read_public("lab", root).gateway.teams["demo"].keys
    assert kept.hash == key_hash(kept.salt, first)
    assert first not in (root / "stacks/Pulumi.lab.yaml").read_text() + shown.err
    rotate_key("lab", "demo", overlap="7d", days=None, until=None, as_json=True, root=root)
    second = json.loads(capsys.readouterr().out)
    old, new = read_public("lab", root).gateway.teams["demo"].keys
    assert (old.id, new.id) == (kept.id, second["id"])
    assert old.not_after is not None
    assert old.not_after < (kept.not_after or "")
    assert new.not_after is None
    list_keys("lab", None, as_json=False, root=root)
    table = capsys.readouterr().out
    assert kept.id in table
    assert second["key"] not in table
    revoke_key("lab", "demo", kept.id, root=root)
    assert ids(root) == [second["id"]]
    revoke_key("lab", "demo", second["id"], root=root)
    assert ids(root) == []
    assert not list((root / "stacks").glob(".*"))


def test_what_cannot_be_done_is_said_and_nothing_is_written(root: Path) -> None:
    file = root / "stacks/Pulumi.lab.yaml"
    text = file.read_text()
    with pytest.raises(UserError, match="has no team 'x'; its teams: demo"):
        create_key("lab", "x", days=None, until=None, as_json=False, root=root)
    with pytest.raises(UserError, match="is over"):
        create_key("lab", "demo", days=None, until="2020-01-01", as_json=False, root=root)
    with pytest.raises(UserError, match="not a date"):
        create_key("lab", "demo", days=None, until="soon", as_json=False, root=root)
    with pytest.raises(UserError, match="has no created key"):
        rotate_key("lab", "demo", overlap="7d", days=None, until=None, as_json=False, root=root)
    with pytest.raises(UserError, match="no key with the id 'nothing'"):
        revoke_key("lab", "demo", "nothing", root=root)
    assert file.read_text() == text
    create_key("lab", "demo", days=None, until=None, as_json=False, root=root)
    only_created = file.read_text().replace("          key:\n            env: SLIPWAY_KEY_DEMO\n", "")
    file.write_text(only_created.replace("    gateway:\n", "    gateway:\n      engine_key: {env: E}\n"))
    with pytest.raises(UserError, match="is the last key"):
        revoke_key("lab", "demo", ids(root)[0], root=root)

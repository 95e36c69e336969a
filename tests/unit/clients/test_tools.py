"""The files for tools: each as it was read by its tool's documentation, and never with a key in it."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.clients import show_clients
from cli.errors import UserError
from slipway.clients.base import ClientError, Configuration, Model
from slipway.clients.tools import names, tools

GOLDEN = Path(__file__).parent / "golden"
KEY = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
CONFIGURATION = Configuration(
    provider="slipway-prod",
    team="assistant",
    base_url="https://llm.example.com:8443/v1",
    key_variable="SLIPWAY_KEY_ASSISTANT",
    models=(
        Model(id="llama-3.3-70b", task="chat", context_window=32768, max_output_tokens=4096),
        Model(id="code", task="completion", context_window=8192, max_output_tokens=256),
        Model(id="org/gpt:5", task="chat", context_window=None, max_output_tokens=None),
        Model(id="bge-m3", task="embedding", context_window=8192, max_output_tokens=None),
        Model(id="reranker", task="rerank", context_window=512, max_output_tokens=None),
    ),
    ca_file="/home/me/ca of prod.pem",
)
FORMS = {"continue": "yaml", "aider": "yaml", "codex": "toml", "openai-env": "sh"}


def rendered(tool: str, configuration: Configuration = CONFIGURATION) -> str:
    return tools()[tool].render(configuration)


def parsed(tool: str) -> Any:
    text = rendered(tool)
    kind = FORMS.get(tool, "json")
    return {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads, "sh": str}[kind](text)


@pytest.mark.parametrize("tool", names())
def test_is_as_the_golden_file(tool: str) -> None:
    assert rendered(tool) == (GOLDEN / f"{tool}.txt").read_text(encoding="utf-8")


def test_every_golden_file_is_a_tools() -> None:
    assert sorted(file.stem for file in GOLDEN.iterdir()) == sorted(names())


@pytest.mark.parametrize("tool", names())
def test_names_the_variable_and_the_endpoint(tool: str) -> None:
    text = rendered(tool) + "\n".join(tools()[tool].notes(CONFIGURATION))
    assert CONFIGURATION.key_variable in text
    assert CONFIGURATION.base_url in text or f'"{CONFIGURATION.host_url}"' in text
    assert tools()[tool].name == tool
    # Whatever a tool can't be told in its file is told beside it.
    assert "/home/me/ca of prod.pem" in text


@pytest.mark.parametrize("tool", [name for name in names() if name != "openai-env"])
def test_only_chat_models_where_the_tool_wants_chat(tool: str) -> None:
    text = rendered(tool)
    assert ("bge-m3" in text) == (tool == "continue")
    assert "reranker" not in text
    embedding = Configuration(
        provider="p", team="t", base_url="https://h/v1", key_variable="K", models=CONFIGURATION.models[3:]
    )
    with pytest.raises(ClientError, match="team t may ask no chat model"):
        rendered(tool, embedding)


def test_pi_takes_the_key_from_its_variable() -> None:
    (provider,) = parsed("pi")["providers"].values()
    # Without the sign it would be a key in clear.
    assert provider["apiKey"] == "$SLIPWAY_KEY_ASSISTANT"
    assert provider["api"] == "openai-completions"
    assert provider["models"][0] == {"id": "llama-3.3-70b", "contextWindow": 32768, "maxTokens": 4096}
    assert provider["models"][1] == {"id": "org/gpt:5"}


def test_opencode_has_both_limits_or_none() -> None:
    document = parsed("opencode")
    provider = document["provider"]["slipway-prod"]
    assert document["model"] == "slipway-prod/llama-3.3-70b"
    assert provider["options"]["apiKey"] == "{env:SLIPWAY_KEY_ASSISTANT}"
    assert provider["models"]["llama-3.3-70b"]["limit"] == {"context": 32768, "output": 4096}
    assert "limit" not in provider["models"]["org/gpt:5"]


def test_continue_has_roles_by_task() -> None:
    document = parsed("continue")
    assert {"name", "version", "schema", "models"} == set(document)
    assert {model["model"]: model["roles"] for model in document["models"]} == {
        "llama-3.3-70b": ["chat", "edit", "apply", "summarize"],
        "code": ["autocomplete"],
        "org/gpt:5": ["chat", "edit", "apply", "summarize"],
        "bge-m3": ["embed"],
    }
    assert {model["apiKey"] for model in document["models"]} == {"${{ secrets.SLIPWAY_KEY_ASSISTANT }}"}


def test_aider_knows_no_alias_with_a_colon() -> None:
    document = parsed("aider")
    assert document["model"] == "openai/llama-3.3-70b"
    assert document["alias"] == ["llama-3.3-70b:openai/llama-3.3-70b"]
    assert document["set-env"] == ["SSL_CERT_FILE=/home/me/ca of prod.pem"]


def test_codex_has_its_keys_before_its_table() -> None:
    document = parsed("codex")
    provider = document["model_providers"][document["model_provider"]]
    assert provider == {
        "name": "slipway-prod",
        "base_url": "https://llm.example.com:8443/v1",
        "env_key": "SLIPWAY_KEY_ASSISTANT",
        "wire_api": "responses",
    }
    assert (document["model"], document["model_context_window"]) == ("llama-3.3-70b", 32768)


def test_claude_code_adds_the_path_itself_and_asks_a_command_for_the_key() -> None:
    document = parsed("claude-code")
    assert document["env"]["ANTHROPIC_BASE_URL"] == "https://llm.example.com:8443"
    assert all(isinstance(value, str) for value in document["env"].values())
    told = subprocess.run(
        ["sh", "-c", document["apiKeyHelper"]],
        env={"PATH": os.environ["PATH"], "SLIPWAY_KEY_ASSISTANT": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == KEY


def test_vscode_has_bounds_that_sum_up_to_the_context_window() -> None:
    (provider,) = parsed("vscode")
    first, second = provider["models"]
    assert first["maxInputTokens"] + first["maxOutputTokens"] == 32768
    assert first["url"] == "https://llm.example.com:8443/v1/chat/completions"
    assert "maxInputTokens" not in second
    assert provider["apiKey"] == "${input:SLIPWAY_KEY_ASSISTANT}"


def test_the_plain_list_has_all_its_keys() -> None:
    document = parsed("models-json")
    assert [provider["id"] for provider in document["providers"]] == ["slipway-prod"]
    keys = {"id", "name", "providerId", "baseUrl", "apiKeyEnvVar", "contextWindow", "maxOutputTokens"}
    assert [set(model) for model in document["models"]] == [keys, keys]


def test_a_shell_takes_the_variables() -> None:
    script = rendered("openai-env") + 'echo "$OPENAI_BASE_URL|$OPENAI_API_KEY|$SSL_CERT_FILE"'

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert run(SLIPWAY_KEY_ASSISTANT=KEY).stdout == f"https://llm.example.com:8443/v1|{KEY}|/home/me/ca of prod.pem\n"
    without = run()
    assert without.returncode != 0
    assert "export the key of team assistant" in without.stderr


class TestTheCommand:
    @pytest.fixture
    def checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        # A key of the shell's own must not get into any output.
        monkeypatch.setenv("SLIPWAY_KEY_A", KEY)
        (tmp_path / "stacks").mkdir()
        document = {
            "pools": {"cpu": {"hosts": {"h-1": {"address": "10.0.0.11", "user": "ubuntu"}}}},
            "models": {
                "m": {"source": {"host_path": "/srv/m"}, "aliases": ["x"]},
                "e": {"source": {"host_path": "/srv/e"}, "task": "embedding"},
            },
            "gateway": {
                "teams": {
                    "a": {"key": {"env": "SLIPWAY_KEY_A"}},
                    "b": {"key": {"env": "SLIPWAY_KEY_B"}, "models": ["e"]},
                }
            },
        }
        file = tmp_path / "stacks/Pulumi.s.yaml"
        file.write_text(yaml.safe_dump({"config": {"slipway:platform": document}}, sort_keys=False))
        return tmp_path

    def show(self, root: Path, **but: Any) -> None:
        given: dict[str, Any] = {"team": None, "tool": None, "output": None, "as_json": False, "force": False}
        show_clients("s", **(given | but), root=root)

    def test_plain_it_tells_all_teams(self, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.show(checkout, as_json=True)
        told = json.loads(capsys.readouterr().out)
        assert [model["id"] for model in told["a"]["models"]] == ["m", "e"]
        assert [model["id"] for model in told["b"]["models"]] == ["e"]
        assert told["a"]["base_url"] == "https://10.0.0.11/v1"
        self.show(checkout)
        table = capsys.readouterr().out
        assert "a: https://10.0.0.11/v1, key in $SLIPWAY_KEY_A" in table
        assert KEY not in table + json.dumps(told)

    @pytest.mark.parametrize("tool", names())
    def test_no_key_in_any_file(self, checkout: Path, capsys: pytest.CaptureFixture[str], tool: str) -> None:
        self.show(checkout, team="a", tool=tool)
        output = capsys.readouterr()
        assert output.out
        assert KEY not in output.out + output.err
        # What has no certificate of the site's has one of its own CA.
        assert "ca.pem" in output.out + output.err

    @pytest.mark.parametrize(
        ("but", "said"),
        [
            ({"team": "c"}, "has no team 'c'; its teams: a, b"),
            ({"tool": "emacs", "team": "a"}, "no such tool is known; the tools: pi, opencode"),
            ({"tool": "pi"}, "give --team, one of a, b"),
            ({"output": Path("x")}, "give --for too"),
        ],
    )
    def test_what_can_not_be_is_said(self, checkout: Path, but: dict[str, Any], said: str) -> None:
        with pytest.raises(UserError, match=said):
            self.show(checkout, **but)

    def test_a_file_of_the_users_is_not_lost(self, checkout: Path, tmp_path: Path) -> None:
        file = tmp_path / "deep" / "settings.json"
        self.show(checkout, team="a", tool="claude-code", output=file)
        first = file.read_text()
        file.write_text("mine")
        with pytest.raises(UserError, match="other settings in it would be lost"):
            self.show(checkout, team="a", tool="claude-code", output=file)
        assert file.read_text() == "mine"
        self.show(checkout, team="a", tool="claude-code", output=file, force=True)
        assert file.read_text() == first

"""Stack `lab-models`: several models, engines and a provider behind one endpoint. Tests run in this order."""

import contextlib
import itertools
import json
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import openai
import pytest

from slipway.paths import MODELS
from tests.e2e.conftest import LISTING, Workspace, client, curl, hosts_of, write_ca
from tests.e2e.doubles.provider import WORDS
from tests.e2e.stack import KEY_FILE, Stack, ssh, wait_for
from tests.unit.settings.documents import changed
from tools.lab import HostSpec, Lab
from tools.lab.model import make_tiny_gguf
from tools.ollama.build import ensure

FIRST, SECOND = HostSpec("e2e-31", "10.213.77.151"), HostSpec("e2e-32", "10.213.77.152")
NEIGHBOUR = HostSpec("e2e-33", "10.213.77.153")
PROVIDER_PORT = 1234
TEAMS = ("DEMO", "CHATTERS", "LEGAL")
STORY = [{"role": "user", "content": "Tell me a story."}]


@dataclass(frozen=True)
class Platform:
    """The stack, up, and its teams' keys."""

    stack: Stack
    keys: dict[str, str]
    ca_file: Path
    bare: set[str]
    """The files of the first host before Slipway saw it."""

    def client(self, team: str = "DEMO") -> openai.OpenAI:
        return client(self.stack, self.ca_file, self.keys[team])


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    """Two fresh lab hosts, and a third one for the provider."""
    lab, specs = Lab(), [FIRST, SECOND, NEIGHBOUR]
    names = [spec.name for spec in specs]
    lab.down(names)
    try:
        lab.up(specs, print)
        yield
    finally:
        lab.down(names)


@pytest.fixture(scope="module")
def provider(hosts: None, root: Path) -> None:
    """The double of a provider, and a counter of all packets that reach its port."""
    program = (root / "tests/e2e/doubles/provider.py").read_text()
    subprocess.run(
        [
            *("ssh", "-i", str(KEY_FILE), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "LogLevel=ERROR", f"slipway@{NEIGHBOUR.address}", "cat >/tmp/provider.py"),
        ],
        input=program,
        text=True,
        check=True,
        timeout=60,
    )
    ssh(NEIGHBOUR.address, "sudo apt-get install -y -q --no-install-recommends nftables >/dev/null")
    rules = (
        "add table inet seen; add chain inet seen input { type filter hook input priority 0; }; "
        f"add rule inet seen input tcp dport {PROVIDER_PORT} counter"
    )
    ssh(NEIGHBOUR.address, f"sudo nft '{rules}'")
    ssh(
        NEIGHBOUR.address,
        f"sudo systemd-run --quiet --unit=provider -p DynamicUser=yes -p BindReadOnlyPaths=/tmp/provider.py "
        f"python3 /tmp/provider.py {PROVIDER_PORT}",
    )


def packets_seen() -> int:
    """How many packets have reached the provider's port."""
    table = json.loads(ssh(NEIGHBOUR.address, "sudo nft --json list table inet seen"))
    (rule,) = (entry["rule"] for entry in table["nftables"] if "rule" in entry)
    return sum(part["counter"]["packets"] for part in rule["expr"] if "counter" in part)


@pytest.fixture(scope="module")
def platform(provider: None, workspace: Workspace) -> Platform:
    make_tiny_gguf(MODELS / "tiny-llama.gguf")
    stack = workspace.stack("lab-models")
    keys = {team: secrets.token_hex(32) for team in TEAMS}
    stack.environment |= {f"SLIPWAY_KEY_{team}": key for team, key in keys.items()}
    settings = stack.read()
    settings["pools"]["lab"]["hosts"] = hosts_of([FIRST, SECOND])
    settings["providers"]["neighbour"]["url"] = f"http://{NEIGHBOUR.address}:{PROVIDER_PORT}/v1"
    settings["models"]["tiny-ollama"]["engine"]["program"] = {"path": str(ensure())}
    stack.write(settings)
    stack.init()
    bare = files_of(FIRST)
    start = time.monotonic()
    stack.up()
    print(f"up of {len(settings['models'])} models: {time.monotonic() - start:.0f} s")
    return Platform(stack=stack, keys=keys, ca_file=write_ca(stack), bare=bare)


def files_of(host: HostSpec) -> set[str]:
    """All files of a host."""
    return set(ssh(host.address, LISTING).splitlines())


def main_pid(host: HostSpec, instance: str) -> str:
    """The process of an instance."""
    return ssh(host.address, f"systemctl show -p MainPID --value slipway-{instance}").strip()


@pytest.mark.parametrize("model", ["tiny-chat", "tiny-gguf", "tiny-ollama", "neighbour-chat"])
def test_every_chat_model_answers(platform: Platform, model: str) -> None:
    with platform.client() as api:
        whole = api.chat.completions.create(model=model, messages=STORY, max_tokens=8)  # type: ignore[arg-type]
        stream = api.chat.completions.create(model=model, messages=STORY, max_tokens=8, stream=True)  # type: ignore[arg-type]
        deltas = [
            chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content
        ]
    assert whole.choices[0].message.content
    assert len(deltas) >= 3
    if model == "neighbour-chat":
        assert whole.choices[0].message.content == WORDS


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_in_every_encoding(platform: Platform, encoding: Any) -> None:
    texts = ["a ship", "a tree"]
    with platform.client() as api:
        data = api.embeddings.create(model="tiny-embedding", input=texts, encoding_format=encoding).data
    assert len(data) == len(texts)
    assert data[0].embedding != data[1].embedding


def test_outputs_tell_of_every_model(platform: Platform) -> None:
    outputs = platform.stack.outputs()
    assert set(outputs["models"]) == {"tiny-chat", "tiny-gguf", "tiny-embedding", "tiny-ollama", "neighbour-chat"}
    assert set(outputs["models"]["tiny-chat"]["instances"]) == {f"{FIRST.name}/tiny-chat", f"{SECOND.name}/tiny-chat"}
    assert outputs["acceptance"]["tiny-embedding"]["dimensions"] > 0
    for model in ("tiny-chat", "tiny-gguf", "tiny-ollama"):
        assert outputs["acceptance"][model]["ttft_ms"] > 0
    assert [model["id"] for model in outputs["clients"]["chatters"]["models"]] == ["tiny-chat", "tiny-gguf"]


def test_a_team_sees_and_uses_its_models_only(platform: Platform) -> None:
    with platform.client("CHATTERS") as api:
        assert [model.id for model in api.models.list().data] == ["tiny-chat", "tiny-gguf"]
        with pytest.raises(openai.PermissionDeniedError) as refused:
            api.chat.completions.create(model="tiny-ollama", messages=STORY)  # type: ignore[arg-type]
        with pytest.raises(openai.NotFoundError) as unknown:
            api.chat.completions.create(model="nothing", messages=STORY)  # type: ignore[arg-type]
    assert refused.value.body["message"]  # type: ignore[index]
    assert unknown.value.code == "model_not_found"


def test_clients_of_other_makers(platform: Platform, root: Path) -> None:
    """LangChain and LlamaIndex chat and embed, Anthropic's client speaks /v1/messages."""
    lock = (root / "tests/e2e/clients/requirements.txt").read_bytes()
    python = Path(f"~/.cache/slipway/clients-{sha256(lock).hexdigest()[:12]}/bin/python").expanduser()
    endpoint = platform.stack.outputs()["endpoint"]
    done = subprocess.run(
        [
            str(python),
            str(root / "tests/e2e/clients/ask.py"),
            endpoint,
            str(platform.ca_file),
            "tiny-chat",
            "tiny-embedding",
        ],
        env={"PATH": "/usr/bin", "SLIPWAY_KEY": platform.keys["DEMO"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert {name for name, answer in answers.items() if not answer} == set()
    assert answers["langchain_embedding"] == answers["llama_index_embedding"]
    assert answers["anthropic_usage"] > 0


def test_second_up_is_a_no_op_and_nothing_has_drifted(platform: Platform) -> None:
    assert platform.stack.runs_of(platform.stack.up) == []
    platform.stack.pulumi("preview", "--refresh", "--expect-no-changes")


@contextlib.contextmanager
def constant_load(platform: Platform, model: str) -> Iterator[list[str]]:
    """Two clients that ask `model` one request after the other; what failed."""
    stop, failed, done = threading.Event(), [], itertools.count()  # type: ignore[var-annotated]

    def ask() -> None:
        with platform.client() as api:
            for _ in range(20_000):
                if stop.wait(0.02):
                    return
                try:
                    answer = api.chat.completions.create(model=model, messages=STORY, max_tokens=4)  # type: ignore[arg-type]
                    assert answer.choices[0].message.content
                    next(done)
                except (openai.OpenAIError, AssertionError) as error:
                    failed.append(repr(error))
        failed.append("the load ended before the changes did")

    with ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(ask) for _ in range(2)]
        try:
            yield failed
        finally:
            stop.set()
            for worker in workers:
                worker.result()
    print(f"{next(done)} requests of {model} were answered meanwhile")
    assert next(done) > 20


def test_another_model_comes_changes_and_goes_under_load(platform: Platform) -> None:
    stack = platform.stack
    before = stack.read()
    untouched = [(FIRST, "tiny-chat"), (SECOND, "tiny-chat"), (FIRST, "tiny-gguf"), (FIRST, "litellm")]
    pids = [main_pid(*each) for each in untouched]
    another = {**before["models"]["tiny-gguf"]}
    try:
        with constant_load(platform, "tiny-chat") as failed:
            stack.write(changed(before, "models.another", another))
            start = time.monotonic()
            runs = stack.runs_of(stack.up)
            print(f"up that adds one model: {time.monotonic() - start:.1f} s")
            assert {instance for _, instance in runs} >= {"another", "model-another", "litellm", "nginx", "acceptance"}
            assert {instance for _, instance in runs} & {"tiny-chat", "tiny-gguf", "tiny-ollama"} == set()
            with platform.client() as api:
                assert api.chat.completions.create(model="another", messages=STORY, max_tokens=4).choices  # type: ignore[arg-type]
            stack.write(changed(before, "models.another", {**another, "engine": {"name": "llama_cpp", "parallel": 1}}))
            runs = stack.runs_of(stack.up)
            assert {instance for _, instance in runs} <= {"another", "litellm", "nginx", "acceptance"}
            stack.write(before)
            stack.up()
    finally:
        stack.write(before)
    assert failed == []
    assert [main_pid(*each) for each in untouched] == pids
    with platform.client() as api, pytest.raises(openai.NotFoundError):
        api.chat.completions.create(model="another", messages=STORY)  # type: ignore[arg-type]
    assert ssh(FIRST.address, "systemctl list-units --all --no-legend 'slipway-another*'").strip() == ""


@pytest.mark.rare
def test_one_takes_the_place_of_another_and_back_while_the_others_stay(platform: Platform) -> None:
    """The new one has the port of the one that goes, and stands before all others in the file."""
    stack = platform.stack
    before = stack.read()
    (had,) = stack.outputs()["models"]["tiny-gguf"]["instances"].values()
    (beside,) = stack.outputs()["models"]["tiny-embedding"]["instances"].values()
    untouched = [(FIRST, "tiny-chat"), (SECOND, "tiny-chat"), (FIRST, "tiny-embedding"), (FIRST, "tiny-ollama")]
    pids = [main_pid(*each) for each in untouched]
    engine = {**before["models"]["tiny-gguf"]["engine"], "port": had["port"]}
    instead = without(before, "tiny-gguf")
    instead["models"] = {"instead": {**before["models"]["tiny-gguf"], "engine": engine}, **instead["models"]}
    try:
        stack.write(instead)
        stack.up()
        with platform.client() as api:
            assert api.chat.completions.create(model="instead", messages=STORY, max_tokens=4).choices  # type: ignore[arg-type]
            with pytest.raises(openai.NotFoundError):
                api.chat.completions.create(model="tiny-gguf", messages=STORY)  # type: ignore[arg-type]
        assert stack.runs_of(stack.up) == []
    finally:
        stack.write(before)
    stack.up()
    with platform.client() as api:
        assert api.chat.completions.create(model="tiny-gguf", messages=STORY, max_tokens=4).choices  # type: ignore[arg-type]
    assert [main_pid(*each) for each in untouched] == pids
    models = stack.outputs()["models"]
    assert [each["port"] for each in models["tiny-gguf"]["instances"].values()] == [had["port"]]
    assert [each["port"] for each in models["tiny-embedding"]["instances"].values()] == [beside["port"]]


def test_private_teams_gateway_cannot_reach_the_provider(platform: Platform) -> None:
    script = f"import socket; socket.create_connection(('{NEIGHBOUR.address}', {PROVIDER_PORT}), 3)"
    before = packets_seen()
    for user, reached in (("slipway-litellm-private", False), ("slipway-litellm", True)):
        said = ssh(
            FIRST.address,
            f'sudo runuser -u {user} -- python3 -c "{script}" >/dev/null 2>&1 && echo reached',
            check=False,
        )
        assert (said.strip() == "reached") == reached, user
        assert (packets_seen() > before) == reached, user


def test_private_teams_gateway_reaches_the_engines_ports_alone(platform: Platform) -> None:
    """On its own machine as well, where the gateway for all would ask the provider; and no other port of the other machine."""
    engines = platform.stack.outputs()["models"]["tiny-chat"]["instances"]
    here, there = (engines[f"{host.name}/tiny-chat"]["port"] for host in (FIRST, SECOND))
    gateway = platform.stack.read()["gateway"].get("port", 4000)
    targets = {
        ("127.0.0.1", here): True,
        ("127.0.0.1", gateway): False,
        (SECOND.address, there): True,
        (SECOND.address, 22): False,
    }
    for (address, port), open_ in targets.items():
        script = f"import socket; socket.create_connection(('{address}', {port}), 3)"
        for user, reached in (("slipway-litellm-private", open_), ("slipway-litellm", True)):
            said = ssh(
                FIRST.address,
                f'sudo runuser -u {user} -- python3 -c "{script}" >/dev/null 2>&1 && echo reached',
                check=False,
            )
            assert (said.strip() == "reached") == reached, (user, address, port)


def test_killed_engines_are_answered_by_the_provider_but_not_for_private_teams(platform: Platform) -> None:
    kill = "systemctl kill --kill-whom=all --signal=KILL slipway-tiny-chat"
    for host in (FIRST, SECOND):
        # A restart of vLLM takes long enough; without it there is no race at all.
        ssh(host.address, f"sudo {kill} && sudo systemctl stop slipway-tiny-chat")
    try:
        before = packets_seen()
        with platform.client("LEGAL") as api, pytest.raises(openai.APIStatusError) as refused:
            api.chat.completions.create(model="tiny-chat", messages=STORY, max_tokens=8)  # type: ignore[arg-type]
        assert refused.value.status_code in {502, 503}
        assert refused.value.body["message"]  # type: ignore[index]
        with platform.client("LEGAL") as api, pytest.raises(openai.APIStatusError) as provided:
            api.chat.completions.create(model="neighbour-chat", messages=STORY, max_tokens=8)  # type: ignore[arg-type]
        assert provided.value.status_code in {403, 404, 503}
        assert packets_seen() == before
        with platform.client() as api:
            answer = api.chat.completions.create(model="tiny-chat", messages=STORY, max_tokens=8)  # type: ignore[arg-type]
            stream = api.chat.completions.create(model="tiny-chat", messages=STORY, stream=True)  # type: ignore[arg-type]
            streamed = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        assert answer.choices[0].message.content == WORDS
        assert [word for word in streamed if word] == WORDS.split(" ")
        assert packets_seen() > before
    finally:
        for host in (FIRST, SECOND):
            ssh(host.address, "sudo systemctl start slipway-tiny-chat")
    wait_for(lambda: locally_answered(platform), "the local engine to answer again", seconds=300)


def locally_answered(platform: Platform) -> bool:
    """Whether tiny-chat is answered by the stack's own engine."""
    payload = {"model": "tiny-chat", "messages": STORY, "max_tokens": 4}
    status, body, _ = curl(
        *("--cacert", str(platform.ca_file), "-H", f"Authorization: Bearer {platform.keys['LEGAL']}"),
        *("--json", json.dumps(payload), f"{platform.stack.outputs()['endpoint']}/chat/completions"),
    )
    return status == 0 and "choices" in body


@pytest.mark.rare
def test_models_and_providers_come_and_go_in_any_order(platform: Platform) -> None:
    stack = platform.stack
    whole = stack.read()
    full = files_of(FIRST)
    for name in ("tiny-gguf", "neighbour-chat", "tiny-ollama", "tiny-embedding"):
        stack.write(without(stack.read(), name))
        stack.up()
    left = files_of(FIRST)
    gone = ("tiny-gguf", "tiny-ollama", "tiny-embedding", "ollama", "llama-cpp")
    assert [
        file for file in left if re.match(rf"/(etc|opt|var)/.*slipway[-/](models/)?({'|'.join(gone)})\b", file)
    ] == []
    for name in ("tiny-ollama", "tiny-embedding", "neighbour-chat", "tiny-gguf"):
        settings = stack.read()
        if name == "neighbour-chat":
            settings["providers"] = whole["providers"]
            settings["models"]["tiny-chat"]["fallbacks"] = [name]
        stack.write(changed(settings, f"models.{name}", whole["models"][name]))
        stack.up()
    # With the teams' lists as they were.
    stack.write(whole)
    stack.up()
    assert ours(files_of(FIRST)) ^ ours(full) == set()
    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert files_of(FIRST) - platform.bare == set()
    assert "slipway-" not in ssh(FIRST.address, "cat /etc/passwd /etc/group; sudo nft list tables 2>/dev/null || true")


def ours(files: set[str]) -> set[str]:
    """Without what engines write for themselves while they run."""
    return {file for file in files if not file.startswith("/var/lib/slipway/") or "/models/" in file}


def without(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """The settings without one model, and without what only it needs."""
    models = {other: model for other, model in settings["models"].items() if other != name}
    teams = {
        team: {**entry, "models": [model for model in entry["models"] if model != name]} if "models" in entry else entry
        for team, entry in settings["gateway"]["teams"].items()
    }
    settings = {**settings, "gateway": {**settings["gateway"], "teams": teams}}
    if name == "neighbour-chat":
        models["tiny-chat"] = {key: value for key, value in models["tiny-chat"].items() if key != "fallbacks"}
        settings = {key: value for key, value in settings.items() if key != "providers"}
    return {**settings, "models": models}

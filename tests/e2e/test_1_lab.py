"""Stack `lab`: one real host, from refused input over a streamed completion to nothing left. Tests run in this order."""

import json
import re
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.documents import console_lines
from tests.e2e.conftest import LISTING, UNUSED_ADDRESS, Workspace, arrivals_of, client, curl, write_ca
from tests.e2e.stack import KEY_FILE, Stack, processes, ssh, wait_for
from tests.e2e.sweep import NAMED, PLAIN, fill_and_leave, generated, started, sweep
from tests.unit.settings.documents import REMOVED, able, changed, with_changes
from tools.lab import HostSpec, Lab

UNITS = ("tiny-llama", "litellm", "nginx")
HOST = "pools.lab.hosts.e2e-1"


@contextmanager
def edited(stack: Stack, *changes: tuple[str, Any]) -> Iterator[None]:
    """The stack's settings with `changes`, and afterwards as they were."""
    before = stack.read()
    settings = before
    for path, value in changes:
        settings = changed(settings, path, value)
    stack.write(settings)
    try:
        yield
    finally:
        stack.write(before)


REFUSED_BY_SETTINGS = {
    "unknown key": (
        [("frnt", {})],
        "slipway:platform.frnt: unknown key; it would have no effect; did you mean front?",
    ),
    "wrong type": (
        [("front.port", "https")],
        "slipway:platform.front.port: of the wrong type; a whole number is wanted; correct the value",
    ),
    "host given twice": (
        [("pools.lab.hosts", {name: {"address": "10.0.0.1", "user": "u"} for name in ("a", "b")})],
        "slipway:platform.pools.lab.hosts.b: 10.0.0.1 port 22 is that of a too; one machine would be set up as two: "
        "remove one of the two hosts",
    ),
    "duplicate team key": (
        [("gateway.teams", {team: {"key": {"env": "SLIPWAY_KEY_DEMO"}} for team in ("a", "b")})],
        "slipway:platform.gateway.teams.b.key: the team 'a' has the same key; requests could not be told apart: "
        "give each its own",
    ),
    "weak key": (
        [("gateway.teams.demo.key", "canary-hunter2")],
        "slipway:platform.gateway.teams.demo.key: too weak (14 characters, at least 32 are needed); "
        "it alone guards the endpoint: make one with `openssl rand -hex 32`",
    ),
    "model folder missing": (
        [("models.tiny-llama.source", {"path": "/srv/none"})],
        "slipway:platform.models.tiny-llama.source.path: /srv/none does not exist; the engine would have nothing to load: "
        "give the folder that holds the model's config.json",
    ),
    "GGUF for vLLM": (
        [("models.tiny-llama.source", {"host_path": "/srv/tiny.gguf"})],
        "slipway:platform.models.tiny-llama.source: tiny.gguf is a GGUF file, and vllm reads huggingface only; the engine "
        f"would not start: use engine: {able('gguf', 'chat')}",
    ),
    "unknown provider": (
        [("models.gpt", {"provider": "openai"})],
        "slipway:platform.models.gpt.provider: there is no provider 'openai'; nothing could answer: add it to providers "
        "(there: none)",
    ),
    "circle of fall-backs": (
        [
            ("providers.other", {"kind": "openai_compatible", "url": "http://10.0.0.9/v1"}),
            ("models.b", {"provider": "other", "fallbacks": ["tiny-llama"]}),
            ("models.tiny-llama.fallbacks", ["b"]),
        ],
        "slipway:platform.models.b.fallbacks: b -> tiny-llama -> b goes in a circle; where all fail a request would never "
        "end: leave one of them out",
    ),
    "private model that leaves": (
        [
            ("providers.other", {"kind": "openai_compatible", "url": "http://10.0.0.9/v1"}),
            ("models.b", {"provider": "other"}),
            ("models.tiny-llama.fallbacks", ["b"]),
            ("models.tiny-llama.private", True),
        ],
        "slipway:platform.models.tiny-llama.fallbacks: tiny-llama is private, and b is served by the provider other; its "
        "requests would leave: remove the fall-back, or private",
    ),
    "team with an unknown model": (
        [("gateway.teams.demo.models", ["none"])],
        "slipway:platform.gateway.teams.demo.models: there is no model 'none'; the team would ask in vain: use one of "
        "tiny-llama",
    ),
    "two models on one GPU": (
        [
            ("pools.lab.gpu", "rtx-4090"),
            ("models.tiny-llama.gpus", 1),
            ("models.b", {"source": {"host_path": "/srv/b"}, "gpus": 1}),
        ],
        "slipway:platform.models.b.gpus: b needs 1 GPU with 0.85 of each, and tiny-llama leave no such room on e2e-1",
    ),
    "embedding as a fall-back of chat": (
        [
            ("models.b", {"source": {"host_path": "/srv/b"}, "task": "embedding"}),
            ("models.tiny-llama.fallbacks", ["b"]),
        ],
        "slipway:platform.models.tiny-llama.fallbacks: tiny-llama is a model for chat, and a fall-back is one for embedding; "
        "it could not answer: name a model for chat",
    ),
}


@pytest.mark.parametrize("case", REFUSED_BY_SETTINGS)
def test_bad_settings_are_refused(lab_stack: Stack, case: str) -> None:
    changes, message = REFUSED_BY_SETTINGS[case]
    with edited(lab_stack, *changes):
        output = lab_stack.refused()
    assert "1 setting(s) refused; nothing was touched" in output
    assert message in output
    assert "Traceback" not in output
    assert "canary" not in output
    assert lab_stack.runs() == []


LAYER = "error: e2e-1 (10.213.77.111): layer preflight"
REFUSE = f"{LAYER}, task 'Refuse a host that cannot serve'"

REFUSED_BY_PREFLIGHT = {
    "unreachable host": (
        (f"{HOST}.address", UNUSED_ADDRESS),
        "error: e2e-1 (10.213.77.250): layer preflight: there is no route to the host. "
        "Check that it is switched on and that `host.address` is right.",
    ),
    "wrong SSH key": (
        (f"{HOST}.key_file", "{wrong_key}"),
        f"{LAYER}: SSH refuses the login as slipway with the key {{wrong_key}}. Put the key's public half into that user's "
        "~/.ssh/authorized_keys, or mend `host.user` and `host.keyFile`.",
    ),
    "no sudo": (
        (f"{HOST}.user", "nosudo"),
        f"{LAYER}: nosudo may not use sudo without a password. Allow it in /etc/sudoers.d (NOPASSWD:ALL), "
        "or set `host.become` to false.",
    ),
    "disk too small": (
        ("pools.lab.min_disk_gib", 100000),
        f"{REFUSE}: only N GiB are free for /opt/slipway and /var/lib/slipway; the stack needs 100000 GiB there, "
        "N of which are in use by Slipway: free some space or mount a larger disk there",
    ),
    "model path missing": (
        ("models.tiny-llama.source", {"host_path": "/srv/none"}),
        f"{REFUSE}: /srv/none is not there; it is needed for the files of tiny-llama: put it there or change "
        "models.tiny-llama.source.host_path in the stack",
    ),
}


@pytest.mark.parametrize("case", REFUSED_BY_PREFLIGHT)
def test_bad_hosts_are_refused(lab_stack: Stack, case: str, tmp_path: Path) -> None:
    (path, value), message = REFUSED_BY_PREFLIGHT[case]
    wrong_key = tmp_path / "wrong_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong_key)], check=True)
    with edited(lab_stack, (path, str(wrong_key) if value == "{wrong_key}" else value)):
        output = lab_stack.refused()
    assert message.replace("{wrong_key}", str(wrong_key)) in re.sub(r"\d+\.\d+ (?=GiB are|of which)", "N ", output)
    assert "Traceback" not in output


def test_taken_port_is_refused(lab_stack: Stack, bare_host: HostSpec) -> None:
    ssh(bare_host.address, "sudo systemd-run --quiet --unit=squatter python3 -m http.server 443")
    try:
        pid = ssh(bare_host.address, "systemctl show -p MainPID --value squatter").strip()
        wait_for(lambda: ":443 " in ssh(bare_host.address, "ss -Hltn"), "the port to be taken", seconds=20)
        output = lab_stack.refused()
    finally:
        ssh(bare_host.address, "sudo systemctl stop squatter")
    assert (
        f"{REFUSE}: port 443 is already used by python3 (pid {pid}); the front needs it: stop that program or set "
        "front.port in the stack"
    ) in output


def test_refusals_touched_nothing(lab_stack: Stack, bare_host: HostSpec, bare_listing: set[str]) -> None:
    assert {run["instance"] for run in lab_stack.runs()} <= {"preflight"}
    assert set(ssh(bare_host.address, LISTING).splitlines()) == bare_listing


def test_streams_through_tls(lab: Stack, workspace: Workspace) -> None:
    # A busy machine may hold this client up now and then; what holds streams back on the way does so each time.
    best = 0.0
    for _ in range(3):
        with client(lab, write_ca(lab), workspace.secrets["SLIPWAY_KEY_DEMO"]) as api:
            arrivals = arrivals_of(api)
        gap = statistics.median(later - earlier for earlier, later in zip(arrivals, arrivals[1:], strict=False))
        print(f"TTFT {arrivals[0] * 1000:.1f} ms, {len(arrivals)} deltas, median gap {gap * 1000:.2f} ms")
        if len({round(arrival, 4) for arrival in arrivals}) >= 30:
            best = max(best, gap)
    # Deltas that a buffer held back arrive within microseconds of each other.
    assert best > 0.0005


def test_outputs_say_how_to_use_it(lab: Stack, bare_host: HostSpec) -> None:
    outputs = lab.outputs()
    assert outputs["endpoint"] == f"https://{bare_host.address}/v1"
    assert outputs["clients"]["demo"] == {
        "base_url": outputs["endpoint"],
        "key_variable": "SLIPWAY_KEY_DEMO",
        "models": [
            {
                "id": "tiny-llama",
                "task": "chat",
                "aliases": [],
                "context_window": 2048,
                "max_output_tokens": 512,
            }
        ],
    }
    assert outputs["machines"] == {
        bare_host.name: {
            "address": bare_host.address,
            "runs": ["tiny-llama", "litellm", "nginx"],
            "preflight": {"warnings": []},
        }
    }
    figures = outputs["acceptance"]["tiny-llama"]
    assert figures["task"] == "chat"
    assert figures["ttft_ms"] > 0
    assert figures["tokens_per_second"] > 0


def test_the_engine_has_what_was_planned(lab: Stack, bare_host: HostSpec) -> None:
    """Exactly: on a CPU the room is given, and only whole blocks are left out of it."""
    ((instance, found),) = lab.outputs()["models"]["tiny-llama"]["instances"].items()
    assert instance == f"{bare_host.name}/tiny-llama"
    comparison = found["sizing"]
    tokens = comparison["kv_cache_tokens"]
    assert tokens["planned"] == tokens["actual"] > 0
    assert comparison["kv_cache_gib"] == {"planned": 1, "actual": 1, "difference_percent": 0}
    assert comparison["max_concurrency"]["difference_percent"] == 0
    # What the role has read back is what the engine said.
    journal = ssh(bare_host.address, "sudo journalctl -u slipway-tiny-llama.service -o cat")
    said = re.findall(r"KV cache size: ([\d,]+) tokens", journal)
    assert {int(number.replace(",", "")) for number in said} == {tokens["planned"]}
    # The plan is the one that is had without any host.
    done = lab.shell("slipway check lab --json")
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)["stacks"]
    (model,) = report["deployment"]["models"]
    assert model["sizing"]["kvCacheTokens"] == tokens["actual"]
    assert [finding for finding in report["findings"] if finding["severity"] != "note"] == []
    assert "the sizing was off" not in lab.transcript.read_text()


def test_second_up_is_a_no_op(lab: Stack) -> None:
    start = time.monotonic()
    assert lab.runs_of(lab.up) == []
    print(f"no-op up: {time.monotonic() - start:.2f} s")


def test_no_drift_right_after_an_up(lab: Stack) -> None:
    start = time.monotonic()
    # What is as it was recorded needs no run of Ansible.
    assert lab.runs_of(lambda: lab.pulumi("preview", "--refresh", "--expect-no-changes")) == []
    print(f"refresh of one host: {time.monotonic() - start:.2f} s")


@pytest.mark.rare
def test_a_deep_look_runs_every_layer_in_check_mode(lab: Stack) -> None:
    before = len(lab.runs())
    done = lab.shell("slipway drift lab --deep")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = lab.runs()[before:]
    assert {run["instance"] for run in checks} >= {
        *("base", "program-vllm-cpu", "program-litellm", "model-tiny-llama", *UNITS)
    }
    assert {run["mode"] for run in checks} == {"check"}
    assert sum(run["changed"] for run in checks) == 0


@pytest.mark.rare
def test_drift_is_named_and_mended(lab: Stack, bare_host: HostSpec, workspace: Workspace) -> None:
    ssh(
        bare_host.address,
        "sudo sed -i 's/server_tokens off/server_tokens on/' /etc/slipway/nginx/nginx.conf"
        " && sudo systemctl disable --now slipway-tiny-llama.service"
        " && sudo chmod 0666 /etc/slipway/litellm/config.yaml",
    )
    preview = lab.pulumi("preview", "--refresh", "--diff")
    for instance, subject in {
        "nginx": "/etc/slipway/nginx/nginx.conf",
        "tiny-llama": "slipway-tiny-llama.service",
        "litellm": "/etc/slipway/litellm/config.yaml",
    }.items():
        assert any(bare_host.name in line and instance in line and subject in line for line in preview.splitlines()), (
            f"{instance}: {subject} is not named in:\n{preview}"
        )

    assert lab.shell("slipway drift lab").returncode == 1
    mended = lab.runs_of(lambda: lab.shell("slipway drift lab --mend"), mode="apply")
    assert sorted(instance for _, instance in mended) == ["acceptance", "litellm", "nginx", "tiny-llama"]
    lab.pulumi("preview", "--refresh", "--expect-no-changes")
    mode = ssh(bare_host.address, "sudo stat -c %a /etc/slipway/litellm/config.yaml").strip()
    assert int(mode, 8) & 0o022 == 0
    assert ssh(bare_host.address, "systemctl is-enabled slipway-tiny-llama").strip() == "enabled"


def test_front_admits_only_modern_tls_and_keys(lab: Stack, workspace: Workspace) -> None:
    ca_file = write_ca(lab)
    key = workspace.secrets["SLIPWAY_KEY_DEMO"]
    url = lab.outputs()["endpoint"] + "/models"
    trust = ["--cacert", str(ca_file)]
    for version in ("1.2", "1.3"):
        status, body, report = curl(
            *trust, f"--tlsv{version}", "--tls-max", version, "-H", f"Authorization: Bearer {key}", url
        )
        assert (status, report["response_code"], report["http_version"]) == (0, 200, "2"), body
    status, _, _ = curl(*trust, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", url)
    assert status == 35  # the handshake was refused
    for header in ([], ["-H", "Authorization: Bearer wrong"], ["-H", f"Authorization: Basic {key}"]):
        _, body, report = curl(*trust, *header, url)
        assert report["response_code"] == 401
        assert json.loads(body)["error"]["message"]
    for path in ("/", "/v1/key/generate", "/config/yaml", "/metrics"):
        base = lab.outputs()["endpoint"].removesuffix("/v1")
        _, _, report = curl(*trust, "-H", f"Authorization: Bearer {key}", base + path)
        assert report["response_code"] == 404, path


@pytest.mark.parametrize("expects", [False, True])
def test_wrong_key_is_refused_before_the_body_is_sent(lab: Stack, expects: bool) -> None:
    """The headers promise a body that never comes: whoever reads it, or asks for it, before the key is checked hangs."""
    address = lab.read()["pools"]["lab"]["hosts"]["e2e-1"]["address"]
    trust = ssl.create_default_context(cafile=str(write_ca(lab)))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {'0' * 64}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000\r\n"
        f"{'Expect: 100-continue' if expects else 'Accept: */*'}\r\n\r\n"
    )
    with (
        socket.create_connection((address, 443), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname=address) as connection,
    ):
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_models_here_need_no_gateway(lab: Stack, bare_host: HostSpec, workspace: Workspace) -> None:
    write_ca(lab)
    ssh(bare_host.address, "sudo systemctl stop slipway-litellm")
    try:
        assert answers(lab, workspace)
    finally:
        ssh(bare_host.address, "sudo systemctl start slipway-litellm")


def test_only_the_front_listens_outside(lab: Stack, bare_host: HostSpec) -> None:
    sockets = ssh(bare_host.address, "sudo ss -Hltn").splitlines()
    outside = {
        line.split()[3].rsplit(":", 1)[1] for line in sockets if not line.split()[3].startswith(("127.", "[::1]"))
    }
    assert outside == {"22", "443"}


@contextmanager
def engine(host: HostSpec, unit: str) -> Iterator[httpx.Client]:
    """A client of the engine itself, which listens on its host's loopback: past the front and the gateway."""
    command = ssh(host.address, f"systemctl show -p ExecStart --value slipway-{unit}")
    (port,) = set(re.findall(r"--port=(\d+)", command))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = free.getsockname()[1]
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    options += ["-o", "ExitOnForwardFailure=yes", "-N", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"]
    tunnel = subprocess.Popen(["ssh", "-i", str(KEY_FILE), *options, f"slipway@{host.address}"])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{here}") as api:

            def answers_health() -> bool:
                try:
                    return api.get("/health").status_code == 200
                except httpx.HTTPError:
                    return False

            wait_for(answers_health, "the tunnel to the engine", seconds=30)
            yield api
    finally:
        tunnel.terminate()
        tunnel.wait()


@pytest.mark.rare
def test_the_engine_survives_what_its_api_documents(lab: Stack, bare_host: HostSpec) -> None:
    before = main_pids(bare_host)["tiny-llama"]
    with engine(bare_host, "tiny-llama") as api:
        cases = NAMED["chat"] | dict(generated(api.get("/openapi.json").json(), "chat"))
        assert len(cases) > 1000
        # By its own metrics: asking systemd each time would take a quarter of an hour.
        found = sweep(api, "tiny-llama", lambda: started(api), cases, PLAIN["chat"])
        # Slots and queue: none of all those requests keeps a place.
        body = {"model": "tiny-llama", "prompt": "x", "max_tokens": 1, "n": 80}
        assert api.post("/v1/completions", json=body, timeout=60).status_code == 200
    assert main_pids(bare_host)["tiny-llama"] == before
    assert found == []


def test_a_full_engine_says_so_and_callers_who_leave_end_their_answers(lab: Stack, bare_host: HostSpec) -> None:
    with engine(bare_host, "tiny-llama") as api:
        full, seconds = fill_and_leave(api, "tiny-llama", slots=16, queue=64, tokens=2000)
        print(f"the last answer ended {seconds:.1f} s after its caller had left")
        assert (full.status_code, full.json()["error"]["type"]) == (503, "Service Unavailable")
        assert (
            api.post("/v1/completions", json={"model": "tiny-llama", "prompt": "x", "max_tokens": 1}).status_code == 200
        )


def test_the_engine_fetches_nothing_that_a_request_names(lab: Stack, bare_host: HostSpec) -> None:
    """By vLLM's own connector, with what the unit tells it: a tiny model that sees is not to be had."""
    command = ssh(bare_host.address, "systemctl show -p ExecStart --value slipway-tiny-llama")
    python = re.search(r"path=(\S+/bin/python)", command)
    allowed = re.search(r"--allowed-media-domains ([^;]+?) *;", command)
    assert python is not None
    assert allowed is not None
    program = (lab.project / "tests/e2e/programs/media.py").read_text()
    said = ssh(
        bare_host.address,
        f"VLLM_MEDIA_URL_ALLOW_REDIRECTS=0 {python[1]} - {allowed[1]} <<'EOF' 2>/dev/null\n{program}\nEOF",
    )
    result = json.loads(said.splitlines()[-1])
    assert result["asked"] == []
    assert result["ended"].pop("data") == "loaded"
    assert "loaded" not in result["ended"].values()


def test_services_run_sandboxed_as_their_own_users(lab: Stack, bare_host: HostSpec) -> None:
    for unit in UNITS:
        shown = ssh(
            bare_host.address,
            f"systemctl show slipway-{unit} -p User,NoNewPrivileges,ProtectSystem,PrivateTmp,LimitNOFILE,ProtectHome",
        )
        facts = dict(line.split("=", 1) for line in shown.splitlines())
        assert facts["User"] == f"slipway-{unit}"
        assert facts["NoNewPrivileges"] == "yes"
        assert facts["ProtectSystem"] == "strict"
        assert facts["PrivateTmp"] == "yes"
        assert facts["ProtectHome"] == "yes"
        assert ssh(bare_host.address, f"getent passwd slipway-{unit}").strip().endswith(("nologin", "false"))


def test_reboot(lab: Stack, bare_host: HostSpec, workspace: Workspace) -> None:
    boot = ssh(bare_host.address, "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic")
    pid = ssh(bare_host.address, "systemctl show -p MainPID --value slipway-tiny-llama").strip()
    ssh(bare_host.address, "sudo systemctl reboot", check=False)
    wait_for(lambda: not answers(lab, workspace), "the endpoint to go down", seconds=60)
    took = wait_for(lambda: answers(lab, workspace), "the endpoint to answer after a reboot", seconds=300)
    print(f"endpoint answers {took:.0f} s after the reboot")
    after = ssh(bare_host.address, "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic")
    assert after != boot
    assert pid


def test_killed_engine_comes_back(lab: Stack, bare_host: HostSpec, workspace: Workspace) -> None:
    before = ssh(bare_host.address, "systemctl show -p MainPID --value slipway-tiny-llama").strip()
    ssh(bare_host.address, "sudo systemctl kill --kill-whom=all --signal=KILL slipway-tiny-llama")
    took = wait_for(lambda: answers(lab, workspace), "the engine to answer again", seconds=300)
    print(f"engine answers {took:.0f} s after kill -9")
    assert ssh(bare_host.address, "systemctl show -p MainPID --value slipway-tiny-llama").strip() != before


def answers(stack: Stack, workspace: Workspace) -> bool:
    """Whether the endpoint completes a request."""
    payload = {"model": "tiny-llama", "prompt": "x", "max_tokens": 1}
    status, _, report = curl(
        "--cacert",
        str(stack.log.with_suffix(".ca.pem")),
        "--max-time",
        "10",
        "-H",
        f"Authorization: Bearer {workspace.secrets['SLIPWAY_KEY_DEMO']}",
        "--json",
        json.dumps(payload),
        f"https://{stack.read()['pools']['lab']['hosts']['e2e-1']['address']}/v1/completions",
    )
    return status == 0 and report["response_code"] == 200


def test_max_model_len_restarts_the_engine_only(lab: Stack, bare_host: HostSpec) -> None:
    pids = main_pids(bare_host)
    lab.write(changed(lab.read(), "models.tiny-llama.max_model_len", 1024))
    runs = lab.runs_of(lab.up)
    # Gateway and front tell clients of it, and take that up while they run.
    assert sorted(instance for _, instance in runs) == ["acceptance", "litellm", "nginx", "tiny-llama"]
    assert lab.outputs()["clients"]["demo"]["models"][0]["context_window"] == 1024
    assert changed_units(pids, main_pids(bare_host)) == {"tiny-llama"}


def test_another_team_and_another_path_restart_nothing(lab: Stack, bare_host: HostSpec, workspace: Workspace) -> None:
    """From here on every request passes LiteLLM: those of the tests below too."""
    import secrets

    second = secrets.token_hex(32)
    lab.environment["SLIPWAY_KEY_SECOND"] = second
    lab.write(
        with_changes(
            lab.read(),
            ("gateway.teams.second", {"key": {"env": "SLIPWAY_KEY_SECOND"}}),
            ("gateway.fast_path", False),
        )
    )
    pids = main_pids(bare_host)
    runs = lab.runs_of(lab.up)
    assert sorted(instance for _, instance in runs) == ["acceptance", "litellm", "nginx"]
    assert changed_units(pids, main_pids(bare_host)) == set()
    with client(lab, write_ca(lab), second) as api:
        assert api.models.list().data[0].id == "tiny-llama"
        answer = api.completions.create(model="tiny-llama", prompt="x", max_tokens=4)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    records = ssh(bare_host.address, "sudo sh -c 'cat /var/lib/slipway/nginx/usage/*.jsonl'").splitlines()
    last = [json.loads(line) for line in records if '"second"' in line][-1]
    assert (last["backend"], last["out"]) == (f"litellm@{bare_host.name}", 4)


def main_pids(host: HostSpec) -> dict[str, str]:
    """The process of each unit."""
    return {unit: ssh(host.address, f"systemctl show -p MainPID --value slipway-{unit}").strip() for unit in UNITS}


def changed_units(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The units that have another process."""
    return {unit for unit in before if before[unit] != after[unit]}


def test_copied_client_example_works(lab: Stack, workspace: Workspace) -> None:
    from cli.chat import Client, example

    entry = lab.outputs()["clients"]["demo"]
    asked = Client(
        team="demo",
        base_url=entry["base_url"],
        key_variable=entry["key_variable"],
        model=entry["models"][0]["id"],
        ca_file=str(write_ca(lab)),
    )
    done = subprocess.run(
        [sys.executable, "-c", example(asked)],
        env={**lab.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) >= 30


def test_tutorial(lab: Stack, bare_host: HostSpec, root: Path) -> None:
    """Every command of the tutorial's first part, in one shell, on this test's host; `make up` is the
    fixture's, and `make down` has a test of its own below."""
    lines = [line for line in console_lines(root / "docs/tutorial.md") if line not in ("make up", "make down")]
    assert len(lines) >= 8
    script = "\n".join(lines).replace("10.213.77.11", bare_host.address)
    # The reader's shell has met the host before; a test's has not.
    script = script.replace("ssh -i", "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i")
    done = lab.shell(f'export PATH="$PWD/.venv/bin:$PATH"\n{script}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "slipway-tiny-llama.service" in done.stdout
    assert f"{bare_host.name}" in done.stdout


def test_destroy_leaves_nothing(lab: Stack, bare_host: HostSpec, bare_listing: set[str]) -> None:
    lab.pulumi("destroy", "--yes", "--skip-preview")
    left = set(ssh(bare_host.address, LISTING).splitlines()) - bare_listing
    assert left == set()
    assert "slipway-" not in ssh(bare_host.address, "cat /etc/passwd /etc/group")
    assert ssh(bare_host.address, "systemctl list-units --all --no-legend 'slipway*'").strip() == ""


@pytest.mark.rare
def test_machines_whose_addresses_come_with_the_up(lab: Stack, bare_host: HostSpec, bare_listing: set[str]) -> None:
    """As in a cloud: a preview says unknown where an address belongs, and the `up` goes through."""
    program, settings = lab.project / "__main__.py", lab.read()
    plain = program.read_text()
    (lab.project.parent / "made").mkdir()
    program.write_text((lab.project / "tests/e2e/programs/made_machines.py").read_text())
    made = {"will_have": {bare_host.name: bare_host.address}, "user": "slipway", "key_file": str(KEY_FILE)}
    lab.write(changed(changed(settings, "pools.lab.hosts", REMOVED), "pools.lab.made", made))
    try:
        preview = lab.pulumi("preview", "--diff")
        assert bare_host.address not in preview.split("made-")[0]
        assert re.search(r"address *: *\[unknown\]", preview), preview
        assert "\ue001" not in preview
        lab.up()
        outputs = lab.outputs()
        assert outputs["endpoint"] == f"https://{bare_host.address}/v1"
        assert outputs["acceptance"]["tiny-llama"]["ttft_ms"] > 0
        assert "\ue001" not in lab.exported_state()
        assert lab.runs_of(lab.up) == []
    finally:
        program.write_text(plain)
        lab.write(settings)
    # The same stack, with addresses that are known from the start, is what is there already; preflight names another setting.
    assert [instance for _, instance in lab.runs_of(lab.up, mode="apply")] == ["preflight"]
    lab.pulumi("destroy", "--yes", "--skip-preview")
    assert set(ssh(bare_host.address, LISTING).splitlines()) - bare_listing == set()


@pytest.mark.rare
def test_killed_up_converges(lab: Stack, bare_host: HostSpec, workspace: Workspace) -> None:
    start = len(lab.runs())
    lab.up_killed_when(lambda: any(run["instance"] == "base" for run in lab.runs()[start:]))
    # Nothing may go on working on the host behind the next run's back.
    wait_for(lambda: not list(processes(f"{bare_host.address}")), "the killed run's processes to end", seconds=10)
    # The dead run's lock is still there: plain `pulumi up` would refuse, `make up` clears it.
    assert "locked" in lab.refused()
    done = lab.shell("make up")
    assert done.returncode == 0, done.stdout + done.stderr
    write_ca(lab)  # the host has a new one since the destroy
    assert answers(lab, workspace)
    lab.pulumi("preview", "--refresh", "--expect-no-changes")


def test_down_leaves_nothing(lab: Stack, bare_host: HostSpec) -> None:
    done = lab.shell("slipway down lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bare_host.name not in {host.name for host in Lab().list()}
    assert not list(processes(f"-M {bare_host.name}"))
    assert bare_host.name not in Path("/proc/mounts").read_text()
    assert lab.name not in {stack["name"] for stack in json.loads(lab.shell("pulumi stack ls --json").stdout)}
    # Pulumi's salt fits the state that is gone, and no other.
    assert "encryptionsalt" not in lab.file.read_text()
    assert lab.shell("slipway down lab").returncode == 0

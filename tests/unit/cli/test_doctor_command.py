"""`slipway doctor` as it is called, against a simulated host: ssh alone is a double, which runs what it is given there."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli import doctor
from cli.main import app
from slipway.settings.secrets import places, values_at
from tests.fixtures.gpu_simulator.simulator import GpuHost
from tests.unit.doctor.hosts import CARD, card
from tests.unit.settings.documents import good, with_changes

_SSH = """\
#!/bin/bash
# The command runs here; what it carries looks below another folder than /.
export {environment}
command="${{@: -1}}"
looks='import functools, pathlib; examine = functools.partial(examine, root=pathlib.Path("{root}"))'
# The host survey would look at this very machine.
well='survey = lambda order: {{"problems": [], "host": {{}}}}'
sed -e "s|^    from gpu_host.examine import examine$|&; $looks|" -e "s|^    from host_survey.survey import survey$|&; $well|" |
    bash -c "${{command#sudo -n }}"
"""
_HUB = {"hub": "o/n", "revision": "a" * 40, "endpoint": "https://hub.test/"}


class Project:
    """A folder with stack `s`, whose only host is simulated and promises a card."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.folder = folder
        self.host = card(folder / "host")
        tools = folder / "tools"
        tools.mkdir()
        environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.host.environment.items())
        (tools / "ssh").write_text(_SSH.format(environment=environment, root=self.host.root))
        (tools / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", str(tools), prepend=":")
        (folder / "stacks").mkdir()
        (folder / "playbooks").symlink_to(root / "playbooks")
        monkeypatch.setitem(doctor.examine_stack.__kwdefaults__, "root", folder)
        self.write()

    def write(self, *changes: tuple[str, Any]) -> dict[str, Any]:
        """Writes the stack's file; its settings."""
        document = with_changes(good(), ("pools.main.gpu", CARD), ("pools.main.gpus", 1), *changes)
        (self.folder / "stacks/Pulumi.s.yaml").write_text(yaml.safe_dump({"config": {"slipway:platform": document}}))
        return document

    def told(self, *options: str) -> tuple[int, str]:
        """The command's exit status, and all that it says."""
        done = CliRunner().invoke(app, ["doctor", "s", *options])
        return done.exit_code, done.output


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Project:
    return Project(tmp_path, monkeypatch, root)


def test_the_status_is_0_where_the_host_is_well(project: Project) -> None:
    status, told = project.told()
    assert (status, told.splitlines()[0]) == (
        0,
        "gpu-1: 1 x NVIDIA GeForce RTX 4090; driver 580.173.02, CUDA up to 13.0; ECC on",
    )
    assert "FAILED" not in told
    # The kernel of the proof has run.
    assert "passed  cuda.kernel" in told

    status, told = project.told("--json")
    assert (status, json.loads(told)["well"]) == (0, True)


@pytest.mark.parametrize(
    ("make", "check", "words"),
    [
        (lambda host: host.take("/dev/nvidia-uvm"), "driver.device-nodes", "/dev/nvidia-uvm is not there"),
        (lambda host: host.say_of(0, wrong_numbers=5), "cuda.kernel", "computed 5 of 262,144 numbers wrong"),
        (lambda host: host.xid(0, 79), "gpu.xid", "Xid 79 of the GPU at 0000:17:00.0"),
    ],
)
def test_the_status_is_1_where_a_check_fails(
    project: Project, make: Callable[[GpuHost], None], check: str, words: str
) -> None:
    make(project.host)

    status, told = project.told()

    assert status == 1
    (line,) = [line for line in told.splitlines() if line.lstrip().startswith("FAILED")]
    assert check in line
    assert words in line
    status, told = project.told("--json")
    assert (status, json.loads(told)["well"]) == (1, False)


def test_a_warning_is_told_and_the_status_stays_0(project: Project) -> None:
    project.host.say_of(0, slowed=0x40)
    status, told = project.told()
    assert status == 0
    assert "warning gpu.slowed" in told


def test_the_status_is_1_while_the_watch_has_an_engine_out(project: Project) -> None:
    out = {"m": {"since": "2026-11-30T10:00:00Z", "reason": "gpu.mig: MIG is on for GPU 0", "passes": 1}}
    project.host.put("/var/lib/slipway/gpu-watch/state.json", json.dumps({"out": out}))
    status, told = project.told()
    assert status == 1
    assert "out of service: m since 2026-11-30T10:00:00Z: gpu.mig: MIG is on for GPU 0" in told


def variable(path: str) -> str:
    """The environment variable that has the secret at `path`."""
    return path.upper().replace(".", "_")


def _well(_: GpuHost) -> None:
    """Nothing is at fault."""


def _ill(host: GpuHost) -> None:
    """Of each weight something, with as much said of it as can be."""
    host.take("/dev/nvidia-uvm")
    host.say(cuda_error=802)
    host.say_of(0, slowed=0x40, rows_pending=1)
    host.resolve()


def _gone(host: GpuHost) -> None:
    """Nobody answers, and ssh says why."""
    tool = host.root.parent / "tools/ssh"
    tool.write_text('#!/bin/bash\necho "Permission denied (publickey)." >&2\nexit 255\n')


@pytest.mark.parametrize("make", [_well, _ill, _gone])
@pytest.mark.parametrize("kept", ["in the stack's file", "in the environment"])
def test_no_secret_is_in_a_report(
    project: Project, monkeypatch: pytest.MonkeyPatch, make: Callable[[GpuHost], None], kept: str
) -> None:
    """Of all places that the settings have for one, of the files that they name, and of the caller's environment."""
    files = {name: project.folder / name for name in ("login", "tls", "certificate")}
    for name, file in files.items():
        file.write_text(f"-----BEGIN PRIVATE KEY-----\ncanary-{name}-1f0c9d7e5b3a2468\n-----END PRIVATE KEY-----\n")
    secrets = {
        "models.m.source.token": "hf_canary-token-5d0f1b2c3e4a6978",
        "providers.openai.key": "sk-canary-openai-0a1b2c3d4e5f6789",
        "providers.bedrock.key": "canary-bedrock-98f7e6d5c4b3a210",
        "gateway.teams.a.key": "canary-team-a1b2c3d4e5f60718293a4b5c",
        "gateway.engine_key": "canary-engine-0f9e8d7c6b5a49382716",
        "front.floating.secret": "canary-floating-13579bdf02468ace",
    }
    document = project.write(
        ("pools.main.hosts.gpu-2", {"address": "10.0.0.12", "user": "ubuntu"}),
        ("pools.main.hosts.gpu-1.key_file", str(files["login"])),
        ("front.key_file", str(files["tls"])),
        ("front.certificate_file", str(files["certificate"])),
        ("front.floating.address", "10.0.0.9/24"),
        ("models.m", {"catalog": "Qwen/Qwen2.5-1.5B-Instruct", "max_model_len": 2048, "source": _HUB}),
        ("providers.openai", {}),
        ("providers.bedrock", {"region": "eu-central-1", "access_key_id": "AKIAIOSFODNN7EXAMPLE"}),
        *(
            (path, {"env": variable(path)} if kept == "in the environment" else value)
            for path, value in secrets.items()
        ),
    )
    # A new place for a secret gets a canary here.
    assert {place for place in places() if not any(values_at(document, place))} == set()
    for path, value in secrets.items():
        monkeypatch.setenv(variable(path), value)
    for name in ("PULUMI_CONFIG_PASSPHRASE", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSHPASS"):
        monkeypatch.setenv(name, f"canary-{name}")
    make(project.host)

    for options in ([], ["--json"]):
        status, told = project.told(*options)
        assert status == (0 if make is _well else 1)
        assert "gpu-1" in told
        assert "canary" not in told

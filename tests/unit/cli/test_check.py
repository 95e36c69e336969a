"""`slipway check`: what it prints, its JSON and its status; all stacks of the checkout pass it."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.check import Form, check_stacks
from cli.stack_report import report
from slipway.catalog import load
from slipway.engines.vllm.launch import RELEASE
from slipway.paths import ROOT
from slipway.settings.load import stack_names
from tests.unit.deployment.stacks import LLAMA_8B, stack
from tests.unit.settings.documents import GOOD_KEY, OTHER_KEY, THIRD_KEY, changed, many
from tools.lab.model import make_tiny_llama

GPU_STACKS = {
    "poc": (1, "rtx-4090", 1),
    "team": (4, "a10g", 1),
    "prod": (8, "h100-sxm-80gb", 1),
    "cluster": (8, "h100-sxm-80gb", 2),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the lab's model in its place."""
    monkeypatch.setenv("HOME", str(tmp_path))
    make_tiny_llama(tmp_path / ".local/state/slipway/models/tiny-llama")
    return tmp_path


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_every_stack_passes(home: Path, root: Path, name: str) -> None:
    """This is how the stacks of the checkout are kept fit to be taken up."""
    looked_at = report(name, root)
    assert [finding.line for finding in looked_at.findings if finding.severity != "note"] == []
    assert looked_at.problems == ()
    assert looked_at.status == 0
    assert looked_at.deployment is not None
    for served in looked_at.deployment.served.values():
        # What an engine without a memory model takes is a note, and no error.
        assert served.measured.figures is None or served.measured.figures.fits


@pytest.mark.parametrize("name", GPU_STACKS)
def test_stacks_name_their_tier(home: Path, root: Path, name: str) -> None:
    deployment = report(name, root).deployment
    assert deployment is not None
    (pool,) = deployment.settings.pools.values()
    assert pool.tier == name
    first, *_ = deployment.machines.values()
    assert first.gpu is not None
    assert (first.gpus, first.gpu.id, len(deployment.machines)) == GPU_STACKS[name]
    assert len(deployment.machines) == load().tiers[name].hosts
    # Every GPU has its work.
    assert sum(len(instance.gpus) for instance in deployment.instances) == first.gpus * len(deployment.machines)


def test_the_labs_plan_is_exact(home: Path, root: Path) -> None:
    """1 GiB; a token takes 2 layers x 2 heads x 64 x 2 (key and value) x 2 bytes."""
    for name in ("lab", "lab-pair"):
        deployment = report(name, root).deployment
        assert deployment is not None
        figures = deployment.served["tiny-llama"].measured.figures
        assert figures is not None
        assert figures.kv_cache_tokens == (1 << 30) // (2 * 2 * 64 * 2 * 2)


def checkout(folder: Path, **documents: Any) -> Path:
    """A checkout with these stacks."""
    (folder / "stacks").mkdir()
    for name, document in documents.items():
        if isinstance(document, dict) and document["gateway"]["teams"].get("a", {}).get("key") == GOOD_KEY:
            # As a file has it: the key itself is not in it.
            document = without_keys(document)  # noqa: PLW2901
        text = (
            document
            if isinstance(document, str)
            else yaml.safe_dump({"config": {"slipway:platform": document}}, sort_keys=False)
        )
        (folder / f"stacks/Pulumi.{name}.yaml").write_text(text)
    return folder


def without_keys(document: dict[str, Any]) -> dict[str, Any]:
    """As a file has it: keys come from the environment."""
    for team in document["gateway"]["teams"]:
        document = changed(document, ["gateway", "teams", team, "key"], {"env": f"SLIPWAY_KEY_{team.upper()}"})
    return document


def everything() -> dict[str, Any]:
    """A stack with all there is, and room for it."""
    return changed(many(), ["models", "llama-3.3-70b", "replicas"], 2)


FINE = stack(("pools.main.gpu", "l4"))
TOO_LARGE = stack(("pools.main.gpu", "l4"), model="meta-llama/Llama-3.3-70B-Instruct")
REFUSED = changed(FINE, "pools.main.tier", "nowhere")
UNKNOWN = stack(("pools.main.gpu", "l4"), model=None)

STATUS: dict[str, tuple[dict[str, Any], list[str], int]] = {
    "fine": ({"a": FINE}, [], 0),
    "a warning is no error": ({"a": UNKNOWN}, [], 0),
    "an error": ({"a": FINE, "b": TOO_LARGE}, [], 1),
    "only what was asked for": ({"a": FINE, "b": TOO_LARGE}, ["a"], 0),
    "refused weighs more": ({"a": REFUSED, "b": TOO_LARGE}, [], 2),
    "no such stack": ({"a": FINE}, ["nope"], 2),
    "no YAML": ({"a": "config: ["}, [], 2),
    "a broken catalogue": ({"a": changed(FINE, "catalog", "gone.yaml")}, [], 2),
}


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("case", STATUS)
def test_status(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, form: Form) -> None:
    documents, names, status = STATUS[case]
    root = checkout(tmp_path, **documents)
    before = sorted(root.rglob("*"))
    if status:
        with pytest.raises(SystemExit) as ended:
            check_stacks(names, form=form, root=root)
        assert ended.value.code == status
    else:
        check_stacks(names, form=form, root=root)
    output = capsys.readouterr().out
    if form is Form.JSON:
        reports = json.loads(output)["stacks"]
        assert [entry["stack"] for entry in reports] == (names or sorted(documents))
        assert max(entry["status"] for entry in reports) == status
    assert sorted(root.rglob("*")) == before


def test_what_a_person_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = checkout(tmp_path, a=FINE, b=REFUSED, c=UNKNOWN, d=TOO_LARGE)
    with pytest.raises(SystemExit):
        check_stacks([], root=root)
    lines = capsys.readouterr().out.splitlines()
    assert "a: fits" in lines
    assert any(
        line.split()[:4] == ["m", "chat", "vllm", RELEASE] and "gpu-1, GPU 0 of 1 x NVIDIA L4" in line for line in lines
    )
    assert "b: settings refused" in lines
    assert any(
        line.startswith("  error     slipway:platform.pools.main.tier: 'nowhere' is not in the") for line in lines
    )
    assert "c: nothing wrong was found; whether the model fits was not checked" in lines
    assert any(line.startswith("  warning   slipway:platform.models.m.catalog: is not given; ") for line in lines)
    assert "d: would fail" in lines
    assert any(line.startswith("  error     slipway:platform.models.m: no memory is left") for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_the_table_has_every_model_and_replica(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = checkout(tmp_path, a=without_keys(everything()))
    with contextlib.suppress(SystemExit):
        check_stacks([], root=root)
    head, *lines = capsys.readouterr().out.splitlines()[1:]
    assert head.split()[:3] == ["model", "task", "engine"]
    deployment = report("a", root).deployment
    assert deployment is not None
    table = lines[: next(number for number, line in enumerate(lines) if line.startswith("  GiB of one GPU"))]
    named = [line.split()[0] for line in table if line.startswith("  ") and not line.startswith("   ")]
    assert named == list(deployment.routes)
    for instance in deployment.instances:
        assert any(f"{instance.machine.name}, " in line and f" {instance.port}" in line for line in table), (
            instance.name
        )
    assert len(table) == len(deployment.instances) + len(deployment.routes) - len(deployment.served)
    assert any("provider openai: gpt-5" in line for line in table)
    assert any("shared out: llama-3.3-70b 9, desktop 1" in line for line in table)


def test_json_has_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = stack(("pools.main.gpu", "h100-sxm"), ("pools.main.gpus", 2), model=LLAMA_8B)
    check_stacks([], form=Form.JSON, root=checkout(tmp_path, a=document))
    (entry,) = json.loads(capsys.readouterr().out)["stacks"]
    assert entry.keys() == {"stack", "status", "problems", "findings", "policies", "deployment"}
    assert {tuple(finding) for finding in entry["findings"]} == {("id", "severity", "where", "message")}
    declared = entry["deployment"]
    (model,) = declared["models"]
    assert (model["name"], model["kind"], model["id"], model["gpus"]) == ("m", "served", LLAMA_8B, 2)
    assert model["engine"]["tensorParallel"] == 2
    assert model["sizing"]["fits"]
    assert model["sizing"]["kvCacheTokens"] > 0
    assert [(each["machine"], each["gpus"]) for each in model["instances"]] == [("gpu-1", [0, 1])]
    assert declared["pools"][0]["gpu"] == "h100-sxm-80gb"
    # No token that stands for an address is left.
    assert declared["machines"][0]["address"] == "10.0.0.11"
    assert declared["front"]["serverName"] == "10.0.0.11"


def test_what_is_declared_holds_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = checkout(tmp_path, a=everything())
    with contextlib.suppress(SystemExit):
        check_stacks([], form=Form.JSON, root=root)
    (entry,) = json.loads(capsys.readouterr().out)["stacks"]
    text = json.dumps(entry["deployment"])
    for secret in ("sk-openai-canary", "hf-token", GOOD_KEY, OTHER_KEY, THIRD_KEY, "placeholder"):
        assert secret not in text


def test_copies_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = stack(("pools.main.gpu", "l4"), ("pools.main.gpus", 8), ("models.m.engine.data_parallel", 4))
    root = checkout(tmp_path, a=document)
    check_stacks([], root=root)
    assert f"vllm {RELEASE}, tensor parallel 2, data parallel 4" in capsys.readouterr().out


def test_json_says_why_it_was_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check_stacks([], form=Form.JSON, root=checkout(tmp_path, a=REFUSED))
    (entry,) = json.loads(capsys.readouterr().out)["stacks"]
    (problem,) = entry["problems"]
    assert problem.startswith("slipway:platform.pools.main.tier: 'nowhere' is not in the catalogue")
    assert (entry["status"], entry["findings"]) == (2, [])


def test_secrets_need_not_be_set_and_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = changed(FINE, "gateway.engine_key", {"env": "NEVER_SET_ANYWHERE"})
    document = changed(document, "gateway.teams.a.key", "canary-0123456789abcdef0123456789abcdef")
    with pytest.raises(SystemExit):
        check_stacks([], form=Form.JSON, root=checkout(tmp_path, a=document))
    output = capsys.readouterr().out
    # It is found, and not shown.
    assert "gateway.teams.a.key" in output
    assert "canary" not in output


def test_without_stacks_there_is_nothing_to_say(tmp_path: Path) -> None:
    from cli.errors import UserError

    with pytest.raises(UserError, match="there is no stack in "):
        check_stacks([], root=checkout(tmp_path))


def test_the_command(root: Path) -> None:
    """As it is typed."""
    command = [sys.executable, "-m", "cli.main", "check"]
    done = subprocess.run([*command, "poc", "team", "--json"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [entry["stack"] for entry in json.loads(done.stdout)["stacks"]] == ["poc", "team"]
    done = subprocess.run([*command, "poc", "nope"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no such stack; the stacks here are: " in done.stdout
    assert "Traceback" not in done.stderr


def test_settings_alone_read_no_catalogue() -> None:
    """Commands that only need the hosts must not pay for what checks compute."""
    script = (
        "import sys, slipway.settings.load\n"
        "print([name for name in sys.modules if name.startswith(('slipway.catalog', 'slipway.sizing', 'slipway.checks'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

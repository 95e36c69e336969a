"""`slipway check`: what it prints, its JSON and its status; all stacks of the checkout pass it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.catalog import load
from slipway.cli.check import Form, check_stacks
from slipway.cli.stack_report import report
from slipway.paths import ROOT
from slipway.settings.load import stack_names
from tests.unit.checks.stacks import LLAMA_8B, QWEN_1B, stack
from tests.unit.settings.documents import changed
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
    assert looked_at.subject is not None
    assert looked_at.subject.sizing is not None
    assert looked_at.subject.sizing.fits


@pytest.mark.parametrize("name", GPU_STACKS)
def test_stacks_name_their_tier(home: Path, root: Path, name: str) -> None:
    subject = report(name, root).subject
    assert subject is not None
    assert subject.settings.hardware.tier == name
    assert subject.gpu is not None
    assert (subject.settings.hardware.gpus, subject.gpu.id, len(subject.settings.engine_hosts)) == GPU_STACKS[name]
    assert len(subject.settings.engine_hosts) == load().tiers[name].hosts


def test_the_labs_plan_is_exact(home: Path, root: Path) -> None:
    """1 GiB; a token takes 2 layers x 2 heads x 64 x 2 (key and value) x 2 bytes."""
    for name in ("lab", "lab-pair"):
        subject = report(name, root).subject
        assert subject is not None
        assert subject.sizing is not None
        assert subject.sizing.kv_cache_tokens == (1 << 30) // (2 * 2 * 64 * 2 * 2)


def checkout(folder: Path, **documents: Any) -> Path:
    """A checkout with these stacks."""
    (folder / "stacks").mkdir()
    for name, document in documents.items():
        if isinstance(document, dict):
            # As a file has it: the key itself is not in it.
            document = changed(document, "gateway.keys.0.key", {"env": "SLIPWAY_KEY_A"})  # noqa: PLW2901
        text = document if isinstance(document, str) else yaml.safe_dump({"config": {"slipway:platform": document}})
        (folder / f"stacks/Pulumi.{name}.yaml").write_text(text)
    return folder


FINE = stack(("hardware.gpu", "l4"))
TOO_LARGE = stack(("hardware.gpu", "l4"), model="meta-llama/Llama-3.3-70B-Instruct")
REFUSED = changed(FINE, "hardware.tier", "nowhere")
UNKNOWN = stack(("hardware.gpu", "l4"), model=None)

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
    assert f"  {QWEN_1B} on 1 host, 1 x NVIDIA L4, tensor parallel 1" in lines
    assert "b: settings refused" in lines
    assert any(line.startswith("  error     slipway:platform.hardware.tier: 'nowhere' is not in the") for line in lines)
    assert "c: nothing wrong was found; whether the model fits was not checked" in lines
    assert any(line.startswith("  warning   slipway:platform.model.catalog: is not given; ") for line in lines)
    assert "d: would fail" in lines
    assert any(line.startswith("  error     slipway:platform.model: no memory is left") for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_json_has_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = stack(("hardware", {"gpu": "h100-sxm", "gpus": 2}), model=LLAMA_8B)
    check_stacks([], form=Form.JSON, root=checkout(tmp_path, a=document))
    (entry,) = json.loads(capsys.readouterr().out)["stacks"]
    assert entry.keys() == {"stack", "status", "problems", "findings", "policies", "deployment", "sizing"}
    assert entry["deployment"] == {
        "build": "cuda",
        "hosts": 1,
        "gpus": 2,
        "gpu": "h100-sxm-80gb",
        "model": LLAMA_8B,
        "tensor_parallel": 2,
        "pipeline_parallel": 1,
        "data_parallel": 1,
    }
    assert entry["sizing"].keys() == {"weights_gib", "kv_cache_gib", "kv_cache_tokens", "max_concurrency"}
    assert entry["sizing"]["kv_cache_tokens"] > 0
    assert {tuple(finding) for finding in entry["findings"]} == {("id", "severity", "where", "message")}


def test_copies_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = stack(("hardware", {"gpu": "l4", "gpus": 8}), ("engine.data_parallel", 4))
    root = checkout(tmp_path, a=document)
    check_stacks([], root=root)
    lines = capsys.readouterr().out.splitlines()
    assert f"  4 copies of {QWEN_1B} on 1 host, 8 x NVIDIA L4, tensor parallel 2, data parallel 4" in lines
    assert any(line.startswith("  KV cache of each copy: ") for line in lines)
    check_stacks([], form=Form.JSON, root=root)
    (entry,) = json.loads(capsys.readouterr().out)["stacks"]
    assert entry["deployment"]["data_parallel"] == 4


def test_json_says_why_it_was_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check_stacks([], form=Form.JSON, root=checkout(tmp_path, a=REFUSED))
    (entry,) = json.loads(capsys.readouterr().out)["stacks"]
    (problem,) = entry["problems"]
    assert problem.startswith("slipway:platform.hardware.tier: 'nowhere' is not in the catalogue")
    assert (entry["status"], entry["findings"]) == (2, [])


def test_secrets_need_not_be_set_and_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = changed(FINE, "gateway.keys.0.key", "canary-0123456789abcdef0123456789abcdef")
    document["engine"] = {"key": {"env": "NEVER_SET_ANYWHERE"}}
    check_stacks([], form=Form.JSON, root=checkout(tmp_path, a=document))
    assert "canary" not in capsys.readouterr().out


def test_without_stacks_there_is_nothing_to_say(tmp_path: Path) -> None:
    from slipway.cli.errors import UserError

    with pytest.raises(UserError, match="there is no stack in "):
        check_stacks([], root=checkout(tmp_path))


def test_the_command(root: Path) -> None:
    """As it is typed."""
    command = [sys.executable, "-m", "slipway.cli.main", "check"]
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

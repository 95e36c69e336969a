"""`slipway store`, with a double of ssh that runs the host's part on this very machine, in folders of the test's own."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli import store
from cli.main import app
from slipway.deployment.resolve import deployment_of
from tests.unit.roles.loading import PLAYBOOKS, load
from tests.unit.settings.documents import changed, pair

_SSH = """\
#!/bin/bash
# A double of ssh: the command runs here. Root is nobody else's to be, and each host's folders are below one of its own.
command="${@: -1}"
case "$*" in
  *10.0.0.12*) host=gpu-2;;
  *10.0.0.13*) echo "ssh: connect to host 10.0.0.13: No route to host" >&2; exit 255;;
  *) host=gpu-1;;
esac
sed "s#/var/lib/slipway#$HOSTS/$host#g" | bash -c "${command#sudo -n }"
"""
HUB = {"hub": "o/m", "revision": "0" * 40}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stack of two hosts and a store on the first."""
    document = changed(changed(pair(), "models.m.source", HUB), "store", {"host": "gpu-1"})
    (tmp_path / "stacks").mkdir()
    (tmp_path / "playbooks").symlink_to(PLAYBOOKS)
    (tmp_path / "stacks/Pulumi.s.yaml").write_text(yaml.safe_dump({"config": {"slipway:platform": document}}))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(_SSH)
    (tools / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("HOSTS", str(tmp_path / "hosts"))
    return tmp_path


def put(folder: Path, record: str = "r") -> None:
    """A model that is whole."""
    manifest = load("module_utils/model_store/manifest.py")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    files = {"config.json": {"size": 2, "sha256": manifest.sha256_of(folder / "config.json")}}
    (folder / manifest.MANIFEST).write_text(manifest.text_of(record, files))
    (folder / manifest.MARK).write_text(record)


def stored(project: Path) -> str:
    """The name of the model's folder in the store."""
    (served,) = deployment_of("s", project).served.values()
    return store.stored_name(served.files)


def asked(project: Path, capsys: pytest.CaptureFixture[str], **how: Any) -> tuple[bool, dict[str, Any]]:
    well = store.show_store("s", as_json=True, root=project, **how)
    return well, json.loads(capsys.readouterr().out)


def test_pruning_names_what_goes_and_removes_it_only_when_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = project / "hosts/gpu-1", project / "hosts/gpu-2"
    kept = [first / "store" / stored(project), first / "models/m", second / "models/m"]
    spare = [first / "store/m-0123456789ab", second / "models/earlier"]
    for folder in (*kept, *spare):
        put(folder)
    assert store.show_store("s", verb="prune", root=project)
    said = capsys.readouterr().out
    assert "gpu-2" in said
    assert "earlier" in said
    assert "would be freed: slipway store prune s --yes" in said
    assert all(folder.is_dir() for folder in (*kept, *spare))
    well, found = asked(project, capsys, verb="prune", remove=True)
    assert well
    removed = [
        model["name"]
        for host in found["hosts"].values()
        for place in host["places"]
        for model in place["models"]
        if model["removed"]
    ]
    assert removed == ["m-0123456789ab", "earlier"]
    assert all(folder.is_dir() for folder in kept)
    assert not any(folder.exists() for folder in spare)


def test_a_damaged_file_is_named_and_is_status_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(project / "hosts/gpu-1/models/m")
    put(project / "hosts/gpu-2/models/m")
    (project / "hosts/gpu-2/models/m/config.json").write_text("[]")
    assert asked(project, capsys, verb="look")[0]
    well, found = asked(project, capsys, verb="verify")
    assert not well
    (model,) = found["hosts"]["gpu-2"]["places"][0]["models"]
    assert (model["state"], model["files"]) == ("damaged", ["config.json"])
    assert not store.show_store("s", verb="verify", root=project)
    assert "slipway drift s --deep --mend" in capsys.readouterr().out


def whole(project: Path) -> list[Path]:
    """Every model that the stack names is where it names it."""
    first, second = project / "hosts/gpu-1", project / "hosts/gpu-2"
    folders = [first / "models/m", first / "store" / stored(project), second / "models/m"]
    for folder in folders:
        put(folder)
    return folders


def test_verification_is_well_where_all_is_whole(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole(project)
    assert asked(project, capsys, verb="verify")[0]


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    "state",
    [
        "missing",
        "missing: no folder above it",
        "partial",
        "damaged: mark",
        "damaged: half",
        "damaged: manifest",
        "not listed",
    ],
)
def test_verification_is_not_well_where_one_is_not_whole(
    project: Path, capsys: pytest.CaptureFixture[str], which: int, state: str
) -> None:
    folder = whole(project)[which]
    mark, listing = folder / ".slipway.json", folder / ".slipway-manifest.json"
    if state == "damaged: mark":
        mark.write_text("another")
    elif state == "damaged: half":
        mark.write_text("not whole\n")
        listing.unlink()
    elif state == "damaged: manifest":
        listing.write_text("{")
    elif state == "not listed":
        listing.unlink()
    elif state == "partial":
        folder.rename(folder.with_name(f".{folder.name}.incoming"))
    else:
        shutil.rmtree(folder if state == "missing" else folder.parent)
    assert asked(project, capsys, verb="look")[0] == (not state.startswith("damaged"))
    well, found = asked(project, capsys, verb="verify")
    assert not well
    states = [
        model["state"]
        for host in found["hosts"].values()
        for place in host["places"]
        for model in place["models"]
        if model["name"] == folder.name and place["path"] == str(folder.parent)
    ]
    assert states == [state.partition(":")[0]]
    assert not store.show_store("s", verb="verify", root=project)
    said = capsys.readouterr().out
    assert "without a store" in said if state == "not listed" else "slipway drift s --deep --mend" in said


def test_the_store_keeps_what_a_host_has_after_the_file_was_edited(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another commit, and no `up` yet: the version that runs is the one that the file names no more."""
    (served,) = deployment_of("s", project).served.values()
    record = served.files.record or ""
    store_of, running = project / "hosts/gpu-1/store", stored(project)
    for folder in (store_of / running, project / "hosts/gpu-2/models/m"):
        put(folder, record)
    put(store_of / "m-0123456789ab")
    file = project / "stacks/Pulumi.s.yaml"
    file.write_text(file.read_text().replace("0" * 40, "1" * 40))
    assert stored(project) != running
    assert store.show_store("s", verb="prune", root=project)
    assert "stays: gpu-2 has it" in capsys.readouterr().out
    assert asked(project, capsys, verb="prune", remove=True)[0]
    assert (store_of / running).is_dir()
    assert not (store_of / "m-0123456789ab").exists()


def test_the_store_is_not_pruned_while_a_host_does_not_answer(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = project / "hosts/gpu-1"
    for folder in (first / "store/m-0123456789ab", first / "models/earlier"):
        put(folder)
    file = project / "stacks/Pulumi.s.yaml"
    file.write_text(file.read_text().replace("10.0.0.12", "10.0.0.13"))
    assert not store.show_store("s", verb="prune", remove=True, root=project)
    assert "stays: gpu-2 did not answer, and may have it" in capsys.readouterr().out
    assert (first / "store/m-0123456789ab").is_dir()
    assert not (first / "models/earlier").exists()


def test_a_host_that_does_not_answer_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "stacks/Pulumi.s.yaml"
    file.write_text(file.read_text().replace("10.0.0.12", "10.0.0.13"))
    well, found = asked(project, capsys, verb="look")
    assert not well
    assert "No route to host" in found["hosts"]["gpu-2"]["error"]


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def show(stack: str, **how: Any) -> bool:
        seen.append((stack, how["verb"], how["remove"]))
        return len(seen) < 3

    monkeypatch.setattr(store, "show_store", show)
    codes = [
        CliRunner().invoke(app, ["store", *words]).exit_code
        for words in (["show", "lab"], ["prune", "lab"], ["prune", "lab", "--yes"])
    ]
    assert codes == [0, 0, 1]
    assert seen == [("lab", "look", False), ("lab", "prune", False), ("lab", "prune", True)]

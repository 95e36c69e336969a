"""Roles store and model, by Ansible on this very machine: folders that are refused, removed, or whole already."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.loading import PLAYBOOKS, load

MARK = ".slipway-store"
_WHERE = {
    "ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles"),
    "ANSIBLE_LIBRARY": str(PLAYBOOKS / "library"),
    "ANSIBLE_MODULE_UTILS": str(PLAYBOOKS / "module_utils"),
}


def played(tmp_path: Path, tasks: str, role_name: str = "store", **variables: Any) -> str:
    """The role's tasks of this name, and what Ansible says; it fails where they do."""
    play = tmp_path / "play.yml"
    role = {"name": "Do it", "ansible.builtin.include_role": {"name": role_name, "tasks_from": tasks}}
    play.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [role]}]))
    told = {"store_folder": str(tmp_path / "etc"), "ansible_python_interpreter": sys.executable, **variables}
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(told), str(play)],
        env={**os.environ, **_WHERE, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(" ".join(done.stdout.split()) + done.stderr)
    return done.stdout


def made(tmp_path: Path, path: Path) -> str:
    return played(tmp_path, "folder.yml", store_path=str(path))


@pytest.mark.parametrize("other", ["weights.safetensors", ".hidden", "folder/"])
def test_a_folder_with_other_things_is_refused(tmp_path: Path, other: str) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / other).mkdir() if other.endswith("/") else (folder / other).write_text("x")
    with pytest.raises(RuntimeError, match="holds other things, and a removal would take them with it: name an empty"):
        made(tmp_path, folder)
    assert not (folder / MARK).exists()


def test_an_empty_folder_is_taken_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (folder / "lost+found").mkdir(parents=True)
    made(tmp_path, folder)
    assert (folder / MARK).is_file()
    (folder / "tiny-1").mkdir()
    assert "changed=0" in made(tmp_path, folder)


def test_the_store_before_goes_where_the_path_is_another(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    made(tmp_path, old)
    (old / "tiny-1").mkdir()
    (old / "tiny-1/x").write_text("x")
    (old / ".tiny-2.incoming").mkdir()
    made(tmp_path, new)
    assert not old.exists()
    assert (new / MARK).is_file()
    assert (tmp_path / "etc/path").read_text() == f"{new}\n"


def test_a_folder_without_the_mark_stays(tmp_path: Path) -> None:
    old = tmp_path / "old"
    made(tmp_path, old)
    (old / MARK).unlink()
    (old / "x").write_text("x")
    played(tmp_path, "former.yml", store_keeps="")
    assert (old / "x").exists()


def test_a_store_on_a_mount_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        made(tmp_path, folder)
        (folder / "tiny-1").mkdir()
        (folder / "lost+found").mkdir()
        played(tmp_path, "former.yml", store_keeps="")
        assert not (folder / MARK).exists()
        assert not (folder / "tiny-1").exists()
        assert "failed=0" in played(tmp_path, "former.yml", store_keeps="")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_store_brought_of_a_hub_is_not_fetched_again(tmp_path: Path, whole: bool) -> None:
    """The stack has no store any more; the download, which would fail here, is for what is not whole."""
    manifest = load("module_utils/model_store/manifest.py")
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    files = {"config.json": {"size": 2, "sha256": manifest.sha256_of(folder / "config.json")}}
    (folder / manifest.MANIFEST).write_text(manifest.text_of("r", files))
    (folder / manifest.MARK).write_text("r")
    if not whole:
        (folder / "config.json").write_text("[]")
    told = {
        "model_name": "m",
        "model_path": str(folder),
        "model_record": "r",
        "model_source": {"kind": "hub", "repository": "o/m", "revision": "0" * 40},
        "model_downloader": str(tmp_path / "nothing"),
    }
    if whole:
        assert "changed=0" in played(tmp_path, "hub.yml", "model", **told)
        assert (folder / "config.json").exists()
    else:
        with pytest.raises(RuntimeError, match="Prepare the model's folder"):
            played(tmp_path, "hub.yml", "model", **told)

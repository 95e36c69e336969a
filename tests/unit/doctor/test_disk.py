"""The speed at which models are read: a real file on this machine's disk, past the page cache."""

import os
from pathlib import Path

import pytest

from tests.unit.roles.loading import load

disk = load("module_utils/gpu_host/disk.py")


def model(root: Path, name: str = "tiny") -> Path:
    """A model that was brought, with weights of the least size."""
    folder = root / disk.MODELS / name
    folder.mkdir(parents=True)
    (folder / ".slipway.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    (folder / "small.safetensors").write_bytes(b"x")
    with (folder / "model.safetensors").open("wb") as file:
        file.write(os.urandom(disk.LEAST))
        os.fsync(file.fileno())
    return folder


def test_the_largest_file_of_weights_is_read(tmp_path: Path) -> None:
    folder = model(tmp_path)
    (folder / "notes.txt").write_bytes(b"x" * (disk.LEAST + 1))
    assert disk.weights(tmp_path) == [folder / "model.safetensors"]
    found = disk.speed(folder / "model.safetensors", 0.5)
    assert found.path == str(folder / "model.safetensors")
    assert found.gb_s > 0


def test_what_units_name_counts_too(tmp_path: Path) -> None:
    folder = tmp_path / "srv" / "models" / "big"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with (folder / "a.safetensors").open("wb") as file:
        file.truncate(disk.LEAST)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "slipway-big.service").write_text(
        "[Service]\nExecStart=/opt/x/bin/vllm serve /srv/models/big --port 8100\n"
    )
    assert disk.weights(tmp_path) == [folder / "a.safetensors"]


def test_without_weights_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert disk.weights(tmp_path) == []


def test_the_page_cache_is_not_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = model(tmp_path) / "model.safetensors"
    asked: list[int] = []
    original = os.open

    def seen(path: object, flags: int, *rest: object) -> int:
        asked.append(flags)
        return original(path, flags, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", seen)
    disk.speed(file, 0.2)
    assert asked[0] & os.O_DIRECT

    def refusing(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(disk.NoDirectError):
        disk.speed(file, 0.2)

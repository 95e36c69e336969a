"""Files of a user's own, what is said of a broken one, and the cache of the catalogue's own files."""

import copy
import importlib
from typing import Any

import pytest
import yaml

from slipway.catalog import Catalog, CatalogError, cache, load
from slipway.catalog.load import find, find_gpu, find_or_none

# The package's own `load` is the function.
loading = importlib.import_module("slipway.catalog.load")

GPU: dict[str, Any] = {
    "id": "x100",
    "aliases": ["Example X100"],
    "name": "Example X100",
    "vendor": "nvidia",
    "architecture": "hopper",
    "compute_capability": "9.0",
    "memory_gb": 80,
    "driver_mib": 81559,
    "bandwidth_gb_s": 3350,
    "tflops": {"fp16": 989, "bf16": 989},
    "interconnect": {"kind": "nvswitch", "gb_s": 450},
    "power_w": 700,
    "sources": [{"figures": ["all"], "source": "our own data sheet", "date": "2026-01"}],
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a user's file and give its catalogue; messages then begin with `own.yaml`."""
    monkeypatch.chdir(tmp_path)

    def written(content: Any) -> Catalog:
        file = tmp_path / "own.yaml"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return load(file.relative_to(tmp_path))

    return written


def gpu(**changes: Any) -> dict[str, Any]:
    changed = copy.deepcopy(GPU) | changes
    return {key: value for key, value in changed.items() if value is not ...}


def test_ones_own_entries_stand_beside_ours(write):
    catalog = write({"gpus": [gpu()]})
    assert catalog.gpus["x100"].bandwidth_gb_s == 3350
    assert find(catalog.gpus, "example x100", "the GPU").id == "x100"
    assert "h100-sxm-80gb" in catalog.gpus
    assert catalog.tiers == load().tiers


@pytest.mark.parametrize("name", ["rtx-4090", "RTX-4090"])
def test_ones_own_entry_replaces_ours_of_the_same_id(write, name):
    catalog = write({"gpus": [gpu(id=name)]})
    assert find(catalog.gpus, "rtx-4090", "the GPU").memory_gb == 80
    assert [entry.memory_gb for entry in catalog.gpus.values() if entry.id.casefold() == "rtx-4090"] == [80]


def test_ones_own_alias_goes_before_ours(write):
    assert find_or_none(write({"gpus": [gpu(aliases=["H100"])]}).gpus, "h100").id == "x100"
    assert find_gpu(write({"gpus": [gpu(aliases=["A100"], memory_gb=80)]}).gpus, "A100", 80).id == "x100"


@pytest.mark.parametrize("date", ["2026-01-31", '"2026-01-31"', "2026-01"])
def test_a_date_needs_no_quotes(write, date):
    text = yaml.safe_dump({"gpus": [gpu()]}).replace("'2026-01'", date).replace("date: 2026-01\n", f"date: {date}\n")
    assert write(text).gpus["x100"].sources[0].date == date.strip('"')


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "gpus: []\n"])
def test_an_empty_file_adds_nothing(write, content):
    assert write(content).gpus == load().gpus


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "gpus:\n  - id: x\n    name: [\n",
            "own.yaml: line 4: not valid YAML (did not find expected node content); nothing of it is known, correct the line",
        ),
        (
            "gpus: []\ntiers: []\ngpus: []\n",
            "own.yaml: line 3: not valid YAML (gpus is there twice); nothing of it is known, correct the line",
        ),
        (
            "gpus: !!python/object/apply:os.system [true]\n",
            "own.yaml: line 1: not valid YAML (could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'); nothing of it is known, correct the line",
        ),
        (
            "- id: x\n",
            "own.yaml: is no mapping; give lists of entries under gpus, tiers, models, instances, quantizations, engines, "
            "checks, drivers",
        ),
        ("gpu: []\n", "own.yaml: gpu: is no kind of entry; gpus is meant?"),
        (
            "hosts: []\n",
            "own.yaml: hosts: is no kind of entry; there are gpus, tiers, models, instances, quantizations, engines, checks, "
            "drivers",
        ),
        ("gpus: {id: x}\n", "own.yaml: gpus: is no list; begin each entry with `- id: …`"),
        ({"gpus": ["x100"]}, "own.yaml: gpus: entry 1: expected `object`, got `str`"),
        ({"gpus": [gpu(), gpu()]}, "own.yaml: gpus: x100: is there twice; remove one of the two"),
        ({"gpus": [gpu(id=...)]}, "own.yaml: gpus: entry 1: id: is missing"),
        ({"gpus": [gpu(driver_gib=79)]}, "own.yaml: gpus: x100: driver_gib: is no field here; driver_mib is meant?"),
        ({"gpus": [gpu(driver_mib=...)]}, "own.yaml: gpus: x100: driver_mib: is missing"),
        ({"gpus": [gpu(driver_mib="80 GB")]}, "own.yaml: gpus: x100: driver_mib: expected `int`, got `str`"),
        (
            {"gpus": [gpu(compute_capability=9.0)]},
            "own.yaml: gpus: x100: compute_capability: expected `str`, got `float`",
        ),
        ({"gpus": [gpu(architecture="fermi")]}, "own.yaml: gpus: x100: architecture: invalid enum value 'fermi'"),
        ({"gpus": [gpu(tflops={"fp16": -1})]}, "own.yaml: gpus: x100: tflops.fp16: expected `float` > 0.0"),
        ({"gpus": [gpu(tflops={"fp12": 1})]}, "own.yaml: gpus: x100: tflops.fp12: is no field here"),
        ({"gpus": [gpu(sources=...)]}, "own.yaml: gpus: x100: sources: is missing"),
        ({"gpus": [gpu(sources=[])]}, "own.yaml: gpus: x100: sources: expected `array` of length >= 1"),
        (
            {"gpus": [gpu(sources=[{"figures": ["all"], "source": "our own data sheet"}])]},
            "own.yaml: gpus: x100: sources[0].date: is missing",
        ),
        (
            {
                "gpus": [
                    gpu(sources=[{"figures": ["memory_gb", "driver_mib"], "source": "our sheet", "date": "2026-01"}])
                ]
            },
            "own.yaml: gpus: x100: sources: none for vendor, architecture, compute_capability, bandwidth_gb_s, tflops, "
            "interconnect, power_w; add the names to a source's figures, or a source of `all`",
        ),
        (
            {"gpus": [gpu(sources=[{"figures": ["all", "memory"], "source": "our sheet", "date": "2026-01"}])]},
            "own.yaml: gpus: x100: sources: 'memory' is no field here; give fields' names, or all",
        ),
        (
            {"gpus": [gpu(driver_mib=80)]},
            "own.yaml: gpus: x100: driver_mib: 80 can't be MiB of a GPU with 80 GB; 69632 to 82739 can",
        ),
        (
            {"gpus": [gpu(driver_mib=85_520_809_984)]},
            "own.yaml: gpus: x100: driver_mib: 85520809984 can't be MiB of a GPU with 80 GB; 69632 to 82739 can",
        ),
        (
            {"gpus": [gpu(cuda_gib=81090)]},
            "own.yaml: gpus: x100: cuda_gib: 81090 can't be GiB of 81559 MiB; 71.68 to 79.65 can",
        ),
        (
            {"gpus": [gpu(bandwidth_gb_s=3.35)]},
            "own.yaml: gpus: x100: bandwidth_gb_s: 3.35 can't be GB a second; 20 to 100000 can",
        ),
        (
            {"gpus": [gpu(tflops={"fp16": 989e12})]},
            "own.yaml: gpus: x100: tflops.fp16: 989000000000000 can't be 10^12 operations a second; 0.5 to 100000 can",
        ),
        ({"gpus": [gpu(power_w=0.7)]}, "own.yaml: gpus: x100: power_w: 0.7 can't be W; 10 to 10000 can"),
    ],
)
def test_a_mistake_is_one_line_with_file_entry_and_field(write, content, message):
    catalog = write(content)
    with pytest.raises(CatalogError) as caught:
        _ = catalog.gpus
    assert str(caught.value) == message


def test_a_file_that_is_not_there_is_said(write, tmp_path):
    with pytest.raises(CatalogError) as caught:
        _ = load(tmp_path / "none.yaml").gpus
    assert (
        str(caught.value) == f"{tmp_path}/none.yaml: can't be read (No such file or directory); nothing of it is known"
    )


def test_a_file_that_is_no_text_is_said(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_bytes(b"gpus: \xff\xfe\n")
    with pytest.raises(
        CatalogError, match=r"own.yaml: is no UTF-8 text \(invalid start byte\); nothing of it is known$"
    ):
        _ = load(file).gpus


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(CatalogError) as caught:
        find(load().gpus, "rtx-4091", "the GPU")
    assert str(caught.value) == (
        "the GPU 'rtx-4091' is not in the catalogue; the nearest: rtx-4090, rtx-4090-d, rtx-5090"
    )


def test_a_gpu_of_another_size_is_not_taken_for_it():
    with pytest.raises(CatalogError) as caught:
        find_gpu(load().gpus, "A100", 60)
    assert str(caught.value) == (
        "the GPU 'A100' with 60 GB is not in the catalogue; of this name there is a100-sxm-80gb with 80 GB, "
        "a100-sxm-40gb with 40 GB"
    )


class TestCache:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        return tmp_path / "slipway"

    @pytest.fixture
    def parsed(self, monkeypatch):
        """The files that were really parsed."""
        files: list[str] = []
        parse = loading._parse
        monkeypatch.setattr(loading, "_parse", lambda file, content: files.append(file) or parse(file, content))
        return files

    def test_yaml_is_parsed_once_and_the_entries_are_the_same(self, folder, parsed):
        first = load().gpus
        assert parsed
        parsed.clear()
        assert load().gpus == first
        assert not parsed
        assert [file.name for file in folder.iterdir()] == ["gpus.msgpack"]

    def test_a_changed_file_is_read_anew(self, folder, parsed, tmp_path, monkeypatch):
        data = tmp_path / "data" / "gpus"
        data.mkdir(parents=True)
        monkeypatch.setattr(loading, "DATA", data.parent)
        for power in (700, 600):
            (data / "own.yaml").write_text(yaml.safe_dump([gpu(power_w=power)]))
            assert load().gpus["x100"].power_w == power
        assert len(parsed) == 2

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda content: b"",
            lambda content: content[:20],
            lambda content: content[:-1],
            lambda content: content[:400] + b"\0" * (len(content) - 400),
            lambda content: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
        ],
        ids=["empty", "no head", "cut", "zeros", "a bit"],
    )
    def test_a_damaged_one_is_not_believed_and_is_mended(self, folder, parsed, spoil):
        whole = load().gpus
        file = folder / "gpus.msgpack"
        content = file.read_bytes()
        file.write_bytes(spoil(content))
        assert load().gpus == whole
        assert file.read_bytes() == content

    def test_another_kinds_is_not_believed(self, folder):
        whole = load().gpus
        _ = load().tiers
        (folder / "tiers.msgpack").replace(folder / "gpus.msgpack")
        assert load().gpus == whole

    def test_without_a_writable_folder_all_is_parsed(self, tmp_path, monkeypatch, parsed):
        (tmp_path / "slipway").write_text("in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert load().gpus == load().gpus
        assert len(parsed) == 2 * len(list((loading.DATA / "gpus").glob("*.yaml")))

    @pytest.mark.parametrize("home", ["relative", ""])
    def test_a_folder_that_is_no_address_is_not_used(self, home, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        assert load().gpus
        assert not (tmp_path / "relative").exists()

    def test_a_killed_writer_leaves_the_old_one_whole(self, folder, monkeypatch):
        whole = load().gpus
        before = (folder / "gpus.msgpack").read_bytes()

        def killed(*_):
            raise KeyboardInterrupt

        (folder / "gpus.msgpack").write_bytes(b"old")
        monkeypatch.setattr(cache.Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            _ = load().gpus
        assert (folder / "gpus.msgpack").read_bytes() == b"old"
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent))
        assert load().gpus == whole
        assert (folder / "gpus.msgpack").read_bytes() == before

    def test_a_users_own_file_is_not_kept(self, folder, write):
        _ = write({"gpus": [gpu()]}).gpus
        assert b"x100" not in (folder / "gpus.msgpack").read_bytes()

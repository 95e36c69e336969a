"""`slipway tiers`, `models`, `gpus`, `engines` and `drivers` as people and programs meet them."""

import io
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from cli import main as cli
from slipway.catalog import load

CATALOG = load()
KINDS = ("tiers", "models", "gpus", "engines", "drivers")
OWN = """
tiers:
  - id: attic
    name: What stood in the attic
    gpu: {gpu}
    gpus_per_host: 2
    hosts: 1
    cpu_cores: 8
    memory_gib: 64
    disk_gib: 500
    network_gbit_s: 1
    host_power_w: 200
    suits: "Trials."
    sources: [{{figures: [all], source: "our own inventory", date: 2026-01-31}}]
"""


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process: its status, stdout and stderr."""

    def ran(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["slipway", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return ran


@pytest.fixture
def terminal(monkeypatch):
    """Run a command as on a terminal of so many columns, and give what it prints."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def ran(columns: int, *arguments: str) -> str:
        screen = Terminal()
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setattr(sys, "argv", ["slipway", *arguments])
        monkeypatch.setattr(sys, "stdout", screen)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return screen.getvalue()

    return ran


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_gets_every_entry_whole_on_a_line_of_its_own(run, kind):
    status, out, err = run(kind)
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    assert "…" not in out
    lines = out.split("\n\n", maxsplit=1)[0].splitlines()
    entries = getattr(CATALOG, kind)
    assert len(lines) == 1 + len(entries)
    firsts = {line.split(",")[0].split()[0] for line in lines[1:]}
    assert firsts == set(entries)


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_a_list_of_whole_entries(run, kind):
    status, out, err = run(kind, "--json")
    assert (status, err) == (0, "")
    content: list[dict[str, Any]] = json.loads(out)
    entries = getattr(CATALOG, kind)
    assert sorted(each["id"] for each in content) == sorted(entries)
    for each in content:
        assert set(each) == set(entries[each["id"]].__struct_fields__)
        assert each["sources"][0]["source"]


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_gets_a_table_that_fits_it(terminal, kind, columns):
    out = plain(terminal(columns, kind))
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    # Broken over lines or not, no identifier is cut.
    letters = re.sub(r"\s+", "", out)
    for entry in getattr(CATALOG, kind).values():
        assert entry.id[:10] in letters


def test_a_narrow_terminal_says_what_it_leaves_out(terminal):
    narrow = plain(terminal(80, "gpus"))
    said = "Left out for want of room: architecture, compute capability, "
    assert said in " ".join(narrow.split())
    assert "Left out" not in terminal(200, "gpus")


def test_a_terminal_gets_colour_or_weight_and_a_pipe_does_not(run, terminal):
    assert "\x1b[" in terminal(120, "engines")
    assert "\x1b" not in run("engines")[1]


def test_figures_have_their_units_in_the_head(run):
    head = run("gpus")[1].splitlines()[0]
    for unit in ("memory GB", "driver MiB", "CUDA GiB", "bandwidth GB/s", "16 bits TFLOPS", "power W", "price USD"):
        assert unit in head
    assert "\n\nRates are dense, without sparsity." in run("gpus")[1]
    row = next(line for line in run("gpus")[1].splitlines() if line.startswith("h100-sxm-80gb"))
    assert row.split() == [
        "h100-sxm-80gb",
        "hopper",
        "9.0",
        "80",
        "81559",
        "79.19",
        "3350",
        "989",
        "1979",
        "450",
        "700",
    ]


def test_tiers_go_from_small_to_large(run):
    names = [line.split(",")[0].split()[0] for line in run("tiers")[1].split("\n\n")[0].splitlines()[1:]]
    assert names[0] == "lab"
    assert names.index("poc") < names.index("team") < names.index("prod") < names.index("cluster")


def test_the_deployed_engines_go_first(run):
    assert [line.split()[:4] for line in run("engines")[1].splitlines()[1:4]] == [
        ["llama_cpp", "b11549", "yes", "yes"],
        ["ollama", "0.17.4", "yes", "yes"],
        ["vllm", "0.32.0", "yes", "yes"],
    ]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--task", "rerank"), lambda model: model.task == "rerank"),
        (("--family", "QWEN3-m"), lambda model: model.family == "qwen3-moe"),
        (("--commercial",), lambda model: model.commercial_use),
        (("--task", "code", "--commercial"), lambda model: model.task == "code" and model.commercial_use),
    ],
)
def test_models_can_be_picked(run, arguments, wanted):
    status, out, _ = run("models", *arguments, "--json")
    picked = {name for name, model in CATALOG.models.items() if wanted(model)}
    assert status == 0
    assert picked
    assert {each["id"] for each in json.loads(out)} == picked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("models", "--task", "chatting"),
            "--task: there is no 'chatting'; there are chat",
        ),
        (
            ("models", "--task", "x"),
            "--task: there is no 'x'; there are chat, base, code, reasoning, embedding, rerank, vision",
        ),
        (("models", "--family", "lama3.3"), "--family: there is no 'lama3.3'; there are llama3.3, llama3.2, llama3.1"),
    ],
)
def test_a_wrong_filter_is_one_line_and_status_2(run, arguments, message):
    assert run(*arguments) == (2, "", f"{message}\n")


def test_ones_own_entries_are_listed(run, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(OWN.format(gpu="t4"))
    status, out, _ = run("tiers", "--catalog", str(file))
    row = next(line for line in out.splitlines() if line.startswith("attic"))
    assert status == 0
    assert row.split()[:9] == ["attic", "2", "x", "t4", "32", "8", "64", "500", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.format(gpu="x9"), "tiers: attic: gpu: 'x9' is not in the catalogue; add it under gpus"),
        (OWN.format(gpu="t4").replace("hosts: 1", "hosts: 0"), "{file}: tiers: attic: hosts: expected `int` >= 1"),
    ],
)
def test_a_broken_file_is_one_line_and_status_2(run, tmp_path, text, message):
    file = tmp_path / "own.yaml"
    file.write_text(text)
    assert run("tiers", "--catalog", str(file)) == (2, "", message.format(file=file) + "\n")


def test_json_needs_no_heavy_import(tmp_path):
    # The first run fills the cache; the second must not even import the YAML parser.
    code = (
        "import sys; from cli.catalog import show_models; show_models(None, as_json=True); "
        "print(*{'yaml', 'rich', 'pydantic', 'typer', 'jinja2', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        for _ in range(2)
    ]
    assert runs[0].stderr == "yaml\n"
    assert runs[1].stderr == "\n"
    assert runs[0].stdout == runs[1].stdout

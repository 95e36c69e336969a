"""`slipway size` as people and programs meet it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from slipway.sizing.gguf.result import GgufEngine
from tests.unit.sizing.models import LLAMA_8B
from tools.lab.model import make_tiny_gguf

SLIPWAY = [sys.executable, "-m", "cli.main"]
OFFLINE = {"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SLIPWAY, "size", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=OFFLINE,
        timeout=60,
    )


def as_json(*arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.stderr == ""
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_a_model_that_fits() -> None:
    done = run("Llama-3.1-8B-Instruct", "--gpu", "h100-sxm-80gb", "--context", "8192", "--engine-version", "0.19.0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("It fits.\n")
    for part in (
        "weights",
        "KV cache",
        "activation",
        "CUDA graphs",
        "NCCL",
        "CUDA context",
        "left over",
        "--max-model-len 8192",
    ):
        assert part in done.stdout, part
    assert "\x1b" not in done.stdout


def test_json_has_all_that_the_text_has() -> None:
    answer = as_json("Llama-3.1-8B-Instruct", "--gpu", "H100", "--context", "8192", "--tokens", "1024", "--explain")
    memory = answer["memory_gib_per_gpu"]
    parts = ("weights", "kv_cache", "activation", "cuda_graphs", "communication", "context", "free")
    assert sum(memory[part] for part in parts) == pytest.approx(memory["total"], abs=0.01)
    assert answer["concurrency_at_use"] == pytest.approx(8 * answer["max_concurrency"], abs=0.1)
    assert answer["flags"]["max-model-len"] == 8192
    assert {"weights", "activation", "kv_cache", "kv_cache_tokens", "max_concurrency"} <= {
        t["name"] for t in answer["terms"]
    }
    assert all(term["source"] and term["numbers"] for term in answer["terms"])


def test_what_does_not_fit_says_what_would() -> None:
    done = run("Llama-3.3-70B-Instruct", "--tier", "poc")
    assert (done.returncode, done.stderr) == (1, "")
    assert "It does not fit: " in done.stdout
    assert "What would make it fit, nearest first:" in done.stdout
    assert as_json("Llama-3.3-70B-Instruct", "--tier", "poc")["suggestions"]


def test_a_config_file_and_its_folder_need_no_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B), encoding="utf-8")
    file, folder = (
        as_json(str(path), "--gpu", "l4", "--context", "4096") for path in (tmp_path / "config.json", tmp_path)
    )
    assert file["memory_gib_per_gpu"] == folder["memory_gib_per_gpu"]
    assert file["parameters"] == 8_030_261_248


def test_entries_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "catalog.yaml"
    tier = {
        "id": "mine",
        "name": "Mine",
        "gpu": "l40s",
        "gpus_per_host": 2,
        "hosts": 1,
        "cpu_cores": 32,
        "memory_gib": 256,
    }
    tier |= {"disk_gib": 2000, "network_gbit_s": 25, "host_power_w": 400, "suits": "Mine."}
    tier["sources"] = [{"figures": ["all"], "source": "our inventory", "date": "2026-11-01"}]
    own.write_text(json.dumps({"tiers": [tier]}), encoding="utf-8")
    answer = as_json("Llama-3.1-8B-Instruct", "--tier", "mine", "--context", "8192", "--catalog", str(own))
    assert (answer["gpu"], answer["count"], answer["tensor_parallel"]) == ("l40s", 2, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "slipway: size: MODEL is missing; give a name of `slipway models`, a folder or a config.json"),
        (
            ["Llama-3.1-8B-Instruct"],
            "give --tier or --gpu; without hardware nothing can be sized (slipway tiers, slipway gpus)",
        ),
        (
            ["Llama-3.1-8B-Instruct", "--gpu", "l4", "--tier", "poc"],
            "give --tier or --gpu, not both; they might contradict each other",
        ),
        (
            ["Lama-3.1-8B-Instruct", "--gpu", "l4"],
            "the model 'Lama-3.1-8B-Instruct' is not in the catalogue; the nearest: meta-llama/Llama-3.1-8B-Instruct",
        ),
        (["Llama-3.1-8B-Instruct", "--gpu", "h1000"], "the GPU 'h1000' is not in the catalogue; the nearest: "),
        (["Llama-3.1-8B-Instruct", "--tier", "porc"], "the tier 'porc' is not in the catalogue; the nearest: "),
        (["/nowhere/config.json", "--gpu", "l4"], "/nowhere/config.json"),
        (["nobody/nothing", "--gpu", "l4"], "the model 'nobody/nothing' is not in the catalogue"),
        (["Llama-3.1-8B-Instruct", "--gpu", "l4", "--count", "0"], "count is 0; give a whole number from 1 on"),
        (
            ["Llama-3.1-8B-Instruct", "--gpu", "l4", "--count", "1", "--tensor-parallel", "2"],
            "--count is 1, and tensor parallel 2 x pipeline parallel 1 takes more GPUs; leave --count out, or raise it",
        ),
        (
            ["Llama-3.1-8B-Instruct", "--gpu", "l4", "--context", "4096", "--tokens", "5000"],
            "requests of 5000 tokens do not go into a context of 4096; lower --tokens or raise --context",
        ),
        (
            ["Qwen2.5-7B-Instruct-AWQ", "--gpu", "l4", "--quantization", "fp8"],
            "fp8 is asked for, and the checkpoint is stored as awq; the engine would not start",
        ),
        (["Llama-3.1-8B-Instruct", "--gpu", "l4", "--quantization", "w9"], "quantization: 'w9'"),
        (["openai/gpt-oss-20b", "--gpu", "t4"], "needs compute capability 8 or later, and NVIDIA T4 has 7.5"),
        (
            ["Llama-3.1-8B-Instruct", "--gpu", "l4", "--engine", "vlm"],
            "engine 'vlm' has no memory model; use one of vllm",
        ),
        (
            ["Llama-3.1-8B-Instruct", "--gpu", "l4", "--catalog", "/nowhere.yaml"],
            "/nowhere.yaml: can",
        ),
        (["--batch", "/nowhere.jsonl"], "/nowhere.jsonl: cannot be read"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_batch_from_stdin() -> None:
    row = json.dumps({"id": "x", "config": LLAMA_8B, "gpu": "H100", "max_model_len": 8192})
    done = run("--batch", "-", stdin=f"{row}\n\nnonsense\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [(answer["id"], answer["status"]) for answer in answers] == [("x", "ok"), (None, "refused")]


@pytest.mark.parametrize(
    "command", [["size", "Llama-3.1-8B-Instruct", "--gpu", "h100"], ["gpus"], ["models", "--json"]]
)
def test_an_output_that_cannot_be_written_is_said(command: list[str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*SLIPWAY, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=OFFLINE, timeout=60
        )
    assert (done.returncode, done.stderr) == (1, "slipway: the output could not be written: No space left on device\n")


def test_a_reader_may_go() -> None:
    reader = subprocess.Popen([*SLIPWAY, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=OFFLINE)
    assert reader.stdout is not None
    assert reader.stderr is not None
    reader.stdout.close()
    assert reader.stderr.read() == b""
    reader.stderr.close()
    assert reader.wait(timeout=60) == 1


def test_a_terminal_that_knows_ascii_only_gets_all_else() -> None:
    done = subprocess.run(
        [*SLIPWAY, "size", "Grüße-3.1-8B", "--gpu", "l4"],
        capture_output=True,
        check=False,
        env={**OFFLINE, "PYTHONIOENCODING": "ascii"},
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.decode("ascii").startswith("the model 'Gr\\xfc\\xdfe-3.1-8B' is not in the catalogue")


def test_a_small_host_is_said_to_be_too_small() -> None:
    done = run("Llama-3.3-70B-Instruct", "--tier", "cpu", "--context", "2048")
    assert done.returncode == 1
    assert "more than the host's 64.00 GiB of memory" in done.stdout
    assert "per token and GPU" not in done.stdout


def test_nothing_heavy_is_imported() -> None:
    """What makes a command slow to start; `python -m bench.answers` measures what it comes to."""
    code = (
        "import sys; sys.argv = ['slipway', 'size', 'Llama-3.1-8B-Instruct', '--gpu', 'l4', '--context', '4096']\n"
        "from cli.main import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'rich', 'pulumi', 'numpy', 'ansible', 'httpx2', 'openai'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=OFFLINE, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_gguf_is_sized_for_llama_cpp(tmp_path: Path) -> None:
    file = make_tiny_gguf(tmp_path)
    done = run(str(file), "--tier", "lab", "--context", "2048", "--parallel", "2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny-llama: llama, 0.00 B parameters in F16, on CPU"
    assert lines[1] == "llama_cpp, 2 slots of 2,048 tokens"
    assert "KV cache        4,096 tokens, 1,024 bytes per token" in lines
    assert any(line.startswith("Flags           --ctx-size 4096 --parallel 2 --cache-ram ") for line in lines)
    assert lines[-1] == "It fits."
    answer = as_json(str(tmp_path), "--gpu", "H100", "--engine", "llama.cpp", "--explain")
    assert answer["context"] == 4096
    assert [device["name"] for device in answer["devices"]] == ["GPU 0", "host"]
    assert answer["flags"]["n-gpu-layers"] == 3
    assert answer["terms"]
    assert as_json(str(file), "--tier", "lab", "--engine", "ollama")["flags"]["OLLAMA_NUM_PARALLEL"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m.gguf", "--tier", "lab"), "m.gguf: there is no such file"),
        (
            ("m.gguf", "--tier", "lab", "--engine", "vllm"),
            f"m.gguf is for engines that read GGUF files; use --engine {' or '.join(get_args(GgufEngine))}",
        ),
        (
            ("Llama-3.1-8B-Instruct", "--tier", "lab", "--engine", "ollama"),
            "ollama reads GGUF files, and Llama-3.1-8B-Instruct is none",
        ),
    ],
)
def test_a_gguf_and_its_engines_belong_together(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_gguf_that_does_not_fit(tmp_path: Path) -> None:
    done = run(str(make_tiny_gguf(tmp_path)), "--tier", "lab", "--context", "4096000", "--parallel", "200")
    assert done.returncode == 1
    assert "It does not fit: the host has " in done.stdout
    assert "tokens fits with 200 slots" in done.stdout

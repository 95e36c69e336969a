"""The proof kernel: what the role ships is what its source compiles to, and every kind of GPU that we name can run it."""

import hashlib
import subprocess
from functools import cache
from pathlib import Path

import pytest

from slipway.catalog import load

HERE = Path(__file__).parent / "cuda"
FILES = Path(__file__).parents[2] / "playbooks/roles/gpu_watch/files"
ASSEMBLERS = {"12.9": "cuda_nvcc/bin/ptxas", "13.5": "cu13/bin/ptxas"}
CUDA_13_NEEDS = 7.5
"""Compute capability of the oldest GPUs that CUDA 13 compiles for."""


@cache
def environment() -> Path:
    """Where the set-up has put NVIDIA's compiler."""
    digest = hashlib.sha256((HERE / "requirements.txt").read_bytes()).hexdigest()[:12]
    return Path(f"~/.cache/slipway/cuda-{digest}").expanduser()


def test_what_is_shipped_is_what_the_source_compiles_to() -> None:
    script = "import compile; print(compile.compiled(compile.SOURCE.read_text()), end='')"
    done = subprocess.run(
        (str(environment() / "bin/python"), "-c", script), cwd=HERE, capture_output=True, text=True, check=True
    )

    assert done.stdout == (FILES / "proof.ptx").read_text()


@pytest.mark.parametrize("release", ASSEMBLERS)
def test_every_gpu_of_the_catalogue_can_run_it(release: str, tmp_path: Path) -> None:
    (assembler,) = environment().glob(f"lib/python3*/site-packages/nvidia/{ASSEMBLERS[release]}")
    capabilities = {gpu.nvidia_capability for gpu in load().gpus.values() if gpu.nvidia_capability}
    wanted = sorted(each for each in capabilities if release == "12.9" or each >= CUDA_13_NEEDS)
    assert len(wanted) >= 5

    for capability in wanted:
        name = f"sm_{capability * 10:.0f}"
        out = tmp_path / f"{name}.cubin"
        subprocess.run((str(assembler), f"-arch={name}", "-o", str(out), str(FILES / "proof.ptx")), check=True)
        assert out.read_bytes().startswith(b"\x7fELF")

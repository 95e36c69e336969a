"""Compile the proof kernel to PTX with NVRTC, NVIDIA's own compiler; `python compile.py` writes role gpu_watch's proof.ptx anew.

The result says PTX 6.0 and not the compiler's own version: nothing in it is newer, and each driver refuses PTX that is newer than
itself. 6.0 is what every driver from 384 on reads. The tests have `ptxas` of two releases assemble it for every kind of GPU.
"""

import ctypes
import re
from importlib.util import find_spec
from pathlib import Path

ROLE = Path(__file__).parents[3] / "playbooks" / "roles" / "gpu_watch" / "files"
SOURCE, PTX = ROLE / "proof.cu", ROLE / "proof.ptx"
TARGET = "compute_52"
"""The oldest that NVRTC 12.9 still compiles for; the driver translates it for newer ones."""


def compiled(source: str) -> str:
    """The source's PTX.

    Raises:
        RuntimeError: the compiler refused; the message is its log.
    """
    library = ctypes.CDLL(str(_package() / "lib" / "libnvrtc.so.12"))
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    _done(
        library, library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"proof.cu", 0, None, None), program
    )
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture={TARGET}".encode())
    _done(library, library.nvrtcCompileProgram(program, 1, options), program)
    _done(library, library.nvrtcGetPTXSize(program, ctypes.byref(size)), program)
    text = ctypes.create_string_buffer(size.value)
    _done(library, library.nvrtcGetPTX(program, text), program)
    # The head names the compiler's build; all else is the kernel.
    body = text.value.decode().partition(".version")[2]
    return (
        "// Made of proof.cu; see tests/integration/cuda/compile.py.\n.version"
        + re.sub(r"^\s*\d+\.\d+", " 6.0", body).rstrip()
        + "\n"
    )


def _package() -> Path:
    found = find_spec("nvidia.cuda_nvrtc")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("nvidia-cuda-nvrtc-cu12 is not installed: see requirements.in beside this file")
    return Path(next(iter(found.submodule_search_locations)))


def _done(library: ctypes.CDLL, code: int, program: ctypes.c_void_p) -> None:
    if code:
        size = ctypes.c_size_t()
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(max(size.value, 1))
        library.nvrtcGetProgramLog(program, log)
        raise RuntimeError(f"NVRTC answered {code}: {log.value.decode()}")


if __name__ == "__main__":
    PTX.write_text(compiled(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")

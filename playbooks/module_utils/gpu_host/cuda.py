"""Proof that a GPU computes: a kernel is loaded through the driver's own interface, and each of its results is compared.

`nvidia-smi` and NVML answer on hosts on which no program can use CUDA: without the uvm device nodes, without a fabric manager,
with a broken GPU. So this is the only proof. It needs libcuda, which comes with the driver, and no compiler: the kernel is PTX
of 2 KB (role gpu_watch, files/proof.cu and proof.ptx), which the driver translates for whatever GPU is there.

A hung GPU hangs whoever asks it. `prove` therefore asks in a process of its own, which it leaves after a while.
"""

from __future__ import annotations

import array
import ctypes
import json
import subprocess
import sys
from typing import Any

LIBRARY = "libcuda.so.1"
KERNEL = b"slipway_proof"
COUNT = 1 << 18
"""Numbers that each GPU computes: 64 MiB of traffic would add nothing, a few thousand threads on each multiprocessor do."""
ROUNDS = 8
_BLOCK, _BLOCKS = 256, 256
_MASK = 0xFFFFFFFF
_COPY = 256 << 20
"""Bytes of one copy where bandwidth is measured."""
_COPIES = 4
LIMIT_S = 120
"""Seconds for all GPUs of a host. The first use after boot initializes each: some seconds with many GPUs."""

MEANINGS = {
    100: "there is no device that CUDA can use (are the device nodes of nvidia-uvm there?)",
    101: "there is no such device",
    209: "there is no kernel for this GPU",
    222: "the driver does not know this version of PTX",
    304: "the operating system refused (are the device nodes of nvidia-uvm there?)",
    719: "the kernel failed on the GPU",
    802: "the system is not ready: fabric manager does not run, or is not of the driver's version",
    803: "the driver's library and its kernel module are of different versions",
    999: "unknown error (the GPU may have fallen off the bus)",
}
"""Of CUresult, those that hosts are known to answer with, in words."""


class CudaError(Exception):
    """The driver refused a call."""


def prove(ptx: str, *, bandwidth: bool, limit: float = LIMIT_S) -> dict[str, Any]:
    """Runs the proof on all GPUs, in a process of its own.

    Returns:
        ``{"gpus": [{"bus_id", "error", "h2d_gb_s", "copy_gb_s"}], "error": None or why no GPU could be asked}``. Bandwidths are
        10^9 bytes a second, None where they were not measured; ``copy_gb_s`` counts what is read and what is written.
    """
    order = json.dumps({"ptx": ptx, "bandwidth": bandwidth})
    # Where Ansible runs this, there is no file that a process could be started from.
    source = __loader__.get_source(__name__)  # type: ignore[union-attr] # every loader of modules has it
    process = subprocess.Popen(
        (sys.executable, "-I", "-B", "-c", source),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, complained = process.communicate(order, timeout=limit)
    except subprocess.TimeoutExpired:
        # Not waited for: what hangs in the driver does not even die.
        process.kill()
        return {"gpus": [], "error": f"no answer within {limit:g} s: a GPU or the driver hangs"}
    try:
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        last = (complained.strip().splitlines() or ["nothing"])[-1]
        return {"gpus": [], "error": f"the process ended with {process.returncode} and said: {last}"}
    return found


def mixed(first: int, second: int, index: int) -> int:
    """What the kernel computes of one pair of 32-bit numbers; the kernel's source has the same lines."""
    value = first ^ index
    for _ in range(ROUNDS):
        value = (value * 2654435761 + second) & _MASK
        value ^= value >> 15
    return value


def _everything(ptx: str, *, bandwidth: bool) -> dict[str, Any]:
    try:
        driver = _Driver()
    except (OSError, CudaError) as error:
        return {"gpus": [], "error": str(error)}
    first = array.array("I", ((index * 2246822519 + 1) & _MASK for index in range(COUNT)))
    second = array.array("I", ((index * 3266489917 + 7) & _MASK for index in range(COUNT)))
    pairs = enumerate(zip(first, second))
    expected = array.array("I", (mixed(a, b, index) for index, (a, b) in pairs))
    gpus = []
    for number in range(driver.count()):
        found = {"bus_id": driver.bus_id(number), "error": None, "h2d_gb_s": None, "copy_gb_s": None}
        try:
            with driver.on(number):
                found["error"] = driver.computes(ptx.encode(), first, second, expected)
                if bandwidth and not found["error"]:
                    found["h2d_gb_s"], found["copy_gb_s"] = driver.bandwidths()
        except CudaError as error:
            found["error"] = str(error)
        gpus.append(found)
    return {"gpus": gpus, "error": None}


class _Driver:
    """libcuda, as far as the proof needs it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self.call("cuInit", 0)

    def count(self) -> int:
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def bus_id(self, number: int) -> str:
        text = ctypes.create_string_buffer(32)
        self.call("cuDeviceGetPCIBusId", text, 32, self._device(number))
        # sysfs has four digits of the domain, some drivers write eight.
        domain, _, rest = text.value.decode().lower().partition(":")
        return f"{domain[-4:]}:{rest}"

    def on(self, number: int) -> _Context:
        return _Context(self, self._device(number))

    def computes(self, ptx: bytes, first: Any, second: Any, expected: Any) -> str | None:
        """None, or what is wrong with what the GPU computed."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), ptx)
        self.call("cuModuleGetFunction", ctypes.byref(function), module, KERNEL)
        inputs = [self._copied(first), self._copied(second)]
        out, total = self._room(len(first) * 4), self._copied(array.array("I", [0]))
        arguments: list[Any] = [*inputs, out, total, ctypes.c_uint(len(first))]
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
        self.call("cuLaunchKernel", function, _BLOCKS, 1, 1, _BLOCK, 1, 1, 0, None, addresses, None)
        self.call("cuCtxSynchronize")
        found, checksum = self._read(out, len(first)), self._read(total, 1)[0]
        for each in (*inputs, out, total):
            self.call("cuMemFree_v2", each)
        self.call("cuModuleUnload", module)
        wrong = sum(a != b for a, b in zip(found, expected))
        if wrong:
            return f"computed {wrong:,} of {len(expected):,} numbers wrong"
        if checksum != sum(expected) & _MASK:
            return "computed a wrong checksum (shared memory or atomic operations)"
        return None

    def bandwidths(self) -> tuple[float, float]:
        """From pinned memory of the host to the GPU, and within the GPU's memory, in 10^9 bytes a second."""
        host = ctypes.c_void_p()
        self.call("cuMemAllocHost_v2", ctypes.byref(host), ctypes.c_size_t(_COPY))
        source, target = self._room(_COPY), self._room(_COPY)
        size = ctypes.c_size_t(_COPY)
        to_gpu = self._rate("cuMemcpyHtoDAsync_v2", source, host, size, None)
        within = self._rate("cuMemcpyDtoDAsync_v2", target, source, size, None)
        self.call("cuMemFree_v2", source)
        self.call("cuMemFree_v2", target)
        self.call("cuMemFreeHost", host)
        return to_gpu, 2 * within

    def _rate(self, name: str, *arguments: Any) -> float:
        begin, end, took = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_float()
        for event in (begin, end):
            self.call("cuEventCreate", ctypes.byref(event), 0)
        self.call(name, *arguments)
        self.call("cuEventRecord", begin, None)
        for _ in range(_COPIES):
            self.call(name, *arguments)
        self.call("cuEventRecord", end, None)
        self.call("cuEventSynchronize", end)
        self.call("cuEventElapsedTime", ctypes.byref(took), begin, end)
        for event in (begin, end):
            self.call("cuEventDestroy_v2", event)
        return _COPY * _COPIES / (took.value / 1e3) / 1e9 if took.value > 0 else 0.0

    def _device(self, number: int) -> ctypes.c_int:
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), number)
        return device

    def _room(self, size: int) -> ctypes.c_uint64:
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address

    def _copied(self, numbers: Any) -> ctypes.c_uint64:
        address = self._room(len(numbers) * 4)
        begin, _ = numbers.buffer_info()
        self.call("cuMemcpyHtoD_v2", address, ctypes.c_void_p(begin), ctypes.c_size_t(len(numbers) * 4))
        return address

    def _read(self, address: ctypes.c_uint64, count: int) -> Any:
        found = array.array("I", bytes(count * 4))
        self.call("cuMemcpyDtoH_v2", ctypes.c_void_p(found.buffer_info()[0]), address, ctypes.c_size_t(count * 4))
        return found

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the library.

        Raises:
            CudaError: it answered with an error.
        """
        code = getattr(self._library, name)(*arguments)
        if code:
            raise CudaError(f"{name} answered {code}: {MEANINGS.get(code, 'see CUresult in cuda.h')}")


class _Context:
    """The device's primary context, current while the block runs."""

    def __init__(self, driver: _Driver, device: ctypes.c_int) -> None:
        self._driver, self._device = driver, device

    def __enter__(self) -> None:
        context = ctypes.c_void_p()
        self._driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._driver.call("cuCtxSetCurrent", context)

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._driver.call("cuDevicePrimaryCtxRelease_v2", self._device)
        except CudaError:
            # After a failure the context is gone already, and the failure is what counts.
            if kind is None:
                raise


if __name__ == "__main__":
    _order = json.loads(sys.stdin.read())
    print(json.dumps(_everything(_order["ptx"], bandwidth=_order["bandwidth"])))

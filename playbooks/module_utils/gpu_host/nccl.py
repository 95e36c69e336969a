"""An all-reduce over GPUs through NCCL, as tensor parallelism does it for each token: that it ends, is right, and is fast.

GPUs that each compute well may still not reach one another: peer-to-peer copies hang behind an IOMMU or ACS, a link is down, an
adapter between hosts is slow. The library is the engine's own (nvidia/nccl in its environment), the rest is libcuda. The
kernels of NCCL hang whoever waits for them, so this too runs in a process of its own, which is left after a while.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import time
from typing import Any

CUDA = "libcuda.so.1"
LIMIT_S = 120
"""Seconds for everything. With eight GPUs, setting NCCL up takes some seconds, and an all-reduce of 8 GiB some hundredths."""
_MARK = "slipway-nccl:"
_FLOAT, _SUM = 7, 0
_ONE = 0x3F800000
"""1.0 as a 32-bit number."""
_TIMES = 5
_MEETING = 0.6
"""The part of all seconds in which hosts have to meet."""
_ID = 128
"""Bytes of a ncclUniqueId."""
_SAMPLES = 64
_SIOCGIFADDR = 0x8915
_WAITING = {
    "meeting": "the other hosts did not come",
    "setup": "setting NCCL up does not end",
    "reduce": "the all-reduce does not end",
}


class NcclError(Exception):
    """A library refused a call."""


class _Id(ctypes.Structure):
    _fields_ = (("internal", ctypes.c_byte * _ID),)


def reduce_all(
    library: str,
    size: int,
    *,
    meeting: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    limit: float = LIMIT_S,
) -> dict[str, Any]:
    """Sums `size` bytes of every GPU on all of them, in a process of its own.

    Args:
        library: path of libnccl.so.2.
        size: bytes on each GPU.
        meeting: with other hosts: ``{"address": of the first host, "port", "host": 0 for the first, "hosts", "gpus": of each}``.
        environment: variables for NCCL; ``@ADDRESS`` in a value stands for the name of the interface that has the address.
        limit: seconds after which it is left.

    Returns:
        ``{"ranks", "gb_s", "version", "error", "hangs"}``: GPUs that took part; the bus bandwidth as nccl-tests counts it (bytes
        a second over each GPU's links, in 10^9) or None; NCCL's version; None or what is wrong; whether it did not end.
    """
    order = json.dumps(
        {"library": library, "size": size, "meeting": meeting, "environment": environment, "limit": limit}
    )
    # Where Ansible runs this, there is no file that a process could be started from.
    source = __loader__.get_source(__name__)  # type: ignore[union-attr] # every loader of modules has it
    process = subprocess.Popen(
        (sys.executable, "-I", "-B", "-c", source),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = {"ranks": 0, "gb_s": None, "version": "", "error": None, "hangs": False}
    try:
        said, complained = process.communicate(order, timeout=limit)
    except subprocess.TimeoutExpired as late:
        # Not waited for: what hangs in the driver does not even die.
        process.kill()
        told = late.stdout or b""
        stage = _last(told if isinstance(told, str) else told.decode(errors="replace")).get("stage", "setup")
        return {**found, "error": f"{_WAITING[stage]} within {limit:g} s", "hangs": True}
    last = _last(said)
    if "ranks" not in last:
        why = (complained.strip().splitlines() or ["nothing"])[-1]
        return {**found, "error": f"the process ended with {process.returncode} and said: {why}"}
    return {**found, **last}


def _last(said: str) -> dict[str, Any]:
    """What the process told last; NCCL writes to the same stream."""
    lines = [line[len(_MARK) :] for line in said.splitlines() if line.startswith(_MARK)]
    try:
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found


def _tell(**what: Any) -> None:
    print(_MARK + json.dumps(what), flush=True)


def _everything(order: dict[str, Any]) -> None:
    meeting = order["meeting"] or {"host": 0, "hosts": 1}
    deadline = time.monotonic() + order["limit"] * _MEETING
    try:
        # Before NCCL is loaded, which looks at them then.
        os.environ.update({name: _named(value) for name, value in (order["environment"] or {}).items()})
        cuda, nccl = _Cuda(), _Nccl(order["library"])
        gpus = cuda.contexts()
        _expect(len(gpus), meeting)
        ranks = len(gpus) * meeting["hosts"]
        _tell(stage="meeting")
        unique = _meet(nccl, meeting, deadline)
        _tell(stage="setup")
        communicators = nccl.join(cuda, gpus, ranks, meeting["host"] * len(gpus), unique)
        count = order["size"] // 4
        buffers = [cuda.ones(gpu, count) for gpu in gpus]
        _tell(stage="reduce")
        nccl.reduce(cuda, gpus, communicators, buffers, count)
        error = cuda.wrong(gpus, buffers, count, float(ranks))
        with cuda.timed(gpus[0]) as took:
            for _ in range(_TIMES):
                nccl.reduce(cuda, gpus, communicators, buffers, count)
        rate = count * 4 * _TIMES / took.seconds * 2 * (ranks - 1) / ranks / 1e9 if took.seconds > 0 else 0.0
        _tell(ranks=ranks, gb_s=None if error else rate, version=nccl.version, error=error)
    except (OSError, NcclError) as failure:
        _tell(ranks=0, error=str(failure))
    # Neither library is sure to let go after a failure; whoever waits has the answer.
    sys.stdout.flush()
    os._exit(0)


def _expect(gpus: int, meeting: dict[str, Any]) -> None:
    """Ranks are counted from what each host is said to have."""
    if meeting["hosts"] > 1 and gpus != meeting["gpus"]:
        raise NcclError(f"CUDA has {gpus} GPUs, {meeting['gpus']} promised")


def _named(value: str) -> str:
    """A variable's value, with the name of an interface in place of its address."""
    before, at, address = value.partition("@")
    if not at:
        return value
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        import fcntl

        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return before + name
    raise NcclError(f"no network interface has the address {address}")


def _meet(nccl: _Nccl, meeting: dict[str, Any], deadline: float) -> bytes:
    """NCCL's id, which the first host makes and hands to each of the others."""
    if meeting["hosts"] == 1:
        return nccl.unique()
    place = (meeting["address"], meeting["port"])
    if meeting["host"] == 0:
        unique = nccl.unique()
        with socket.create_server(place) as listening:
            for came in range(1, meeting["hosts"]):
                listening.settimeout(max(deadline - time.monotonic(), 0.1))
                try:
                    other, _ = listening.accept()
                except socket.timeout:
                    raise NcclError(
                        f"of {meeting['hosts']} hosts {came} came; the others did not, or are in use"
                    ) from None
                with other:
                    other.sendall(unique)
        return unique
    while True:
        try:
            with socket.create_connection(place, timeout=5) as first:
                got = first.recv(_ID, socket.MSG_WAITALL)
        except OSError:
            got = b""
        if len(got) == _ID:
            return got
        if time.monotonic() > deadline:
            raise NcclError(f"the first host does not answer at {place[0]}:{place[1]}")
        time.sleep(0.2)


class _Cuda:
    """libcuda, as far as an all-reduce needs it. A GPU is its context and a stream."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(CUDA)
        self.call("cuInit", 0)

    def contexts(self) -> list[tuple[ctypes.c_void_p, ctypes.c_void_p]]:
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        found = []
        for number in range(count.value):
            device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
            self.call("cuDeviceGet", ctypes.byref(device), number)
            # The primary one, which NCCL's own runtime takes as well.
            self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
            self.call("cuCtxSetCurrent", context)
            self.call("cuStreamCreate", ctypes.byref(stream), 0)
            found.append((context, stream))
        return found

    def on(self, gpu: tuple[ctypes.c_void_p, ctypes.c_void_p]) -> None:
        self.call("cuCtxSetCurrent", gpu[0])

    def ones(self, gpu: tuple[ctypes.c_void_p, ctypes.c_void_p], count: int) -> ctypes.c_uint64:
        address = ctypes.c_uint64()
        self.on(gpu)
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(count * 4))
        self.call("cuMemsetD32_v2", address, ctypes.c_uint(_ONE), ctypes.c_size_t(count))
        self.call("cuCtxSynchronize")
        return address

    def wrong(self, gpus: list[Any], buffers: list[Any], count: int, expected: float) -> str | None:
        """None, or which GPU has another sum, in numbers from all over its buffer."""
        one = array.array("f", [0.0])
        for number, (gpu, buffer) in enumerate(zip(gpus, buffers)):
            self.on(gpu)
            for sample in range(_SAMPLES):
                place = ctypes.c_uint64(buffer.value + 4 * (sample * (count - 1) // (_SAMPLES - 1)))
                self.call("cuMemcpyDtoH_v2", ctypes.c_void_p(one.buffer_info()[0]), place, ctypes.c_size_t(4))
                if one[0] != expected:
                    return f"GPU {number} has the sum {one[0]:g}, {expected:g} expected"
        return None

    def wait(self, gpu: tuple[ctypes.c_void_p, ctypes.c_void_p]) -> None:
        self.on(gpu)
        self.call("cuStreamSynchronize", gpu[1])

    def timed(self, gpu: tuple[ctypes.c_void_p, ctypes.c_void_p]) -> _Timed:
        return _Timed(self, gpu)

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise NcclError(f"{name} answered {code}: see CUresult in cuda.h")


class _Timed:
    """How long a GPU's stream takes for what is put into it within the block."""

    def __init__(self, cuda: _Cuda, gpu: tuple[ctypes.c_void_p, ctypes.c_void_p]) -> None:
        self._cuda, self._gpu = cuda, gpu
        self._begin, self._end = ctypes.c_void_p(), ctypes.c_void_p()
        self.seconds = 0.0

    def __enter__(self) -> _Timed:  # noqa: PYI034 -- Self came with Python 3.11
        self._cuda.on(self._gpu)
        for event in (self._begin, self._end):
            self._cuda.call("cuEventCreate", ctypes.byref(event), 0)
        self._cuda.call("cuEventRecord", self._begin, self._gpu[1])
        return self

    def __exit__(self, *_: object) -> None:
        took = ctypes.c_float()
        self._cuda.on(self._gpu)
        self._cuda.call("cuEventRecord", self._end, self._gpu[1])
        self._cuda.call("cuEventSynchronize", self._end)
        self._cuda.call("cuEventElapsedTime", ctypes.byref(took), self._begin, self._end)
        self.seconds = took.value / 1e3


class _Nccl:
    """libnccl: one rank for each GPU, all of them in this process."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        # The id goes by value, so the call has to know what it is.
        self._library.ncclCommInitRank.argtypes = (ctypes.c_void_p, ctypes.c_int, _Id, ctypes.c_int)
        self._library.ncclGetErrorString.restype = ctypes.c_char_p
        version = ctypes.c_int()
        self._call("ncclGetVersion", ctypes.byref(version))
        self.version = f"{version.value // 10000}.{version.value // 100 % 100}.{version.value % 100}"

    def unique(self) -> bytes:
        made = _Id()
        self._call("ncclGetUniqueId", ctypes.byref(made))
        return bytes(made)

    def join(self, cuda: _Cuda, gpus: list[Any], ranks: int, first: int, unique: bytes) -> list[ctypes.c_void_p]:
        shared, found = _Id.from_buffer_copy(unique), [ctypes.c_void_p() for _ in gpus]
        self._call("ncclGroupStart")
        for number, (gpu, communicator) in enumerate(zip(gpus, found)):
            cuda.on(gpu)
            self._call("ncclCommInitRank", ctypes.byref(communicator), ranks, shared, first + number)
        self._call("ncclGroupEnd")
        return found

    def reduce(self, cuda: _Cuda, gpus: list[Any], communicators: list[Any], buffers: list[Any], count: int) -> None:
        """One all-reduce in place, to its end."""
        self._call("ncclGroupStart")
        for gpu, communicator, buffer in zip(gpus, communicators, buffers):
            cuda.on(gpu)
            address = ctypes.c_void_p(buffer.value)
            self._call("ncclAllReduce", address, address, ctypes.c_size_t(count), _FLOAT, _SUM, communicator, gpu[1])
        self._call("ncclGroupEnd")
        for gpu in gpus:
            cuda.wait(gpu)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            said = self._library.ncclGetErrorString(code) or b"unknown"
            raise NcclError(f"{name} answered {code}: {said.decode(errors='replace')}")


if __name__ == "__main__":
    _everything(json.loads(sys.stdin.read()))

"""NVIDIA's management library, by ctypes: what the driver says of each GPU.

Of NVML's 300 functions these are the ones that the checks need. The package nvidia-ml-py has all, but a host is looked at before
anything can be installed on it. Functions and structures are those of nvml.h, which keeps them as they are once released.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
NOT_SUPPORTED = 3
NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
LOST = 15
MISMATCH = 18
LINKS = 18
"""NVLinks that a GPU has at most (NVML_NVLINK_MAX_LINKS)."""

_UNKNOWABLE = (NOT_SUPPORTED, FUNCTION_NOT_FOUND)
_TEXT = 96
_UNCORRECTED, _SINCE_LOAD = 1, 0
_GRAPHICS = 0


class NvmlError(Exception):
    """NVML refused; `code` is its nvmlReturn_t."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _PciInfo(ctypes.Structure):
    _fields_ = (
        ("busIdLegacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("pciDeviceId", ctypes.c_uint),
        ("pciSubSystemId", ctypes.c_uint),
        ("busId", ctypes.c_char * 32),
    )


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _FabricInfo(ctypes.Structure):
    _fields_ = (
        ("clusterUuid", ctypes.c_ubyte * 16),
        ("status", ctypes.c_uint),
        ("cliqueId", ctypes.c_uint),
        ("state", ctypes.c_ubyte),
    )


@dataclass(frozen=True)
class Device:
    """One GPU, as NVML tells of it. What it can't tell of this kind of GPU is None."""

    index: int
    name: str
    uuid: str
    bus_id: str
    """PCI address in sysfs' form, such as ``0000:17:00.0``."""
    pci_id: str
    """PCI device id, four hexadecimal digits."""
    memory_mib: int
    capability: str
    mig: bool | None
    rows_pending: bool | None
    """Whether rows wait for a reset to be remapped."""
    rows_failed: bool | None
    """Whether a row could not be remapped."""
    rows_uncorrectable: int | None
    """Rows that were remapped for errors that could not be corrected."""
    pages_pending: bool | None
    """Whether pages wait for a reboot to be retired (GPUs before Ampere)."""
    uncorrected: int | None
    """ECC errors that could not be corrected since the driver was loaded."""
    slowed: int | None
    """Reasons for lower clocks, as NVML's bits."""
    link_width: int | None
    link_width_most: int | None
    link_generation_most: int | None
    """PCIe generation that GPU and slot allow together; the current one falls while a GPU idles."""
    nvlinks: tuple[bool, ...]
    """Of each NVLink that it has, whether it is active."""
    persistent: bool | None
    processes: int | None
    """Compute processes on it."""
    fabric: int | None
    """State of its registration with the fabric: 3 is completed; None where there is no NVSwitch."""
    temperature_c: int | None
    ecc: bool | None
    """Whether its memory corrects errors now."""
    power_limit_w: int | None
    """What it may draw."""
    clock_mhz: int | None
    """Of its multiprocessors, now."""


@dataclass(frozen=True)
class Broken:
    """A GPU that NVML counts but can't tell of."""

    index: int
    code: int
    reason: str


class Nvml:
    """An open NVML.

    Raises:
        NvmlError: it can't be opened: no library (12), no driver (9), a driver of another version (18).
    """

    def __init__(self, library: str = LIBRARY) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise NvmlError(LIBRARY_NOT_FOUND, str(error)) from error
        self._call("nvmlInit_v2")

    def __enter__(self) -> Nvml:  # noqa: PYI034 -- Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._call("nvmlShutdown")

    def driver(self) -> str:
        """The driver's version, such as ``580.173.02``."""
        return self._text("nvmlSystemGetDriverVersion")

    def cuda(self) -> str:
        """The highest CUDA that the driver runs, such as ``13.0``."""
        version = self._number(ctypes.c_int, "nvmlSystemGetCudaDriverVersion_v2")
        return f"{version // 1000}.{version % 1000 // 10}"

    def devices(self) -> Iterator[Device | Broken]:
        """All GPUs that it counts."""
        for index in range(self._number(ctypes.c_uint, "nvmlDeviceGetCount_v2")):
            try:
                yield self._device(index)
            except NvmlError as error:
                yield Broken(index, error.code, str(error))

    def _device(self, index: int) -> Device:
        handle = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        pci = self._struct(_PciInfo(), "nvmlDeviceGetPciInfo_v3", handle)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
        rows = self._optional(self._four, "nvmlDeviceGetRemappedRows", handle)
        return Device(
            index=index,
            name=self._text("nvmlDeviceGetName", handle),
            uuid=self._text("nvmlDeviceGetUUID", handle),
            bus_id=f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0",
            pci_id=f"{pci.pciDeviceId >> 16:04x}",
            memory_mib=int(self._struct(_Memory(), "nvmlDeviceGetMemoryInfo", handle).total) >> 20,
            capability=f"{major.value}.{minor.value}",
            mig=_flag(self._optional(self._first_of_two, "nvmlDeviceGetMigMode", handle)),
            rows_pending=None if rows is None else bool(rows[2]),
            rows_failed=None if rows is None else bool(rows[3]),
            rows_uncorrectable=None if rows is None else rows[1],
            pages_pending=_flag(self._value("nvmlDeviceGetRetiredPagesPendingStatus", handle)),
            uncorrected=self._optional(self._errors, handle),
            slowed=self._optional(self._slowed, handle),
            link_width=self._value("nvmlDeviceGetCurrPcieLinkWidth", handle),
            link_width_most=self._value("nvmlDeviceGetMaxPcieLinkWidth", handle),
            link_generation_most=self._value("nvmlDeviceGetMaxPcieLinkGeneration", handle),
            nvlinks=tuple(self._links(handle)),
            persistent=_flag(self._value("nvmlDeviceGetPersistenceMode", handle)),
            processes=self._optional(self._processes, handle),
            fabric=self._optional(self._fabric, handle),
            temperature_c=self._value("nvmlDeviceGetTemperature", handle, ctypes.c_uint(0)),
            ecc=_flag(self._optional(self._first_of_two, "nvmlDeviceGetEccMode", handle)),
            power_limit_w=_watts(self._value("nvmlDeviceGetPowerManagementLimit", handle)),
            clock_mhz=self._value("nvmlDeviceGetClockInfo", handle, ctypes.c_uint(_GRAPHICS)),
        )

    def _links(self, handle: ctypes.c_void_p) -> Iterator[bool]:
        for link in range(LINKS):
            active = self._value("nvmlDeviceGetNvLinkState", handle, ctypes.c_uint(link))
            if active is None:
                return
            yield bool(active)

    def _processes(self, handle: ctypes.c_void_p) -> int:
        count = ctypes.c_uint(0)
        try:
            # Without room for them it says how many there are, by an error of its own.
            self._call("nvmlDeviceGetComputeRunningProcesses_v3", handle, ctypes.byref(count), None)
        except NvmlError as error:
            if error.code in _UNKNOWABLE or not count.value:
                raise
        return count.value

    def _fabric(self, handle: ctypes.c_void_p) -> int | None:
        info = self._struct(_FabricInfo(), "nvmlDeviceGetGpuFabricInfo", handle)
        return int(info.state) or None  # 0: not supported

    def _slowed(self, handle: ctypes.c_void_p) -> int:
        # Renamed in branch 535; the old name stays.
        return self._number(ctypes.c_ulonglong, "nvmlDeviceGetCurrentClocksThrottleReasons", handle)

    def _errors(self, handle: ctypes.c_void_p) -> int:
        kind, since = ctypes.c_uint(_UNCORRECTED), ctypes.c_uint(_SINCE_LOAD)
        return self._number(ctypes.c_ulonglong, "nvmlDeviceGetTotalEccErrors", handle, kind, since)

    def _four(self, name: str, handle: ctypes.c_void_p) -> tuple[int, ...]:
        found = [ctypes.c_uint() for _ in range(4)]
        self._call(name, handle, *map(ctypes.byref, found))
        return tuple(each.value for each in found)

    def _first_of_two(self, name: str, handle: ctypes.c_void_p) -> int:
        now, later = ctypes.c_uint(), ctypes.c_uint()
        self._call(name, handle, ctypes.byref(now), ctypes.byref(later))
        return now.value

    def _value(self, name: str, *arguments: Any) -> int | None:
        found: int | None = self._optional(self._number, ctypes.c_uint, name, *arguments)
        return found

    def _number(self, kind: Any, name: str, *arguments: Any) -> int:
        found = kind()
        self._call(name, *arguments, ctypes.byref(found))
        return int(found.value)

    def _text(self, name: str, *arguments: Any) -> str:
        found = ctypes.create_string_buffer(_TEXT)
        self._call(name, *arguments, found, ctypes.c_uint(_TEXT))
        return found.value.decode(errors="replace")

    def _struct(self, found: Any, name: str, handle: ctypes.c_void_p) -> Any:
        self._call(name, handle, ctypes.byref(found))
        return found

    @staticmethod
    def _optional(ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except NvmlError as error:
            if error.code in _UNKNOWABLE:
                return None
            raise

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise NvmlError(FUNCTION_NOT_FOUND, f"this driver's NVML has no {name}") from None
        code = function(*arguments)
        if code:
            raise NvmlError(code, self._reason(code))

    def _reason(self, code: int) -> str:
        say = self._library.nvmlErrorString
        say.restype = ctypes.c_char_p
        said: bytes | None = say(code)
        return said.decode(errors="replace") if said else f"error {code}"


def _watts(milliwatts: int | None) -> int | None:
    return None if milliwatts is None else round(milliwatts / 1000)


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)

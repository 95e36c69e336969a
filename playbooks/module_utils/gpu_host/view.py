"""What the checks look at: the promise, the host's files, NVML's answers, the proof. Each is asked once, when it is needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .cuda import prove
from .machine import Machine
from .nccl import reduce_all
from .nvml import Broken, Device, Nvml, NvmlError


class UnknownError(Exception):
    """A check should say, and can't: why."""


class NeedlessError(Exception):
    """There is nothing to check here: why."""


@dataclass(frozen=True)
class Fault:
    """What one check found wrong."""

    text: str
    """The evidence, in words."""
    gpu: int | None = None
    """Whose fault it is, by NVML's index; None where it is the host's."""


@dataclass(frozen=True)
class Driver:
    """What NVML said, or why it said nothing."""

    version: str = ""
    cuda: str = ""
    devices: tuple[Device | Broken, ...] = ()
    error: NvmlError | None = None


class View:
    """One look at a host.

    `promise` is what the stack says of it (`slipway.doctor.promise` has the keys); `driver_due` is whether a driver has to be
    there, which it need not be before Slipway has installed it; `names` are those that the stack makes the host ask for.
    """

    def __init__(
        self,
        promise: dict[str, Any],
        machine: Machine,
        *,
        driver_due: bool,
        ptx: str = "",
        bandwidth: bool = True,
        nccl: dict[str, Any] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.promise, self.machine, self.driver_due, self.names = promise, machine, driver_due, names
        self.now = time.time()
        self._ptx, self._bandwidth, self._nccl = ptx, bandwidth, nccl or {}

    @cached_property
    def module(self) -> str:
        """Version of the kernel module; empty without one."""
        return self.machine.module()

    @cached_property
    def driver(self) -> Driver:
        """NVML's answers."""
        try:
            with Nvml() as nvml:
                return Driver(nvml.driver(), nvml.cuda(), tuple(nvml.devices()))
        except NvmlError as error:
            return Driver(error=error)

    @property
    def devices(self) -> list[Device]:
        """The GPUs that NVML can tell of.

        Raises:
            UnknownError: NVML can't be asked.
            NeedlessError: there is no driver yet.
        """
        self.expect_nvml()
        return [each for each in self.driver.devices if isinstance(each, Device)]

    def expect_driver(self) -> None:
        """Nothing can be asked of a driver that is still to be installed.

        Raises:
            NeedlessError: it is so.
        """
        if not self.module and not self.driver_due:
            raise NeedlessError("no driver is loaded yet")

    def expect_nvml(self) -> None:
        """Nothing can be asked of an NVML that does not open.

        Raises:
            UnknownError: it is so.
            NeedlessError: there is no driver yet.
        """
        self.expect_driver()
        if self.driver.error is not None:
            raise UnknownError("NVML can't be asked: see driver.library and driver.module")

    @cached_property
    def proof(self) -> dict[str, Any]:
        """What came of the kernel.

        Raises:
            NeedlessError: no driver yet, or it was not asked for.
        """
        self.expect_driver()
        if not self._ptx:
            raise NeedlessError("the kernel is not run at this moment")
        return prove(self._ptx, bandwidth=self._bandwidth)

    def expect_idle(self) -> None:
        """Nothing can be measured beside other work.

        Raises:
            UnknownError: a process uses a GPU.
        """
        busy = [each.index for each in self.devices if each.processes]
        if busy:
            raise UnknownError(
                f"GPU {', '.join(map(str, busy))} is in use, and a figure beside other work means nothing"
            )

    @cached_property
    def all_reduce(self) -> dict[str, Any]:
        """What came of an all-reduce over the GPUs (`nccl.reduce_all`).

        Raises:
            NeedlessError: no driver yet, one GPU alone, no engine here speaks NCCL, or none is installed yet.
            UnknownError: the GPUs are in use, or an engine that is installed has no NCCL.
        """
        self.expect_driver()
        order = self._nccl
        if not order or (self.promise["gpus"] < 2 and not order["meeting"]):
            raise NeedlessError("no engine here spreads over several GPUs by NCCL")
        library = self.machine.nccl(order["libraries"])
        if library is None and order["due"]:
            raise UnknownError(f"the engine is installed, and its NCCL is not there ({', '.join(order['libraries'])})")
        if library is None:
            raise NeedlessError("the engine's NCCL is not installed yet")
        self.expect_idle()
        return reduce_all(
            library,
            order["size"],
            meeting=order["meeting"],
            environment=order["environment"],
            limit=order["limit"],
        )

    def index(self, bus_id: str) -> int | None:
        """NVML's index of the GPU at a PCI address, without regard to its function; None where it is unknown."""
        known = (
            {} if self.driver.error else {d.bus_id[:10]: d.index for d in self.driver.devices if isinstance(d, Device)}
        )
        return known.get(bus_id[:10])

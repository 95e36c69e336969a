"""The checks themselves: each a function from a view and its limit to what is wrong.

What a check is called, what it means, its limit, its weight and its mend are data: slipway/catalog/data/checks has an entry of
the same name for each. To add one: a function here, in `CHECKS`, and its entry there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .disk import NoDirectError, speed, weights
from .machine import AMD
from .names import unresolved
from .nvml import LOST, MISMATCH, NOT_LOADED, Broken
from .view import Fault, NeedlessError, UnknownError, View

Entry = dict[str, Any]
"""The order's entry of a check; ``limit`` is None where none is known for this kind of GPU."""
Check = Callable[[View, Entry], Iterator[Fault]]

_SLOWED = {0x8: "hardware slowdown", 0x40: "heat", 0x80: "power brake"}
"""NVML's bits (nvmlClocksEventReason…). Idling, power caps and clocks that somebody set are no faults."""
_REGISTERED = 3
FABRIC_MANAGER = "nvidia-fabricmanager.service"
_MAKERS = re.compile(r"^(nvidia|tesla|geforce)\s+")


def on_bus(view: View, _: Entry) -> Iterator[Fault]:
    """GPUs on the PCI bus against those that are promised."""
    seen, promised = view.machine.gpus(), view.promise["gpus"]
    # Where they are AMD's, that is what is wrong.
    if len(seen) < promised and (seen or not view.machine.gpus(AMD)):
        yield Fault(f"{_gpus(len(seen))} on the PCI bus, {promised} promised")


def vendor(view: View, _: Entry) -> Iterator[Fault]:
    """AMD's GPUs where NVIDIA's are promised."""
    others = view.machine.gpus(AMD)
    if others and len(view.machine.gpus()) < view.promise["gpus"]:
        yield Fault(f"{_gpus(len(others), 'AMD')} on the PCI bus ({', '.join(each.bus_id for each in others)})")


def switched(view: View, _: Entry) -> Iterator[Fault]:
    """A kind whose GPUs meet in NVSwitches, on a host that has none. A virtual machine may not see them: its NVLinks tell."""
    if not view.promise["nvswitch_on_bus"]:
        raise NeedlessError("this kind of GPU is not sold with NVSwitches that the bus shows")
    if view.machine.switches():
        return
    if view.machine.virtual and not any(any(each.nvlinks) for each in view.devices):
        yield Fault("neither an NVSwitch on the PCI bus nor an active NVLink")
    elif not view.machine.virtual:
        yield Fault(f"no NVSwitch on the PCI bus, and {view.promise['name']} is sold with them")


def module(view: View, _: Entry) -> Iterator[Fault]:
    """The kernel module."""
    view.expect_driver()
    if not view.module:
        yield Fault("the kernel module nvidia is not loaded")


def library(view: View, _: Entry) -> Iterator[Fault]:
    """NVML opens, and is of the kernel module's version."""
    view.expect_driver()
    error = view.driver.error
    if error is None:
        if view.module and view.driver.version != view.module:
            yield Fault(f"the library is {view.driver.version}, the kernel module {view.module}")
    elif error.code == MISMATCH:
        yield Fault(f"the library is of another version than the kernel module, which is {view.module or 'unknown'}")
    elif error.code != NOT_LOADED or view.module:
        yield Fault(f"NVML can't be opened: {error} ({error.code})")


def nodes(view: View, _: Entry) -> Iterator[Fault]:
    """Device nodes."""
    view.expect_driver()
    missing = view.machine.nodes(len(view.machine.gpus())) if view.module else []
    if missing:
        yield Fault(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there")


def count(view: View, _: Entry) -> Iterator[Fault]:
    """GPUs that the driver has, against those that are promised."""
    usable, promised = len(view.devices), view.promise["gpus"]
    if usable < promised:
        yield Fault(f"the driver has {_gpus(usable)} in working order, {promised} promised")


def surplus(view: View, _: Entry) -> Iterator[Fault]:
    """More GPUs than promised, which would lie idle."""
    found, promised = len(view.devices), view.promise["gpus"]
    if found > promised:
        yield Fault(f"the driver has {_gpus(found)}, {promised} promised")


def lost(view: View, _: Entry) -> Iterator[Fault]:
    """GPUs that the driver counts and can't reach."""
    view.expect_nvml()
    for each in view.driver.devices:
        if isinstance(each, Broken):
            what = "has fallen off the bus" if each.code == LOST else f"answers {each.reason!r} ({each.code})"
            yield Fault(f"GPU {each.index} {what}", each.index)


def model(view: View, _: Entry) -> Iterator[Fault]:
    """The kind of GPU: by its name, or by its PCI id where names differ."""
    if not view.promise["names"]:
        raise NeedlessError("the stack names no kind of GPU")
    names = {_plain(name) for name in view.promise["names"]}
    for each in view.devices:
        if _plain(each.name) not in names and each.pci_id not in view.promise["pci_ids"]:
            yield Fault(f"GPU {each.index} is {each.name}, promised is {view.promise['name']}", each.index)


def memory(view: View, check: Entry) -> Iterator[Fault]:
    """Memory of each GPU, as a share of what its kind reports."""
    promised = view.promise["memory_mib"]
    if promised is None:
        raise NeedlessError("the stack names no kind of GPU")
    for each in view.devices:
        if each.memory_mib < check["limit"] * promised:
            yield Fault(f"GPU {each.index} has {each.memory_mib:,} MiB, its kind has {promised:,}", each.index)


def whole(view: View, _: Entry) -> Iterator[Fault]:
    """GPUs that are cut into instances (MIG), where whole ones are promised."""
    for each in view.devices:
        if each.mig:
            yield Fault(f"MIG is on for GPU {each.index}", each.index)


def pending(view: View, _: Entry) -> Iterator[Fault]:
    """Memory that waits to be taken out of use."""
    for each in view.devices:
        if each.rows_pending or each.pages_pending:
            what = (
                "rows wait for a reset to be remapped" if each.rows_pending else "pages wait for a reboot to be retired"
            )
            yield Fault(f"GPU {each.index}: {what}", each.index)


def unmended(view: View, _: Entry) -> Iterator[Fault]:
    """Memory that could not be taken out of use."""
    for each in view.devices:
        if each.rows_failed:
            yield Fault(f"GPU {each.index}: a row could not be remapped", each.index)


def worn(view: View, check: Entry) -> Iterator[Fault]:
    """Rows that were remapped for errors that could not be corrected."""
    for each in view.devices:
        rows, most = each.rows_uncorrectable, check["limit"]
        if rows is not None and rows > most:
            yield Fault(f"GPU {each.index}: {rows} rows remapped, {most:g} are the most", each.index)


def uncorrected(view: View, _: Entry) -> Iterator[Fault]:
    """ECC errors since the driver was loaded that could not be corrected."""
    for each in view.devices:
        if each.uncorrected:
            yield Fault(f"GPU {each.index}: {each.uncorrected} since the driver was loaded", each.index)


def xids(view: View, check: Entry) -> Iterator[Fault]:
    """The driver's errors in the kernel log, of the codes and not older than the entry says."""
    found = view.machine.xids(view.now - check["limit"])
    if found is None:
        raise UnknownError("neither the journal nor /var/log/kern.log has a line of the kernel's")
    for each in found:
        if each.code in check["codes"]:
            told = f": {each.text}" if each.text else ""
            yield Fault(f"Xid {each.code} of the GPU at {each.bus_id}{told}", view.index(each.bus_id))


def slowed(view: View, _: Entry) -> Iterator[Fault]:
    """Clocks that the hardware keeps down."""
    for each in view.devices:
        why = [text for bit, text in _SLOWED.items() if (each.slowed or 0) & bit]
        if why:
            hot = "" if each.temperature_c is None else f" at {each.temperature_c} °C"
            yield Fault(f"GPU {each.index} is slowed{hot}: {', '.join(why)}", each.index)


def width(view: View, _: Entry) -> Iterator[Fault]:
    """Lanes of PCI Express that are in use."""
    for each in view.devices:
        if each.link_width is not None and each.link_width < (each.link_width_most or 0):
            yield Fault(f"GPU {each.index} uses {each.link_width} of {each.link_width_most} lanes", each.index)


def switching(view: View, _: Entry) -> Iterator[Fault]:
    """ACS of the bridges above GPUs that reach each other by PCI Express."""
    _expect_peers(view)
    for gpu in view.machine.gpus():
        above = view.machine.redirecting(gpu.bus_id)
        if above is None:
            raise UnknownError("the configuration of the PCI bridges can't be read")
        if above:
            yield Fault(f"GPU at {gpu.bus_id}: ACS is on at {', '.join(above)}", view.index(gpu.bus_id))


def translation(view: View, _: Entry) -> Iterator[Fault]:
    """An IOMMU that translates what GPUs send to each other."""
    _expect_peers(view)
    for gpu in view.machine.gpus():
        how = view.machine.translated(gpu.bus_id)
        if how is not None and how != "identity":
            yield Fault(f"GPU at {gpu.bus_id}: the IOMMU translates ({how})", view.index(gpu.bus_id))


def power(view: View, _: Entry) -> Iterator[Fault]:
    """The limit of power that the stack sets."""
    wanted = view.promise["power_limit_w"]
    if wanted is None:
        raise NeedlessError("the stack sets no limit of power")
    devices = view.devices
    wrong = [each for each in devices if each.power_limit_w not in (None, wanted)]
    for each in wrong:
        yield Fault(f"GPU {each.index} has a limit of {each.power_limit_w} W, the stack sets {wanted}", each.index)
    if not wrong:
        _expect_figures(each.index for each in devices if each.power_limit_w is None)


def clocks(view: View, check: Entry) -> Iterator[Fault]:
    """The highest clock that the stack allows. Idle GPUs go below the lowest one, so that can't be seen."""
    most = view.promise["clock_max_mhz"]
    if most is None:
        raise NeedlessError("the stack locks no clocks")
    devices = view.devices
    fast = [each for each in devices if each.clock_mhz is not None and each.clock_mhz > most + check["limit"]]
    for each in fast:
        yield Fault(f"GPU {each.index} runs at {each.clock_mhz} MHz, the stack allows {most}", each.index)
    if not fast:
        _expect_figures(each.index for each in devices if each.clock_mhz is None)


def generation(view: View, _: Entry) -> Iterator[Fault]:
    """PCI Express' generation that GPU and slot allow."""
    promised = view.promise["pcie_generation"]
    if promised is None:
        raise NeedlessError("no generation is known for this kind of GPU")
    for each in view.devices:
        if each.link_generation_most is not None and each.link_generation_most < promised:
            yield Fault(f"GPU {each.index} has PCIe {each.link_generation_most}, its kind has {promised}", each.index)


def links(view: View, _: Entry) -> Iterator[Fault]:
    """NVLinks of kinds that are sold with them."""
    if not view.promise["nvlink"] or view.promise["gpus"] < 2:
        raise NeedlessError("these GPUs are not joined by NVLink")
    for each in view.devices:
        off = [number for number, active in enumerate(each.nvlinks) if not active]
        if off or not each.nvlinks:
            what = f"NVLink {', '.join(map(str, off))} of {len(each.nvlinks)} inactive" if off else "no NVLink"
            yield Fault(f"GPU {each.index}: {what}", each.index)


def fabric_manager(view: View, _: Entry) -> Iterator[Fault]:
    """Fabric manager where there are NVSwitches, and the registration of GPUs, also where another machine manages the fabric."""
    devices, switches = view.devices, view.machine.switches()
    registered = [each for each in devices if each.fabric is not None]
    if not switches and not registered:
        raise NeedlessError("no NVSwitch on the PCI bus")
    if switches and not view.machine.running(FABRIC_MANAGER):
        known = view.machine.installed(FABRIC_MANAGER)
        yield Fault(f"{FABRIC_MANAGER} {'does not run' if known else 'is not installed'}")
    for each in registered:
        if each.fabric != _REGISTERED:
            yield Fault(f"GPU {each.index} is not registered with the fabric (state {each.fabric})", each.index)


def no_fabric_manager(view: View, _: Entry) -> Iterator[Fault]:
    """Fabric manager where there is nothing for it to manage."""
    view.expect_driver()
    if view.machine.switches() or view.promise["nvswitch"]:
        raise NeedlessError("there are NVSwitches")
    if view.machine.enabled(FABRIC_MANAGER):
        yield Fault(f"{FABRIC_MANAGER} is enabled, and there is no NVSwitch")


def persistence(view: View, _: Entry) -> Iterator[Fault]:
    """Persistence mode: without it the driver lets go of idle GPUs, and the next program waits for seconds."""
    off = [each.index for each in view.devices if each.persistent is False]
    if off:
        yield Fault(f"off for GPU {', '.join(map(str, off))}")


def computes(view: View, _: Entry) -> Iterator[Fault]:
    """The proof: a kernel on each GPU."""
    proof = view.proof
    if proof["error"]:
        yield Fault(proof["error"])
        return
    for each in proof["gpus"]:
        if each["error"]:
            yield Fault(f"GPU at {each['bus_id']}: {each['error']}", view.index(each["bus_id"]))
    if len(proof["gpus"]) < view.promise["gpus"]:
        yield Fault(f"CUDA has {_gpus(len(proof['gpus']))}, {view.promise['gpus']} promised")


def to_gpu(view: View, check: Entry) -> Iterator[Fault]:
    """Bandwidth from the host's memory to each GPU, in 10^9 bytes a second."""
    yield from _slow(view, "h2d_gb_s", check["limit"], "from the host")


def in_memory(view: View, check: Entry) -> Iterator[Fault]:
    """Bandwidth within each GPU's memory, in 10^9 bytes a second."""
    yield from _slow(view, "copy_gb_s", check["limit"], "within its memory")


def diagnosed(view: View, _: Entry) -> Iterator[Fault]:
    """DCGM's quick diagnostic, where DCGM is installed."""
    view.expect_driver()
    try:
        found = view.machine.diagnostic()
    except OSError as error:
        raise UnknownError(str(error)) from error
    if found is None:
        raise NeedlessError("DCGM is not installed")
    for each in found:
        yield Fault(each)


def reduces(view: View, _: Entry) -> Iterator[Fault]:
    """An all-reduce by the engine's own NCCL: that it ends, and is right."""
    found = view.all_reduce
    if found["error"]:
        yield Fault(f"over {_gpus(found['ranks'] or view.promise['gpus'])}: {found['error']}")


def among_gpus(view: View, check: Entry) -> Iterator[Fault]:
    """Bandwidth of that all-reduce."""
    found, least = view.all_reduce, check["limit"]
    if found["gb_s"] is None:
        raise UnknownError("the all-reduce gave no figure: see nccl.all-reduce")
    if least is None:
        raise NeedlessError(f"no floor is known for so many GPUs of this kind; measured: {found['gb_s']:.1f} GB/s")
    if found["gb_s"] < least:
        yield Fault(f"{found['gb_s']:.1f} GB/s among {_gpus(found['ranks'])}, at least {least:g} expected")


def disk_reads(view: View, check: Entry) -> Iterator[Fault]:
    """How fast the files of models are read, in 10^9 bytes a second, on each file system that has some."""
    files = weights(view.machine.root)
    if not files:
        raise NeedlessError("no model with a file of 64 MiB or more is on this host yet")
    for file in files:
        try:
            found = speed(file)
        except (NoDirectError, OSError):
            raise UnknownError(
                f"{file} can't be read past the page cache, and a figure from memory means nothing"
            ) from None
        if found.gb_s < check["limit"]:
            yield Fault(f"{found.path} is read with {found.gb_s:.2f} GB/s, at least {check['limit']:g} expected")


def resolves(view: View, check: Entry) -> Iterator[Fault]:
    """The names of the places that the stack has the host fetch from."""
    if not view.names:
        raise NeedlessError("the stack makes this host ask for no name")
    try:
        found = unresolved(view.names, check["limit"], view.machine.root)
    except OSError as error:
        raise UnknownError(f"no name can be asked for: {error}") from error
    for name, why in found.items():
        yield Fault(f"{name} {why}")


CHECKS: dict[str, Check] = {
    "gpu.on-bus": on_bus,
    "gpu.vendor": vendor,
    "gpu.nvswitch": switched,
    "driver.module": module,
    "driver.library": library,
    "driver.device-nodes": nodes,
    "gpu.count": count,
    "gpu.surplus": surplus,
    "gpu.lost": lost,
    "gpu.model": model,
    "gpu.memory": memory,
    "gpu.mig": whole,
    "gpu.memory-pending": pending,
    "gpu.memory-unmended": unmended,
    "gpu.memory-worn": worn,
    "gpu.ecc-uncorrected": uncorrected,
    "gpu.xid": xids,
    "gpu.xid-other": xids,
    "gpu.slowed": slowed,
    "gpu.pcie-width": width,
    "gpu.pcie-generation": generation,
    "gpu.nvlink": links,
    "gpu.acs": switching,
    "gpu.iommu": translation,
    "gpu.power-limit": power,
    "gpu.clocks": clocks,
    "fabric.manager": fabric_manager,
    "fabric.needless": no_fabric_manager,
    "driver.persistence": persistence,
    "cuda.kernel": computes,
    "cuda.bandwidth-host": to_gpu,
    "cuda.bandwidth-memory": in_memory,
    "dcgm.quick": diagnosed,
    "nccl.all-reduce": reduces,
    "nccl.bandwidth": among_gpus,
    "nccl.bandwidth-hosts": among_gpus,
    "disk.models": disk_reads,
    "host.dns": resolves,
}
"""By the id of their entries in the catalogue, in the order in which they are made and shown."""


def _expect_figures(missing: Iterable[int]) -> None:
    """What the driver says nothing of is no pass. Not asked where a GPU is at fault, which is to be told."""
    gpus = ", ".join(map(str, missing))
    if gpus:
        raise UnknownError(f"the driver gives no figure for GPU {gpus}")


def _slow(view: View, key: str, least: float | None, what: str) -> Iterator[Fault]:
    if least is None:
        raise NeedlessError("no floor is known for this kind of GPU")
    view.expect_idle()
    for each in view.proof["gpus"]:
        rate: Any = each[key]
        if rate is not None and rate < least:
            yield Fault(
                f"GPU at {each['bus_id']}: {rate:.1f} GB/s {what}, at least {least:g} expected",
                view.index(each["bus_id"]),
            )


def _expect_peers(view: View) -> None:
    """GPUs that meet in switches, or are alone, tell each other nothing over PCI Express; a virtual machine doesn't see how."""
    if view.promise["gpus"] < 2 or view.promise["nvswitch"]:
        raise NeedlessError("no GPUs that reach each other by PCI Express")
    if view.machine.virtual:
        raise NeedlessError("this is a virtual machine: its host decides")


def _gpus(number: int, maker: str = "NVIDIA") -> str:
    return f"{number or 'no'} {maker} GPU{'' if number == 1 else 's'}"


def _plain(name: str) -> str:
    return _MAKERS.sub("", name.casefold().replace("-", " ").strip())

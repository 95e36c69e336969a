"""What the catalogue knows of each kind of thing. One class per kind; YAML files under data/<kind>/ hold the entries.

Every entry names its sources: which figures, from where, of what date. Units are in the names of the fields: `_mib` and
`_gib` are binary, `_gb_s` is 10^9 bytes a second, `_tflops` is 10^12 dense floating-point operations a second (no
sparsity), `_usd` is money of the date that the source gives. What a unit can't be mistaken for is checked where a mistake would
be silent: a GPU's memory, bandwidth and rates.
"""

import datetime as dt
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct, field

Positive = Annotated[float, Meta(gt=0)]
PositiveInt = Annotated[int, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Version = Annotated[str, Meta(pattern=r"^\d+\.\d+(\.\d+)?$")]
Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]


_GIB_MIB = 1024


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where figures come from."""

    figures: list[str]
    """Names of the fields that it vouches for; `all` for every one without a source of its own."""
    source: Annotated[str, Meta(min_length=8)]
    """A document that others can find: title or address."""
    date: Date
    """The date of the document, or of the look at it."""


class Entry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all entries have in common."""

    words: ClassVar[frozenset[str]] = frozenset({"id", "aliases", "name", "sources", "notes", "suits"})
    """Fields that are no figures, so that no source need vouch for them."""

    id: Id
    """Its name in settings and on the command line; unique among its kind, aliases included."""
    aliases: list[str] = field(default_factory=list)
    """Other names that people and tools use for it; compared without regard to case."""
    sources: Annotated[list[Source], Meta(min_length=1)]

    def check(self) -> None:
        """What the types can't say: every figure has a source, and every source a figure.

        Raises:
            ValueError: one has not.
        """
        vouched = {figure for source in self.sources for figure in source.figures}
        unknown = sorted(vouched - {"all", *self.__struct_fields__})
        if unknown:
            raise ValueError(f"sources: {unknown[0]!r} is no field here; give fields' names, or all")
        if "all" not in vouched:
            figures = (name for name in self.__struct_fields__ if name not in self.words and name not in vouched)
            bare = [name for name in figures if getattr(self, name) not in (None, [])]
            if bare:
                raise ValueError(
                    f"sources: none for {', '.join(bare)}; add the names to a source's figures, or a source of `all`"
                )


class Price(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one costs to buy, new, without a host."""

    usd: Positive
    source: Annotated[str, Meta(min_length=8)]
    date: Date


class Tflops(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Dense peak by type, in 10^12 operations a second; null where the hardware has none."""

    fp32: Positive | None = None
    fp16: Positive | None = None
    bf16: Positive | None = None
    fp8: Positive | None = None
    int8: Positive | None = None
    fp4: Positive | None = None


class Interconnect(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How GPUs of one host reach each other."""

    kind: Literal["nvswitch", "nvlink", "nvlink-bridge", "infinity-fabric", "pcie"]
    gb_s: Positive
    """To all the others together, one direction, per GPU."""


NvidiaArchitecture = Literal["volta", "turing", "ampere", "ada", "hopper", "blackwell"]
KernelModules = Literal["open", "proprietary"]


class Pcie(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """PCI Express as the card has it."""

    generation: PositiveInt
    lanes: PositiveInt


class Gpu(Entry, frozen=True, kw_only=True):
    """A GPU as it is sold: form factor and memory size make it another entry."""

    name: str
    vendor: Literal["nvidia", "amd"]
    architecture: NvidiaArchitecture | Literal["cdna3", "cdna4"]
    compute_capability: Annotated[str, Meta(pattern=r"^(\d+\.\d|gfx[0-9a-f]+)$")]
    pcie: Pcie | None = None
    """None where it is not attached by PCI Express."""
    pci_ids: list[Annotated[str, Meta(pattern=r"^[0-9a-f]{4}$")]] = field(default_factory=list)
    """PCI device ids under which it is seen on the bus, as far as they were looked up."""
    memory_gb: Positive
    """As the vendor prints it."""
    driver_mib: PositiveInt
    """Total memory as nvidia-smi (or amd-smi) reports it, with ECC as shipped."""
    cuda_gib: Positive | None = None
    """Total memory as CUDA reports it to programs, where it was measured; else it is estimated from `driver_mib`."""
    bandwidth_gb_s: Positive
    tflops: Tflops
    interconnect: Interconnect
    power_w: Positive
    """Board power limit as shipped."""
    price: Price | None = None
    """None where it is not sold apart or no price is published."""

    words = Entry.words | {"price"}

    @property
    def nvidia_capability(self) -> float | None:
        """CUDA compute capability as a number; None for other vendors."""
        return float(self.compute_capability) if self.vendor == "nvidia" else None

    def check(self) -> None:
        """Units that were mixed up show as figures that no GPU has.

        Raises:
            ValueError: as `Entry`, and where a figure can't be of its field's unit.
        """
        super().check()
        _between("memory_gb", self.memory_gb, 1, 2000, "GB")
        _between("bandwidth_gb_s", self.bandwidth_gb_s, 20, 100_000, "GB a second")
        _between("power_w", self.power_w, 10, 10_000, "W")
        for name in self.tflops.__struct_fields__:
            rate = getattr(self.tflops, name)
            if rate is not None:
                _between(f"tflops.{name}", rate, 0.5, 100_000, "10^12 operations a second")
        # Firmware keeps up to 7 %, and AMD prints GB for what is GiB.
        least, most = (round(self.memory_gb * share * _GIB_MIB) for share in (0.85, 1.01))
        _between("driver_mib", self.driver_mib, least, most, f"MiB of a GPU with {self.memory_gb:g} GB")
        if self.cuda_gib is not None:
            total = self.driver_mib / _GIB_MIB
            _between("cuda_gib", self.cuda_gib, round(total * 0.9, 2), round(total, 2), f"GiB of {self.driver_mib} MiB")


class Tier(Entry, frozen=True, kw_only=True):
    """A hardware tier that stacks name: hosts of one kind."""

    name: str
    gpu: str | None
    """Id of the GPU; null for hosts without one."""
    gpus_per_host: Annotated[int, Meta(ge=0)]
    hosts: PositiveInt
    cpu_cores: PositiveInt
    memory_gib: PositiveInt
    disk_gib: PositiveInt
    network_gbit_s: Positive
    """Between hosts, per host."""
    instance: str | None = None
    """Id of the nearest cloud instance type."""
    hardware_price_usd: NonNegative | None = None
    """All hosts together, bought new."""
    host_power_w: Positive
    """One host under load without its GPUs."""
    suits: str
    """One sentence: models and load that it is for."""


class RegionPrice(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """On-demand price of an instance, Linux, without tax."""

    region: str
    usd_per_hour: Positive


class Instance(Entry, frozen=True, kw_only=True):
    """A cloud instance type with GPUs."""

    cloud: Literal["aws", "azure", "gcp", "alibaba"]
    gpu: str
    gpus: PositiveInt
    vcpus: PositiveInt
    memory_gib: Positive
    network_gbit_s: Positive
    efa: bool
    """Whether it has AWS's Elastic Fabric Adapter (elsewhere: RDMA between hosts)."""
    local_disk_gb: NonNegative
    prices: list[RegionPrice]


class Quantization(Entry, frozen=True, kw_only=True):
    """A way to store weights, as the engine names it."""

    name: str
    bits_per_weight: Positive
    """Of a quantized weight itself, without scales."""
    group_size: PositiveInt | None
    """Weights that share a scale as commonly shipped; null for one scale per tensor or channel."""
    activations: Literal["16", "8", "4"]
    """Bits of the activations that meet the weights in the multiplication."""
    at_run_time: bool
    """Whether the engine makes it from 16-bit weights as it loads them."""
    nvidia_min_capability: Positive | None
    """Lowest compute capability that the engine runs it on; null: none."""
    nvidia_max_capability: Positive | None = None
    amd: bool
    cpu: bool
    notes: str = ""


class Parsers(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """vLLM's names of the parsers that fit the model's format."""

    tool_call: str | None = None
    reasoning: str | None = None


class Model(Entry, frozen=True, kw_only=True):
    """A model; `id` is its repository on the Hugging Face hub."""

    family: str
    task: Literal["chat", "base", "code", "reasoning", "embedding", "rerank", "vision"]
    licence: str
    """SPDX identifier, or the licence's own name."""
    commercial_use: bool
    parameters: PositiveInt
    """As published: the exact count of the safetensors index where one is known, else the card's rounded figure."""
    parameters_exact: bool
    """Whether `parameters` is exact, so that what is derived from `config` must equal it."""
    active_parameters: PositiveInt | None = None
    """Of a mixture of experts: those a token passes, as published."""
    context: PositiveInt
    """Longest context that the makers vouch for, in tokens."""
    parsers: Parsers = field(default_factory=Parsers)
    trust_remote_code: bool = False
    config: dict[str, Any]
    """The part of the published config.json that memory and speed follow from, key by key as published."""


class Engine(Entry, frozen=True, kw_only=True):
    """An inference engine, and what Slipway can do with it."""

    name: str
    version: str
    """The pinned release; empty where Slipway does not deploy it yet."""
    deployed: bool
    """Whether Slipway has an adapter that deploys it."""
    sized: bool
    """Whether Slipway has a memory model of it."""
    licence: str
    hardware: list[Literal["nvidia", "amd", "cpu"]]
    api: str
    home: str


class Check(Entry, frozen=True, kw_only=True):
    """A check of a GPU host. What it does is a function of the same name in playbooks/module_utils/gpu_host/checks.py."""

    what: str
    """What is so where it passes."""
    severity: Literal["critical", "warning"]
    """Critical: engines can't run on this host, or on this GPU. Warning: they run, and disappoint."""
    moments: Annotated[list[Literal["preflight", "proof", "exchange", "hosts", "watch"]], Meta(min_length=1)]
    """When it is made: before anything is changed; before engines are installed; once they are, before they start; by
    `slipway doctor --between-hosts`; every minute. `slipway doctor` makes all but those between hosts."""
    consequence: str
    """What follows where it fails; a clause without a full stop."""
    mend: str
    """What to do then; a clause without a full stop."""
    unit: str | None = None
    """Of the limits; None where there is none."""
    limit: float | None = None
    """For every GPU that `limits` does not name."""
    limits: dict[str, float] = field(default_factory=dict)
    """By a GPU's id."""
    codes: list[int] = field(default_factory=list)
    """Of the driver's errors (Xid), those that it looks for."""
    share_of: Literal["bandwidth_gb_s", "network_gb_s"] | None = None
    """A figure of the GPU in the catalogue, or of the network between hosts, of which `limit` is a share."""
    of_gpus: PositiveInt | None = None
    """GPUs of a host that the limits are of; of other hosts none is known."""
    every_host: bool = False
    """Whether hosts without GPUs are asked too."""

    words = Entry.words | {"what", "severity", "moments", "consequence", "mend", "unit", "share_of", "every_host"}

    def check(self) -> None:
        """Limits have a unit.

        Raises:
            ValueError: as `Entry`, and where they have none.
        """
        super().check()
        if (self.limit is not None or bool(self.limits)) != (self.unit is not None):
            raise ValueError("unit: goes with a limit, and a limit needs one; give both or neither")

    def limit_for(self, gpu: Gpu | None, gpus: int = 1, network_gb_s: float | None = None) -> float | None:
        """The limit that goes for so many GPUs of a kind on hosts with such a network; None where there is none."""
        if self.of_gpus not in {None, gpus}:
            return None
        own = self.limits.get(gpu.id) if gpu is not None else None
        if own is not None or self.limit is None or self.share_of is None:
            return self.limit if own is None else own
        figure = network_gb_s if self.share_of == "network_gb_s" else getattr(gpu, self.share_of, None)
        return None if figure is None else self.limit * float(figure)


class ModulesFor(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The architectures that a driver's kernel modules drive, by the kind of the modules."""

    open: list[NvidiaArchitecture]
    proprietary: list[NvidiaArchitecture]

    def of(self, kind: KernelModules) -> list[NvidiaArchitecture]:
        """Those of one kind."""
        return self.open if kind == "open" else self.proprietary


class BrokenKernel(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kernels that a branch's modules are known not to build for, as `uname -r` names them."""

    modules: KernelModules
    system: Literal["debian", "ubuntu", "redhat"]
    first: str
    """The first of them."""
    below: str
    """The first after them: where the kernel's next series begins."""


class DriverBranch(Entry, frozen=True, kw_only=True):
    """A branch of NVIDIA's data-centre driver for Linux; `id` is its number."""

    id: Annotated[str, Meta(pattern=r"^\d{3}$")]
    name: str
    support: Literal["lts", "production", "new-feature", "ended"]
    ends: Date | None
    """The last month, or day, with updates; null where that is not known."""
    default: bool = False
    """Whether it is taken where nothing speaks against it; true of one."""
    cuda_major: PositiveInt
    """The highest major version of CUDA whose programs it runs without compatibility libraries."""
    cuda_floor: Version | None = None
    """The oldest driver that runs programs of `cuda_major`, at the branch that major version began with."""
    tested: Version | None = None
    """The version that is taken from the vendor's repository where the stack names none; null: the stack has to."""
    modules: ModulesFor
    broken_kernels: list[BrokenKernel] = field(default_factory=list)

    words = Entry.words | {"default"}

    @property
    def last_day(self) -> dt.date | None:
        """The last day with updates."""
        if self.ends is None:
            return None
        year, month, *day = map(int, self.ends.split("-"))
        if day:
            return dt.date(year, month, *day)
        return dt.date(year + month // 12, month % 12 + 1, 1) - dt.timedelta(days=1)

    def check(self) -> None:
        """Versions are of the branch.

        Raises:
            ValueError: as `Entry`, and where a version is another branch's.
        """
        super().check()
        for name, version in (("cuda_floor", self.cuda_floor), ("tested", self.tested)):
            if version is not None and version.partition(".")[0] != self.id:
                raise ValueError(f"{name}: {version} is no version of branch {self.id}")


def _between(name: str, value: float, least: float, most: float, unit: str) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name}: {value:.15g} can't be {unit}; {least:g} to {most:g} can")

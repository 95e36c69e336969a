"""What follows from a stack's settings: plain, frozen data. `slipway.deployment.resolve` makes it, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slipway.catalog import Catalog, DriverBranch, Gpu
from slipway.catalog import Model as Entry
from slipway.catalog.types import KernelModules
from slipway.deployment.claims import Claims
from slipway.deployment.names import COUNTERS, KEEPALIVED, STORE
from slipway.deployment.references import LOOPBACK, Reference, Side, private, resolved
from slipway.engines.base import EngineAdapter, Figures, Launch, Program
from slipway.engines.registry import adapter
from slipway.engines.releases import Needs
from slipway.findings import Finding
from slipway.settings.driver import Driver
from slipway.settings.errors import place
from slipway.settings.gateway import Team
from slipway.settings.models import ProvidedModel, RoutedModel, ServedModel, Task
from slipway.settings.platform import Settings
from slipway.settings.pools import Network
from slipway.settings.providers import Provider
from slipway.settings.types import Secret
from slipway.sizing.architecture import Architecture
from slipway.sizing.result import Sizing
from slipway.targets.base import PoolMachine


@dataclass(frozen=True, kw_only=True)
class DriverPlan:
    """The NVIDIA driver that Slipway installs on the machines of one pool."""

    settings: Driver
    branch: str
    """Its number."""
    entry: DriverBranch | None
    """In the catalogue; None where that has no such branch, which a check refuses."""
    modules: KernelModules
    needs: tuple[tuple[str, Needs], ...]
    """What the engines on the pool need, each with the name of the model that it serves."""

    @property
    def version(self) -> str | None:
        """The exact version that is asked for wherever the driver comes from; None where the stack names none."""
        return self.settings.version

    @property
    def vendor_version(self) -> str | None:
        """The exact version that the vendor's repository, or a mirror of it, is asked for; None where none is known."""
        return self.version or (None if self.entry is None else self.entry.tested)

    @property
    def from_vendor(self) -> bool:
        """Whether it comes from NVIDIA's repository, whatever the system."""
        return self.settings.source in {"vendor", "mirror"}

    @property
    def shown(self) -> str:
        """As people say it: `580.173.02`, or `580` where the version is the archive's choice."""
        return (self.vendor_version if self.from_vendor else self.version) or self.branch


@dataclass(frozen=True, kw_only=True)
class Machine(PoolMachine):
    """One machine of a pool, with what its tier says filled in."""

    tier: str | None
    gpu: Gpu | None
    gpus: int
    min_disk_gib: float
    min_memory_gib: float
    network: Network
    """Between it and its pool's other machines."""
    driver: DriverPlan | None = None
    """None where it has no NVIDIA GPU, or somebody else installs its driver."""
    may_be_missing: bool = False
    """Whether the others can do without it: its pool allows it, and neither gateway nor front is on it."""


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """How one replica of a model is spread over its GPUs."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1

    @property
    def ranks(self) -> int:
        """GPUs that it uses."""
        return self.tensor * self.pipeline * self.data


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where a model's files lie on a machine, and where they come from."""

    slug: str
    path: str
    """The folder on the machine."""
    gguf: str | None
    """The GGUF file within it; None where the model is a folder of a hub's usual format."""
    source: Mapping[str, Any]
    """As role model takes it."""
    record: str | None
    """What marks the folder as Slipway's and tells one version from another; None where the files are somebody else's."""
    token: Secret | None = None
    environment: tuple[str, ...] = ()
    """Of this machine's environment, what a run needs to bring them."""

    @property
    def target(self) -> str:
        """What an engine loads: the folder, or the GGUF file."""
        return self.path if self.gguf is None else f"{self.path}/{self.gguf}"

    @property
    def mark(self) -> str:
        """The file that holds the record."""
        return f"{self.path}/.slipway.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A model that is served here, as far as it is known before it is placed."""

    name: str
    slug: str
    settings: ServedModel
    pool: str
    catalog: Catalog
    gpu: Gpu | None
    """None on the CPU, and where it is not known."""
    gpus: int
    """Of each replica, of all its machines together; 0 on the CPU."""
    machines: int
    """Of its pool."""
    machine_gpus: int
    """GPUs of each of them."""
    network_gbit_s: float
    """Of each of them for what its replicas tell one another: what its tier has, or all that is needed where the pool names
    adapters for it; 0 where nothing is known."""
    host_memory_gib: float | None
    """What a machine has, where the tier says it."""
    entry: Entry | None
    """In the catalogue."""
    architecture: Architecture | None
    """None where it could not be read, or the model is a GGUF file."""
    drain_s: int
    """How long the engine, once told to stop, may take to end what it has begun."""
    engine_key: Secret | None
    """What the gateway sends it."""
    files: ModelFiles

    @property
    def adapter(self) -> EngineAdapter:
        """Its engine's."""
        return adapter(self.settings.engine.engine)

    @property
    def on_gpus(self) -> bool:
        """Whether its engine runs on GPUs."""
        return self.gpus > 0

    @property
    def hosts(self) -> int:
        """Machines that share each replica."""
        return self.settings.hosts

    @property
    def gpus_of_a_host(self) -> int:
        """GPUs of each replica on each of its machines; 0 on the CPU."""
        return self.gpus // self.hosts

    @property
    def keys(self) -> tuple[str, str]:
        """Where its settings stand."""
        return ("models", self.name)

    def at(self, path: str = "") -> str:
        """The whole path of one of its settings, such as ``engine.dtype``; of the model's section without one."""
        return place(*self.keys, *(path.split(".") if path else ()))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an engine's memory model says of one replica."""

    parallelism: Parallelism
    figures: Figures | None = None
    """Of one copy of the model; None where nothing could be computed."""
    sizing: Sizing | None = None
    """The whole of the answer, for engines that Slipway sizes term by term."""
    flags: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Of the engine, as far as they follow from the sizing of a GGUF file."""
    gaps: tuple[Finding, ...] = ()
    """What could not be checked, and which setting would allow it; also what makes it impossible."""


@dataclass(frozen=True, kw_only=True)
class Served(Plan):
    """A model that is served here, sized."""

    measured: Measured
    replicas: int

    @property
    def parallelism(self) -> Parallelism:
        """How one replica is spread over its GPUs."""
        return self.measured.parallelism

    @cached_property
    def program(self) -> Program:
        """What its engine needs installed."""
        return self.adapter.program(self)


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One machine among those that share a replica."""

    machine: str
    instance: str
    port: int
    """Of the head, where it is asked; of another one, where it tells the head that it is there."""


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """The machines that share one replica, and where they meet. They speak over their private addresses."""

    seats: tuple[Seat, ...]
    """In the order of their ranks: the first is the head, which alone is asked."""
    port: int
    """On the head: where the others come to."""

    @property
    def head(self) -> Seat:
        """The one that is asked."""
        return self.seats[0]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One replica of a model on one machine, or one machine's part of it: a unit of its own."""

    name: str
    served: Served
    machine: Machine
    gpus: tuple[int, ...]
    share: float
    """The part of each of its GPUs that it takes; 0 on the CPU."""
    port: int
    address: str
    """Where it listens: loopback, or the reference of its machine's private address when the gateway is elsewhere, or when it
    is a part of a replica."""
    meeting: Meeting | None = None
    """None where the replica is on this machine alone."""

    @property
    def network(self) -> Network:
        """Between its machine and the others of its pool."""
        return self.machine.network

    @property
    def rank(self) -> int:
        """Its place among the machines of its replica; that of the head is 0."""
        if self.meeting is None:
            return 0
        places = [(seat.machine, seat.instance) for seat in self.meeting.seats]
        return places.index((self.machine.name, self.name))

    @property
    def is_head(self) -> bool:
        """Whether it is the one of its replica that is asked."""
        return self.rank == 0

    @property
    def url(self) -> str:
        """Where the gateway reaches it, up to and with /v1."""
        return f"http://{self.address}:{self.port}/v1"

    @property
    def claims(self) -> Claims:
        """What it has of its machine for itself."""
        meeting = self.meeting.port if self.meeting is not None and self.is_head else None
        return Claims(self.gpus, self.port, self.share, meeting)

    @cached_property
    def launch(self) -> Launch:
        """How its engine is started."""
        return self.served.adapter.launch(self)


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A model that a provider serves."""

    name: str
    settings: ProvidedModel
    provider_name: str
    provider: Provider

    @property
    def model(self) -> str:
        """The provider's name for it."""
        return self.settings.model or self.name


@dataclass(frozen=True, kw_only=True)
class Route:
    """One name that clients can ask for, and what answers."""

    name: str
    task: Task
    targets: Mapping[str, int]
    """Served and provided models by name, with their weights."""
    aliases: tuple[str, ...]
    fallbacks: tuple[str, ...]
    """Names of other routes, in order."""
    private: bool
    context_window: int | None
    max_output_tokens: int | None
    settings: ServedModel | ProvidedModel | RoutedModel


@dataclass(frozen=True, kw_only=True)
class GatewayInstance:
    """One gateway process: the one of all teams, or one of private teams alone."""

    name: str
    machine: Machine
    port: int
    address: str
    teams: Mapping[str, Team]
    private_only: bool
    """Whether it knows no provider and cannot open a connection to anything but the engines."""
    front_key: Secret | None
    """What fronts show it, which then say whose a request is; None where it listens on the loopback alone, and asks for
    teams' keys. Nobody else in the network can ask it, so nobody passes by the limits that fronts count."""

    @property
    def claims(self) -> Claims:
        """What it has of its machine for itself."""
        return Claims((), self.port, 0)


@dataclass(frozen=True, kw_only=True)
class FloatingPlan:
    """What two fronts share: an address that moves, counters, a private CA. All secrets follow from one of the stack's."""

    address: str
    """With the length of its prefix."""
    interface: str | None
    """None for the one that has the machine's private address."""
    router_id: int
    password: Secret
    """Of the two keepalived for one another. It passes the network in clear, so it protects from mistakes alone."""
    counters: Machine
    """Where the counters run."""
    counters_port: int
    counters_password: Secret
    authority_seed: Secret
    """From which both fronts make the key of the same private CA."""


@dataclass(frozen=True, kw_only=True)
class FrontPlan:
    """The front: where it runs, and under what name clients reach it."""

    name: str
    """What its unit, its step and its port's owner are called, as with an instance."""
    machine: Machine
    """The only one, or the first."""
    server_name: str
    """May hold a reference."""
    port: int
    others: tuple[Machine, ...] = ()
    """Where there is a further one, with a floating address."""
    floating: FloatingPlan | None = None

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All that a front runs on, the first one first."""
        return (self.machine, *self.others)

    @property
    def endpoint(self) -> str:
        """The base URL for clients, ending in /v1."""
        return f"https://{self.server_name}{'' if self.port == 443 else f':{self.port}'}/v1"


@dataclass(frozen=True, kw_only=True)
class AcceptanceTeam:
    """A team of Slipway's own, as which acceptance asks: no other team's quota is spent."""

    name: str
    key: Secret
    models: tuple[str, ...]
    """What it asks, and no more."""
    requests_per_minute: int
    private: bool


@dataclass(frozen=True, kw_only=True)
class StorePlan:
    """The model store: where it is, and for whom it has models."""

    machine: Machine
    path: str
    port: int
    readers: tuple[Machine, ...]
    """The machines that serve models of it, its own among them where it does."""

    @property
    def others(self) -> tuple[Machine, ...]:
        """The machines that fetch from it over the network."""
        return tuple(machine for machine in self.readers if machine != self.machine)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """All that follows from a stack's settings. Steps, outputs, checks, policies and reviews read it, and nothing before it."""

    source: str
    """The file of the settings; it tells one stack from another."""
    settings: Settings
    catalog: Catalog
    machines: Mapping[str, Machine]
    served: Mapping[str, Served]
    provided: Mapping[str, Provided]
    routes: Mapping[str, Route]
    instances: tuple[Instance, ...]
    """All units of engines; those of one replica follow one another, its head first."""
    gateways: tuple[GatewayInstance, ...]
    front: FrontPlan
    acceptance: tuple[AcceptanceTeam, ...]
    """As whom every model is asked; where private teams have a gateway of their own, also as one of those, which comes second."""
    store: StorePlan | None = None
    """None where every machine fetches its models itself."""

    def members(self, pool: str) -> list[Machine]:
        """The machines of one pool."""
        return [machine for machine in self.machines.values() if machine.pool == pool]

    def on(self, machine: Machine) -> list[Instance]:
        """The engines on one machine."""
        return [instance for instance in self.instances if instance.machine == machine]

    def gateways_on(self, machine: Machine) -> list[GatewayInstance]:
        """The gateways on one machine, the one of all teams first."""
        return [gateway for gateway in self.gateways if gateway.machine == machine]

    @property
    def heads(self) -> list[Instance]:
        """The engines that are asked: one for each replica."""
        return [instance for instance in self.instances if instance.is_head]

    def of(self, model: str) -> list[Instance]:
        """The engines that are asked for one model: one for each replica."""
        return [instance for instance in self.heads if instance.served.name == model]

    def head_of(self, instance: Instance) -> Instance:
        """The one that is asked for the replica of which `instance` is a part."""
        if instance.meeting is None:
            return instance
        head = instance.meeting.head
        return next(each for each in self.instances if (each.machine.name, each.name) == (head.machine, head.instance))

    def parts(self, head: Instance) -> list[Instance]:
        """All instances of the replica that `head` is asked for, itself first."""
        if head.meeting is None:
            return [head]
        here = {(each.machine.name, each.name): each for each in self.instances}
        return [here[seat.machine, seat.instance] for seat in head.meeting.seats]

    def runs(self, machine: Machine) -> list[str]:
        """What runs on a machine, by the name of its instances."""
        serves = self.store is not None and self.store.machine == machine and bool(self.store.others)
        names = [STORE] if serves else []
        names += [instance.name for instance in self.on(machine)]
        names += [gateway.name for gateway in self.gateways_on(machine)]
        if machine not in self.front.machines:
            return names
        if self.front.floating is None:
            return [*names, self.front.name]
        counters = [COUNTERS] if machine == self.front.floating.counters else []
        return [*names, *counters, self.front.name, KEEPALIVED]

    def known(self, value: Any) -> Any:
        """Plain data with every reference in its texts replaced by the address, as far as it is known before an `up`.

        A text that holds another is None.
        """
        return resolved(value, self.address)

    def address(self, reference: Reference) -> str | None:
        """A machine's address; None where it is known once the machine is made."""
        machine = self.machines[reference.machine]
        if reference.side is Side.PRIVATE and machine.has_private_address:
            return machine.private_address
        return machine.address

    @property
    def gaps(self) -> tuple[Finding, ...]:
        """What could not be checked of any model."""
        return tuple(gap for served in self.served.values() for gap in served.measured.gaps)


def listen_address(machine: Machine, *callers: Machine) -> str:
    """Where something on `machine` listens that only `callers` ask: loopback, or its private address."""
    return LOOPBACK if all(caller == machine for caller in callers) else private(machine.name)

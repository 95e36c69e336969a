"""The whole of a stack's settings, and the rules that span sections."""

from collections import Counter
from collections.abc import Iterable
from math import prod
from typing import Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from slipway.settings.base import Section
from slipway.settings.engine import Build, Engine
from slipway.settings.front import Front
from slipway.settings.gateway import Gateway
from slipway.settings.hardware import Hardware
from slipway.settings.hosts import Host, Service
from slipway.settings.model import Model
from slipway.settings.security import Security
from slipway.settings.types import LocalPath

_T = TypeVar("_T")


class Settings(Section):
    """What a stack's YAML says under `slipway:platform`."""

    hosts: tuple[Host, ...] = Field(min_length=1)
    """The hosts that the stack takes."""
    hardware: Hardware = Hardware()
    """What every engine host has."""
    model: Model
    """The model that is served."""
    engine: Engine = Engine()
    """The inference engine."""
    gateway: Gateway
    """Keys, limits and routing."""
    front: Front = Front()
    """TLS."""
    security: Security = Security()
    """Who may reach the endpoint."""
    purpose: Literal["production", "staging", "development"] | None = None
    """What depends on the stack. Policies ask more of production: two replicas, a drain, acceptance. Default: production
    where the stack's name says `prod`."""
    catalog: LocalPath | None = None
    """A YAML file with entries of your own for the catalogue (GPUs, tiers, models …), relative to the project's folder."""

    @field_validator("hosts")
    @classmethod
    def _hosts_are_distinct(cls, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
        for name in _repeated(host.name for host in hosts):
            raise ValueError(f"the name {name!r} is given twice; resources would collide: rename one host")
        for address, port in _repeated((host.address, host.port) for host in hosts):
            raise ValueError(
                f"{address} port {port} is given twice; one machine would be set up as two: remove one of the two hosts"
            )
        return hosts

    @field_validator("gateway")
    @classmethod
    def _keys_are_distinct(cls, gateway: Gateway) -> Gateway:
        for team in _repeated(entry.team for entry in gateway.keys):
            raise ValueError(f"keys: the team {team!r} is given twice; its limits would be ambiguous: merge the two")
        by_key: dict[str, str] = {}
        for entry in gateway.keys:
            other = by_key.setdefault(entry.key.get_secret_value(), entry.team)
            if other != entry.team:
                raise ValueError(
                    f"keys: the teams {other!r} and {entry.team!r} have the same key; "
                    "requests could not be told apart: give each its own"
                )
        return gateway

    @model_validator(mode="after")
    def _hosts_fit_together(self) -> Self:
        for service in (Service.GATEWAY, Service.FRONT):
            names = [host.name for host in self.hosts_running(service)]
            if len(names) != 1:
                said = ", ".join(names) if names else "no host"
                raise ValueError(
                    f"hosts: {service} must run on exactly one host ({said} has it); "
                    "there would be no single endpoint: correct the hosts' `runs`"
                )
        if not self.engine_hosts:
            raise ValueError("hosts: no host runs an engine; nothing could answer: add engine to a host's `runs`")
        for host in self._hosts_called_by_peers():
            if host.internal_address is None:
                raise ValueError(
                    f"hosts: {host.name} is called by other hosts, but {host.address} is no private address; "
                    "its service would face the internet: set its private_address"
                )
        apart = [host.name for host in self.engine_hosts if host != self.gateway_host]
        if apart and self.engine.key is None:
            raise ValueError(
                f"engine.key: missing, while {', '.join(apart)} and the gateway are different hosts; anyone in the "
                "private network could use the engine: set it, for example to {env: SLIPWAY_ENGINE_KEY}"
            )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        ports = {
            Service.ENGINE: ("engine.port", self.engine.port),
            Service.GATEWAY: ("gateway.port", self.gateway.port),
            Service.FRONT: ("front.port", self.front.port),
        }
        for host in self.hosts:
            here = [ports[service] for service in self.services(host)] + [("its SSH port", host.port)]
            for port in _repeated(port for _, port in here):
                keys = " and ".join(key for key, value in here if value == port)
                raise ValueError(f"{keys} are both {port} on {host.name}; one would not start: choose another port")
        return self

    @model_validator(mode="after")
    def _build_fits_hardware(self) -> Self:
        if not self.hardware.resolved:
            return self  # the rules are asked again once the tier has been looked up
        gpus, engine = self.hardware.gpus, self.engine
        if self.build is Build.CUDA and gpus == 0:
            raise ValueError(
                "engine.build is cuda while hardware.gpus is 0; the engine would not start: "
                "set hardware.gpus, or engine.build to cpu"
            )
        for key in ("tensor_parallel", "pipeline_parallel", "data_parallel"):
            if self.build is Build.CPU and getattr(engine, key) not in (None, 1):
                raise ValueError(f"engine.{key} needs GPUs; a cpu build would not start: remove it")
            wanted = getattr(engine, key)
            if self.build is Build.CUDA and wanted is not None and wanted > gpus:
                raise ValueError(
                    f"engine.{key} is {wanted} while hardware.gpus is {gpus}; the engine would not start: "
                    f"use at most {gpus}"
                )
        sizes = {
            "engine.tensor_parallel": engine.tensor_parallel or 1,
            "engine.pipeline_parallel": engine.pipeline_parallel or 1,
            "engine.data_parallel": engine.data_parallel,
        }
        needed = prod(sizes.values())
        if self.build is Build.CUDA and needed > gpus:
            said = " times ".join(f"{key} {value}" for key, value in sizes.items() if value > 1)
            raise ValueError(
                f"{said} is {needed} while hardware.gpus is {gpus}; the engine would not start: lower one of them"
            )
        return self

    @property
    def build(self) -> Build:
        """The engine's build, computed from the hardware where the stack does not say."""
        if not self.hardware.resolved and self.engine.build is None:
            # Guessing would put the CPU build on GPU hosts.
            raise AssertionError("hardware.tier has not been looked up: call slipway.checks.examine first")
        return self.engine.build or (Build.CUDA if self.hardware.gpus else Build.CPU)

    @property
    def tensor_parallel(self) -> int:
        """GPUs that share each layer of one copy; 1 on the CPU."""
        if self.build is Build.CPU:
            return 1
        return self.engine.tensor_parallel or max(
            1, self.hardware.gpus // (self.pipeline_parallel * self.data_parallel)
        )

    @property
    def pipeline_parallel(self) -> int:
        """Groups of GPUs that share the layers of one copy."""
        return self.engine.pipeline_parallel or 1

    @property
    def data_parallel(self) -> int:
        """Copies of the model on each engine host."""
        return self.engine.data_parallel

    def services(self, host: Host) -> tuple[Service, ...]:
        """What runs on `host`, with the default filled in."""
        if host.runs is not None:
            return host.runs
        return tuple(Service) if host == self.hosts[0] else (Service.ENGINE,)

    def hosts_running(self, service: Service) -> tuple[Host, ...]:
        """The hosts that run `service`, in the stack's order."""
        return tuple(host for host in self.hosts if service in self.services(host))

    @property
    def engine_hosts(self) -> tuple[Host, ...]:
        """The hosts that run an engine."""
        return self.hosts_running(Service.ENGINE)

    @property
    def gateway_host(self) -> Host:
        """The host that runs the gateway."""
        return self.hosts_running(Service.GATEWAY)[0]

    @property
    def front_host(self) -> Host:
        """The host that runs the front."""
        return self.hosts_running(Service.FRONT)[0]

    @property
    def server_name(self) -> str:
        """The name or address by which clients reach the endpoint."""
        return self.front.server_name or self.front_host.address

    @property
    def endpoint(self) -> str:
        """The base URL for clients, ending in /v1."""
        port = "" if self.front.port == 443 else f":{self.front.port}"
        return f"https://{self.server_name}{port}/v1"

    def bind_address(self, service: Service, host: Host) -> str:
        """Where an engine or the gateway on `host` listens: loopback, or the private network when a peer calls it."""
        callers = {Service.ENGINE: self.gateway_host, Service.GATEWAY: self.front_host}
        if callers[service] == host:
            return "127.0.0.1"
        address = host.internal_address
        if address is None:  # `_hosts_fit_together` has refused this
            raise AssertionError(host.name)
        return address

    def _hosts_called_by_peers(self) -> Iterable[Host]:
        yield from (host for host in self.engine_hosts if host != self.gateway_host)
        if self.gateway_host != self.front_host:
            yield self.gateway_host


def _repeated(values: Iterable[_T]) -> list[_T]:
    return [value for value, count in Counter(values).items() if count > 1]

"""Pools: machines that are alike, and how they come."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, HttpUrl, create_model, model_validator

from slipway.settings.base import Section
from slipway.settings.driver import Driver
from slipway.settings.types import AdapterName, CatalogName, Count, GiB, InterfaceName
from slipway.targets.registry import packages, sections

if TYPE_CHECKING:
    Sources = Section
else:
    Sources = create_model(
        "Sources",
        __base__=Section,
        **{
            name: (section | None, Field(default=None, description=meaning))
            for name, (section, meaning) in sections().items()
        },
    )
    """One key for each target."""


class Network(Section):
    """How the machines of one replica reach one another, where a model's `hosts` is more than 1."""

    interface: InterfaceName | None = None
    """The network interface that NCCL and Gloo use, as `ip link` calls it on each machine. Default: on each the one that has its
    private address."""
    adapters: tuple[AdapterName, ...] = ()
    """The InfiniBand or RoCE adapters that NCCL uses, as `ibstat` calls them: `mlx5_0`. Default: all that it finds active."""


class Pool(Sources):
    """Machines that are alike. What is promised here, preflight checks on each machine before anything is changed."""

    # The settings know no catalogue: `slipway.deployment` looks a tier up and fills in what is not given.

    tier: CatalogName | None = None
    """A hardware tier of the catalogue (cpu, poc, team, prod, cluster …); the keys below that are not given follow from it."""
    gpu: CatalogName | None = None
    """The kind of GPU, by the catalogue's id or another name of it: what fits is computed from it. Default: the tier's."""
    gpus: Count = 0
    """GPUs of each machine; 0 means that its engines run on the CPU. Default: the tier's; 1 where only `gpu` is given."""
    driver: Driver = Driver()
    """The NVIDIA driver of machines with GPUs: which one, and where it comes from. Default: Slipway installs it."""
    min_disk_gib: GiB = 15
    """Free disk that a machine must have under /opt and /var/lib, in GiB. An engine's Python environment takes 6 to 10.
    With a tier the default adds the size of the models that Slipway copies."""
    min_memory_gib: GiB = 3
    """Memory that a machine must have, in GiB. With a tier the default is 90 % of its memory: firmware and kernel keep some."""
    python_mirror: HttpUrl | None = None
    """Where machines whose own Python is too old (Ubuntu 22.04) fetch another: a copy of uv's builds, laid out alike; what it
    serves is checked. Default: uv's own place, or the `python-install-mirror` of the machine's `/etc/uv/uv.toml`."""
    may_be_missing: Count = 0
    """How many of its machines an `up` may leave out because they can't be reached, or were refused. The outputs name them, no
    request is sent to them, and the next `up` takes them in. The gateway's and the front's machines may never be missing."""
    network: Network = Network()
    """The network between machines that share a replica."""

    @model_validator(mode="before")
    @classmethod
    def _one_gpu_unless_said(cls, value: Any) -> Any:
        alone = isinstance(value, dict) and value.get("gpu") is not None and value.get("tier") is None
        return {**value, "gpus": 1} if alone and "gpus" not in value else value

    @model_validator(mode="after")
    def _gpu_and_gpus_agree(self) -> Self:
        if self.gpu is not None and self.gpus == 0 and (self.tier is None or "gpus" in self.model_fields_set):
            raise ValueError(
                "gpu is given while there are 0 GPUs; engines would run on the CPU: set gpus, or remove gpu"
            )
        return self

    @model_validator(mode="after")
    def _driver_has_gpus(self) -> Self:
        if (
            "driver" in self.model_fields_set
            and self.gpus == 0
            and (self.tier is None or "gpus" in self.model_fields_set)
        ):
            raise ValueError("driver is given while there are 0 GPUs; nothing would use it: set gpus, or remove driver")
        return self

    @model_validator(mode="after")
    def _exactly_one_target(self) -> Self:
        given, known = self._targets(), list(packages())
        if not given:
            which = known[0] if len(known) == 1 else f"exactly one of {', '.join(known)}"
            raise ValueError(f"names no machines; nothing could run in this pool: give {which}")
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} are given; which machines are the pool's could not be told: leave one of them here, "
                "and give the others pools of their own"
            )
        return self

    @property
    def target(self) -> str:
        """The target that its machines come from: the one of its keys that is given."""
        return self._targets()[0]

    @property
    def section(self) -> Any:
        """What stands under the target's key."""
        return getattr(self, self.target)

    def _targets(self) -> list[str]:
        return [name for name in packages() if getattr(self, name) is not None]

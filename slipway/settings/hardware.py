"""The hardware that every engine host of the stack has, and what preflight demands of it."""

from typing import Any, Self

from pydantic import model_validator

from slipway.settings.base import Section
from slipway.settings.types import CatalogName, Count, GiB


class Hardware(Section):
    """Promises that preflight checks on each host before anything is changed, and what the sizing computes with."""

    # The settings know no catalogue: `slipway.checks` looks a tier up and fills in what is not given.

    tier: CatalogName | None = None
    """A hardware tier of the catalogue (cpu, poc, team, prod, cluster …); the keys below that are not given follow from it."""
    gpu: CatalogName | None = None
    """The kind of GPU, by the catalogue's id or another name of it: what fits is computed from it. Default: the tier's."""
    gpus: Count = 0
    """GPUs per engine host; 0 means that the engine runs on the CPU. Default: the tier's; 1 where only `gpu` is given."""
    min_disk_gib: GiB = 15
    """Free disk that a host must have under /opt and /var/lib, in GiB. The engine's Python environment takes 6 to 10.
    With a tier the default adds the model's size where Slipway copies the model."""
    min_memory_gib: GiB = 3
    """Memory that a host must have, in GiB. With a tier the default is 90 % of its memory: firmware and kernel keep some."""

    @model_validator(mode="before")
    @classmethod
    def _one_gpu_unless_said(cls, value: Any) -> Any:
        alone = isinstance(value, dict) and value.get("gpu") is not None and value.get("tier") is None
        return {**value, "gpus": 1} if alone and "gpus" not in value else value

    @model_validator(mode="after")
    def _gpu_and_gpus_agree(self) -> Self:
        if self.gpu is not None and self.resolved and self.gpus == 0:
            raise ValueError(
                "gpu is given while there are 0 GPUs; the engine would run on the CPU: set gpus, or remove gpu"
            )
        return self

    @property
    def resolved(self) -> bool:
        """Whether nothing is left that only the tier's entry in the catalogue says."""
        return self.tier is None or "gpus" in self.model_fields_set

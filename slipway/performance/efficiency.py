"""How much of a data sheet becomes tokens: the factors of data/efficiency.yaml, read once."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from slipway.catalog.types import Gpu

DATA = Path(__file__).parent / "data"
Share = Annotated[float, Meta(gt=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Source = Annotated[str, Meta(min_length=8)]
Basis = Literal["measured", "similar", "theory"]


class Factor(Struct, frozen=True, forbid_unknown_fields=True):
    """A share of what would be possible."""

    share: Share
    source: Source
    date: str


class Constant(Struct, frozen=True, forbid_unknown_fields=True):
    """A fixed figure, in the unit of its key."""

    value: Positive
    source: Source
    date: str


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """An all-reduce over one kind of interconnect."""

    latency_us: Positive
    share: Share
    source: Source
    date: str


class Spread(Struct, frozen=True, forbid_unknown_fields=True):
    """Real speed over expected speed, at the ends of the range."""

    low: Annotated[float, Meta(gt=0, le=1)]
    high: Annotated[float, Meta(ge=1)]
    waiting_low: Annotated[float, Meta(gt=0, le=1)]
    """The same of waiting behind other requests."""
    waiting_high: Annotated[float, Meta(ge=1)]
    source: Source
    date: str


class Engine(Struct, frozen=True, forbid_unknown_fields=True):
    """What the engine makes of what its kernels could."""

    rest_tflops: Constant
    experts: Factor
    expert_bandwidth: Factor
    expert_columns: Constant
    fp8: Factor
    unpacked: Factor
    attention: Factor
    kv_cache: Factor


class Overhead(Struct, frozen=True, forbid_unknown_fields=True):
    """Fixed times: of a step, of each sequence in it, and of each request."""

    step_ms: Constant
    sequence_us: Constant
    sampler_passes: Constant
    request_ms: Constant


class Efficiency(Struct, frozen=True, forbid_unknown_fields=True):
    """All of data/efficiency.yaml."""

    matmul: dict[str, Factor]
    """By GPU architecture, as is `bandwidth`."""
    bandwidth: dict[str, Factor]
    engine: Engine
    overhead: Overhead
    links: dict[str, Link]
    """By kind of interconnect."""
    ranges: dict[Basis, Spread]
    basis: dict[str, Basis]
    """By a GPU's id, and by architecture for those that are not named."""

    def knows(self, gpu: Gpu) -> bool:
        """Whether there are factors for this kind of GPU; the catalogue has kinds of which no measurement is at hand."""
        measured = gpu.id in self.basis or gpu.architecture in self.basis
        return measured and gpu.architecture in self.matmul and gpu.architecture in self.bandwidth

    def basis_of(self, gpu: Gpu) -> Basis:
        """What predictions for `gpu`, which is known, rest on."""
        return self.basis.get(gpu.id) or self.basis[gpu.architecture]


def read_data(name: str) -> object:
    """The content of a file of data/, all scalars as text; msgspec converts what its types want.

    YAML would read a full date as one, where the types want the text.
    """
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    return yaml.load((DATA / name).read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - makes nothing but text


@cache
def efficiency() -> Efficiency:
    """The factors in force."""
    return msgspec.convert(read_data("efficiency.yaml"), Efficiency, strict=False)

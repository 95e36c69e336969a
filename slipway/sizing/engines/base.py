"""What sizing asks of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from slipway.sizing.architecture import Layer
from slipway.sizing.kv_cache import Layout
from slipway.sizing.result import Request
from slipway.units import GiB


@dataclass(frozen=True)
class Amount:
    """A term of the budget, with where it comes from."""

    bytes: float
    formula: str
    numbers: str
    source: str


class MemoryModel(Protocol):
    """How one engine counts a GPU's memory, release by release."""

    @property
    def deployed_version(self) -> str:
        """The release that Slipway deploys."""

    def filled(self, request: Request) -> Request:
        """The request with every None filled in as that release of the engine does."""

    def refusals(self, request: Request) -> list[str]:
        """Why the engine would not start, whatever the memory: shapes that do not divide and the like."""

    def activation(self, request: Request, layers: tuple[Layer, ...], *, last: bool) -> Amount:
        """Peak of the profiling run on the pipeline stage of `layers`."""

    def non_torch(self, request: Request) -> tuple[Amount, Amount]:
        """Communication buffers, and the rest that does not pass through PyTorch."""

    def cuda_graphs(self, request: Request, layers: tuple[Layer, ...]) -> Amount:
        """What captured graphs take."""

    def subtracts_graphs(self, request: Request) -> bool:
        """Whether the KV cache gives way to the graphs; else they come on top of what was requested."""

    def room(self, request: Request, total: GiB, taken: float) -> float:
        """Bytes for the KV cache when `taken` bytes of the GPU's `total` are taken."""

    def layout(self, request: Request, layers: tuple[Layer, ...]) -> Layout:
        """The KV cache's layout on the stage of `layers`."""

    def tokens_by_concurrency(self, request: Request) -> bool:
        """Whether its log's number of tokens is the concurrency times the context."""

    def flags(self, request: Request) -> dict[str, str | int | float | bool]:
        """The engine's flags for the filled request, without dashes."""

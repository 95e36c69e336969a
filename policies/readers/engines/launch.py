"""The start of an inference engine, in terms that hold for whoever starts it.

A rule about models, GPUs and KV caches so holds for stacks that Slipway did not write. What the catalogue knows of model and
GPU is looked up; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from policies.node import Node
from policies.readers.engines.terms import Terms
from slipway.catalog import Catalog, load
from slipway.catalog.load import find_or_none
from slipway.catalog.types import Model
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config
from slipway.sizing.parallel import divides
from slipway.sizing.result import SizingError


@dataclass(frozen=True)
class Figures:
    """What the sizing says of one copy of the model. GiB are of the fullest GPU; None where there is no such figure."""

    fits: bool
    errors: tuple[str, ...]
    kv_cache_tokens: int | None
    gpu_gib: float | None
    requested_gib: float | None
    kv_cache_gib: float | None


class Launch(Node):
    """One engine as it will be started; the node is the container, or the model of a platform."""

    __slots__ = ()

    # Each property raises UnknownValueError where what it follows from is not known yet.

    @property
    def terms(self) -> Terms:
        """The engine, and what is known of it."""
        raise NotImplementedError

    @property
    def engine(self) -> str:
        """The engine's name: a rule about one engine's releases or flags asks it first."""
        return self.terms.name

    @property
    def release(self) -> str | None:
        """The engine's release; None where nothing says it."""
        raise NotImplementedError

    @property
    def model(self) -> str | None:
        """The model's repository or name, as it is given; None where nothing says it."""
        raise NotImplementedError

    @property
    def known_model(self) -> Model | None:
        """The model's entry in the catalogue; of a folder or bucket the one that it is called after."""
        model = self.model
        if model is None:
            return None
        local = model.startswith(("/", "./", "../")) or "://" in model
        return find_or_none(catalog().models, model.rstrip("/").rpartition("/")[2] if local else model)

    @property
    def architecture(self) -> Architecture | None:
        """How the model is built; None where the catalogue does not know it, or the sizing can't read it."""
        return _architecture(self.known_model)

    def uneven(self, ranks: int) -> str | None:
        """What of the model can't be spread over `ranks` GPUs; None where all can.

        With expert parallelism experts stay whole, and only the heads are looked at.
        """
        heads, architecture = self.heads, self.architecture
        if heads is not None and heads % ranks:
            return f"the {heads} attention heads"
        if architecture is None or self._keeps_experts_whole() or divides(architecture, ranks):
            return None
        return "the KV heads and layers"

    def _keeps_experts_whole(self) -> bool:
        return "enable-expert-parallel" in self.flags

    @property
    def heads(self) -> int | None:
        """Query heads of the model's attention; None where the model is not known."""
        raise NotImplementedError

    @property
    def flags(self) -> Mapping[str, Any]:
        """The server's flags by their long names, without dashes; a bare flag is True."""
        raise NotImplementedError

    @property
    def tensor_parallel(self) -> int:
        """GPUs that share each layer."""
        raise NotImplementedError

    @property
    def ranks(self) -> int:
        """GPUs that the engine uses: tensor, pipeline and data parallel together."""
        raise NotImplementedError

    @property
    def gpus(self) -> int | None:
        """GPUs that it is given; 0 on the CPU, None where nothing says it."""
        raise NotImplementedError

    @property
    def max_num_seqs(self) -> int | None:
        """Requests that each copy works on at once; None where it is left to the engine."""
        raise NotImplementedError

    @property
    def max_model_len(self) -> int | None:
        """The context window in tokens; None where it is left to the engine."""
        raise NotImplementedError

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the longest completion that clients are told to ask for; None where nothing says it."""
        raise NotImplementedError

    @property
    def trust_remote_code(self) -> bool:
        """Whether Python code of the model's repository is run."""
        raise NotImplementedError

    def environment(self) -> Iterator[tuple[str, Node]]:
        """Name and value of each variable that is set for it.

        Raises:
            UnknownValueError: the list is not known.
        """
        raise NotImplementedError

    def place(self, kind: str) -> Node:
        """Where something of it is said, as near as it can be told.

        Args:
            kind: `source`, `release` or `remote_code`.
        """
        raise NotImplementedError

    def place_of_flag(self, flag: str) -> str:
        """The path at which a flag stands."""
        raise NotImplementedError

    def figures(self) -> Figures | None:
        """What fits; None where model or GPU are not known."""
        raise NotImplementedError

    def uncounted(self) -> str | None:
        """Where a flag stands for which the sizing has no figures, though it knows model and GPU; None without one."""
        return None

    def weights(self) -> tuple[float, float] | None:
        """GiB of the weights on the fullest GPU, and what the engine may take there; None where nobody knows.

        These hold with flags that the sizing does not count with as well, if all that they do is to take more.
        """
        return None


def _architecture(model: Model | None) -> Architecture | None:
    if model is None:
        return None
    try:
        return read_config(model.config, model.id)
    except SizingError:
        return None


@cache
def catalog() -> Catalog:
    """Models, GPUs and engines that are known, read once."""
    return load()

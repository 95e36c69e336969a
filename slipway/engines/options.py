"""What every engine lets a stack choose."""

from typing import Any, ClassVar

from pydantic import Field

from slipway.settings.base import Section
from slipway.settings.types import EnvironmentVariable, Flag, MemorySize, Port, PositiveCount


class EngineOptions(Section):
    """The `engine` section of a model; each engine adds its own keys.

    A subclass gives `name` as a literal of its own folder's name, with that name as default.
    """

    READS: ClassVar[frozenset[str]] = frozenset({"huggingface"})
    """The formats of model files that it loads: `huggingface` (config.json and safetensors), `gguf`."""
    TASKS: ClassVar[frozenset[str]] = frozenset({"chat", "completion"})
    """The tasks that it can serve."""

    SPANS: ClassVar[bool] = False
    """Whether it can serve one replica on several machines."""

    SLOTS: ClassVar[str | None] = None
    """The option that says how many requests it works on at once; None where there is none."""

    port: Port | None = None
    """Its port, on loopback or, where the gateway is on another machine, on the private network. Default: one from 8100 to
    8999 that follows from the model's name."""
    memory_max: MemorySize = "90%"
    """systemd's memory limit for the engine: a size (`24G`) or a part of the machine's memory."""
    start_timeout_s: PositiveCount = 1800
    """How long the engine may take from its start to its first answer, in seconds."""
    flags: dict[Flag, str | int | float | bool] = Field(default_factory=dict)
    """Further flags of the engine, without dashes; `true` gives the bare flag."""
    environment: dict[EnvironmentVariable, str] = Field(default_factory=dict)
    """Further environment variables for the engine. Not for secrets: they can be read on the machine."""

    @property
    def engine(self) -> str:
        """The engine's name: that of its folder."""
        name: Any = getattr(self, "name", "")
        return str(name)

    @property
    def takes_gpus(self) -> bool:
        """Whether it runs on GPUs where the pool has them."""
        return True

    @property
    def drains(self) -> bool:
        """Whether it ends the answers that it has begun when it is told to stop."""
        return True

    @property
    def slots_given(self) -> bool:
        """Whether the stack says how many requests it works on at once; else it is a default."""
        return self.SLOTS in self.model_fields_set

    @property
    def slots(self) -> int:
        """Requests that it works on at once."""
        return 1

    def queued(self, *, lists: bool) -> int | None:  # noqa: ARG002 -- of use to some
        """Requests that may wait for each copy of the model; None where it has no bound.

        Args:
            lists: whether they hold many texts each (`Task.lists`), for engines that count each of those.
        """
        return None

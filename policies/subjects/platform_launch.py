"""The engine of Slipway's own platform, as the platform declares it."""

from __future__ import annotations

from math import prod
from typing import Any

from policies.subjects.flags import is_on
from policies.subjects.launch import Figures, Launch


class PlatformLaunch(Launch):
    """Of Slipway's own platform; see `slipway.checks.declaration`."""

    __slots__ = ()

    @property
    def release(self) -> str | None:
        """As `Launch`."""
        return _text(self.get("engine", "release"))

    @property
    def model(self) -> str | None:
        """As `Launch`."""
        return _text(self.get("model", "id", default=self.get("model", "name")))

    @property
    def heads(self) -> int | None:
        """As `Launch`."""
        heads: int | None = self.number("model", "attentionHeads")
        return heads

    @property
    def flags(self) -> dict[str, Any]:
        """As `Launch`; only those that the settings have no key for."""
        return dict(self.get("engine", "flags", default={}))

    @property
    def tensor_parallel(self) -> int:
        """As `Launch`."""
        return int(self.number("engine", "tensorParallel", default=1))

    @property
    def ranks(self) -> int:
        """As `Launch`."""
        sizes = (
            self.number("engine", key, default=1) for key in ("tensorParallel", "pipelineParallel", "dataParallel")
        )
        return prod(int(size) for size in sizes)

    @property
    def gpus(self) -> int | None:
        """As `Launch`."""
        gpus: int | None = self.number("hardware", "gpus")
        return gpus

    @property
    def max_num_seqs(self) -> int | None:
        """As `Launch`; None too where the stack left it to its default."""
        seqs: int | None = self.number("engine", "maxNumSeqs")
        return seqs if self.get("engine", "maxNumSeqsGiven", default=True) else None

    @property
    def max_model_len(self) -> int | None:
        """As `Launch`."""
        length: int | None = self.number("model", "maxModelLen")
        return length

    @property
    def output_tokens(self) -> int | None:
        """As `Launch`."""
        tokens: int | None = self.number("model", "maxOutputTokens")
        return tokens

    @property
    def trust_remote_code(self) -> bool:
        """As `Launch`."""
        return bool(self.get("model", "trustRemoteCode", default=False)) or is_on(self.flags.get("trust-remote-code"))

    def figures(self) -> Figures | None:
        """As `Launch`: the plan that the platform declares."""
        plan = self.node("sizing")
        if not isinstance(plan.get(), dict):
            return None
        return Figures(
            fits=bool(plan.get("fits")),
            errors=tuple(str(each.get()) for each in plan.each("errors")),
            kv_cache_tokens=plan.number("kvCacheTokens"),
            gpu_gib=plan.number("gpuGib"),
            requested_gib=plan.number("requestedGib"),
            kv_cache_gib=plan.number("kvCacheGib"),
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

"""Speed of one copy of a model under a workload: a steady state in closed form, or so many requests worked off.

Continuous batching: while `n` sequences decode, each request also brings its prompt, which all of them wait for. With
`p` seconds of prefill per request, `d` seconds per decoding step of `n` sequences and `o` tokens per answer, the engine
spends p + o d / n per request, so it completes 1 / (p + o d / n) requests a second, and by Little's law a request takes
n times as long. The waiting for the first token is that of a queue with fixed service times (M/D/1) on the share of time
that goes to prompts.
"""

from __future__ import annotations

from math import floor
from typing import Literal

from slipway.catalog.types import Gpu
from slipway.performance.batch import work_off
from slipway.performance.efficiency import Spread, efficiency
from slipway.performance.roofline import Roofline
from slipway.performance.types import Prediction, PredictionError, Range, Workload
from slipway.sizing.architecture import Architecture
from slipway.sizing.result import Sizing

_DEFAULT_SEQS = 256
_DEFAULT_BATCHED_TOKENS = 2048


def predict(architecture: Architecture, gpu: Gpu | None, sizing: Sizing, workload: Workload) -> Prediction:
    """What one copy of the model, laid out as `sizing` says, makes of `workload`.

    Raises:
        PredictionError: It does not fit, there is no GPU, or nothing is known of this kind of GPU.
    """
    return Replica(architecture, gpu, sizing).predict(workload)


class Replica:
    """One copy of a model, asked about several workloads.

    Raises:
        PredictionError: As `predict` does.
    """

    def __init__(self, architecture: Architecture, gpu: Gpu | None, sizing: Sizing) -> None:
        if gpu is None:
            raise PredictionError("speed without a GPU is not predicted; measure it on a stack")
        if not sizing.fits:
            raise PredictionError(
                f"{architecture.name} does not fit {gpu.name}: {'; '.join(sizing.errors) or 'too large'}"
            )
        if not efficiency().knows(gpu):
            kind = gpu.architecture.capitalize()
            raise PredictionError(f"nothing is known of the speed of {kind}, as of {gpu.name}; measure it on a stack")
        self.sizing = sizing
        self.roofline = Roofline.of(architecture, gpu, sizing)
        self.basis = efficiency().basis_of(gpu)
        self._chunk = sizing.request.max_num_batched_tokens or _DEFAULT_BATCHED_TOKENS

    def predict(self, workload: Workload) -> Prediction:
        """What comes of `workload`."""
        slots, limited_by = room(self.sizing, workload)
        computed = max(1.0, workload.prompt_tokens * (1 - workload.cached_prompt))
        step = self.roofline.decode(slots, workload.prompt_tokens + workload.output_tokens / 2)
        alone = self.roofline.request_overhead + self._prefill(computed, workload.prompt_tokens - computed / 2)
        if workload.requests is None:
            ttft, itl, rate = self._steady(workload, slots, computed, step.total_ms / 1e3)
            whole = ttft + itl * (workload.output_tokens - 1)
        else:
            run = work_off(self.roofline, workload, prompt=computed, slots=slots, chunk=self._chunk)
            ttft, itl, whole = run.ttft_s + self.roofline.request_overhead, run.itl_s, run.request_s
            rate = workload.requests / run.duration_s
        # An answer of one token has no time between tokens; its next one would come after a step.
        itl = itl or step.total_ms / 1e3
        spread = efficiency().ranges[self.basis]
        return Prediction(
            concurrency=slots,
            limited_by=limited_by,
            ttft_s=_first(alone, max(0.0, ttft - alone), spread),
            itl_ms=_time(1e3 * itl, spread),
            user_tokens_per_s=_speed(1 / itl, spread),
            output_tokens_per_s=_speed(rate * workload.output_tokens, spread),
            requests_per_s=_speed(rate, spread),
            request_s=_time(whole, spread),
            step=step,
            basis=self.basis,
        )

    def _steady(self, workload: Workload, slots: int, computed: float, decode: float) -> tuple[float, float, float]:
        """Time to first token and between tokens, in seconds, and requests a second."""
        prefill = self._prefill(computed, workload.prompt_tokens - computed / 2)
        rate = 1 / (prefill + workload.output_tokens * decode / slots)
        busy = prefill * rate
        # One request alone never waits for another's prompt.
        waits = decode + prefill * busy / (2 * (1 - busy)) if slots > 1 else 0.0
        ttft = self.roofline.request_overhead + prefill + waits
        return ttft, decode + prefill * (slots - 1) / workload.output_tokens, rate

    def _prefill(self, tokens: float, position: float) -> float:
        """Seconds for a whole prompt, in chunks as the engine cuts it."""
        whole, rest = divmod(tokens, self._chunk)
        seconds = whole * self.roofline.prefill(self._chunk, position)
        return seconds + (self.roofline.prefill(rest, position) if rest else 0.0)


def _speed(expected: float, spread: Spread) -> Range:
    return Range(expected * spread.low, expected, expected * spread.high)


def _time(expected: float, spread: Spread) -> Range:
    return Range(expected / spread.high, expected, expected / spread.low)


def _first(alone: float, waiting: float, spread: Spread) -> Range:
    """Of the first token: what a request alone would take, and its waiting behind others."""
    return Range(
        alone / spread.high + waiting / spread.waiting_high,
        alone + waiting,
        alone / spread.low + waiting / spread.waiting_low,
    )


def room(sizing: Sizing, workload: Workload) -> tuple[int, Literal["workload", "kv_cache", "max_num_seqs"]]:
    """Requests of `workload` that are under way at once, and what limits them."""
    tokens = workload.prompt_tokens + workload.output_tokens
    used = sizing.request.context_used or sizing.request.context or tokens
    in_cache = max(1, floor(sizing.concurrency_at_use * used / tokens))
    seqs = sizing.request.max_num_seqs or _DEFAULT_SEQS
    if workload.concurrency <= min(in_cache, seqs):
        return workload.concurrency, "workload"
    return (in_cache, "kv_cache") if in_cache < seqs else (seqs, "max_num_seqs")

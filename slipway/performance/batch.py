"""So many requests at once, worked off step by step as a continuous-batching scheduler would.

Every step decodes one token of each running sequence and fills what is left of the token budget with prompts; a waiting
request starts when a slot is free. Times come from the roofline; there is no randomness.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import log

from slipway.performance.roofline import Roofline
from slipway.performance.types import Workload

_LONGEST = 8.0
"""Longest natural answer, as a multiple of the mean: serving caps them."""


@dataclass(frozen=True)
class Run:
    """What came of it, in seconds; means over the requests."""

    duration_s: float
    ttft_s: float
    itl_s: float
    request_s: float


def work_off(roofline: Roofline, workload: Workload, *, prompt: float, slots: int, chunk: int) -> Run:
    """All of `workload.requests`, at most `slots` at once and `workload.concurrency` under way or waiting.

    Args:
        roofline: Where times come from.
        workload: With `requests`.
        prompt: Tokens of a prompt that must be computed.
        slots: Sequences that there is room for.
        chunk: Tokens of a step, decoded and prompts' together.
    """
    lengths = answer_lengths(workload)
    total = len(lengths)
    now, step, started, done = 0.0, 0, 0, 0
    arrivals: list[float] = []
    first: list[float] = [0.0] * total
    ends: list[tuple[int, int]] = []  # step at which it ends, request
    running, context = 0, 0.0  # sequences that decode; tokens in their caches together
    left = 0.0  # of the prompt that is being read
    ttft = itl = whole = 0.0
    while done < total:
        budget, tokens, finished = float(chunk - running), 0.0, list[int]()
        while budget > 0:
            if not left:
                if started == total or running + len(finished) >= slots:
                    break
                # A closed loop: whoever waits came when its predecessor left.
                arrivals.append(0.0 if started < workload.concurrency else now)
                started, left = started + 1, prompt
            taken = min(left, budget)
            left, budget, tokens = left - taken, budget - taken, tokens + taken
            if not left:
                finished.append(started - 1)
        position = workload.prompt_tokens / 2 if tokens >= prompt else workload.prompt_tokens - left - tokens / 2
        now += roofline.mixed(running, context / running if running else 0.0, tokens, max(position, 1.0))
        step += 1
        context += running
        for request in finished:
            first[request] = now
            ttft += now - arrivals[request]
            heapq.heappush(ends, (step + lengths[request] - 1, request))
            running, context = running + 1, context + workload.prompt_tokens
        while ends and ends[0][0] <= step:
            request = heapq.heappop(ends)[1]
            running, context, done = running - 1, context - workload.prompt_tokens - lengths[request] + 1, done + 1
            itl += (now - first[request]) / max(1, lengths[request] - 1)
            whole += now - arrivals[request]
    return Run(duration_s=now, ttft_s=ttft / total, itl_s=itl / total, request_s=whole / total)


def answer_lengths(workload: Workload) -> list[int]:
    """Tokens of each answer, with the mean that `workload` gives, in an order that mixes short and long."""
    count = workload.requests or 1
    if workload.lengths == "fixed":
        return [workload.output_tokens] * count
    spread = [min(_LONGEST, -log(1 - (index + 0.5) / count)) for index in range(count)]
    scale = workload.output_tokens * count / sum(spread)
    # A step coprime to the count visits every index once, far from its neighbours.
    stride = next(step for step in range(int(count * 0.618) + 1, 2 * count + 2) if _coprime(step, count))
    return [max(1, round(spread[index * stride % count] * scale)) for index in range(count)]


def _coprime(left: int, right: int) -> bool:
    while right:
        left, right = right, left % right
    return left == 1

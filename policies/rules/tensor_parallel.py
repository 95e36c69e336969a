"""Tensor parallelism divides the model and uses the GPUs that the engine is given.

Judged are engines that spread a model's heads (vLLM, SGLang). Of models that the catalogue knows all is looked at that the
engine cuts: query heads, KV heads, layers, blocks of quantized weights. Of others the heads, where the stack says them. GPUs of
one engine over several pods are counted together.
"""

from collections.abc import Iterator

from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import SIZED_TYPES, sized_launches
from policies.readers.engines.sources import called
from policies.rule import About, Group, Rule, Severity, Violation, violation


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """Heads and layers divide, and ranks are as many as GPUs."""
    if not launch.terms.spreads:
        return
    ranks, gpus = launch.tensor_parallel, launch.gpus
    uneven = launch.uneven(ranks)
    if uneven is not None:
        fitting = ", ".join(str(number) for number in (1, 2, 4, 8, 16) if launch.uneven(number) is None)
        yield violation(
            launch,
            what=f"tensor parallel {ranks} does not divide {uneven} of {called(launch)}",
            mend=f"it can be {fitting} for this model",
        )
    if gpus and launch.ranks != gpus:
        # They differ, or nothing would be told.
        verb = "leaves some idle" if launch.ranks < gpus else "would not start"  # never equal
        yield violation(
            launch,
            what=f"{called(launch)} spreads over {launch.ranks} GPUs and is given {gpus}, so its engine {verb}",
            mend=f"set tensor parallel to {gpus}, or give it {launch.ranks} GPUs",
        )


RULE = Rule(
    id="tensor-parallel",
    title="Tensor parallelism divides the model's heads and uses the GPUs that it is given",
    group=Group.CAPACITY,
    severity=Severity.HIGH,
    reason="an engine that can't share out heads refuses to start, and GPUs that it does not use are paid for nothing",
    mend="set tensor parallel to a divisor of the heads, and give as many GPUs",
    source="vLLM documentation, Parallelism and Scaling; vllm/config/model.py, verify_with_parallel_config",
    url="https://docs.vllm.ai/en/latest/serving/parallelism_scaling/",
    types=SIZED_TYPES,
    items=sized_launches,
    check=check,
)

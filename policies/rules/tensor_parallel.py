"""Tensor parallelism divides the model's heads and uses the GPUs that the engine is given."""

from collections.abc import Iterator

from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.launches import TYPES, Launch, launches


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """Heads divide, and ranks are as many as GPUs."""
    ranks, heads, gpus = launch.tensor_parallel, launch.heads, launch.gpus
    if heads is not None and heads % ranks:
        fitting = ", ".join(str(number) for number in (1, 2, 4, 8, 16) if heads % number == 0)
        yield violation(
            launch,
            what=f"tensor parallel {ranks} does not divide the {heads} attention heads of {launch.model}",
            mend=f"it can be {fitting} for this model",
        )
    if gpus and launch.ranks != gpus:
        verb = "leaves some idle" if launch.ranks < gpus else "would not start"
        yield violation(
            launch,
            what=f"the engine spreads over {launch.ranks} GPUs and is given {gpus}, so it {verb}",
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
    types=TYPES,
    items=launches,
    check=check,
)

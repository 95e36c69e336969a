"""The model fits the GPUs that it is given, and leaves them room to work.

Judged by Slipway's sizing. Where model or GPU are not known there is no figure, and nothing is judged: a container says its
GPU by a node selector or a required node affinity, and its model by a name that the catalogue has.
"""

from collections.abc import Iterator

from policies.node import UnknownValueError
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import SIZED_TYPES, sized_launches
from policies.readers.engines.sources import called
from policies.rule import About, Group, Rule, Severity, Violation, violation

_SPREAD = "tensor parallel"
"""How the sizing's errors begin that rule tensor-parallel tells."""
_CHARACTERS = 240


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """The sizing has no objection, and the KV cache gets its share of the memory."""
    figures = launch.figures()
    if figures is None:
        yield from _uncounted(launch)
        return
    for error in figures.errors:
        if not error.startswith(_SPREAD):
            yield violation(launch, what=f"{_name(launch)} does not fit: {_short(error)}")
    room, memory, margin = _gib(figures.kv_cache_gib), figures.requested_gib, about.parameters["margin"]
    # On a CPU the room is given, and not what is left.
    if figures.fits and memory is not None and room < margin * memory:
        yield violation(
            launch,
            what=f"{_name(launch)} leaves {room:.1f} of {memory:.1f} GiB a GPU to the KV cache, less than {margin:.0%}",
        )


def _uncounted(launch: Launch) -> Iterator[Violation]:
    """With flags that the sizing has no figures for the weights at least are compared with the memory."""
    flag, weights = launch.uncounted(), launch.weights()
    if flag is None:
        return
    # Both are measured in bytes and divided: equal to the last bit they are by chance only.
    if weights is None or weights[0] <= weights[1]:  # never equal
        raise UnknownValueError(flag)
    what = (
        f"the weights of {_name(launch)} take {weights[0]:.1f} GiB a GPU, of which the engine may use {weights[1]:.1f}"
    )
    yield violation(launch, what=what)


def _gib(amount: float | None) -> float:
    return 0.0 if amount is None else amount


def _name(launch: Launch) -> str:
    return "the model" if launch.model is None else called(launch)


def _short(error: str) -> str:
    return error if len(error) <= _CHARACTERS else f"{error[: _CHARACTERS - 1]}…"


RULE = Rule(
    id="model-fits",
    title="The model fits the GPUs that it is given, with the margin that the site wants",
    group=Group.CAPACITY,
    severity=Severity.HIGH,
    reason="an engine without the memory ends at its start, and one that barely fits ends at its next release",
    mend="use more or larger GPUs, a smaller or quantized model, or a shorter context",
    source="vLLM documentation, Conserving Memory; Slipway documentation, Sizing",
    url="https://docs.vllm.ai/en/stable/configuration/conserving_memory/",
    types=SIZED_TYPES,
    items=sized_launches,
    check=check,
    parameters={
        "margin": {
            "type": "number",
            "minimum": 0,
            "maximum": 0.9,
            "default": 0.1,
            "description": "Share of the memory that the engine may take of a GPU, which has to be left to the KV cache.",
        }
    },
)

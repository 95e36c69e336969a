"""Context window and requests at once go with the room that the KV cache has.

Advisory: an engine with too many requests at once works, and is slow. One without room for a single request of full length
does not start; rule model-fits tells that where the sizing knows.
"""

from collections.abc import Iterator

from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import SIZED_TYPES, sized_launches
from policies.readers.engines.sources import called
from policies.rule import About, Group, Level, Rule, Severity, Violation, violation


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """One request of full length has room, and as many of the usual length as are let in."""
    figures = launch.figures()
    room = None if figures is None else figures.kv_cache_tokens
    longest, most = launch.max_model_len, launch.max_num_seqs
    # Encoders keep no KV cache, and have room for no token.
    if not room or longest is None:
        return
    if room < longest:
        yield violation(
            launch,
            what=f"the KV cache of {called(launch)} holds {room:,} tokens, less than one request of {longest:,}",
            mend=f"lower the context window to {room} tokens, or give the engine more memory",
        )
    # Only what somebody asked for can disappoint; the engine's own default is generous on purpose.
    usual = launch.output_tokens or max(1, int(longest * about.parameters["share"]))
    if most is not None and room < most * usual:
        yield violation(
            launch,
            what=f"{most} requests at once of {usual:,} tokens each need {most * usual:,} in the KV cache of "
            f"{called(launch)}, which holds {room:,}",
            mend=f"lower {launch.terms.slots} to {max(1, room // usual)}, or give the engine more memory",
        )


RULE = Rule(
    id="kv-cache-room",
    title="Context window and requests at once go with the room of the KV cache",
    group=Group.CAPACITY,
    severity=Severity.MEDIUM,
    level=Level.ADVISORY,
    reason="beyond its room the engine interrupts requests and computes them anew, so that answers come late",
    mend="lower max-num-seqs, or give the engine more memory",
    source="vLLM documentation, Optimization and Tuning, Preemption",
    url="https://docs.vllm.ai/en/stable/configuration/optimization/",
    types=SIZED_TYPES,
    items=sized_launches,
    check=check,
    parameters={
        "share": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "default": 0.05,
            "description": "Part of the context window that a request uses, where the stack does not say how long answers get.",
        }
    },
)

"""Engines let few requests wait, and tell the others at once that they are full.

Looked at are the models of Slipway's platform. Not judged: engines whose queue nothing bounds; there limits of the teams do. Nor
engines of embeddings and ranks: they count each text of a list, and a list of thousands is done in seconds.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.platform import PlatformLaunch, served
from policies.readers.engines.sources import called
from policies.readers.unknown import unknown_as_item
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Level, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The models that are served here."""
    yield from unknown_as_item(served(resource.inputs))


def check(launch: PlatformLaunch, about: About) -> Iterator[Violation]:
    """As many wait as are worked off in a time that callers have."""
    if launch.get("task", default=None) in {"embedding", "rerank"}:
        return
    queue = launch.number("engine", "queue", default=0)
    slots = launch.number("engine", "slots", default=1) * launch.number("engine", "dataParallel", default=1)
    if queue > about.parameters["perSlot"] * slots:
        what = f"{queue} requests may wait for {called(launch)}, which works on {slots} at once"
        yield violation(launch, "engine", "queue", what=what)


RULE = Rule(
    id="bounded-queue",
    title="Engines let few requests wait, and tell the others at once that they are full",
    group=Group.CAPACITY,
    severity=Severity.MEDIUM,
    level=Level.ADVISORY,
    reason="callers wait longer than their clients do, and the GPUs work on answers that nobody waits for any more",
    mend="lower engine.queue, or leave it out",
    source="Site Reliability Engineering, chapter 22, Addressing Cascading Failures, Queue Management",
    url="https://sre.google/sre-book/addressing-cascading-failures/",
    types=(PLATFORM,),
    items=items,
    check=check,
    parameters={
        "perSlot": {
            "type": "number",
            "minimum": 0,
            "default": 16,
            "description": "Requests that may wait for each that is worked on; engines have 4 by default.",
        },
    },
)

"""One comment in Markdown, for reviewers who know pull requests and no GPUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from slipway.review.changes import CONFIGURATIONS, Changes, How
from slipway.review.figures import cell, changed, cost, listed, rooms, size
from slipway.review.limit import LIMIT, Block, fitted
from slipway.review.preview import KINDS, Preview, State
from slipway.review.stack import Entry, Review, counted
from slipway.review.text import code, code_name, spans

MARKER = "<!-- slipway-review -->"
"""By which the comment is found again, to be updated in place."""

_HEADER = """\
| Stack | Verdict | Create | Update | Replace | Delete | Cost a month | Size |
| --- | --- | ---: | ---: | ---: | ---: | --- | --- |"""
_WORDS = """\
<details><summary>What the columns mean</summary>

- **Verdict**: ✔ means that the model fits, no check failed and no mandatory policy is violated, as far as is said beside it; \
✖ that a deployment would be refused, or would fail.
- **Create, Update, Replace, Delete**: resources of the stack, from `pulumi preview`. A replaced one is removed and made anew.
- **Cost a month**: of the pools' machines, bought: a month's part of their price, upkeep and energy, as `slipway plan` \
reckons; without staff, and without what providers charge. `~` stands before what rests on an estimated price.
- **Replicas**: engines that serve the model, each with GPUs of its own.
- **KV cache**: the GPU memory in which running conversations are kept, in tokens.
- **Full-length requests**: how many requests of the longest length allowed fit into it at once.
- **At once**: how many requests are worked on at the same time; further ones wait.

Both sides are computed by the Slipway of this change, so that what differs comes from settings alone.
</details>"""
_RANKS = {
    "mandatory": 1,
    "errors": 1,
    "advisory": 2,
    "excepted": 2,
    "warnings": 3,
    "unknown": 4,
    "changes": 5,
    "resources": 6,
}
"""What is cut first where there is no room: the highest."""


def comment(
    changes: Changes, reviews: Sequence[Review], limit: int = LIMIT, commits: tuple[str, str] | None = None
) -> str:
    """The comment on `changes`, whose stacks `reviews` are about; at most `limit` bytes.

    Args:
        changes: what differs.
        reviews: of the stacks that change.
        limit: in bytes.
        commits: the one under review and the one before it, where they are known.
    """
    faulty = [review for review in reviews if review.faults]
    blocks = [Block(head=f"{MARKER}\n## {_title(reviews, faulty)}\n"), *_of(commits), *_touched(changes)]
    if reviews:
        rows = tuple(_row(review) for review in (*faulty, *(review for review in reviews if not review.faults)))
        blocks += [Block(head=_HEADER, items=rows, rank=0, row=True), Block(head=f"\n{_WORDS}")]
    for review in (*faulty, *(review for review in reviews if not review.faults)):
        blocks += _section(review)
    return fitted(blocks, limit)


def _title(reviews: Sequence[Review], faulty: Sequence[Review]) -> str:
    if not reviews:
        return "Slipway review: ✔ no stack changes"
    removed = [review for review in reviews if review.changed.how is How.REMOVED]
    gone = counted(len(removed), "stack is removed", "stacks are removed")
    if faulty:
        left = len(reviews) - len(removed)
        refused = f"✖ {len(faulty)} of {counted(left, 'stack', 'stacks')} would be refused or fail"
        return f"Slipway review: {refused}{f', ⚠ {gone}' if removed else ''}"
    kept = [review for review in reviews if review.changed.how is not How.REMOVED]
    told = []
    if removed:
        told.append(f"⚠ {gone}")
    if kept:
        told.append(
            f"✔ {counted(len(kept), 'stack changes, and is', 'stacks change, and all are')} fit to be deployed{_bounds(kept)}"
        )
    return f"Slipway review: {'; '.join(told)}"


def _bounds(reviews: Sequence[Review]) -> str:
    """What the title's green mark does not speak of."""
    points = Counter(point for review in reviews for point in review.open_points)
    if not points:
        return ""
    return f", as far as was looked at ({', '.join(f'{count} {point}' for point, count in points.items())})"


def _of(commits: tuple[str, str] | None) -> Iterator[Block]:
    """Which push the comment is about: after one whose review ended early, the comment of the push before stands there."""
    if commits is not None:
        yield Block(head=f"Commit {code_name(commits[0])}, held against {code_name(commits[1])}.\n")


def _touched(changes: Changes) -> Iterator[Block]:
    """That the change is to more than settings: then the diff is to be read, whatever the table says."""
    if not changes.shared:
        return
    told = f"Code that all stacks share changes ({counted(len(changes.shared), 'file', 'files')}), so every stack is listed."
    if changes.judges:
        told += (
            " ⚠ Among it is code that this review itself rests on, or that runs in it: what is said below is what that code "
            "says. Read that diff first."
        )
    yield Block(
        head=f"{told}\n\n<details><summary>Which files</summary>\n",
        # What a judge's verdict depends on is shown where there is no room for all.
        items=tuple(f"- {code_name(file)}" for file in (*changes.judges, *_but(changes.shared, changes.judges))),
        tail="\n</details>\n",
        rank=7,
    )


def _but(files: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    apart = set(others)
    return (file for file in files if file not in apart)


def _row(review: Review) -> str:
    preview = review.preview
    known = preview is not None and not preview.errors
    counts = [str(preview.count(kind)) if preview is not None and known else "?" for kind in KINDS]
    if review.changed.how is How.REMOVED:
        counts = ["-"] * len(KINDS)
    return (
        f"| {cell(review.changed.name)} | {verdict(review)} | {' | '.join(counts)} | {cost(review)} | {size(review)} |"
    )


def verdict(review: Review) -> str:
    """In words, with a mark for the eye."""
    if review.changed.how is How.REMOVED:
        return "⚠ removed"
    if review.faults:
        return f"✖ {', '.join(review.faults)}"
    words = ["ready", *review.open_points]
    warnings = len(review.findings("warning")) + len(review.advisory)
    if warnings:
        words.append(counted(warnings, "warning", "warnings"))
    if review.excepted:
        words.append(counted(len(review.excepted), "exception", "exceptions"))
    if review.changed.how is How.NEW:
        words.append("new stack")
    return f"✔ {', '.join(words)}"


def _section(review: Review) -> Iterator[Block]:
    name = review.changed.name
    blocks = list(chain(_notices(review), _judgements(review), changed(review), rooms(review), _resources(review)))
    if blocks:
        yield Block(head=f"\n### {code(name)}: {verdict(review)}")
        yield from blocks


def _notices(review: Review) -> Iterator[Block]:
    how, name = review.changed.how, review.changed.name
    if how is How.REMOVED:
        yield Block(
            head="\nIts file is removed from the checkout. What it deployed stays, and nothing manages it any more: take it down "
            "with `pulumi destroy` before this is merged."
        )
        return
    if f"{CONFIGURATIONS}/{name}.json" in review.changed.files:
        yield Block(
            head="\n⚠ Its policy configuration changes: levels, parameters or exceptions may be weaker than before. "
            "Read that file's diff."
        )
    if review.preview is None:
        yield Block(head="\nNo preview was made, so the resources that would change are not known here.")
    elif review.misses_state:
        yield Block(
            head="\n✖ The backend has no stack of this name, though the stack is no new one here: what is shown as new may be "
            "deployed already. Is it the right backend, with the right credentials? Where the stack was never deployed, make it "
            f"known there with {code(f'pulumi stack init {name}')}."
        )
    elif review.preview.state is not State.KEPT and how is not How.NEW:
        yield Block(
            head="\n⚠ No backend was given, so the preview was held against an empty state: everything is shown as new."
        )


def _judgements(review: Review) -> Iterator[Block]:
    yield from listed("Refused settings", _RANKS["errors"], [f"- {code(problem)}" for problem in review.head.problems])
    yield from listed(
        "Mandatory violations: the deployment is refused",
        _RANKS["mandatory"],
        [_policy(review, entry) for entry in review.mandatory],
    )
    yield from listed(
        "Failed checks: it would not start, or not fit",
        _RANKS["errors"],
        [_finding(review, entry) for entry in review.findings("error")],
    )
    if review.preview is not None and review.preview.errors:
        told = [span for error in review.preview.errors for span in spans(error)]
        yield from listed("The preview failed", _RANKS["errors"], [f"- {span}" for span in told])
    yield from listed(
        "Advice of the policies", _RANKS["advisory"], [_policy(review, entry) for entry in review.advisory]
    )
    yield from listed("Warnings", _RANKS["warnings"], [_finding(review, entry) for entry in review.findings("warning")])
    yield from listed("Excepted", _RANKS["excepted"], [_exception(review, entry) for entry in review.excepted])
    yield from listed(
        "Not known before the deployment; asked again at `up`",
        _RANKS["unknown"],
        [_open(review, entry) for entry in review.unknown],
    )


def _new(review: Review, entry: Entry) -> str:
    return "**new** " if review.changed.how is not How.NEW and review.is_new(entry) else ""


def _finding(review: Review, entry: Entry) -> str:
    at = f" at {code(entry['where'])}" if entry.get("where") else ""
    return f"- {_new(review, entry)}{code(entry.get('id', ''))}{at}: {code(entry.get('message', ''))}"


def _policy(review: Review, entry: Entry) -> str:
    return f"- {_new(review, entry)}{_rule(entry)}: {code(entry.get('message', ''))}{_source(entry)}"


def _exception(review: Review, entry: Entry) -> str:
    exception = entry.get("exception")
    granted = exception if isinstance(exception, dict) else {}
    return (
        f"- {_new(review, entry)}{_rule(entry)}: until {code(granted.get('expires', ''))}, by {code(granted.get('owner', ''))}: "
        f"{code(granted.get('reason', ''))}. Excepted is: {code(entry.get('message', ''))}"
    )


def _open(review: Review, entry: Entry) -> str:
    return f"- {_new(review, entry)}{_rule(entry)}: {code(entry.get('where') or 'the resource')}"


def _rule(entry: Entry) -> str:
    severity = entry.get("severity")
    on = entry.get("resource")
    return f"{code(entry.get('id', ''))}{f' ({code(severity)})' if severity else ''}{f' on {code(on)}' if on else ''}"


def _source(entry: Entry) -> str:
    source = entry.get("source")
    return f" Source: {code(source)}" if source else ""


def _resources(review: Review) -> Iterator[Block]:
    preview = review.preview
    # What a preview that failed had come to by then is not what would change.
    if preview is None or preview.errors or not (preview.steps or preview.same):
        return
    summary = (
        ", ".join(f"{preview.count(kind)} to {kind}" for kind in KINDS if preview.count(kind)) or "nothing changes"
    )
    same = f"; {preview.same} stay as they are" if preview.same else ""
    yield Block(
        head=f"\n<details><summary>Resources: {summary}{same}</summary>\n",
        items=tuple(_steps(preview)),
        tail="\n</details>",
        rank=_RANKS["resources"],
    )


def _steps(preview: Preview) -> Iterator[str]:
    """What takes something away first."""
    for step in sorted(preview.steps, key=lambda each: KINDS[::-1].index(each.kind)):
        differing = f": {code_name(', '.join(step.properties))}" if step.properties else ""
        yield f"- {step.kind} {code_name(step.name)} ({code_name(step.type)}){differing}"

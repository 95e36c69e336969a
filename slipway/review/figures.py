"""The figures of a comment: what changes, what models can hold, what pools cost, before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from slipway.review.changes import How
from slipway.review.declared import Difference, Fact, Kind
from slipway.review.deployment import Capacity, MonthlyCost
from slipway.review.limit import Block
from slipway.review.stack import Review, Side
from slipway.review.text import code

RANK = 5
"""Of what is listed here: cut before a finding, and after a resource."""
_UNKNOWN = "not known"


def cell(text: str) -> str:
    """A code span that ends no cell of a table."""
    return code(text).replace("|", "\\|")


def listed(title: str, rank: int, lines: Iterable[str]) -> Iterator[Block]:
    """Lines under a title that counts them; nothing where there are none."""
    items = tuple(lines)
    if items:
        yield Block(head=f"\n**{title} ({len(items)})**\n", items=items, rank=rank)


def cost(review: Review) -> str:
    """A month of all pools, before and after."""
    before, after = review.base, review.head
    if review.changed.how is How.NEW:
        return f"none → {_of_pools(after)}"
    if review.changed.how is How.REMOVED:
        return f"{_of_pools(before)} → none"
    sides = _of_pools(before), _of_pools(after)
    if before.cost is None or after.cost is None or before.unpriced != after.unpriced:
        return _between(*sides)
    change = after.cost.total - before.cost.total
    if round(change) == 0:
        return f"{sides[1]} (no change)"
    return f"{sides[0]} → {sides[1]} ({change:+,.0f})"


def _of_pools(side: Side) -> str:
    """The sum, and which pools are not in it."""
    left_out = f", without {', '.join(map(cell, side.unpriced))}" if side.cost is not None and side.unpriced else ""
    return f"{_money(side.cost)}{left_out}"


def _money(cost: MonthlyCost | None) -> str:
    return _UNKNOWN if cost is None else f"{'~' if cost.estimated else ''}{cost.currency} {cost.total:,.0f}"


def size(review: Review) -> str:
    """How many machines, GPUs and models, before and after."""
    figures: tuple[tuple[str, Callable[[Side], int]], ...] = (
        ("Machines", lambda side: len(side.declared.get("machines") or [])),
        ("GPUs", lambda side: sum(pool["gpus"] * len(pool["machines"]) for pool in side.declared.get("pools") or [])),
        ("Models", lambda side: len(side.declared.get("models") or [])),
    )
    lines = []
    for name, figure in figures:
        sides = [f"{figure(side):,}" if side.declared else _UNKNOWN for side in (review.base, review.head)]
        lines.append(f"{name}: {_arrow(review, sides)}")
    return "<br>".join(lines)


def _arrow(review: Review, sides: list[str]) -> str:
    if review.changed.how is How.NEW:
        sides = ["none", sides[1]]
    if review.changed.how is How.REMOVED:
        sides = [sides[0], "none"]
    return sides[1] if sides[0] == sides[1] else " → ".join(sides)


def changed(review: Review) -> Iterator[Block]:
    """What is asked for that was not, and the other way round."""
    yield from listed("What changes", RANK, map(_difference, review.differences))


def _difference(each: Difference) -> str:
    head = f"- {each.what} {code(each.name)}"
    told = ", ".join(map(_fact, each.facts))
    if each.kind is Kind.CHANGED:
        return f"{head}: {told}"
    return f"{head} {each.kind}{f': {told}' if told and each.kind is Kind.ADDED else ''}"


def _fact(fact: Fact) -> str:
    sides = [code(side) for side in (fact.before, fact.after) if side is not None]
    if fact.before is None or fact.after is None:
        return f"{fact.label} {sides[0]}{' no longer' if fact.after is None else ''}"
    return f"{fact.label} {' → '.join(sides)}"


_CAPACITY_HEADER = """\

| Model | Replicas | GPUs | KV cache tokens | Full-length requests | At once |
| --- | --- | --- | --- | --- | --- |"""
_COST_HEADER = """\

| Pool | Cost a month |
| --- | --- |"""


def rooms(review: Review) -> Iterator[Block]:
    """Of the models whose room differs; of the pools whose cost does, where there are several."""
    before, after = review.base.capacities, review.head.capacities
    figures: tuple[tuple[Callable[[Capacity], float | None], str], ...] = (
        (lambda side: side.replicas, ",.0f"),
        (lambda side: side.gpus, ",.0f"),
        (lambda side: side.kv_cache_tokens, ",.0f"),
        (lambda side: side.full_requests, ",.1f"),
        (lambda side: side.at_once, ",.0f"),
    )
    rows = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old != new and review.changed.how is not How.REMOVED:
            cells = (_between(*(_figure(side, figure, form) for side in (old, new))) for figure, form in figures)
            rows.append(f"| {cell(name)} | {' | '.join(cells)} |")
    if rows:
        yield Block(head=_CAPACITY_HEADER, items=tuple(rows), rank=RANK, row=True)
    costs = review.base.costs, review.head.costs
    if max(map(len, costs)) > 1 and review.changed.how is not How.REMOVED:
        told = {
            name: ["none" if name not in side else _money(side[name]) for side in costs]
            for name in dict.fromkeys((*costs[0], *costs[1]))
        }
        items = [f"| {cell(name)} | {_between(*sides)} |" for name, sides in told.items() if sides[0] != sides[1]]
        if items:
            yield Block(head=_COST_HEADER, items=tuple(items), rank=RANK, row=True)


def _figure(side: Capacity | None, figure: Callable[[Capacity], float | None], form: str) -> str:
    if side is None:
        return "none"
    value = figure(side)
    return _UNKNOWN if value is None else format(value, form)


def _between(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"

"""The three charts of a plan, each with its legend and the table of its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2

from markupsafe import Markup

from slipway.performance.options import money
from slipway.performance.plan_types import CurvePoint, Option, Plan
from slipway.report.axes import calendar, doubling, even
from slipway.report.bars import Bar, Part, bar_chart
from slipway.report.canvas import key_of_dot, key_of_line, key_of_part
from slipway.report.lines import Dot, Level, Line, line_chart
from slipway.report.words import compact, months, number, ranged, wanted

LETTERS = "ABC"
"""What the options in the charts are called, there and in the table of options."""
_API = "API"
_LATE = 30
"""Months: where an option breaks even later than this, the chart shows all of the plan's months, else three years."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The figures of a chart."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One subject: charts side by side, what their keys mean, and the figures."""

    key: str
    title: str
    caption: str
    charts: tuple[Markup, ...]
    legend: tuple[tuple[Markup, str], ...]
    table: Table


def compared(plan: Plan) -> tuple[Option, ...]:
    """At most three options worth a look side by side: the one to choose, else the nearest, and two others in the plan's order.

    They are the best that is had the other way, bought or rented, and the best on GPUs of another kind.
    """
    if not plan.options:
        return ()
    first = next((option for option in plan.options if option.id == plan.choice), plan.options[0])
    # What does not meet the targets is shown only where nothing does.
    rest = [option for option in plan.options if option is not first and _good(option) >= _good(first)]
    found = [first]
    found += [option for option in rest if option.place != first.place][:1]
    gpus = {option.gpu for option in found}
    found += [option for option in rest if option not in found and option.gpu not in gpus][: len(LETTERS) - len(found)]
    return (first, *sorted(found[1:], key=plan.options.index))


def figures(plan: Plan) -> tuple[Figure, ...]:
    """Capacity, cost, memory; empty where no option can serve the model."""
    options = compared(plan)
    return (_capacity(plan, options), _cost(plan, options), _memory(options)) if options else ()


def _good(option: Option) -> bool:
    return option.meets_targets and option.within_budget


def _capacity(plan: Plan, options: Sequence[Option]) -> Figure:
    at_once = [float(point.concurrency) for option in options for point in option.curve]
    x = doubling("requests at once", at_once, lambda value: f"{value:,.0f}")
    together: list[Line] = []
    each: list[Line] = []
    for letter, option in zip(LETTERS, options, strict=False):
        points = [float(point.concurrency) for point in option.curve]
        most = min(max(float(option.concurrency), points[0]), points[-1])
        for lines, ranges, what in (
            (together, [point.output_tokens_per_s for point in option.curve], "tokens/s together"),
            (each, [point.user_tokens_per_s for point in option.curve], "tokens/s for each user"),
        ):
            curve = [(at, figure.expected) for at, figure in zip(points, ranges, strict=True)]
            dot = Dot(
                x=most,
                y=_between(curve, most),
                meaning=f"{letter}: {number(_between(curve, most))} {what} with {most:,.0f} requests at once, "
                "the most with which the targets hold",
            )
            lines.append(
                Line(
                    style=letter.lower(),
                    label=letter,
                    points=curve,
                    band=[(figure.low, figure.high) for figure in ranges],
                    dots=[dot] if option.meets_targets else [],
                )
            )
    target = plan.load.tokens_per_second
    dots = [(key_of_dot("plain"), "the most requests at once with which the targets hold")]
    return Figure(
        key="capacity",
        title="Capacity against concurrency",
        caption="The more requests are served at once, the more all users together get and the less each of them. Bands are "
        "the honest range of the prediction; the real speed lies in it, most likely near the line.",
        charts=(
            line_chart(
                "capacity-together",
                "Tokens per second of all users together, against requests at once",
                _ends(options, lambda point: point.output_tokens_per_s.expected, "tokens/s together"),
                x=x,
                y=even("tokens/s, all users together", [high for line in together for _, high in line.band], compact),
                lines=together,
            ),
            line_chart(
                "capacity-each",
                "Tokens per second of each user, against requests at once",
                _ends(options, lambda point: point.user_tokens_per_s.expected, "tokens/s for each user")
                + f" Wanted: at least {wanted(target)}.",
                x=x,
                y=even("tokens/s, each user", [target, *(high for line in each for _, high in line.band)], compact),
                lines=each,
                levels=[Level(y=target, label=f"wanted: {wanted(target)}")],
            ),
        ),
        legend=(*_keys(options), *(dots if any(option.meets_targets for option in options) else [])),
        table=Table(
            head=("Option", "Requests at once", "Tokens/s together", "Tokens/s each", "First token, s", "Targets hold"),
            rows=tuple(
                (
                    letter,
                    f"{point.concurrency:,}",
                    ranged(point.output_tokens_per_s),
                    ranged(point.user_tokens_per_s),
                    ranged(point.ttft_s),
                    "yes" if point.meets_targets else "no",
                )
                for letter, option in zip(LETTERS, options, strict=False)
                for point in option.curve
            ),
        ),
    )


def _cost(plan: Plan, options: Sequence[Option]) -> Figure:
    currency = plan.prices.currency
    known = options[0].cost_over_time[-1].month
    paid = [{point.month: point for point in option.cost_over_time} for option in options]
    late = any(_LATE < option.break_even_months <= known for option in options if option.break_even_months is not None)
    last = known if late else min(36, known)
    api = [(float(point.month), point.api) for point in options[0].cost_over_time if point.month <= last]
    lines: list[Line] = []
    broken: list[str] = []
    for letter, option in zip(LETTERS, options, strict=False):
        points = [(float(point.month), point.cost) for point in option.cost_over_time if point.month <= last]
        when = option.break_even_months
        dots = []
        if when is not None and 0 < when <= last:
            after = months(when) if when < 1 else f"after {months(when)}"
            broken.append(f"{letter} {after}")
            meaning = f"{letter} has cost less than the API {after}"
            dots.append(Dot(x=when, y=_between(api, when, log=False), meaning=meaning, hollow=True))
        lines.append(Line(style=letter.lower(), label=letter, points=points, dots=dots))
    reached = "; ".join(f"{line.label} {money(line.points[-1][1], currency)}" for line in lines)
    return Figure(
        key="cost",
        title="Cost over time",
        caption=f"All that is paid up to a month: hardware at the beginning, then energy, maintenance, staff and rent. {_API} is "
        f"what the same tokens take from {plan.prices.api_name}.",
        charts=(
            line_chart(
                "cost-over-time",
                f"Paid so far, in {currency}, against months",
                f"Paid after {last} months: {reached}; the API {money(api[-1][1], currency)}.",
                x=calendar("months", last),
                y=even(
                    f"paid so far, {currency}",
                    [y for line in lines for _, y in line.points] + [y for _, y in api],
                    compact,
                ),
                lines=[*lines, Line(style="api", label=_API, points=api)],
            ),
        ),
        legend=(
            *_keys(options),
            (key_of_line("api"), f"{_API}: {plan.prices.api_name}"),
            *([(key_of_dot("plain hollow"), "has cost less than the API: " + ", ".join(broken))] if broken else []),
        ),
        table=Table(
            head=("Month", *LETTERS[: len(options)], _API),
            rows=tuple(
                (
                    f"{month}",
                    *(money(its[month].cost, currency) for its in paid),
                    money(paid[0][month].api, currency),
                )
                for month in range(0, last + 1, 6)
            ),
        ),
    )


def _memory(options: Sequence[Option]) -> Figure:
    parts = {
        letter: (
            Part(style="weights", name="weights", value=option.memory.weights),
            Part(style="activation", name="activation peak", value=option.memory.activation),
            Part(
                style="other",
                name="CUDA context, graphs, communication",
                value=option.memory.cuda_context + option.memory.cuda_graphs + option.memory.communication,
            ),
            Part(style="kv", name="KV cache", value=option.memory.kv_cache),
            Part(style="free", name="free", value=max(0.0, option.memory.free)),
        )
        for letter, option in zip(LETTERS, options, strict=False)
    }
    totals = {letter: option.memory.total for letter, option in zip(LETTERS, options, strict=False)}
    names = [(part.style, part.name) for part in next(iter(parts.values()))]
    said = "; ".join(
        f"{letter}: " + ", ".join(f"{part.name} {part.value:.1f}" for part in its) + f" of {totals[letter]:.1f} GiB"
        for letter, its in parts.items()
    )
    return Figure(
        key="memory",
        title="Memory of a GPU",
        caption="The fullest GPU of each option. The KV cache holds the requests under way: the more of it, the more at once.",
        charts=(
            bar_chart(
                "memory-parts",
                "What the memory of one GPU holds, in GiB",
                said + ".",
                x=even("GiB per GPU", list(totals.values()), compact, most=5),
                bars=[Bar(label=letter, total=f"{totals[letter]:.1f} GiB", parts=its) for letter, its in parts.items()],
            ),
        ),
        legend=tuple((key_of_part(style), name) for style, name in names),
        table=Table(
            head=("GiB per GPU", *parts),
            rows=(
                *(
                    (name, *(f"{its[index].value:.2f}" for its in parts.values()))
                    for index, (_, name) in enumerate(names)
                ),
                ("total", *(f"{total:.2f}" for total in totals.values())),
            ),
        ),
    )


def _keys(options: Sequence[Option]) -> list[tuple[Markup, str]]:
    return [
        (key_of_line(letter.lower()), f"{letter}: {option.name}")
        for letter, option in zip(LETTERS, options, strict=False)
    ]


def _ends(options: Sequence[Option], figure: Callable[[CurvePoint], float], what: str) -> str:
    return " ".join(
        f"{letter}: {number(figure(option.curve[0]))} {what} at {option.curve[0].concurrency:,} at once, "
        f"{number(figure(option.curve[-1]))} at {option.curve[-1].concurrency:,}."
        for letter, option in zip(LETTERS, options, strict=False)
    )


def _between(points: Sequence[tuple[float, float]], x: float, *, log: bool = True) -> float:
    """Where the drawn line is at `x`: straight between points, on the paper of its axis."""
    for (left, low), (right, high) in pairwise(points):
        if left <= x <= right and left < right:
            share = (log2(x / left) / log2(right / left)) if log else (x - left) / (right - left)
            return low + share * (high - low)
    return points[0][1] if x <= points[0][0] else points[-1][1]

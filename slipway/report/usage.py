"""A chart of what teams used, as an SVG file that stands alone: a bar for each period, with a part for each team."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from markupsafe import Markup

from slipway.report.axes import even
from slipway.report.bars import Bar, Part, bars_drawn
from slipway.report.canvas import CHARACTER, chart, words
from slipway.report.svg import tag
from slipway.report.words import compact
from slipway.usage.records import Sum

_STYLES = ("weights", "activation", "kv", "other")
"""Of the teams that used most; the style sheet's colours for parts that lie side by side."""
_REST = ("free", "other teams")
_KEY = 20
"""Height of a line of the legend."""


def usage_chart(found: Sequence[Sum], period: str) -> str:
    """The file's text. Money is drawn where all that was used had a price in one currency, else tokens."""
    currencies = {each.currency for each in found if each.tokens or each.money is not None}
    currency = next(iter(currencies)) if len(currencies) == 1 else None
    unit = currency or "tokens"
    used: dict[str, dict[str, Decimal]] = {}
    teams: dict[str, Decimal] = {}
    for each in found:
        value = Decimal(each.tokens) if currency is None else each.money or Decimal(0)
        row = used.setdefault(each.period, {})
        row[each.team] = row.get(each.team, Decimal(0)) + value
        teams[each.team] = teams.get(each.team, Decimal(0)) + value
    most = sorted(teams, key=lambda team: (-teams[team], team))[: len(_STYLES)]
    bars = [_bar(name, row, most) for name, row in used.items()]
    names = [*zip(_STYLES, most, strict=False), *([_REST] if len(teams) > len(most) else [])]
    legend = len(names) * _KEY
    longest = max((float(sum(row.values())) for row in used.values()), default=0.0)
    left = max((CHARACTER * len(bar.label) for bar in bars), default=0.0) + 14
    height, drawn = bars_drawn(
        x=even(unit, [longest], compact, most=5), bars=bars, left=left, text=compact, top=float(legend)
    )
    title = f"{'Tokens' if currency is None else f'Money ({currency})'} by {period} and team"
    said = "; ".join(f"{team} {compact(float(teams[team]))} {unit}" for team in sorted(teams)) or "nothing was used"
    style = Markup((Path(__file__).parent / "style.css").read_text(encoding="utf-8"))  # noqa: S704 -- our own file
    keys = [_key(row, style_of, name) for row, (style_of, name) in enumerate(names)]
    content = [tag("style", style), *keys, *drawn]
    return str(chart("usage", title, said, height, content, xmlns="http://www.w3.org/2000/svg")) + "\n"


def _bar(period: str, row: dict[str, Decimal], most: Sequence[str]) -> Bar:
    parts = [
        Part(style=style, name=team, value=float(row.get(team, Decimal(0))))
        for style, team in zip(_STYLES, most, strict=False)
    ]
    rest = sum((value for team, value in row.items() if team not in most), Decimal(0))
    style, name = _REST
    return Bar(
        label=period,
        total=compact(float(sum(row.values()))),
        parts=[*parts, Part(style=style, name=name, value=float(rest))],
    )


def _key(row: int, style: str, name: str) -> Markup:
    top = row * _KEY
    patch = tag("rect", x=1, y=top + 4, width=12, height=11, class_=f"part {style}")
    return tag("g", patch, words(name, 20, top + _KEY / 2))

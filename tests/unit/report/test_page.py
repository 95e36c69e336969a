"""The page says what the plan says, in the order of a reader's questions, and no text of the plan becomes anything else."""

import base64
import hashlib
import re
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.performance.plan_types import Assumption, Plan, Refusal
from slipway.report import ReportError, render, write
from tests.unit.report.plans import option, plan, rented

MADE = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
COMMAND = "slipway plan --model m --users 500 --html plan.html"
NASTY = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
VOID = {"meta", "link", "br", "img", "hr", "input", "base"}
EMPTY = {"line", "path", "circle", "rect"}


class Page(HTMLParser):
    """Tags as a browser meets them, and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in EMPTY
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(given: Plan, command: str = COMMAND) -> Page:
    return Page(render(given, command=command, made=MADE))


def headline(given: Plan) -> str:
    return re.findall(r"<h1>(.*?)</h1>", render(given, command="", made=MADE))[0]


def test_the_order_is_that_of_a_readers_questions() -> None:
    text = page(plan()).text
    order = (
        'Buy 2 hosts of the kind "Team: four A10G"',
        "It is cheap.",
        "Key figures: Team: four A10G",
        "Options",
        "Capacity against concurrency",
        "Cost over time",
        "Memory of a GPU",
        "What was assumed",
        "Eurostat (2025-10-29)",
        "Lab hosts",
        "Made on 2026-11-21 09:30 UTC",
        COMMAND,
    )
    places = [text.index(part) for part in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            plan(option(once=36_000.0)),
            "Buy 2 hosts of the kind &#34;Team: four A10G&#34; to serve 500 users of meta-llama/Llama-3.1-70B-Instruct: about "
            "EUR 2,000 a month; the same tokens from Somebody&#39;s API would cost EUR 3,000.",
        ),
        (
            plan(rented(hosts=1)),
            "Rent 1 host of the kind &#34;g5.12xlarge in us-east-1&#34; to serve 500 users of "
            "meta-llama/Llama-3.1-70B-Instruct: about EUR 4,000 a month; the same tokens from Somebody&#39;s API would "
            "cost EUR 3,000.",
        ),
        (plan(option(meets_targets=False), advice=("Nothing meets the targets.",)), "Nothing meets the targets."),
    ],
)
def test_the_headline_is_one_sentence(given: Plan, sentence: str) -> None:
    assert headline(given) == sentence


@pytest.mark.parametrize(
    ("given", "figures"),
    [
        (
            plan(option(once=36_000.0)),
            (
                "Cost per month EUR 2,000 EUR 36,000 at the beginning; then EUR 1,000 a month",
                "Users served 500 room for about 800 (480 to 1,200) at 80% of what the hosts can carry",
                "all users together 600 360\N{EN DASH}900 at most; in the busiest hour each user sees "
                "22 (13\N{EN DASH}33), wanted: 15",
                "in the busiest hour 0.80 s 0.48\N{EN DASH}1.2 s; wanted: at most 2 s",
                "Power at full load 2.8 kW at the hosts; 1,200 kWh a month with cooling",
                "Break-even against an API 18 months Somebody's API: EUR 3,000 a month for the same tokens",
            ),
        ),
        (
            plan(rented()),
            (
                "Cost per month EUR 4,000 rent and staff; nothing at the beginning",
                "Power at full load 2.8 kW in the price of the rent",
                "Break-even against an API never",
            ),
        ),
        (plan(option(hardware_estimated=True)), ("EUR 50,000 at the beginning, an estimate; then", "50,000* 600")),
        (plan(option(break_even_months=0.0)), ("Break-even against an API from the first month",)),
        (
            plan(option(meets_targets=False)),
            ("Key figures of the nearest option", "Users 500 the targets do not hold for them"),
        ),
    ],
)
def test_key_figures(given: Plan, figures: tuple[str, ...]) -> None:
    text = page(given).text
    # Where words stand in neighbouring elements, a reader sees a gap.
    spaced = " ".join(re.sub(r"<[^>]+>", " ", render(given, command="", made=MADE)).replace("&#39;", "'").split())
    for figure in figures:
        assert figure in spaced, text


def test_one_chart_for_each_subject_and_its_figures_beneath() -> None:
    made = page(plan())
    assert [chart["id"] for chart in made.of("svg") if chart.get("role") == "img"] == [
        "capacity-together",
        "capacity-each",
        "cost-over-time",
        "memory-parts",
    ]
    assert len(made.of("figure")) == 3
    ids = [attributes["id"] for _, attributes in made.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    text = made.text
    assert "600 (360\N{EN DASH}900)" in text  # the table of options
    assert "692 (415\N{EN DASH}1,038)" in text  # 100 requests at once
    assert "EUR 86,000" in text  # the 36th month


def test_letters_are_the_same_in_table_and_charts() -> None:
    other = option(id="h100", name="Eight H100", gpu="h100")
    text = page(plan(option(), option(id="more", name="More A10G"), rented(), other)).text
    assert "A Team: four A10G" in text
    assert "B g5.12xlarge" in text
    assert "C Eight H100" in text
    assert text.count("A: Team: four A10G") == 2  # legends of capacity and cost
    assert "A: More A10G" not in text


def test_what_misses_is_shown_with_its_reason() -> None:
    text = page(plan()).text
    assert "missed slow" in re.sub(r"(?<=missed)", " ", text)
    over = page(plan(option(), option(id="b", within_budget=False, why_not=("EUR 2 is over the budget",)))).text
    assert "over budget" in over
    assert "EUR 2 is over the budget" in over


def test_a_plan_without_options_has_no_charts_and_says_why() -> None:
    given = plan(choice=None, options=(), advice=("Nothing here can serve the model.",))
    made = page(given)
    assert not made.of("figure")
    assert "Nothing here can serve the model." in made.text
    assert "it has no GPU" in made.text


@pytest.mark.parametrize("count", [1, 8, 9, 60])
def test_every_option_has_a_row(count: int) -> None:
    made = page(plan(*(option(id=f"t{n}", name=f"Tier {n}.") for n in range(count))))
    assert all(f"Tier {n}." in made.text for n in range(count))
    assert (
        f"{count - 8} more" in made.text
        if count > 8
        else "more" not in made.text.replace("more requests", "").replace("the more", "")
    )


def test_nothing_but_its_own_style_is_let_in() -> None:
    text = render(plan(), command=COMMAND, made=MADE)
    (policy,) = [
        meta["content"] for meta in Page(text).of("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@pytest.mark.parametrize("given", [plan(), plan(*(option(id=f"t{n}") for n in range(80)))])
def test_it_asks_for_nothing_and_is_small(given: Plan) -> None:
    text = render(given, command=COMMAND, made=MADE)
    made = Page(text)
    assert {name for name, _ in made.tags}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "image", "use"}
    )
    assert not [attributes for _, attributes in made.tags if {"src", "href", "style"} & attributes.keys()]
    assert not re.search(r"url\(|@import|@font-face", text)
    assert len(text.encode()) < 300_000


def hostile(value: Any) -> Any:
    """The same plan, with every free text in it an attack."""
    if isinstance(value, str):
        return value if value in {"on-premises", "cloud", "measured", "EUR"} else NASTY
    if isinstance(value, dict):
        return {key: hostile(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner) for inner in value]
    return value


def test_text_stays_text() -> None:
    given = plan(option(), rented(), option(meets_targets=False, why_not=("slow",), warnings=("careful",)))
    attacked = msgspec.convert(hostile(msgspec.to_builtins(given)), Plan)
    made = page(attacked, NASTY)
    assert [name for name, _ in made.tags if name in {"script", "img"}] == []
    assert not [attributes for _, attributes in made.tags if any(name.startswith("on") for name in attributes)]
    assert made.text.count("alert(1)") >= 15
    assert "{{ 7 * 7 }}" in made.text
    assert sorted({name for name, _ in made.tags}) == sorted({name for name, _ in page(given).tags})


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30))
def test_any_name_leaves_the_page_whole(name: str) -> None:
    given = plan(
        option(name=name),
        model=name,
        refused=(Refusal(name=name, tier=None, place="cloud", reason=name),),
        assumptions=(Assumption(name=name, value=name, source=name, option=name),),
    )
    assert len(page(given, name).of("figure")) == 3


def test_the_same_plan_makes_the_same_page() -> None:
    assert render(plan(), command=COMMAND, made=MADE) == render(plan(), command=COMMAND, made=MADE)


def test_write_names_the_command_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/slipway", "plan", "--model", "a b", "--html", "plan.html"])
    write(plan(), tmp_path / "plan.html")
    made = Page((tmp_path / "plan.html").read_text(encoding="utf-8"))
    assert "Made with slipway plan --model 'a b' --html plan.html" in made.text


def test_write_knows_no_command_of_other_programs(tmp_path: Path) -> None:
    write(plan(), tmp_path / "plan.html")
    assert "Made with" not in (tmp_path / "plan.html").read_text(encoding="utf-8")


def test_write_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is a folder"):
        write(plan(), tmp_path)
    assert not list(tmp_path.iterdir())

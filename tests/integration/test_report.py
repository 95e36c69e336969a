"""The page of a plan in a real browser that has no network: it is drawn, it complains of nothing and asks for nothing.

The checker itself is held against pages with a planted fault each, so that it is known to see them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.catalog import load
from slipway.performance.plan import plan
from slipway.performance.plan_types import Plan, Question
from slipway.report import write
from tests.integration.browser import Browser
from tests.unit.report import plans

CHARTS = 4
ATTACK = "</title><script>console.error(1)</script><img src='https://example.org/x.png' onerror='console.error(2)'>"

SCREENS = {"wide": {"width": 1280}, "dark": {"dark": True}, "narrow": {"width": 390}}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


def asked(**question: object) -> Plan:
    return plan(Question(**question), load())  # type: ignore[arg-type]


PLANS = {
    # Some to rent, some to buy, nobody pays off.
    "large": lambda: asked(model="meta-llama/Llama-3.1-70B-Instruct", users=500),
    # Break-even within the months shown, lines of about the same height, large figures.
    "dear API": lambda: asked(
        model="meta-llama/Llama-3.1-8B-Instruct", users=20_000, scenario="offline", currency="CNY"
    ),
    "hybrid": lambda: asked(model="Qwen/Qwen2.5-32B-Instruct-AWQ", users=2_000, scenario="hybrid", currency="JPY"),
    "small": lambda: asked(model="meta-llama/Llama-3.1-8B-Instruct", users=1, scenario="local"),
    "missed": lambda: asked(model="meta-llama/Llama-3.1-70B-Instruct", users=50, ttft_s=0.001),
    "three alike": lambda: plans.plan(
        plans.option(), plans.option(id="b", gpu="b", name="The same"), plans.option(id="c", gpu="c", name="And again")
    ),
    "one of long name": lambda: plans.plan(plans.option(name="A tier with a name that goes on and on " * 4)),
    "attack": lambda: plans.plan(
        plans.option(name=ATTACK, gpu_name=ATTACK, warnings=(ATTACK,)),
        plans.rented(name=ATTACK),
        model=ATTACK,
        notes=(ATTACK,),
    ),
}


@pytest.fixture(scope="module", params=PLANS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "plan.html"
    write(PLANS[request.param](), file, command="slipway plan")
    return file


@pytest.mark.parametrize("screen", SCREENS)
def test_it_is_drawn_and_quiet(tab: Browser, page: Path, screen: str) -> None:
    tab.show(**SCREENS[screen])  # type: ignore[arg-type]
    assert tab.visit(page).faults(CHARTS) == []


def test_the_figures_are_folded_and_unfold(tab: Browser, tmp_path: Path) -> None:
    write(plans.plan(), tmp_path / "plan.html", command="")
    tab.show()
    tab.visit(tmp_path / "plan.html")
    seen = "document.querySelector('#capacity table').checkVisibility()"
    assert not tab.evaluate(seen)
    tab.evaluate("document.querySelector('#capacity summary').click()")
    assert tab.evaluate(seen)


def test_schemes_differ_and_paper_is_light(tab: Browser, tmp_path: Path) -> None:
    write(plans.plan(), tmp_path / "plan.html", command="")
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for dark in (False, True):
        tab.show(dark=dark)
        tab.visit(tmp_path / "plan.html")
        seen.append(tab.evaluate(ground))
    assert seen == ["rgb(255, 255, 255)", "rgb(20, 24, 28)"]
    tab.show()


def test_it_prints_on_few_pages(tab: Browser, tmp_path: Path) -> None:
    write(asked(model="meta-llama/Llama-3.1-70B-Instruct", users=500), tmp_path / "plan.html", command="slipway plan")
    tab.show()
    tab.visit(tmp_path / "plan.html")
    pages = len(re.findall(rb"/Type\s*/Page\b", tab.printed()))
    assert 1 <= pages <= 5


def test_the_policy_stops_what_gets_in(tab: Browser, tmp_path: Path) -> None:
    """Were text of the plan ever to become markup, it still could do nothing."""
    write(plans.plan(), tmp_path / "plan.html", command="")
    text = (tmp_path / "plan.html").read_text(encoding="utf-8")
    planted = (
        "<script>document.title = 'ran'</script><img src='https://example.org/x.png'><style>h1 { color: red }</style>"
    )
    (tmp_path / "plan.html").write_text(text.replace("<main>", f"<main>{planted}"), encoding="utf-8")
    tab.show()
    visit = tab.visit(tmp_path / "plan.html")
    assert visit.requests == []
    assert len(visit.complaints) == 3
    assert tab.evaluate("document.title") != "ran"
    assert tab.evaluate("getComputedStyle(document.querySelector('h1')).color") != "rgb(255, 0, 0)"


PLANTED = {
    "image": ("</main>", "<img src='https://example.org/x.png'></main>", "asked for https://example.org/x.png"),
    "font": (
        "</style>",
        "@font-face { font-family: F; src: url(https://example.org/f.woff2); } h1 { font-family: F; }</style>",
        "asked for https://example.org/f.woff2",
    ),
    "request": (
        "</main>",
        "<script>fetch('https://example.org/t').catch(() => 0)</script></main>",
        "asked for https://example.org/t",
    ),
    "console.error": ("</main>", "<script>console.error('planted')</script></main>", "console: error: planted"),
    "console.warn": ("</main>", "<script>console.warn('planted')</script></main>", "console: warning: planted"),
    "exception": ("</main>", "<script>throw new Error('planted')</script></main>", "console: Error: planted"),
    "no chart": ('role="img"', "", "3 charts, not 4"),
    "empty chart": (' mark a"', ' a"', "nothing is drawn"),
    "line of no length": ('<path d="M', '<path d="M0 0" x="', "a mark of no size"),
    "hidden mark": ("</style>", ".line { display: none }</style>", "a mark of no size: line mark a"),
    "colourless mark": (
        "</style>",
        ".line.a { stroke: none !important }</style>",
        "a mark without colour: line mark a",
    ),
    "mark outside": ("</style>", ".band { transform: translateX(30rem) }</style>", "a mark outside: band mark a"),
    "labels on each other": ("</style>", ".axis text { font-size: 60px }</style>", "labels on each other"),
    "label outside": ("</style>", ".total { transform: translateX(90px) }</style>", "a label outside: 22.0 GiB"),
    "no description": ("<desc ", "<metadata ", "no title or description"),
    "too wide": ("</style>", "main { min-width: 2000px }</style>", "wider than the window by"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_the_checker_sees_what_is_planted(tab: Browser, tmp_path: Path, fault: str) -> None:
    old, new, said = PLANTED[fault]
    file = tmp_path / "plan.html"
    write(plans.plan(plans.option()), file, command="")
    text = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", file.read_text(encoding="utf-8"))
    assert old in text
    file.write_text(text.replace(old, new, -1 if fault == "empty chart" else 1), encoding="utf-8")
    tab.show()
    found = tab.visit(file).faults(CHARTS)
    assert any(said in each for each in found), found


def _slipway(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).parent / "slipway"),
        "plan",
        "--model",
        "Qwen/Qwen2.5-32B-Instruct-AWQ",
        *arguments,
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_the_command_writes_a_page_that_names_it(tab: Browser, tmp_path: Path) -> None:
    file = tmp_path / "the plan.html"
    done = _slipway("--users", "50", "--html", str(file))
    assert done.returncode == 0, done.stderr
    tab.show()
    assert tab.visit(file).faults(CHARTS) == []
    said = tab.evaluate("document.querySelector('footer pre').textContent")
    assert said == f"slipway plan --model Qwen/Qwen2.5-32B-Instruct-AWQ --users 50 --html '{file}'"


def test_the_command_refuses_a_folder_in_one_line(tmp_path: Path) -> None:
    done = _slipway("--users", "50", "--html", str(tmp_path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{tmp_path} is a folder; nothing was written; name a file" in done.stderr
    assert not list(tmp_path.iterdir())

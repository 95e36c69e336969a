"""`slipway plan`: exit statuses, what is printed, and that nothing is written when nothing is answered."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cli.main import main
from slipway.performance.plan_types import Plan
from tests.unit.performance.planning import LARGE, SMALL, catalog, option

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str, model: str = SMALL, users: str = "50") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["slipway", "plan", "--model", model, "--users", users, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return command


def test_the_first_line_says_which_one_to_choose(run: Run) -> None:
    status, out, err = run()
    assert (status, err) == (0, "")
    assert out.startswith("Choose ")
    assert "\x1b" not in out
    for heading in ("Meet the targets", "What they cost, USD a month", "Not possible, or not judged", "Assumed"):
        assert f"\n{heading}" in out


def test_no_figure_is_cut_off(run: Run) -> None:
    _, out, _ = run("--all", "--currency", "JPY", users="20000")
    assert "…" not in out


def test_json_is_the_whole_plan(run: Run) -> None:
    status, out, _ = run("--json", "--tier", "team", "--currency", "eur")
    answer = msgspec.json.decode(out, type=Plan)
    assert status == 0
    assert answer.choice == "team"
    assert answer.prices.currency == "EUR"
    assert option(answer, "team").place == "on-premises"


def test_tiers_may_be_instances(run: Run) -> None:
    _, out, _ = run("--json", "--tier", "g6e.2xlarge", "--place", "cloud")
    assert {each["instance"] for each in json.loads(out)["options"]} == {"g6e.2xlarge"}


def test_nothing_meets_the_targets(run: Run) -> None:
    status, out, err = run("--tokens-per-second", "5000", model=LARGE)
    assert (status, err) == (1, "")
    assert out.startswith("Nothing meets the targets.\nNearest: ")


def test_a_folder_is_a_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(catalog().models[SMALL].config))
    status, out, _ = run("--json", "--tier", "team", model=str(tmp_path))
    assert status == 0
    assert json.loads(out)["parameters"] == catalog().models[SMALL].parameters


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "5"), "a budget of USD 5.00 a month is too small; the cheapest that meets the targets is"),
        (("--api-price", "3"), "--api-price '3': two prices are wanted"),
        (("--hardware-price", "prod"), "--hardware-price 'prod': TIER=AMOUNT is wanted"),
        (("--hardware-price", "prod=inf"), "--hardware-price 'prod=inf': TIER=AMOUNT is wanted"),
        (("--place", "moon"), "--place: ['moon'] makes no plan; on-premises or cloud is needed"),
        (("--tokens-per-second", "nan"), "--tokens-per-second: nan makes no plan"),
        (("--tier", "teem"), "tier 'teem' is not in the catalogue; the nearest: team"),
    ],
)
def test_mistakes_end_with_one_line_and_write_nothing(
    run: Run, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    page = tmp_path / "plan.html"
    status, out, err = run(*words, "--html", str(page))
    assert (status, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert not page.exists()


def test_an_unknown_model_comes_with_the_nearest(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, _, err = run(model="Qwen/Qwen3-88B")
    assert status == 2
    assert "Qwen/Qwen3-8B" in err
    assert err.count("\n") == 1


def test_a_page_in_no_folder_is_refused_before_anything_is_computed(run: Run, tmp_path: Path) -> None:
    status, out, err = run("--html", str(tmp_path / "no" / "plan.html"))
    assert (status, out) == (2, "")
    assert "there is no folder" in err

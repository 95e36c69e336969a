"""Money: parts and totals, breaking even, currencies, and where the figures come from."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.performance.costs import (
    HORIZON_MONTHS,
    Cost,
    api_for,
    break_even_months,
    cost_over_time,
    defaults,
    energy_zone,
    in_cloud,
    on_premises,
    scenarios,
)
from slipway.performance.efficiency import DATA
from tests.unit.performance.planning import catalog, option, planned

money = st.floats(0, 1e7)
prices = planned().prices


def parts(cost: Cost) -> float:
    return cost.capital + cost.maintenance + cost.energy + cost.staff + cost.cloud + cost.api


@given(hardware=money, hosts=st.integers(1, 100), watts=st.floats(0, 1e5), load=st.floats(0, 1), api=money)
def test_parts_of_ones_own_hosts_add_up(hardware: float, hosts: int, watts: float, load: float, api: float) -> None:
    cost, kwh = on_premises(
        prices, hardware=hardware, hosts=hosts, host_w=100.0 * hosts, gpu_w=watts, load=load, api=api
    )
    assert parts(cost) == pytest.approx(cost.total)
    assert cost.capital * prices.capital_months == pytest.approx(cost.once)
    assert cost.energy == pytest.approx(kwh * prices.energy_kwh)
    assert cost.cloud == 0


@given(rate=st.floats(0, 1e3), hosts=st.integers(1, 100), api=money)
def test_parts_of_rented_hosts_add_up(rate: float, hosts: int, api: float) -> None:
    cost = in_cloud(prices, usd_per_hour=rate, hosts=hosts, api=api)
    assert parts(cost) == pytest.approx(cost.total)
    assert cost.once == cost.capital == cost.energy == 0


@given(once=money, running=st.floats(0, 1e5), api=st.floats(0, 1e5))
def test_breaking_even_is_where_the_curves_cross(once: float, running: float, api: float) -> None:
    cost = Cost(
        capital=once / 36, maintenance=0, energy=running, staff=0, cloud=0, api=0, total=once / 36 + running, once=once
    )
    months = break_even_months(cost, api)
    for point in cost_over_time(cost, api):
        margin = 1e-6 * (1 + once + 60 * (running + api))
        if months is None:
            assert point.cost >= point.api - margin
        elif point.month >= months:
            assert point.cost <= point.api + margin
        else:
            assert point.cost >= point.api - margin


def test_rented_hosts_pay_off_at_once_or_never() -> None:
    cost = in_cloud(prices, usd_per_hour=1.0, hosts=1)
    assert break_even_months(cost, cost.total + 1) == 0
    assert break_even_months(cost, cost.total) is None
    assert break_even_months(cost, cost.total - 1) is None


def test_the_curve_has_every_month() -> None:
    cost, _ = on_premises(prices, hardware=1000.0, hosts=1, host_w=100.0, gpu_w=100.0, load=1.0)
    curve = cost_over_time(cost, 10.0)
    assert [point.month for point in curve] == list(range(HORIZON_MONTHS + 1))
    assert (curve[0].cost, curve[0].api) == (1000.0, 0.0)
    assert curve[12].cost == pytest.approx(1000 + 12 * (cost.total - cost.capital))
    assert curve[12].api == pytest.approx(120.0)


@pytest.mark.parametrize("currency", sorted(set(defaults().rates) - {"USD"}))
def test_a_currency_is_the_dollar_times_its_rate(currency: str) -> None:
    """There and back: every part over the rate is what it is in dollars, be the hardware's price published or not."""
    ours, dollars = (planned(currency=each, region="us", tiers=("team", "prod")) for each in (currency, "USD"))
    rate = defaults().rates[currency].value
    for name in ("team", "prod", "g5.12xlarge@us-east-1"):
        here, there = option(ours, name), option(dollars, name)
        for part in ("capital", "maintenance", "energy", "staff", "cloud", "total", "once"):
            assert getattr(here.cost, part) / rate == pytest.approx(getattr(there.cost, part)), (name, part)
        assert here.api_month / rate == pytest.approx(there.api_month)
        assert here.break_even_months == there.break_even_months


@pytest.mark.parametrize(
    ("region", "currency", "zone"),
    [
        ("eu-west-1", "USD", "eu"),
        ("westeurope", "USD", "eu"),
        ("cn-beijing", "USD", "cn"),
        ("us-east-1", "EUR", "us"),
        (None, "CNY", "cn"),
        ("eu", "USD", "eu"),
        ("ap-northeast-1", "JPY", "us"),
    ],
)
def test_energy_follows_the_region_and_then_the_currency(region: str | None, currency: str, zone: str) -> None:
    assert energy_zone(region, currency) == zone


def test_a_larger_model_is_held_against_a_larger_api() -> None:
    small, large = api_for(8 * 10**9), api_for(671 * 10**9)
    assert small != large
    assert api_for(10**18) == large


def test_scenarios_are_complete() -> None:
    assert set(scenarios()) == {"internal", "local", "hybrid", "offline"}
    assert scenarios()["local"].max_hosts == 1
    assert scenarios()["hybrid"].local_share < 1
    assert "cloud" not in scenarios()["offline"].places


def test_gpus_with_a_price_are_in_the_catalogue() -> None:
    assert set(defaults().hardware.gpu_usd) <= set(catalog().gpus)


@pytest.mark.parametrize("file", ["efficiency.yaml", "costs.yaml"])
def test_rows_that_sources_name_exist(file: str, root: Path) -> None:
    text = (DATA / file).read_text(encoding="utf-8")
    rows = (root / "tests/data/throughput/throughput.jsonl").read_text(encoding="utf-8")
    for name in re.findall(r"tests/data/\S+?\.jsonl", text):
        assert (root / name).is_file(), name
    for row in re.findall(r"tp-\d+", text):
        assert f'"id": "{row}"' in rows, row


@settings(max_examples=20)
@given(load=st.floats(0, 1), more=st.floats(0, 1))
def test_busier_gpus_take_more_energy(load: float, more: float) -> None:
    low, high = sorted((load, more))
    idle, _ = on_premises(prices, hardware=0, hosts=1, host_w=100, gpu_w=1000, load=low)
    busy, _ = on_premises(prices, hardware=0, hosts=1, host_w=100, gpu_w=1000, load=high)
    assert busy.energy >= idle.energy > 0

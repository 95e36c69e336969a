"""Cost and capacity, against figures computed by hand."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from slipway.catalog import load
from slipway.review import Capacity, capacity, monthly_cost
from slipway.sizing.config import read_config
from slipway.sizing.result import Request, Sizing
from slipway.sizing.size import size


def llama(count: int = 8, context: int = 32768) -> Sizing:
    known = load()
    model = known.models["meta-llama/Llama-3.3-70B-Instruct"]
    return size(
        Request(
            architecture=read_config(model.config, model.id),
            gpu=known.gpus["h100-sxm-80gb"],
            count=count,
            context=context,
            max_num_seqs=256,
        )
    )


def test_a_month_of_eight_h100() -> None:
    """8 x 30,000 x 1.32 = 316,800. Capital: / 36 = 8,800. Upkeep: 10 % / 12 = 2,640.

    Energy: 4,600 W + 8 x 700 W x (0.15 + 0.85 x 176/730) = 6,587.62 W; x 730 h x 1.54 = 7,405.80 kWh, x 0.1102 = 816.12.
    """
    known = load()
    cost = monthly_cost(known, tier="prod", gpu=known.gpus["h100-sxm-80gb"], gpus_per_host=8, hosts=1)
    assert cost is not None
    assert (cost.capital, cost.maintenance) == (pytest.approx(8800), pytest.approx(2640))
    assert cost.energy == pytest.approx(816.12, abs=0.01)
    assert cost.total == pytest.approx(12_256.12, abs=0.01)
    assert (cost.currency, cost.estimated) == ("USD", True)


def test_a_second_host_costs_as_much_again() -> None:
    known = load()
    gpu = known.gpus["h100-sxm-80gb"]
    one, two = (monthly_cost(known, tier="prod", gpu=gpu, gpus_per_host=8, hosts=hosts) for hosts in (1, 2))
    assert one is not None
    assert two is not None
    assert two.total == pytest.approx(2 * one.total)


def test_a_tier_of_two_hosts_is_had_by_the_host() -> None:
    known = load()
    gpu = known.gpus["h100-sxm-80gb"]
    cost = monthly_cost(known, tier="cluster", gpu=gpu, gpus_per_host=8, hosts=known.tiers["cluster"].hosts)
    assert cost is not None
    assert cost.capital == pytest.approx(2 * 8800)


def test_a_published_price_is_no_estimate() -> None:
    """28,083 / 36 = 780.08."""
    known = load()
    cost = monthly_cost(known, tier="team", gpu=known.gpus["a10g"], gpus_per_host=4, hosts=1)
    assert cost is not None
    assert cost.capital == pytest.approx(780.08, abs=0.01)
    assert not cost.estimated


def test_without_a_tier_the_same_gpus_tell() -> None:
    known = load()
    gpu = known.gpus["a10g"]
    assert monthly_cost(known, tier=None, gpu=gpu, gpus_per_host=4, hosts=1) == monthly_cost(
        known, tier="team", gpu=gpu, gpus_per_host=4, hosts=1
    )


def test_a_tier_whose_gpu_was_changed_says_nothing_of_the_price() -> None:
    known = load()
    cost = monthly_cost(known, tier="team", gpu=known.gpus["h100-sxm-80gb"], gpus_per_host=8, hosts=1)
    assert cost is not None
    assert cost.capital == pytest.approx(8800)


@pytest.mark.parametrize(("tier", "gpu"), [(None, None), ("cpu", None), (None, "h100-sxm-80gb")])
def test_nothing_known_is_no_figure(tier: str | None, gpu: str | None) -> None:
    """No hardware, a tier without a price, and a number of GPUs that no tier has."""
    known = load()
    assert (
        monthly_cost(known, tier=tier, gpu=None if gpu is None else known.gpus[gpu], gpus_per_host=3, hosts=1) is None
    )


def test_capacity_is_that_of_all_copies() -> None:
    one = llama()
    assert capacity(one, hosts=3, gpus_per_host=16, copies_per_host=2) == Capacity(
        hosts=3,
        gpus=48,
        kv_cache_tokens=6 * one.kv_cache_tokens,
        full_requests=6 * one.max_concurrency,
        at_once=6 * 256,
    )


def test_what_does_not_fit_has_no_room() -> None:
    no_room = llama(count=1)
    assert not no_room.fits
    found = capacity(replace(no_room, kv_cache_tokens=5), hosts=1, gpus_per_host=1, copies_per_host=1)
    assert (found.kv_cache_tokens, found.full_requests, found.at_once) == (0, 0, 0)


def test_what_was_not_sized_is_not_known() -> None:
    assert capacity(None, hosts=1, gpus_per_host=8, copies_per_host=1) == Capacity(hosts=1, gpus=8)


def test_the_command_tells_before_and_after(root: Path, tmp_path: Path) -> None:
    """Stack prod with a second host, and twice the longest request: from the checkout's own files to the comment."""
    for side in ("base", "head"):
        (tmp_path / side / "stacks").mkdir(parents=True)
        shutil.copy2(root / "stacks/Pulumi.prod.yaml", tmp_path / side / "stacks")
    file = tmp_path / "head/stacks/Pulumi.prod.yaml"
    document = yaml.safe_load(file.read_text())
    settings = document["config"]["slipway:platform"]
    (first,) = settings["hosts"]
    second = {**first, "name": "prod-2", "address": "192.0.2.41", "private_address": "10.20.0.41", "runs": ["engine"]}
    settings["hosts"] = [{**first, "private_address": "10.20.0.40", "runs": ["engine", "gateway", "front"]}, second]
    settings["engine"]["key"] = {"env": "SLIPWAY_ENGINE_KEY"}
    settings["model"]["max_model_len"] = 65536
    file.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "slipway.cli.main", "review"]
    command += ["--base", str(tmp_path / "base"), "--head", str(tmp_path / "head")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=120)
    (stack,) = json.loads(done.stdout)["stacks"]
    assert stack["check"]["problems"] == []
    assert stack["cost"]["after"]["total"] == pytest.approx(2 * stack["cost"]["before"]["total"])
    before, after = stack["capacity"]["before"], stack["capacity"]["after"]
    assert (before["hosts"], before["gpus"], before["at_once"]) == (1, 8, 256)
    assert (after["hosts"], after["gpus"], after["at_once"]) == (2, 16, 512)
    # Half as many of twice the length, on two hosts.
    assert after["full_requests"] == pytest.approx(before["full_requests"], rel=0.01)
    text = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    assert "~USD 12,256 → ~USD 24,512 (+12,256)" in text
    assert "Engine hosts: 1 → 2<br>GPUs: 8 → 16<br>" in text

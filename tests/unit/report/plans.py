"""Plans to make pages of: every field is settled here, so a test changes what it is about and nothing else."""

from typing import Any

from slipway.performance.costs import Cost, Prices
from slipway.performance.plan_types import (
    Assumption,
    CostPoint,
    CurvePoint,
    Load,
    Memory,
    Option,
    Plan,
    Question,
    Refusal,
)
from slipway.performance.types import Range


def around(expected: float) -> Range:
    """A figure that may be 40 % less or half as much again."""
    return Range(0.6 * expected, expected, 1.5 * expected)


def option(**changes: Any) -> Option:
    """Two hosts of four GPUs, bought."""
    once, running, api = changes.pop("once", 50_000.0), changes.pop("running", 1_000.0), changes.pop("api", 3_000.0)
    saved = api - running
    fields: dict[str, Any] = {
        "id": "team",
        "name": "Team: four A10G",
        "tier": "team",
        "place": "on-premises",
        "instance": None,
        "region": None,
        "gpu": "a10g",
        "gpu_name": "NVIDIA A10G",
        "gpus_per_host": 4,
        "hosts": 2,
        "gpus": 8,
        "replicas": 2,
        "data_parallel": 1,
        "tensor_parallel": 4,
        "pipeline_parallel": 1,
        "context": 8192,
        "flags": {},
        "meets_targets": True,
        "within_budget": True,
        "why_not": (),
        "certain": False,
        "concurrency": 40,
        "capacity": around(2.0),
        "output_tokens_per_s": around(600.0),
        "ttft_s": around(0.8),
        "user_tokens_per_s": around(22.0),
        "load": 0.5,
        "basis": "measured",
        "power_w": 2800.0,
        "energy_kwh_month": 1200.0,
        "cost": Cost(
            capital=once / 36,
            maintenance=0.0,
            energy=0.0,
            staff=running,
            cloud=0.0,
            api=0.0,
            total=once / 36 + running,
            once=once,
        ),
        "hardware_estimated": False,
        "api_month": api,
        "break_even_months": once / saved if saved > 0 else None,
        "per_million_tokens": 3.0,
        "memory": Memory(
            total=22.0,
            weights=9.0,
            kv_cache=9.5,
            activation=0.7,
            communication=0.3,
            cuda_context=0.3,
            cuda_graphs=0.4,
            free=1.8,
        ),
        "curve": tuple(
            CurvePoint(
                concurrency=at_once,
                output_tokens_per_s=around(900.0 * at_once / (at_once + 30)),
                user_tokens_per_s=around(900.0 / (at_once + 30)),
                ttft_s=around(0.4 + at_once / 50),
                meets_targets=at_once <= 40,
            )
            for at_once in (2, 4, 8, 16, 32, 64, 100)
        ),
        "cost_over_time": tuple(
            CostPoint(month=month, cost=once + month * running, api=month * api) for month in range(61)
        ),
        "warnings": (),
    }
    return Option(**{**fields, **changes})


def rented(**changes: Any) -> Option:
    """The same GPUs, rented."""
    fields = {
        "id": "g5.12xlarge@us-east-1",
        "name": "g5.12xlarge in us-east-1",
        "tier": None,
        "place": "cloud",
        "instance": "g5.12xlarge",
        "region": "us-east-1",
        "once": 0.0,
        "running": 4_000.0,
    }
    return option(**{**fields, **changes})


def plan(*options: Option, **changes: Any) -> Plan:
    """For 500 users; by default with an option to buy, one to rent and one that misses."""
    if not options:
        options = (option(), rented(), option(id="l4", name="One L4", gpu="l4", meets_targets=False, why_not=("slow",)))
    fields: dict[str, Any] = {
        "model": "meta-llama/Llama-3.1-70B-Instruct",
        "parameters": 70_553_706_496,
        "weights": "bf16",
        "context": 8192,
        "scenario": "internal",
        "scenario_name": "Internal service for several teams",
        "question": Question(model="meta-llama/Llama-3.1-70B-Instruct", users=500),
        "load": Load(
            users=500,
            prompt_tokens=1000,
            output_tokens=300,
            active_share=0.2,
            requests_per_minute=1.0,
            requests_per_s=1.0,
            local_requests_per_s=1.0,
            requests_month=633_600.0,
            ttft_s=2.0,
            tokens_per_second=15.0,
        ),
        "prices": Prices(
            currency="EUR",
            per_usd=0.85,
            energy_kwh=0.19,
            pue=1.5,
            idle_share=0.15,
            staff_hour=60.0,
            base_hours=8.0,
            host_hours=2.0,
            cloud_host_hours=0.5,
            staff_hours=None,
            capital_months=36.0,
            maintenance_year=0.1,
            hours_month=730.0,
            busy_hours_month=176.0,
            api_name="Somebody's API",
            api_input=1.0,
            api_output=4.0,
        ),
        "advice": ("Choose team.", "It is cheap."),
        "choice": options[0].id if options[0].meets_targets else None,
        "options": options,
        "refused": (Refusal(name="Lab hosts", tier="lab", place="on-premises", reason="it has no GPU"),),
        "assumptions": (
            Assumption(
                name="energy", value="EUR 0.190 per kWh", source="Eurostat (2025-10-29)", option="--energy-price"
            ),
        ),
        "notes": ("Measure before you buy.",),
    }
    return Plan(**{**fields, **changes})

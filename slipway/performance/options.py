"""One option of a plan: a layout with its speed, money, memory, and curves."""

from __future__ import annotations

from slipway.performance.costs import Cost, Prices, api_cost, break_even_months, cost_over_time, in_cloud, on_premises
from slipway.performance.layout import EVERYTHING, MAX_HOSTS, Layout, holds, workload
from slipway.performance.plan_types import CurvePoint, Load, Memory, Option, Question
from slipway.performance.predict import Replica
from slipway.performance.terms import Terms
from slipway.sizing.result import Sizing

_CURVE = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def option(layout: Layout, terms: Terms) -> Option:
    """What `layout` makes of the load."""
    candidate, shard, replicas = layout.candidate, layout.shard, layout.replicas
    load, prices = terms.load, terms.prices
    request = shard.sizing.request
    capacity = shard.at_most.requests_per_s.scaled(replicas)
    share = load.local_requests_per_s / capacity.expected
    usual = layout.usual
    gpus = layout.hosts * candidate.gpus_per_host
    cost, kwh = _cost(layout, load, prices, share)
    api_month = api_cost(prices, load.requests_month * load.prompt_tokens, load.requests_month * load.output_tokens)
    why_not = (*shard.misses, *_too_many(layout, terms))
    over = over_budget(cost, terms.question)
    return Option(
        id=candidate.id,
        name=candidate.name,
        tier=candidate.tier,
        place=candidate.place,
        instance=candidate.instance,
        region=candidate.region,
        gpu=candidate.gpu.id,
        gpu_name=candidate.gpu.name,
        gpus_per_host=candidate.gpus_per_host,
        hosts=layout.hosts,
        gpus=gpus,
        replicas=replicas,
        data_parallel=layout.copies,
        tensor_parallel=request.tensor_parallel or 1,
        pipeline_parallel=request.pipeline_parallel or 1,
        context=request.context or 0,
        flags=shard.sizing.flags | ({"data-parallel-size": layout.copies} if layout.copies > 1 else {}),
        meets_targets=not why_not,
        within_budget=not over,
        why_not=(*why_not, *over),
        certain=not why_not and layout.certain,
        concurrency=shard.most * replicas,
        capacity=capacity,
        output_tokens_per_s=shard.at_most.output_tokens_per_s.scaled(replicas),
        ttft_s=usual.ttft_s,
        user_tokens_per_s=usual.user_tokens_per_s,
        load=share,
        basis=usual.basis,
        power_w=layout.hosts * candidate.host_power_w + gpus * candidate.gpu.power_w,
        energy_kwh_month=kwh,
        cost=cost,
        hardware_estimated=candidate.estimated,
        api_month=api_month,
        break_even_months=break_even_months(cost, api_month),
        per_million_tokens=1e6 * cost.total / (load.requests_month * (load.prompt_tokens + load.output_tokens)),
        memory=_memory(shard.sizing),
        curve=_curve(shard.replica, load, replicas),
        cost_over_time=cost_over_time(cost, api_month),
        warnings=shard.sizing.warnings,
    )


def over_budget(cost: Cost, question: Question) -> tuple[str, ...]:
    """Which budgets `cost` goes beyond, one line each."""
    lines = []
    if question.budget is not None and cost.total > question.budget:
        lines.append(
            f"{money(cost.total, question.currency)} a month is over the budget of {money(question.budget, question.currency)}"
        )
    if question.capital_budget is not None and cost.once > question.capital_budget:
        lines.append(
            f"{money(cost.once, question.currency)} at the beginning is over the budget of "
            f"{money(question.capital_budget, question.currency)}"
        )
    return tuple(lines)


def money(amount: float, currency: str) -> str:
    """`EUR 1,234`; small amounts with their cents."""
    return f"{currency} {amount:,.0f}" if amount >= 100 or amount == 0 else f"{currency} {amount:,.2f}"


def _too_many(layout: Layout, terms: Terms) -> tuple[str, ...]:
    most = min(MAX_HOSTS, terms.scenario.max_hosts or MAX_HOSTS)
    if layout.hosts <= most:
        return ()
    return (f"it takes {layout.hosts} hosts; at most {most} make one service{' here' if most < MAX_HOSTS else ''}",)


def _cost(layout: Layout, load: Load, prices: Prices, share: float) -> tuple[Cost, float]:
    """A month's cost, and the energy of one's own hosts in kWh."""
    candidate = layout.candidate
    elsewhere = load.requests_month * (1 - load.local_requests_per_s / load.requests_per_s)
    api = api_cost(prices, elsewhere * load.prompt_tokens, elsewhere * load.output_tokens)
    if candidate.place == "cloud":
        return in_cloud(prices, usd_per_hour=candidate.usd_per_hour, hosts=layout.hosts, api=api), 0.0
    return on_premises(
        prices,
        hardware=candidate.unit_price * layout.hosts / candidate.unit_hosts,
        hosts=layout.hosts,
        host_w=layout.hosts * candidate.host_power_w,
        gpu_w=layout.hosts * candidate.gpus_per_host * candidate.gpu.power_w,
        load=min(1.0, share) * min(1.0, prices.busy_hours_month / prices.hours_month),
        api=api,
    )


def _memory(sizing: Sizing) -> Memory:
    parts = sizing.memory
    if parts is None:
        raise AssertionError("a sizing on GPUs that fits has its memory")
    return Memory(
        total=parts.total.value,
        weights=parts.weights.value,
        kv_cache=parts.kv_cache.value,
        activation=parts.activation.value,
        communication=parts.communication.value,
        cuda_context=parts.context.value,
        cuda_graphs=parts.cuda_graphs.value,
        free=parts.free.value,
    )


def _curve(replica: Replica, load: Load, replicas: int) -> tuple[CurvePoint, ...]:
    full = replica.predict(workload(load, EVERYTHING)).concurrency
    points = []
    for concurrency in sorted({n for n in _CURVE if n < full} | {full}):
        there = replica.predict(workload(load, concurrency))
        points.append(
            CurvePoint(
                concurrency=concurrency * replicas,
                output_tokens_per_s=there.output_tokens_per_s.scaled(replicas),
                user_tokens_per_s=there.user_tokens_per_s,
                ttft_s=there.ttft_s,
                meets_targets=holds(there, load),
            )
        )
    return tuple(points)

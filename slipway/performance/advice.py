"""Which option to choose, and why: the few sentences that are read first."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.performance.copies import SEVERAL_HOSTS
from slipway.performance.options import money
from slipway.performance.plan_types import Load, Option, Refusal
from slipway.performance.terms import Terms
from slipway.performance.words import after_months, figure


def advice(options: Sequence[Option], refused: Sequence[Refusal], terms: Terms) -> tuple[str, ...]:
    """One sentence each; `options` in the order of the plan."""
    good = [option for option in options if option.meets_targets and option.within_budget]
    if not good:
        return _none(options, refused)
    best = good[0]
    lines = [_choose(best, len(good), terms.prices.currency), _speed(best, terms.load), _range(best, terms.load)]
    lines.extend(_sure(good))
    if len(good) > 1:
        second = good[1]
        more = second.cost.total / best.cost.total - 1
        lines.append(
            f"Next: {named(second)} at {money(second.cost.total, terms.prices.currency)} a month, {more:.0%} more."
        )
    lines.append(_against_api(best, terms))
    return tuple(lines)


def named(option: Option) -> str:
    """How an option is called in a sentence: `team (Team: four A10G), bought`."""
    if option.place == "cloud":
        return f"{option.name}, rented"
    return f"{option.id} ({option.name}), bought"


def _choose(best: Option, count: int, currency: str) -> str:
    among = f"the cheapest of {count} that meet the targets" if count > 1 else "the only one that meets the targets"
    hosts = f"{best.hosts} host{'s' if best.hosts > 1 else ''} with {best.gpus} x {best.gpu_name}"
    hosts += " in all" if best.hosts > 1 else ""
    cost = f"{money(best.cost.total, currency)} a month"
    if best.cost.once:
        estimate = ", an estimate" if best.hardware_estimated else ""
        cost += f" ({money(best.cost.once, currency)} at the beginning{estimate})"
    return f"Choose {named(best)}: {hosts}, for {cost}; {among}."


def _speed(best: Option, load: Load) -> str:
    return (
        f"In the busiest hour the first token takes about {figure(best.ttft_s.expected, load.ttft_s)} s (wanted: "
        f"{load.ttft_s:g} s), each user "
        f"sees {best.user_tokens_per_s.expected:.0f} tokens/s (wanted: {load.tokens_per_second:g}), and {best.load:.0%} of the "
        "capacity is taken."
    )


def _range(best: Option, load: Load) -> str:
    if best.certain:
        return "The targets hold at the slow end of the prediction's range too."
    missed = []
    if best.ttft_s.high > load.ttft_s:
        missed.append(f"{figure(best.ttft_s.high, load.ttft_s)} s to the first token")
    if best.user_tokens_per_s.low < load.tokens_per_second:
        missed.append(f"{figure(best.user_tokens_per_s.low, load.tokens_per_second)} tokens/s for each user")
    if best.capacity.low < load.local_requests_per_s:
        missed.append(f"room for {best.capacity.low:,.3g} of {load.local_requests_per_s:,.3g} requests/s")
    return f"At the slow end of the prediction's range it misses: {', '.join(missed)}. Measure before you buy."


def _sure(good: Sequence[Option]) -> list[str]:
    if good[0].certain:
        return []
    sure = next((option for option in good if option.certain), None)
    return [f"The cheapest for which they hold there too: {named(sure)}."] if sure else []


def _against_api(best: Option, terms: Terms) -> str:
    prices = terms.prices
    api = money(best.api_month, prices.currency)
    start = f"The same tokens from {prices.api_name} would cost {api} a month"
    if terms.scenario.id == "offline":
        return f"{start}, for comparison only: offline there is none."
    months = best.break_even_months
    if months is None:
        running = "this option's running cost" if best.place == "on-premises" else "this option"
        return f"{start}, less than {running}: on cost alone, hosts for oneself do not pay off at this load."
    if months == 0:
        return f"{start}: this option costs less from the first month on."
    late = (
        f", later than the {prices.capital_months:g} months over which the hardware is written off"
        if months > prices.capital_months
        else ""
    )
    return f"{start}: what is paid at the beginning is saved {after_months(months)}{late}."


def _none(options: Sequence[Option], refused: Sequence[Refusal]) -> tuple[str, ...]:
    if not options:
        return _impossible(refused)
    nearest = options[0]
    return (
        "Nothing meets the targets.",
        f"Nearest: {named(nearest)}: {'; '.join(nearest.why_not)}.",
        "Ask for less (--ttft, --tokens-per-second), quantize (--quantization), or add hardware of your own (--catalog).",
    )


def _impossible(refused: Sequence[Refusal]) -> tuple[str, ...]:
    """Nothing is left: the refusal that came nearest speaks for all."""
    spread = next((each for each in refused if SEVERAL_HOSTS in each.reason), None)
    if spread is not None:
        return (
            f"No host here can serve the model alone; for one, {spread.name}: {spread.reason}.",
            "Quantize (--quantization), choose a smaller model, or add hosts with more memory (--catalog).",
        )
    why = f"; for one, {refused[0].name}: {refused[0].reason}" if refused else ""
    return (f"Nothing here can serve the model{why}.",)

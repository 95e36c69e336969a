"""Which hosts can be had: the catalogue's tiers, bought, and the cloud's instances, rented."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slipway.catalog.load import Catalog, CatalogError, find, find_or_none
from slipway.catalog.types import Gpu, Instance, Tier
from slipway.performance.costs import Place, Prices, defaults, zone_of
from slipway.performance.plan_types import Question, Refusal
from slipway.performance.terms import Terms


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Hosts of one kind."""

    id: str
    name: str
    tier: str | None
    place: Place
    gpu: Gpu
    gpus_per_host: int
    unit_hosts: int
    """Hosts are had in multiples of this."""
    host_power_w: float
    unit_price: float
    """Of such a multiple, in the plan's currency; 0 in the cloud."""
    estimated: bool
    """Whether `unit_price` is an estimate."""
    usd_per_hour: float
    """Of one host; 0 on premises."""
    instance: str | None
    region: str | None


def candidates(terms: Terms, catalog: Catalog) -> tuple[list[Candidate], list[Refusal]]:
    """All hosts that the question allows, and those that can't be judged.

    Raises:
        CatalogError: A tier is unknown, with the nearest names.
    """
    question = terms.question
    places = question.places or tuple(terms.scenario.places)
    tiers, instances = _asked(question.tiers, catalog)
    prices = {find(catalog.tiers, name, "tier").id: price for name, price in question.hardware_prices.items()}
    found: list[Candidate] = []
    refused: list[Refusal] = []
    if "on-premises" in places:
        for tier in tiers:
            owned = _owned(tier, catalog, prices.get(tier.id), terms.prices)
            if isinstance(owned, str):
                refused.append(Refusal(name=tier.name, tier=tier.id, place="on-premises", reason=owned))
            else:
                found.append(owned)
    if "cloud" in places:
        found.extend(_rented(question, instances, tiers, catalog))
    return found, refused


def _asked(names: Sequence[str], catalog: Catalog) -> tuple[list[Tier], list[Instance]]:
    """Tiers of these names with the instances that are like them, and instances of these names; all where none is given."""
    if not names:
        return list(catalog.tiers.values()), list(catalog.instances.values())
    tiers: list[Tier] = []
    instances: list[Instance] = []
    for name in names:
        tier = find_or_none(catalog.tiers, name)
        instance = find_or_none(catalog.instances, tier.instance or "" if tier else name)
        if tier is None and instance is None:
            # Says which names are near.
            find(catalog.tiers, name, "tier")
        if tier is not None:
            tiers.append(tier)
        if instance is not None and instance not in instances:
            instances.append(instance)
    return tiers, instances


def _owned(tier: Tier, catalog: Catalog, given: float | None, prices: Prices) -> Candidate | str:
    if tier.gpu is None:
        return "it has no GPU, and speed without one is not predicted; measure it on a stack"
    gpu = find_or_none(catalog.gpus, tier.gpu)
    if gpu is None:
        raise CatalogError(f"tier {tier.id}: GPU {tier.gpu!r} is not in the catalogue; add it, or mend the tier")
    priced = tier_price(tier, gpu, prices) if given is None else (given, False)
    if priced is None:
        return f"no price of its hardware is known; give yours: --hardware-price {tier.id}=AMOUNT"
    price, estimated = priced
    return Candidate(
        id=tier.id,
        name=tier.name,
        tier=tier.id,
        place="on-premises",
        gpu=gpu,
        gpus_per_host=tier.gpus_per_host,
        unit_hosts=tier.hosts,
        host_power_w=tier.host_power_w,
        unit_price=price,
        estimated=estimated,
        usd_per_hour=0.0,
        instance=None,
        region=None,
    )


def tier_price(tier: Tier, gpu: Gpu | None, prices: Prices) -> tuple[float, bool] | None:
    """What all hosts of `tier` cost, and whether that is an estimate; None where nothing is known."""
    if tier.hardware_price_usd is not None:
        return tier.hardware_price_usd * prices.per_usd, False
    estimate = None if gpu is None else hardware_estimate(gpu, tier.gpus_per_host * tier.hosts)
    return None if estimate is None else (estimate * prices.per_usd, True)


def hardware_estimate(gpu: Gpu, gpus: int) -> float | None:
    """US dollars for hosts with so many of `gpu`, from the price of the GPU alone; None where not even that is known."""
    known = defaults().hardware
    street = known.gpu_usd.get(gpu.id)
    each = street.value if street is not None else gpu.price.usd if gpu.price is not None else None
    if each is None:
        return None
    return each * gpus * known.host_factor.value


def _rented(
    question: Question, instances: Iterable[Instance], tiers: Sequence[Tier], catalog: Catalog
) -> Iterable[Candidate]:
    """Instances in the region asked for, else in their cheapest."""
    wanted = question.region
    regions = {price.region for instance in catalog.instances.values() for price in instance.prices}
    for instance in instances:
        gpu = find_or_none(catalog.gpus, instance.gpu)
        offers = [
            price
            for price in instance.prices
            if wanted is None or price.region == wanted or (wanted not in regions and zone_of(price.region) == wanted)
        ]
        if gpu is None or not offers:
            continue
        cheapest = min(offers, key=lambda price: price.usd_per_hour)
        names = (instance.id, *instance.aliases)
        like = [tier for tier in tiers if tier.instance in names and tier.gpu == instance.gpu and tier.hosts == 1]
        yield Candidate(
            id=f"{instance.id}@{cheapest.region}",
            name=f"{instance.id} in {cheapest.region}",
            tier=like[0].id if like else None,
            place="cloud",
            gpu=gpu,
            gpus_per_host=instance.gpus,
            unit_hosts=1,
            host_power_w=0.0,
            unit_price=0.0,
            estimated=False,
            usd_per_hour=cheapest.usd_per_hour,
            instance=instance.id,
            region=cheapest.region,
        )

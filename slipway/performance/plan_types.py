"""What is asked of a plan, and what it answers. All of it encodes to JSON as it stands (msgspec), field by field.

Money is in the plan's currency, `Plan.prices.currency`; memory in GiB; power in watts; times in the unit of the name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from slipway.errors import UserMistake
from slipway.performance.costs import Cost, CostPoint, Place, Prices
from slipway.performance.types import Range

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
PositiveInt = Annotated[int, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, le=1)]


class PlanError(UserMistake):
    """A question that can't be answered as it stands: one line with what is wrong and what to do."""


class Question(Struct, frozen=True, kw_only=True):
    """What the user wants. None takes the scenario's figure, or that of data/costs.yaml."""

    model: str
    """As the user named it: a catalogue name, a folder or a config.json."""
    users: PositiveInt
    scenario: str = "internal"
    prompt_tokens: PositiveInt | None = None
    output_tokens: PositiveInt | None = None
    ttft_s: Positive | None = None
    """Target for the mean time to the first token."""
    tokens_per_second: Positive | None = None
    """Target for what each user sees."""
    active_share: Share | None = None
    requests_per_minute: Positive | None = None
    context: PositiveInt | None = None
    """max-model-len to deploy with. Default: 8192, or twice a request where that is more."""
    quantization: str | None = None
    """One that the engine makes as it loads 16-bit weights; a checkpoint's own needs no mention."""
    kv_cache_dtype: str = "auto"
    tiers: tuple[str, ...] = ()
    """Only these; empty for all."""
    places: tuple[Place, ...] = ()
    """Only these; empty for the scenario's."""
    region: str | None = None
    """Of the cloud, or us, eu, cn for energy prices."""
    budget: Positive | None = None
    """The most a month may cost, in `currency`."""
    capital_budget: Positive | None = None
    """The most that may be paid at the beginning."""
    currency: str = "USD"
    energy_price: NonNegative | None = None
    """Per kWh, in `currency`, as is all money that follows."""
    staff_hours: NonNegative | None = None
    staff_rate: NonNegative | None = None
    capital_months: Positive | None = None
    busy_hours: Annotated[float, Meta(gt=0, le=744)] | None = None
    api_price: tuple[NonNegative, NonNegative] | None = None
    """Per million tokens of prompts and of answers."""
    hardware_prices: dict[str, NonNegative] = {}
    """Of all hosts of a tier together, by the tier's name; each wins over the catalogue's."""


class Load(Struct, frozen=True, kw_only=True):
    """What the users bring, and what they want of it."""

    users: int
    prompt_tokens: int
    output_tokens: int
    active_share: float
    requests_per_minute: float
    """Of each active user in the busiest hour."""
    requests_per_s: float
    """In the busiest hour, all of them."""
    local_requests_per_s: float
    """What the hosts of the plan carry of them; the rest goes to an API by intent (hybrid)."""
    requests_month: float
    ttft_s: float
    """Target: mean time to the first token, at most."""
    tokens_per_second: float
    """Target: what each user sees, at least."""


class Memory(Struct, frozen=True, kw_only=True):
    """Of the fullest GPU, in GiB. All parts after `total` add up to it."""

    total: float
    weights: float
    kv_cache: float
    activation: float
    communication: float
    cuda_context: float
    cuda_graphs: float
    free: float


class CurvePoint(Struct, frozen=True, kw_only=True):
    """Of the curve of capacity: so many requests at once, over all replicas together."""

    concurrency: int
    output_tokens_per_s: Range
    """Of all replicas together."""
    user_tokens_per_s: Range
    """What each user sees."""
    ttft_s: Range
    meets_targets: bool


class Option(Struct, frozen=True, kw_only=True):
    """Hosts of one kind, bought or rented, so many that they carry the load."""

    id: str
    """Unique in a plan: `team`, `g5.12xlarge@us-east-1`."""
    name: str
    tier: str | None
    """Id of the tier in the catalogue; None for an instance that no tier is like."""
    place: Place
    instance: str | None
    """Id of the cloud's instance type, and its region; None on premises."""
    region: str | None
    gpu: str
    """Id in the catalogue, and the name that people know."""
    gpu_name: str
    gpus_per_host: int
    hosts: int
    gpus: int
    """Of all hosts together."""
    replicas: int
    """Copies of the model, all hosts together."""
    data_parallel: int
    """Copies on each host."""
    tensor_parallel: int
    pipeline_parallel: int
    context: int
    """max-model-len, in tokens."""
    flags: dict[str, str | int | float | bool]
    """Of the engine on each host, without dashes."""

    meets_targets: bool
    within_budget: bool
    why_not: tuple[str, ...]
    """What misses and by how much, one line each; empty where targets and budget hold."""
    certain: bool
    """The targets hold at the bad end of the ranges too."""

    concurrency: int
    """Requests at once that the option is laid out for, all replicas together: the most with which the targets hold."""
    capacity: Range
    """Requests a second at that concurrency, all replicas together."""
    output_tokens_per_s: Range
    """All replicas together, at `capacity`."""
    ttft_s: Range
    """Mean time to the first token in the busiest hour, in seconds."""
    user_tokens_per_s: Range
    """What one user sees in the busiest hour."""
    load: float
    """Share of `capacity` that the busiest hour takes."""
    basis: Literal["measured", "similar", "theory"]
    """What the ranges rest on: measurements on this kind of GPU, on similar ones, or data sheets alone."""

    power_w: float
    """All hosts at full load, without cooling."""
    energy_kwh_month: float
    """Cooling included, at the load of the plan; 0 for rented hosts, where it is the cloud's."""
    cost: Cost
    """A month. `cost.once` is paid at the beginning, and `cost.capital` is its monthly part."""
    hardware_estimated: bool
    """Whether `cost.once` is an estimate, since nobody publishes a price of these hosts."""
    api_month: float
    """What an API would take for the same tokens."""
    break_even_months: float | None
    """Months until the option has cost less than the API: where `cost_over_time` crosses; 0: from the first month on;
    None: never."""
    per_million_tokens: float
    """Cost of a month over all its tokens, prompts' included."""
    memory: Memory
    curve: tuple[CurvePoint, ...]
    cost_over_time: tuple[CostPoint, ...]
    """Every month from 0 to 60."""
    warnings: tuple[str, ...]


class Refusal(Struct, frozen=True, kw_only=True):
    """What can't serve the model at all, or can't be judged, and why."""

    name: str
    tier: str | None
    place: Place
    reason: str


class Assumption(Struct, frozen=True, kw_only=True):
    """A figure that the plan rests on, and where it comes from."""

    name: str
    value: str
    source: str
    """With its date; `given` where the user gave it."""
    option: str | None
    """On the command line, the option that sets it."""


class Plan(Struct, frozen=True, kw_only=True):
    """The answer."""

    model: str
    """Id in the catalogue, or the folder's name."""
    parameters: int
    weights: str
    """How the engine holds the weights: `bf16`, `awq 4 bits`, `fp8 8 bits`."""
    context: int
    scenario: str
    scenario_name: str
    question: Question
    load: Load
    prices: Prices
    advice: tuple[str, ...]
    """Which one to choose and why, one sentence each; or that nothing does, and what comes nearest."""
    choice: str | None
    """Id of the option to choose; None where none meets the targets within the budget."""
    options: tuple[Option, ...]
    """Those that meet the targets within the budget first, the cheapest first; then the others, the nearest first."""
    refused: tuple[Refusal, ...]
    assumptions: tuple[Assumption, ...]
    notes: tuple[str, ...]

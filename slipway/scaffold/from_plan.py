"""Work out what a stack is to say from an option of `slipway plan --json`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from slipway.catalog import Catalog
from slipway.catalog.load import find, find_or_none
from slipway.performance.copies import SEVERAL_HOSTS, is_mixture
from slipway.performance.plan_types import Option, Plan
from slipway.scaffold.draft import Draft, Hardware, Planned, finished, hardware_of, longest, readable
from slipway.scaffold.errors import InitError
from slipway.sizing.architecture import Architecture
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size


def read_plan(file: Path) -> Plan:
    """The plan in `file`.

    Raises:
        InitError: it can't be read, or is not the answer of `slipway plan --json`.
    """
    mend = "make one with `slipway plan --model MODEL --users N --json > FILE`"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Plan)
    except OSError as error:
        raise InitError(f"--from-plan: {file} cannot be read: {error.strerror}; {mend}") from None
    except msgspec.DecodeError as error:
        raise InitError(f"--from-plan: {file} is not the answer of `slipway plan --json` ({error}); {mend}") from None


def for_option(plan: Plan, number: int | None, teams: int, catalog: Catalog) -> Draft:
    """Option `number` of the plan, counted from 1, for so many teams; None takes the one that the plan chose.

    Raises:
        CatalogError: a name of the plan is not in the catalogue.
        InitError: there is no such option, or Slipway can't deploy it as it stands.
    """
    number = _number(plan, number)
    option = plan.options[number - 1]
    what = f"--option: {number} ({option.name})"
    hardware = _hardware(option, catalog)
    model = find(catalog.models, plan.model, "--from-plan: the model")
    ranks = option.tensor_parallel * option.pipeline_parallel
    question = plan.question
    architecture = readable(model, hardware, catalog, question.quantization)
    _check_copies(option, ranks, architecture, what)
    try:
        sizing = size(
            Request(
                architecture=architecture,
                gpu=hardware.gpu,
                count=ranks,
                tensor_parallel=option.tensor_parallel,
                pipeline_parallel=option.pipeline_parallel,
                context=option.context,
                quantization=question.quantization,
                kv_cache_dtype=question.kv_cache_dtype,
            )
        )
    except SizingError as error:
        raise InitError(f"{what}: {error}") from None
    if not sizing.fits:
        raise InitError(f"{what} does not fit: {sizing.errors[0]}; plan again")
    planned = Planned(
        option=option,
        load=plan.load,
        requests_per_minute=max(1, int(option.capacity.expected * 60 / teams)),
    )
    return finished(
        model,
        hardware,
        option.hosts,
        sizing,
        copies=option.data_parallel,
        output_tokens=_output_tokens(planned, sizing),
        most=planned.at_once,
        planned=planned,
    )


def _output_tokens(planned: Planned, sizing: Sizing) -> int | None:
    """The longest completion; None where the settings' quarter of the context does.

    It is long enough for the plan's answers, and short enough for as many at once as the plan counts with.
    """
    option, usual = planned.option, planned.load.output_tokens
    default = longest(option.context, None)
    wanted = default if usual <= default else min(option.context, 2 * usual)
    wanted = max(usual, min(wanted, sizing.kv_cache_tokens // planned.at_once))
    return None if wanted == default else wanted


def _number(plan: Plan, number: int | None) -> int:
    if not plan.options:
        raise InitError("--from-plan: the plan has no option; there is nothing to deploy: ask for less, and plan again")
    last = len(plan.options)
    if number is None:
        chosen = next((at for at, option in enumerate(plan.options, 1) if option.id == plan.choice), None)
        if chosen is None:
            raise InitError(
                "--from-plan: nothing in the plan meets its targets; the stack would disappoint: plan again, or take the "
                f"nearest knowingly with --option N (1 to {last})"
            )
        return chosen
    if not 1 <= number <= last:
        raise InitError(f"--option: {number} is not in the plan; it has 1 to {last}: give one of them")
    return number


def _check_copies(option: Option, ranks: int, architecture: Architecture, what: str) -> None:
    """Refuse what `slipway plan` never answers, and a plan of another release or an edited one may hold.

    Raises:
        InitError: the copies do not go on a host.
    """
    if option.data_parallel * option.hosts != option.replicas or option.data_parallel * ranks > option.gpus_per_host:
        raise InitError(
            f"{what}: its copies of the model ({option.replicas}, each on {ranks} GPUs) do not go on {option.hosts} hosts of "
            f"{option.gpus_per_host} GPUs, and {SEVERAL_HOSTS}: plan again"
        )
    if option.data_parallel > 1 and is_mixture(architecture):
        raise InitError(
            f"{what} has {option.data_parallel} copies of {architecture.name} on a host; of a mixture of experts the engine "
            "makes no copies: plan again"
        )


def _hardware(option: Option, catalog: Catalog) -> Hardware:
    gpu = find(catalog.gpus, option.gpu, "--from-plan: the GPU")
    tier = None if option.tier is None else find_or_none(catalog.tiers, option.tier)
    if tier is not None:
        hardware = hardware_of(tier, catalog)
        if option.place == "on-premises" and hardware.gpu == gpu and hardware.gpus == option.gpus_per_host:
            return hardware
    # A tier's nearest instance has another disk, other memory or even another GPU than the tier.
    instance = None if option.instance is None else find_or_none(catalog.instances, option.instance)
    memory = None if instance is None else instance.memory_gib
    return Hardware(tier=None, gpu=gpu, gpus=option.gpus_per_host, memory_gib=memory)

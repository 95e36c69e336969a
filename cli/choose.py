"""The commands that help to choose: they compute, and touch no host. Each imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import UserError

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; all else goes to stderr.")]
JsonList = Annotated[bool, typer.Option("--json", help="Print a list of JSON objects with all fields and sources.")]
Entries = Annotated[Path | None, typer.Option("--catalog", help="A file with entries of your own.")]


@app.command()
def size(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A catalogue name, a folder or config.json (no weights needed), a GGUF file, or a repository of the hub."
        ),
    ] = None,
    tier: Annotated[str | None, typer.Option(help="A hardware tier; see `slipway tiers`.")] = None,
    gpu: Annotated[str | None, typer.Option(help="A GPU; see `slipway gpus`.")] = None,
    count: Annotated[
        int | None, typer.Option(help="GPUs for one copy of the model. Default: 1, or the tier's.")
    ] = None,
    context: Annotated[int | None, typer.Option(help="max-model-len in tokens. Default: the model's own.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests at once that there must be room for.")] = None,
    tokens: Annotated[
        int | None,
        typer.Option(help="Tokens, prompt and completion, that a request really uses. Default: the context."),
    ] = None,
    quantization: Annotated[str | None, typer.Option(help="Made at run time, such as fp8.")] = None,
    kv_cache_dtype: Annotated[
        str, typer.Option(help="auto, fp8, fp8_e5m2, bfloat16; of llama.cpp f16, q8_0, q4_0.")
    ] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16, float32.")] = "auto",
    tensor_parallel: Annotated[int | None, typer.Option(help="GPUs that share each layer. Default: computed.")] = None,
    pipeline_parallel: Annotated[int | None, typer.Option(help="Groups of layers. Default: computed.")] = None,
    gpu_memory_utilization: Annotated[float | None, typer.Option(help="The engine's part of each GPU.")] = None,
    max_num_seqs: Annotated[
        int | None,
        typer.Option("--max-num-seqs", "--parallel", help="Default: the engine's, by GPU; of llama.cpp its slots, 1."),
    ] = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(help="Default: the engine's, by GPU.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="See `slipway engines`. Default: that of stacks; for a GGUF file, one that reads it."),
    ] = None,
    engine_version: Annotated[
        str | None, typer.Option(help="Its release. Default: the one that Slipway deploys.")
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="A file with entries of your own.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show each formula with its numbers and source.")] = False,
    batch: Annotated[
        Path | None, typer.Option(help="Answer each JSON line of this file (- for stdin) with a JSON line.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Does MODEL fit the hardware: memory per GPU, KV tokens, requests at once, flags. Status 1 when it does not."""
    from cli import size as command

    if batch is not None:
        raise typer.Exit(command.batch(batch, catalog))
    if model is None:
        raise UserError("size: MODEL is missing; give a name of `slipway models`, a folder or a config.json")
    options = command.Options(
        model=model,
        tier=tier,
        gpu=gpu,
        count=count,
        context=context,
        concurrency=concurrency,
        tokens=tokens,
        quantization=quantization,
        kv_cache_dtype=kv_cache_dtype,
        dtype=dtype,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        utilization=gpu_memory_utilization,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        engine=engine,
        engine_version=engine_version,
        catalog=catalog,
    )
    raise typer.Exit(command.answer(options, as_json=as_json, explain=explain))


@app.command()
def plan(
    model: Annotated[str, typer.Option(help="A catalogue name, a folder or config.json, or a repository of the hub.")],
    users: Annotated[int, typer.Option(help="People, or programs, that the service is for.")],
    scenario: Annotated[
        str, typer.Option(help="What else is not said: internal, local, hybrid, offline.")
    ] = "internal",
    prompt_tokens: Annotated[int | None, typer.Option(help="Of a request, as the mean.")] = None,
    output_tokens: Annotated[int | None, typer.Option(help="Of an answer, as the mean.")] = None,
    ttft: Annotated[float | None, typer.Option(help="Target: seconds to the first token, as the mean.")] = None,
    tokens_per_second: Annotated[float | None, typer.Option(help="Target: what each user sees.")] = None,
    active_share: Annotated[float | None, typer.Option(help="Users at work in the busiest hour, 0 to 1.")] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="Of each of them.")] = None,
    context: Annotated[int | None, typer.Option(help="max-model-len in tokens. Default: from the request.")] = None,
    quantization: Annotated[str | None, typer.Option(help="Made at run time, such as fp8.")] = None,
    kv_cache_dtype: Annotated[str, typer.Option(help="auto, fp8, fp8_e5m2, bfloat16.")] = "auto",
    tier: Annotated[
        list[str] | None, typer.Option(help="Only this tier, or cloud instance; may be given again. Default: all.")
    ] = None,
    place: Annotated[list[str] | None, typer.Option(help="Only on-premises, or only cloud.")] = None,
    region: Annotated[str | None, typer.Option(help="Of the cloud (us-east-1), or us, eu, cn.")] = None,
    budget: Annotated[float | None, typer.Option(help="The most a month may cost.")] = None,
    capital_budget: Annotated[float | None, typer.Option(help="The most that may be paid at the beginning.")] = None,
    currency: Annotated[str, typer.Option(help="Of all money: USD, CNY, EUR, GBP, JPY.")] = "USD",
    hardware_price: Annotated[
        list[str] | None, typer.Option(help="TIER=AMOUNT, of the tier's hosts together; may be given again.")
    ] = None,
    energy_price: Annotated[float | None, typer.Option(help="Per kWh.")] = None,
    staff_hours: Annotated[float | None, typer.Option(help="A month, in all.")] = None,
    staff_rate: Annotated[float | None, typer.Option(help="Of an hour.")] = None,
    capital_months: Annotated[float | None, typer.Option(help="Over which hardware is written off.")] = None,
    busy_hours: Annotated[float | None, typer.Option(help="Of a month, that are like the busiest.")] = None,
    api_price: Annotated[str | None, typer.Option(help="IN,OUT: to compare with, per million tokens.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="A file with entries of your own.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the plan to this file too, as one page with charts.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="List every option.")] = False,
    as_json: Json = False,
) -> None:
    """Rank tiers and cloud instances for a model and its users by cost. Status 1 when nothing meets the targets."""
    from cli import plan as command

    question = command.asked(
        model=model,
        users=users,
        scenario=scenario,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        ttft_s=ttft,
        tokens_per_second=tokens_per_second,
        active_share=active_share,
        requests_per_minute=requests_per_minute,
        context=context,
        quantization=quantization,
        kv_cache_dtype=kv_cache_dtype,
        tiers=tier or [],
        places=place or [],
        region=region,
        budget=budget,
        capital_budget=capital_budget,
        currency=currency.upper(),
        hardware_prices=command.hardware_prices(hardware_price or []),
        energy_price=energy_price,
        staff_hours=staff_hours,
        staff_rate=staff_rate,
        capital_months=capital_months,
        busy_hours=busy_hours,
        api_price=command.api_price(api_price),
    )
    raise typer.Exit(command.answer(question, catalog=catalog, as_json=as_json, html=html, everything=everything))


@app.command()
def tiers(catalog: Entries = None, as_json: JsonList = False) -> None:
    """List the hardware tiers that stacks can name."""
    from cli.catalog import show_tiers

    show_tiers(catalog, as_json=as_json)


@app.command()
def models(
    task: Annotated[
        str | None, typer.Option(help="Only these: chat, base, code, reasoning, embedding, rerank, vision.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only families that begin so, such as qwen3.")] = None,
    commercial: Annotated[bool, typer.Option("--commercial", help="Only those that may be used commercially.")] = False,
    catalog: Entries = None,
    as_json: JsonList = False,
) -> None:
    """List the models that Slipway knows, with their size, context and licence."""
    from cli.catalog import show_models

    show_models(catalog, as_json=as_json, task=task, family=family, commercial=commercial)


@app.command()
def gpus(catalog: Entries = None, as_json: JsonList = False) -> None:
    """List the GPUs that Slipway knows, with the memory and the speed that sizing counts with."""
    from cli.catalog import show_gpus

    show_gpus(catalog, as_json=as_json)


@app.command()
def engines(catalog: Entries = None, as_json: JsonList = False) -> None:
    """List the inference engines, and what Slipway can do with each."""
    from cli.catalog import show_engines

    show_engines(catalog, as_json=as_json)


@app.command()
def drivers(catalog: Entries = None, as_json: JsonList = False) -> None:
    """List the branches of NVIDIA's driver: until when each is supported, what it runs and which GPUs it drives."""
    from cli.catalog import show_drivers

    show_drivers(catalog, as_json=as_json)


@app.command()
def init(
    stack: Annotated[str, typer.Argument(help="The new stack: NAME of stacks/Pulumi.NAME.yaml.")],
    from_plan: Annotated[Path | None, typer.Option(help="The answer of `slipway plan --json`, in a file.")] = None,
    option: Annotated[
        int | None, typer.Option(help="Which of the plan's options, from 1. Default: the one that it chose.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model of the catalogue; see `slipway models`.")] = None,
    tier: Annotated[str | None, typer.Option(help="A hardware tier; see `slipway tiers`.")] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="A host's ADDRESS, or ADDRESS=PRIVATE_ADDRESS; once for each. Default: placeholders that reach nobody."
        ),
    ] = None,
    user: Annotated[str | None, typer.Option(help="The SSH user. Default: ubuntu.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="The SSH key. Default: the first that ssh would find, else the SSH agent.")
    ] = None,
    team: Annotated[
        list[str] | None, typer.Option(help="A team that gets a key; once for each. Default: platform.")
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="A file with entries of your own.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the stack's file if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Write a stack's file, complete and commented, from options, a plan, or answers at the terminal."""
    from cli import init as command

    options = command.Options(
        stack=stack,
        from_plan=from_plan,
        option=option,
        model=model,
        tier=tier,
        hosts=tuple(host or ()),
        user=user,
        key_file=key_file,
        teams=tuple(team or ()),
        catalog=catalog,
        force=force,
    )
    command.make(options, as_json=as_json)

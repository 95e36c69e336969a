"""A deployment's models as a table: what serves each, where, and how much room it has."""

from collections.abc import Iterator, Sequence

from slipway.deployment.types import Deployment, Instance, Served

_HEADS = ("model", "task", "engine", "runs on", "port", "weights", "KV cache", "KV tokens", "at once")
_RIGHT = frozenset({"port", "weights", "KV cache", "KV tokens", "at once"})
_NOTE = "GiB of one GPU, or of the machine for an engine on its CPU; KV tokens, and requests of full length at once, of one copy"


def model_table(deployment: Deployment) -> list[str]:
    """One line for each replica, or for a name that others answer for; a blank cell is not known, or says the same as above."""
    rows = [row for name in deployment.routes for row in _rows(deployment, name)]
    used = [index for index in range(len(_HEADS)) if any(row[index] for row in rows)]
    table = [tuple(_HEADS[index] for index in used), *(tuple(row[index] for index in used) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            f"{cell:>{width}}" if head in _RIGHT else f"{cell:{width}}"
            for head, cell, width in zip(table[0], row, widths, strict=True)
        ).rstrip()
        for row in table
    ]
    return [*lines, _NOTE] if any(_HEADS[index] == "KV tokens" for index in used) else lines


def _rows(deployment: Deployment, name: str) -> Iterator[Sequence[str]]:
    route = deployment.routes[name]
    if name in deployment.served:
        served = deployment.served[name]
        engine = f"{served.settings.engine.engine} {served.program.release}".rstrip() + parallel(served)
        for number, instance in enumerate(deployment.of(name)):
            first = (name, str(route.task), engine) if number == 0 else ("", "", "")
            figures = _figures(served) if number == 0 else ("", "", "", "")
            yield (*first, place(instance), str(instance.port), *figures)
            for part in deployment.parts(instance)[1:]:
                yield ("", "", "", f"  with {place(part)}", "", "", "", "", "")
    elif name in deployment.provided:
        provided = deployment.provided[name]
        yield name, str(route.task), f"provider {provided.provider_name}: {provided.model}", *[""] * 6
    else:
        shares = ", ".join(f"{target} {weight}" for target, weight in route.targets.items())
        yield name, str(route.task), f"shared out: {shares}", *[""] * 6


def place(instance: Instance) -> str:
    """`prod-1, GPUs 0-3`: where a replica runs."""
    gpus = list(instance.gpus)
    if not gpus:
        return f"{instance.machine.name}, CPU"
    kind = "" if instance.machine.gpu is None else f" of {instance.machine.gpus} x {instance.machine.gpu.name}"
    if len(gpus) > 2 and gpus == list(range(gpus[0], gpus[-1] + 1)):
        return f"{instance.machine.name}, GPUs {gpus[0]}-{gpus[-1]}{kind}"
    return f"{instance.machine.name}, GPU{'s' * (len(gpus) > 1)} {', '.join(map(str, gpus))}{kind}"


def parallel(served: Served) -> str:
    """How a replica is spread over its GPUs; empty where it has one."""
    sizes = {
        "tensor parallel": served.parallelism.tensor,
        "pipeline parallel": served.parallelism.pipeline,
        "data parallel": served.parallelism.data,
    }
    return "".join(f", {name} {value}" for name, value in sizes.items() if value > 1)


def _figures(served: Served) -> tuple[str, str, str, str]:
    figures = served.measured.figures
    if figures is None:
        return "", "", "", "not known"
    if not figures.fits:
        return "", "", "", "does not fit"
    return (
        _number(figures.weights_gib, ",.1f"),
        _number(figures.kv_cache_gib, ",.1f"),
        _number(figures.kv_cache_tokens, ",d"),
        ""
        if figures.max_concurrency is None
        else f"{figures.max_concurrency:,.1f} x {served.settings.max_model_len:,}",
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)

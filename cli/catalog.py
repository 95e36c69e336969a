"""`slipway tiers`, `models`, `gpus`, `engines` and `drivers`: what the catalogue has, as tables or JSON."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from slipway.catalog import CatalogError, DriverBranch, Engine, Gpu, Model, Tier, load
from slipway.catalog.types import Entry

if TYPE_CHECKING:
    from slipway.catalog import Catalog

_TASKS = ("chat", "base", "code", "reasoning", "embedding", "rerank", "vision")
_BETWEEN = 3
"""Characters between two columns of a table."""
_WRAPPED = 24
"""Characters that a column of text keeps at least."""


@dataclass(frozen=True)
class _Column:
    """A column of a table; numbers stand right."""

    head: str
    right: bool = False
    wraps: bool = False
    """Whether it may be broken over lines where the terminal is narrow."""
    spare: int = 0
    """From 1 on: left out where the terminal is too narrow, the highest first."""

    def width(self, cells: Iterable[str]) -> int:
        """Characters that it needs at least."""
        head = max(map(len, self.head.split("\n")))
        return max(head, _WRAPPED if self.wraps else max(map(len, cells), default=0))


def show_tiers(extra: Path | None, *, as_json: bool) -> None:
    """Print the hardware tiers, hosts without GPUs first, then by GPU memory."""
    catalog = load(extra)

    def memory(tier: Tier) -> float:
        return _gpu(catalog, tier).memory_gb * tier.gpus_per_host * tier.hosts if tier.gpu else 0

    tiers = sorted(catalog.tiers.values(), key=lambda tier: (memory(tier), tier.memory_gib, tier.id))
    columns = [
        _Column("tier", wraps=True),
        _Column("GPUs"),
        _Column("GPU memory\nGB", right=True),
        _Column("CPU\ncores", right=True, spare=1),
        _Column("memory\nGiB", right=True, spare=2),
        _Column("disk\nGiB", right=True, spare=5),
        _Column("network\nGbit/s", right=True, spare=4),
        _Column("cloud instance", spare=3),
        _Column("for", wraps=True),
    ]
    rows = (
        [
            _with_aliases(tier),
            _gpus_of(catalog, tier),
            f"{memory(tier):g}" if tier.gpu else "",
            f"{tier.cpu_cores}",
            f"{tier.memory_gib}",
            f"{tier.disk_gib}",
            f"{tier.network_gbit_s:g}",
            tier.instance or "",
            " ".join(tier.suits.split()),
        ]
        for tier in tiers
    )
    _show(tiers, columns, rows, as_json=as_json, note="Cores, memory, disk and network are those of one host.")


def show_models(
    extra: Path | None, *, as_json: bool, task: str | None = None, family: str | None = None, commercial: bool = False
) -> None:
    """Print the models by family and size.

    Args:
        extra: A file with entries of the user's own.
        as_json: Print a list of objects.
        task: Only models for this.
        family: Only models whose family begins so, in any case.
        commercial: Only models whose licence allows commercial use.

    Raises:
        CatalogError: the file is broken, or there is no such task or family.
    """
    models: list[Model] = list(load(extra).models.values())
    if task is not None:
        _known("task", task, _TASKS)
        models = [model for model in models if model.task == task]
    if family is not None:
        wanted = family.casefold()
        found = [model for model in models if model.family.casefold().startswith(wanted)]
        if not found:
            _known("family", family, sorted({model.family for model in models}))
        models = found
    models = sorted(
        (model for model in models if model.commercial_use or not commercial),
        key=lambda model: (model.family.casefold(), model.parameters, model.id.casefold()),
    )
    columns = [
        _Column("model", wraps=True),
        _Column("family", spare=5),
        _Column("task"),
        _Column("parameters\n10^9", right=True),
        _Column("active\n10^9", right=True, spare=1),
        _Column("context\ntokens", right=True),
        _Column("weights", spare=3),
        _Column("licence", wraps=True, spare=4),
        _Column("commercial\nuse", spare=2),
    ]
    rows = (
        [
            model.id,
            model.family,
            model.task,
            _billions(model.parameters),
            _billions(model.active_parameters) if model.active_parameters else "",
            f"{model.context:,}",
            _weights(model),
            model.licence,
            "yes" if model.commercial_use else "no",
        ]
        for model in models
    )
    _show(models, columns, rows, as_json=as_json, note=f"{len(models)} models; their short names: --json, `aliases`.")


def show_gpus(extra: Path | None, *, as_json: bool) -> None:
    """Print the GPUs by vendor, memory and speed."""
    gpus = sorted(
        load(extra).gpus.values(),
        key=lambda gpu: (gpu.vendor != "nvidia", gpu.memory_gb, gpu.tflops.fp16 or 0, gpu.bandwidth_gb_s, gpu.id),
    )
    columns = [
        _Column("GPU"),
        _Column("architecture", spare=3),
        _Column("compute\ncapability", right=True, spare=6),
        _Column("memory\nGB", right=True),
        _Column("driver\nMiB", right=True, spare=1),
        _Column("CUDA\nGiB", right=True, spare=4),
        _Column("bandwidth\nGB/s", right=True),
        _Column("16 bits\nTFLOPS", right=True),
        _Column("FP8\nTFLOPS", right=True),
        _Column("FP4\nTFLOPS", right=True, spare=7),
        _Column("links\nGB/s", right=True, spare=5),
        _Column("power\nW", right=True),
        _Column("price\nUSD", right=True, spare=2),
    ]
    rows = (
        [
            gpu.id,
            gpu.architecture,
            gpu.compute_capability,
            f"{gpu.memory_gb:g}",
            f"{gpu.driver_mib}",
            "" if gpu.cuda_gib is None else f"{gpu.cuda_gib:.2f}",
            f"{gpu.bandwidth_gb_s:g}",
            _rate(gpu.tflops.bf16 or gpu.tflops.fp16),
            _rate(gpu.tflops.fp8),
            _rate(gpu.tflops.fp4),
            f"{gpu.interconnect.gb_s:g}",
            f"{gpu.power_w:g}",
            f"{gpu.price.usd:g}" if gpu.price else "",
        ]
        for gpu in gpus
    )
    note = (
        "Rates are dense, without sparsity. CUDA's memory only where it was measured. Prices are the makers' of the date "
        "in --json, where one was published."
    )
    _show(gpus, columns, rows, as_json=as_json, note=note)


def show_engines(extra: Path | None, *, as_json: bool) -> None:
    """Print the engines, those that Slipway deploys first."""
    engines: list[Engine] = sorted(
        load(extra).engines.values(), key=lambda engine: (not engine.deployed, not engine.sized, engine.id)
    )
    columns = [
        _Column("engine"),
        _Column("version"),
        _Column("deployed\nby Slipway"),
        _Column("sized\nby Slipway"),
        _Column("runs on"),
        _Column("API", spare=3),
        _Column("licence", spare=2),
        _Column("home", wraps=True, spare=1),
    ]
    rows = (
        [
            engine.id,
            engine.version,
            "yes" if engine.deployed else "not yet",
            "yes" if engine.sized else "not yet",
            ", ".join(engine.hardware),
            engine.api,
            engine.licence,
            engine.home,
        ]
        for engine in engines
    )
    _show(engines, columns, rows, as_json=as_json)


def show_drivers(extra: Path | None, *, as_json: bool) -> None:
    """Print the branches of NVIDIA's driver, the newest first."""
    branches: list[DriverBranch] = sorted(load(extra).drivers.values(), key=lambda each: int(each.id), reverse=True)
    columns = [
        _Column("branch"),
        _Column("support"),
        _Column("until"),
        _Column("CUDA\nmajor", right=True),
        _Column("version", spare=1),
        _Column("open modules for", wraps=True),
        _Column("proprietary for", wraps=True),
        _Column("fails on kernels", wraps=True, spare=2),
    ]
    rows = (
        [
            branch.id + (" (default)" if branch.default else ""),
            branch.support,
            branch.ends or "",
            f"{branch.cuda_major}",
            branch.tested or "",
            ", ".join(branch.modules.open),
            ", ".join(branch.modules.proprietary),
            "; ".join(f"{each.system} {each.first} to {each.below} ({each.modules})" for each in branch.broken_kernels),
        ]
        for branch in branches
    )
    note = "version: what the vendor's repository is asked for where a stack names none."
    _show(branches, columns, rows, as_json=as_json, note=note)


def _show(
    entries: Sequence[Entry], columns: Sequence[_Column], rows: Iterable[list[str]], *, as_json: bool, note: str = ""
) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(entries)).decode() + "\n")
        return
    cells = list(rows)
    if sys.stdout.isatty():
        _draw(columns, cells, note)
    else:
        _write(columns, cells, note)


def _draw(columns: Sequence[_Column], rows: Sequence[list[str]], note: str) -> None:
    """For a person: as wide as the terminal, long texts over several lines, the least needed columns left out."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = [column.width(row[place] for row in rows) for place, column in enumerate(columns)]
    shown = list(range(len(columns)))
    while sum(widths[place] + _BETWEEN for place in shown) > console.width:
        least = max(shown, key=lambda place: columns[place].spare)
        if not columns[least].spare:
            break
        shown.remove(least)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place in shown:
        justify: Literal["right", "left"] = "right" if columns[place].right else "left"
        table.add_column(Text(columns[place].head), justify=justify, overflow="fold", vertical="top")
    for row in rows:
        table.add_row(*(Text(row[place]) for place in shown))
    console.print(table)
    left_out = [column.head.replace("\n", " ") for place, column in enumerate(columns) if place not in shown]
    if left_out:
        left = f"Left out for want of room: {', '.join(left_out)}. A wider terminal or --json shows them."
        note = f"{note} {left}".strip()
    if note:
        console.print(Text(note))


def _write(columns: Sequence[_Column], rows: Sequence[list[str]], note: str) -> None:
    """For a file or another program: every entry whole on one line, whatever its width."""
    heads = [column.head.replace("\n", " ") for column in columns]
    widths = [max(len(line[place]) for line in (heads, *rows)) for place in range(len(columns))]
    for line in (heads, *rows):
        cells = zip(columns, line, widths, strict=True)
        padded = (cell.rjust(width) if column.right else cell.ljust(width) for column, cell, width in cells)
        print("  ".join(padded).rstrip())
    if note:
        print(f"\n{note}")


def _gpu(catalog: Catalog, tier: Tier) -> Gpu:
    gpu = catalog.gpus.get(tier.gpu or "")
    if gpu is None:
        raise CatalogError(f"tiers: {tier.id}: gpu: {tier.gpu!r} is not in the catalogue; add it under gpus")
    return gpu


def _gpus_of(catalog: Catalog, tier: Tier) -> str:
    if tier.gpu is None:
        return "none"
    hosts = f"{tier.hosts} hosts of " if tier.hosts > 1 else ""
    return f"{hosts}{tier.gpus_per_host} x {_gpu(catalog, tier).id}"


def _with_aliases(entry: Entry) -> str:
    return ", ".join([entry.id, *entry.aliases])


def _weights(model: Model) -> str:
    """As the checkpoint ships them."""
    for config in (model.config, model.config.get("text_config")):
        if isinstance(config, dict):
            quantization = config.get("quantization_config")
            if isinstance(quantization, dict):
                return str(quantization.get("quant_method", "quantized"))
            dtype = config.get("dtype") or config.get("torch_dtype")
            if dtype:
                return str(dtype)
    return ""


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f}" if count < 100e9 else f"{count / 1e9:.0f}"


def _rate(tflops: float | None) -> str:
    return "" if tflops is None else f"{tflops:.0f}"


def _known(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value.casefold(), known, n=3, cutoff=0.5) or known
        raise CatalogError(f"--{what}: there is no {value!r}; there are {', '.join(near)}")

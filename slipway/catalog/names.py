"""Look entries up by the names that people, tools and logs use."""

import difflib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TypeVar

from slipway.catalog.types import Entry, Gpu, Model
from slipway.errors import UserMistake

_Kind = TypeVar("_Kind", bound=Entry)

_MAKERS = re.compile(r"^(nvidia|amd|tesla|geforce|instinct|quadro)[\s_-]+", re.IGNORECASE)
_TOLERANCE = 0.08
"""Vendors' GB, the driver's GiB and what CUDA leaves of it differ by less; the sizes of one GPU differ by more."""


class CatalogError(UserMistake):
    """One line for the person at the keyboard: which file or name, what is wrong with it, and what to do."""


class Entries(dict[str, _Kind]):
    """Entries of one kind by id. Not to be changed once it was searched."""

    @cached_property
    def by_name(self) -> Mapping[str, _Kind]:
        """By every name in lower case, GPUs by plain names too; ids go before aliases, the first entry before later ones."""
        found: dict[str, _Kind] = {name.casefold(): entry for name, entry in self.items()}
        for entry in self.values():
            for name in _names(entry):
                found.setdefault(name.casefold(), entry)
        for entry in self.values():
            if isinstance(entry, Gpu):
                for name in _plain_names(entry):
                    found.setdefault(name, entry)
        return found


def find(entries: Mapping[str, _Kind], name: str, what: str) -> _Kind:
    """The entry of this id or alias, in any case.

    Raises:
        CatalogError: There is none; the message has the nearest names.
    """
    entry = find_or_none(entries, name)
    if entry is None:
        raise CatalogError(f"{what} {name!r} is not in the catalogue{_nearest(entries, name)}")
    return entry


def find_or_none(entries: Mapping[str, _Kind], name: str) -> _Kind | None:
    """The entry of this id or alias, in any case; None where there is none."""
    if name in entries:
        return entries[name]
    known = entries.by_name if isinstance(entries, Entries) else Entries(entries).by_name
    found = known.get(name.strip().casefold())
    if found is not None:
        return found
    bare = plain(name)
    return known[bare] if isinstance(known.get(bare), Gpu) else None


def find_gpu(gpus: Mapping[str, Gpu], name: str, memory: float | None = None) -> Gpu:
    """The GPU that a log or a person calls `name`; `memory` tells those apart that share a name, as the A100 of 40 and 80 GB.

    Args:
        gpus: The catalogue's.
        name: As nvidia-smi, a cloud or a person writes it.
        memory: Of one GPU, as vendors print it or as CUDA reports it: GB or GiB.

    Raises:
        CatalogError: there is none of this name, or none of this name with about this memory.
    """
    named = find_or_none(gpus, name)
    if named is not None and (memory is None or _agrees(named, memory)):
        return named
    if named is None or memory is None:
        return find(gpus, name, "the GPU")
    same = [gpu for gpu in gpus.values() if plain(name) in _plain_names(gpu)]
    for gpu in same:
        if _agrees(gpu, memory):
            return gpu
    sizes = ", ".join(f"{gpu.id} with {gpu.memory_gb:g} GB" for gpu in same)
    raise CatalogError(f"the GPU {name!r} with {memory:g} GB is not in the catalogue; of this name there is {sizes}")


def plain(name: str) -> str:
    """A GPU's name without its maker, case and separators: `NVIDIA A100-SXM4-80GB` is `a100sxm480gb`."""
    bare, before = name.strip(), ""
    while bare != before:
        bare, before = _MAKERS.sub("", bare), bare
    return re.sub(r"(\dg)$", r"\1b", re.sub(r"[\s_()-]+", "", bare).casefold())


def _agrees(gpu: Gpu, memory: float) -> bool:
    sizes = (gpu.memory_gb, gpu.driver_mib / 1024, gpu.cuda_gib or 0)
    return any(abs(size - memory) <= _TOLERANCE * memory for size in sizes)


def _names(entry: Entry) -> list[str]:
    names = [entry.id, *entry.aliases]
    if isinstance(entry, Gpu):
        names.append(entry.name)
    if isinstance(entry, Model):
        names.append(entry.id.rpartition("/")[2])
    return names


def _plain_names(gpu: Gpu) -> list[str]:
    """As they are, and, after all of these, with and without the size of the memory."""
    names = [plain(name) for name in _names(gpu)]
    size = f"{gpu.memory_gb:g}gb"
    return names + [each for name in names for each in (name.removesuffix(size), name.removesuffix(size) + size)]


def _nearest(entries: Mapping[str, Entry], name: str) -> str:
    known = {alias.casefold(): entry.id for entry in entries.values() for alias in _names(entry)}
    near = difflib.get_close_matches(name.casefold(), known, n=5, cutoff=0.5)
    ids = list(dict.fromkeys(known[alias] for alias in near))[:3]
    return f"; the nearest: {', '.join(ids)}" if ids else ""

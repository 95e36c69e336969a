"""Read the catalogue's files, and say in one line what is wrong with one."""

import difflib
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from slipway.catalog.cache import remembered
from slipway.catalog.names import CatalogError, Entries, find, find_gpu, find_or_none
from slipway.catalog.types import Check, DriverBranch, Engine, Entry, Gpu, Instance, Model, Quantization, Tier

__all__ = ["DATA", "KINDS", "Catalog", "CatalogError", "find", "find_gpu", "find_or_none", "load"]

DATA = Path(__file__).parent / "data"
KINDS: dict[str, type[Entry]] = {
    "gpus": Gpu,
    "tiers": Tier,
    "models": Model,
    "instances": Instance,
    "quantizations": Quantization,
    "engines": Engine,
    "checks": Check,
    "drivers": DriverBranch,
}
"""Folder below data/, and key in a user's own file, with the class of its entries."""

_Kind = TypeVar("_Kind", bound=Entry)


class Catalog:
    """All kinds, each read when it is first asked for.

    Args:
        extra: A file of the user's own with any of the kinds as keys; its entries replace ours of the same id, and its names
            and aliases go before ours.
    """

    def __init__(self, extra: Path | None = None) -> None:
        self._extra = extra

    @cached_property
    def gpus(self) -> Entries[Gpu]:
        """By id."""
        return self._kind("gpus", Gpu)

    @cached_property
    def tiers(self) -> Entries[Tier]:
        """By id."""
        return self._kind("tiers", Tier)

    @cached_property
    def models(self) -> Entries[Model]:
        """By id."""
        return self._kind("models", Model)

    @cached_property
    def instances(self) -> Entries[Instance]:
        """By id."""
        return self._kind("instances", Instance)

    @cached_property
    def quantizations(self) -> Entries[Quantization]:
        """By id."""
        return self._kind("quantizations", Quantization)

    @cached_property
    def engines(self) -> Entries[Engine]:
        """By id."""
        return self._kind("engines", Engine)

    @cached_property
    def checks(self) -> Entries[Check]:
        """By id."""
        return self._kind("checks", Check)

    @cached_property
    def drivers(self) -> Entries[DriverBranch]:
        """By id."""
        return self._kind("drivers", DriverBranch)

    def _kind(self, kind: str, entry: type[_Kind]) -> Entries[_Kind]:
        own = Entries[_Kind]()
        if self._extra is not None:
            _take(own, str(self._extra), kind, self._own.get(kind, []), entry)
        shipped = Entries[_Kind]()
        files = [(str(file), file.read_bytes()) for file in sorted((DATA / kind).glob("*.yaml"))]
        for (file, _), content in zip(files, remembered(kind, files, _parse), strict=True):
            _take(shipped, file, kind, content, entry)
        replaced = {name.casefold() for name in own}
        ours = {name: each for name, each in shipped.items() if name.casefold() not in replaced}
        return Entries[_Kind](own | ours)

    @cached_property
    def _own(self) -> Mapping[str, Any]:
        if self._extra is None:
            return {}
        file = str(self._extra)
        try:
            content = _parse(file, self._extra.read_bytes())
        except OSError as error:
            raise CatalogError(f"{file}: can't be read ({error.strerror}); nothing of it is known") from error
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise CatalogError(f"{file}: is no mapping; give lists of entries under {', '.join(KINDS)}")
        unknown = next((key for key in content if key not in KINDS), None)
        if unknown is not None:
            raise CatalogError(f"{file}: {unknown}: is no kind of entry{_instead(str(unknown), KINDS)}")
        return content


def load(extra: Path | None = None) -> Catalog:
    """The catalogue, with the entries of the user's file `extra`. Files are read when their kind is first asked for."""
    return Catalog(extra)


def _take(entries: Entries[_Kind], file: str, kind: str, content: Any, entry: type[_Kind]) -> None:
    """Put the entries of one file among `entries`.

    Raises:
        CatalogError: one is not as its class says; the message has the file, the entry and the field.
    """
    if not isinstance(content, list):
        raise CatalogError(f"{file}: {kind}: is no list; begin each entry with `- id: …`")
    for number, item in enumerate(content, 1):
        name = item.get("id") if isinstance(item, dict) else None
        where = f"{file}: {kind}: {name or f'entry {number}'}"
        try:
            made = msgspec.convert(item, entry)
            made.check()
        except msgspec.ValidationError as error:
            raise CatalogError(f"{where}: {_reason(str(error), entry)}") from error
        except ValueError as error:
            raise CatalogError(f"{where}: {error}") from error
        if made.id in entries:
            raise CatalogError(f"{where}: is there twice; remove one of the two")
        entries[made.id] = made


def _parse(file: str, content: bytes) -> Any:
    """The plain data of a YAML file. Dates stay text, quoted or not; a key that is there twice is an error."""
    import yaml  # not needed where the cache knows the files, and slow to import

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
            first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    problem = f"{key.value} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(str(key.value))
            made: dict[Any, Any] = super().construct_mapping(node, deep)
            return made

    try:
        return yaml.load(content.decode("utf-8"), Loader=Loader)  # noqa: S506 - a safe loader, in C
    except UnicodeDecodeError as error:
        raise CatalogError(f"{file}: is no UTF-8 text ({error.reason}); nothing of it is known") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "can't be read"
        raise CatalogError(
            f"{file}: {line}not valid YAML ({problem}); nothing of it is known, correct the line"
        ) from error


def _reason(message: str, entry: type[Entry]) -> str:
    """What msgspec says with the field first: `tflops.fp16: expected `float`, got `str``."""
    text, _, path = message.partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", text)
    missing = re.fullmatch(r"Object missing required field `(.*)`", text)
    if unknown:
        fields = entry.__struct_fields__ if not path else ()
        return f"{_joined(path, unknown[1])}: is no field here{_instead(unknown[1], fields)}"
    if missing:
        return f"{_joined(path, missing[1])}: is missing"
    return _joined(path, text[:1].lower() + text[1:], ": ")


def _joined(path: str, name: str, between: str = ".") -> str:
    return f"{path}{between}{name}" if path else name


def _instead(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; {near[0]} is meant?"
    return f"; there are {', '.join(known)}" if known else ""

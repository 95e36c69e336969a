"""What releases of an engine need of a machine: CUDA, a driver, a GPU's compute capability."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec
import yaml

from slipway.catalog import load
from slipway.engines.registry import packages


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one release of an engine was built with."""

    release: str
    torch: str
    cuda: str
    min_capability: float
    source: str
    date: str


class Driver(NamedTuple):
    """The oldest NVIDIA driver for programs of one major version of CUDA."""

    cuda_major: int
    driver: str


@cache
def releases(engine: str) -> tuple[Release, ...]:
    """Of `engine`, newest first: its folder's releases.yaml; empty where there is none."""
    if engine not in packages():
        return ()
    file = files(packages()[engine]) / "releases.yaml"
    if not file.is_file():
        return ()
    return msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), tuple[Release, ...])


@cache
def drivers() -> tuple[Driver, ...]:
    """By major version of CUDA, newest first: from the catalogue's branches."""
    found = (Driver(branch.cuda_major, branch.cuda_floor) for branch in load().drivers.values() if branch.cuda_floor)
    return tuple(sorted(found, reverse=True))


@dataclass(frozen=True)
class Needs:
    """What the engine's release needs of a GPU machine."""

    cuda: str
    driver: str
    capability: float


def needs(engine: str, release: str) -> Needs | None:
    """Of this release; None where nothing is known of it."""
    found = next((row for row in releases(engine) if row.release == release), None)
    if found is None:
        return None
    major = int(found.cuda.split(".", maxsplit=1)[0])
    driver = next(row.driver for row in drivers() if row.cuda_major == major)
    return Needs(found.cuda, driver, found.min_capability)

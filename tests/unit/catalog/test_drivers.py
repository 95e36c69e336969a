"""The branches of NVIDIA's driver against the catalogue's GPUs, and what an entry can't say."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from slipway.catalog import load
from slipway.catalog.types import DriverBranch
from slipway.engines.releases import drivers

CATALOG = load()
BRANCHES = CATALOG.drivers
NVIDIA = [gpu for gpu in CATALOG.gpus.values() if gpu.vendor == "nvidia"]


def test_the_default_has_modules_for_every_gpu_of_the_catalogue_and_is_one() -> None:
    (default,) = [branch for branch in BRANCHES.values() if branch.default]
    assert (default.id, default.support) == ("580", "lts")
    for gpu in NVIDIA:
        assert gpu.architecture in {*default.modules.open, *default.modules.proprietary}, gpu.id


@pytest.mark.parametrize(
    ("branch", "kind", "has", "has_not"),
    [
        ("535", "open", "hopper", "blackwell"),
        ("570", "open", "blackwell", "volta"),
        ("580", "proprietary", "volta", "blackwell"),
        ("595", "proprietary", "turing", "volta"),
        ("620", "open", "turing", "volta"),
        ("620", "proprietary", None, "turing"),
    ],
)
def test_modules(branch: str, kind: Any, has: Any, has_not: Any) -> None:
    modules = BRANCHES[branch].modules.of(kind)
    assert has is None or has in modules
    assert has_not not in modules


def test_open_modules_begin_with_turing_and_blackwell_has_no_others() -> None:
    for branch in BRANCHES.values():
        assert "volta" not in branch.modules.open
        assert "blackwell" not in branch.modules.proprietary


def test_a_major_version_of_cuda_begins_with_one_branch_and_all_after_it_run_it() -> None:
    floors = {branch.cuda_major: branch.id for branch in BRANCHES.values() if branch.cuda_floor}
    assert len(floors) == sum(branch.cuda_floor is not None for branch in BRANCHES.values())
    for branch in BRANCHES.values():
        assert branch.cuda_major == max(major for major, first in floors.items() if first <= branch.id)
    assert [(each.cuda_major, each.driver) for each in drivers()] == [(13, "580.65.06"), (12, "525.60.13")]


@pytest.mark.parametrize(
    ("ends", "last"),
    [
        ("2028-06", dt.date(2028, 6, 30)),
        ("2028-12", dt.date(2028, 12, 31)),
        ("2028-02", dt.date(2028, 2, 29)),
        ("2027-03-15", dt.date(2027, 3, 15)),
        (None, None),
    ],
)
def test_the_last_day(ends: str | None, last: dt.date | None) -> None:
    assert structs.replace(BRANCHES["580"], ends=ends).last_day == last


@pytest.mark.parametrize("field", ["tested", "cuda_floor"])
def test_a_version_of_another_branch_is_refused(field: str) -> None:
    wrong: DriverBranch = structs.replace(BRANCHES["580"], **{field: "595.91.07"})
    with pytest.raises(ValueError, match=f"{field}: 595.91.07 is no version of branch 580"):
        wrong.check()


ORDER = ["volta", "turing", "ampere", "ada", "hopper", "blackwell"]
SUPPORT = {"lts": "long"}


def drives(architectures: list[Any]) -> str:
    """The architectures as the page writes them: all from one to another."""
    if not architectures:
        return "none"
    first, last = (ORDER.index(end) for end in (architectures[0], architectures[-1]))
    assert architectures == ORDER[first : last + 1]
    return f"{ORDER[first].title()} to {ORDER[last].title()}"


def test_the_page_has_every_branch(root: Path) -> None:
    text = (root / "docs/gpu-hosts.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+)( \(default\))? \|(.*)\|$", text, re.MULTILINE)
    told = {
        id_: (bool(default), *(cell.strip() for cell in cells.split("|")))
        for ids, default, cells in rows
        for id_ in ids.strip().split(", ")
    }
    assert told == {
        id_: (
            bool(each.default),
            SUPPORT.get(each.support, each.support),
            each.ends or "",
            str(each.cuda_major),
            drives(each.modules.open),
            drives(each.modules.proprietary),
        )
        for id_, each in BRANCHES.items()
    }


def test_the_page_has_every_kernel_for_which_modules_do_not_build(root: Path) -> None:
    (sentence,) = re.findall(
        r"Known so far, of open modules with Debian's kernels: (.*?\));\n\n?-",
        (root / "docs/gpu-hosts.md").read_text(),
        re.DOTALL,
    )
    told = set()
    for part in re.sub(r"\s+", " ", sentence).split("; "):
        head, *spans = part.partition(" with those ")[::2]
        for first, below in re.findall(r"from ([\d.-]+\d) on below ([\d.]+\d)", spans[0]):
            told |= {(id_, first, below) for id_ in head.split(" and ")}
    known = {(id_, each) for id_, branch in BRANCHES.items() for each in branch.broken_kernels}
    assert told == {(id_, each.first, each.below) for id_, each in known}
    assert {(each.modules, each.system) for _, each in known} == {("open", "debian")}

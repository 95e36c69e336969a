"""A model from the store to two lab hosts: killed in the middle, verified, mended, pruned. Tests run in this order.

The figures are of two hosts on one busy machine; the shape of what is printed (once to the store, then to the hosts at the same
time) is what counts.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway.paths import MODELS
from tests.e2e.conftest import Workspace, arrivals_of, client, hosts_of, write_ca
from tests.e2e.stack import Stack, ssh
from tools.lab import HostSpec, Lab

pytestmark = pytest.mark.rare

FIRST, SECOND = HostSpec("e2e-61", "10.213.77.161"), HostSpec("e2e-62", "10.213.77.162")
NAME = "lab-pair"
MIB = 1 << 20
BIG = "original/weights.bin"
BIG_MIB = 1000
ARRIVING = "/var/lib/slipway/{}/.*.incoming/" + BIG
HOME = "/var/lib/slipway/models/tiny-llama"


@dataclass(frozen=True)
class Site:
    """The stack, the folder of its model, and what each way to bring it took, in seconds by step."""

    stack: Stack
    model: Path
    before: dict[str, float]


def big(folder: Path, seed: int) -> None:
    """A file of about 1 GB that no compression makes smaller, beside the weights that the engine reads."""
    block = os.urandom(MIB)
    (folder / BIG).parent.mkdir(exist_ok=True)
    with (folder / BIG).open("wb") as file:
        for number in range(BIG_MIB):
            file.write(f"{seed} {number}\n".encode().ljust(64) + block[64:])


@pytest.fixture(scope="module")
def site(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Stack `lab-pair` on two fresh hosts, brought up with the model copied to each of them."""
    lab, names = Lab(), [FIRST.name, SECOND.name]
    model = tmp_path_factory.mktemp("model") / "tiny-llama"
    shutil.copytree(MODELS / "tiny-llama", model)
    big(model, 1)
    lab.down(names)
    try:
        lab.up([FIRST, SECOND], print)
        stack = workspace.stack(NAME)
        settings = stack.read()
        settings["pools"]["lab"]["hosts"] = hosts_of([FIRST, SECOND])
        settings["models"]["tiny-llama"]["source"] = {"path": str(model)}
        stack.write(settings)
        stack.init()
        stack.up()
        yield Site(stack, model, took(stack, 0))
    finally:
        lab.down(names)
        shutil.rmtree(model)


def took(stack: Stack, since: int) -> dict[str, float]:
    """Seconds of each run that brought a model's files, by host and step."""
    return {
        f"{run['host']}/{run['instance']}": run["seconds"]
        for run in stack.runs()[since:]
        if run["instance"].startswith(("model-", "stored-"))
    }


def arrived(host: HostSpec, where: str) -> int:
    """Bytes of the big file that are still on their way."""
    said = ssh(host.address, f"sudo sh -c 'stat -c %s {ARRIVING.format(where)} 2>/dev/null'", check=False).split()
    return int(said[0]) if said else 0


def told(stack: Stack, command: str) -> tuple[int, Any]:
    done = stack.shell(f"slipway store {command}")
    return done.returncode, json.loads(done.stdout)


def models(found: Any, host: HostSpec, place: str) -> dict[str, Any]:
    (folder,) = (each for each in found["hosts"][host.name]["places"] if each["path"].endswith(place))
    return {each["name"]: each for each in folder["models"]}


def serves(site: Site, workspace: Workspace) -> bool:
    with client(site.stack, write_ca(site.stack), workspace.secrets["SLIPWAY_KEY_DEMO"]) as api:
        return len(arrivals_of(api)) >= 30


def test_killed_twice_on_its_way_it_arrives_whole(site: Site, workspace: Workspace) -> None:
    stack = site.stack
    big(site.model, 2)
    (site.model / "notes.json").write_text("{}")
    settings = stack.read()
    settings["store"] = {"host": FIRST.name}
    stack.write(settings)
    stack.up_killed_when(lambda: arrived(FIRST, "store") > 50 * MIB)
    had = arrived(FIRST, "store")
    print(f"killed while the model was sent to the store, at {had / 1e6:.0f} MB")
    code, found = told(stack, f"show {NAME} --json")
    assert code == 0
    assert [each["state"] for each in models(found, FIRST, "store").values()] == ["partial"]
    stack.pulumi("cancel", "--yes")
    stack.up_killed_when(lambda: arrived(SECOND, "models") > 10 * MIB)
    print(f"killed while the second host fetched it, at {arrived(SECOND, 'models') / 1e6:.0f} MB")
    assert "notes.json" not in ssh(SECOND.address, f"ls {HOME}")
    # It clears the dead run's lock, as `pulumi cancel` does.
    done = stack.shell(f"slipway up {NAME} --no-chat")
    assert done.returncode == 0, done.stdout + done.stderr
    assert serves(site, workspace)
    code, found = told(stack, f"verify {NAME} --json")
    assert code == 0, found
    assert models(found, SECOND, "models")["tiny-llama"]["state"] == "whole"
    assert stack.runs_of(stack.up) == []


def test_one_fetches_and_both_get_it_at_the_same_time(site: Site) -> None:
    stack, size = site.stack, BIG_MIB * MIB / 1e6
    big(site.model, 3)
    (site.model / "notes.json").write_text('{"again": 1}')
    since, began = len(stack.runs()), time.monotonic()
    stack.up()
    whole = time.monotonic() - began
    for step, seconds in {**site.before, **took(stack, since)}.items():
        way = "copied by Ansible" if step in site.before and step not in took(stack, since) else "by the store"
        print(f"{step}: {seconds:.1f} s, {size / seconds:.0f} MB/s, {way}")
    print(f"copied by Ansible, before: {site.before}")
    print(f"the whole up, engines and acceptance included: {whole:.0f} s")
    inodes = ssh(FIRST.address, f"sudo sh -c 'stat -c %h {HOME}/{BIG}'").strip()
    assert inodes == "2", "on the store's own host it is linked"


def test_a_flipped_byte_is_found_and_mended(site: Site) -> None:
    stack = site.stack
    # Size and times stay as they are, as where a disk loses a bit.
    file = f"{HOME}/{BIG}"
    write = f"printf x | dd of={file} bs=1 seek=5000000 conv=notrunc status=none"
    flip = f'd=$(stat -c %y {file}); {write}; touch -d "$d" {file}'
    ssh(SECOND.address, f"sudo sh -c '{flip}'")
    code, found = told(stack, f"verify {NAME} --json")
    assert code == 1
    assert models(found, SECOND, "models")["tiny-llama"]["files"] == [BIG]
    assert models(found, FIRST, "models")["tiny-llama"]["state"] == "whole"
    done = stack.shell(f"slipway drift {NAME} --deep")
    assert done.returncode == 1
    assert "model-tiny-llama" in done.stdout + done.stderr
    stack.shell(f"slipway drift {NAME} --deep --mend")
    code, found = told(stack, f"verify {NAME} --json")
    assert code == 0, found


def test_what_no_stack_needs_is_pruned(site: Site, workspace: Workspace) -> None:
    stack = site.stack
    code, found = told(stack, f"prune {NAME} --json")
    entries = models(found, FIRST, "store")
    spare = [name for name, each in entries.items() if not each["kept"]]
    assert code == 0
    assert (len(entries), len(spare)) == (2, 1)
    assert not any(each["removed"] for each in entries.values())
    code, found = told(stack, f"prune {NAME} --yes --json")
    assert code == 0
    assert [name for name, each in models(found, FIRST, "store").items() if each["removed"]] == spare
    code, found = told(stack, f"verify {NAME} --json")
    assert code == 0
    assert set(models(found, FIRST, "store")) == set(entries) - set(spare)
    assert serves(site, workspace)
    assert stack.runs_of(stack.up) == []


def test_a_removal_leaves_nothing(site: Site) -> None:
    site.stack.pulumi("destroy", "--yes", "--skip-preview")
    for host in (FIRST, SECOND):
        places = "/var/lib/slipway /etc/slipway /etc/systemd/system/slipway*"
        assert ssh(host.address, f"ls -d {places} 2>/dev/null", check=False) == ""

"""Names, addresses, records and locks of the lab."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.lab import HostSpec, Lab, LabError, Places
from tools.lab.hosts import Machine, Record
from tools.lab.locks import locked
from tools.lab.places import LEAST_FOR_MEMORY, MEMORY, make_folder, memory_of_tests, write_atomically
from tools.lab.roots import escape, mounts_below, remove_tree


@pytest.mark.parametrize("name", ["a", "lab-1", "x" * 63])
def test_good_names(name: str) -> None:
    assert HostSpec(name, "10.213.77.2").name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "1a", "a_b", "a/b", "..", "a b", "x" * 64, "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(LabError, match="a name is"):
        HostSpec(name, "10.213.77.2")


@pytest.mark.parametrize("address", ["10.213.77.0", "10.213.77.1", "10.213.77.255", "10.213.78.2", "192.0.2.1"])
def test_addresses_that_are_not_free(address: str) -> None:
    with pytest.raises(LabError, match="is not free in the lab's network"):
        HostSpec("a", address)


@pytest.mark.parametrize("address", ["", "host", "10.213.77.2/24", "::1", "10.213.77.002"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(LabError, match="no IPv4 address"):
        HostSpec("a", address)


def test_twins_and_other_users_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(Places(tmp_path / "state", tmp_path, tmp_path, tmp_path / "known_hosts", tmp_path / "run"))
    with pytest.raises(LabError, match="two lab hosts have the name a"):
        lab.up([HostSpec("a", "10.213.77.2"), HostSpec("a", "10.213.77.3")])
    with pytest.raises(LabError, match=r"two lab hosts have the address 10\.213\.77\.2"):
        lab.up([HostSpec("a", "10.213.77.2"), HostSpec("b", "10.213.77.2")])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for call in (lambda: lab.up([]), lab.down):
        with pytest.raises(LabError, match="need root"):
            call()
    assert lab.list() == []
    assert not (tmp_path / "state").exists()


def test_interfaces_fit_and_differ() -> None:
    names = ["abcdefghijkl", "abcdefghijklm", "abcdefghijkln"]
    interfaces = [Machine(name, "", Path(), Path()).interface for name in names]
    assert interfaces[0] == "vb-abcdefghijkl"
    assert len(set(interfaces)) == 3
    assert max(len(interface) for interface in interfaces) <= 15


def test_last_words_are_plain_text(tmp_path: Path) -> None:
    machine = Machine("a", "", tmp_path, tmp_path)
    assert machine.last_words() == "(no console output)"
    machine.console.write_bytes(b"old\n\x1b[0;1;32m  OK  \x1b[0m Started\r\n\n\x1b]0;title\x07lost\xff\n")
    assert machine.last_words(2) == "  OK   Started\nlost\ufffd"


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"address": "a"}', '{"made": true, "more": 1}'])
def test_a_record_that_is_not_whole_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "host.json").write_text(text)
    assert Record.read(tmp_path) is None


def test_a_record_comes_back(tmp_path: Path) -> None:
    record = Record("10.213.77.2", "nspawn", "base", made=True)
    record.write(tmp_path)
    assert Record.read(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["host.json"]


def test_folders_and_files_belong_to_whom_the_place_belongs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 1234, 2345)
    before = os.umask(0o077)
    try:
        made = make_folder(home / "a" / "b", 0o700)
        write_atomically(made / "file", "text", 0o640)
    finally:
        os.umask(before)
    for path, mode in ((home / "a", 0o755), (made, 0o700), (made / "file", 0o640)):
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 2345, mode), path


_HOLD = """
import sys
from pathlib import Path
from tools.lab.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_waits_ends_with_its_process_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LabError, match=r"another process has held .* for 0 s"), locked(file, timeout=0.3):
            pass
        # The holder dies while this process waits; only then does it get the lock.
        with locked(file, waiting=holder.kill, timeout=20):
            assert holder.wait() != 0
            assert file.exists()
    assert not file.exists()


def test_a_lock_that_was_removed_under_the_waiter_is_no_lock(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with locked(file):
        file.unlink()
        with locked(file, timeout=1):  # another file under the same name: nobody holds it
            pass


def test_paths_in_options() -> None:
    assert escape(Path("/a:b,c\\d e"), ",:") == r"/a\:b\,c\\d e"


def test_remove_tree_unmounts_first_and_spares_what_was_mounted(tmp_path: Path) -> None:
    precious, tree = tmp_path / "precious", tmp_path / "tree with space"
    (tree / "mount").mkdir(parents=True)
    precious.mkdir()
    (precious / "file").write_text("kept")
    subprocess.run(["mount", "--bind", str(precious), str(tree / "mount")], check=True)
    assert mounts_below(tree) == [tree / "mount"]
    remove_tree(tree)
    remove_tree(tree)
    assert not tree.exists()
    assert (precious / "file").read_text() == "kept"


@pytest.mark.parametrize(("total", "in_memory"), [(16 * 2**30, False), (20 * 2**30 - 1, False), (20 * 2**30, True)])
def test_hosts_of_tests_are_in_memory_where_there_is_enough(total: int, in_memory: bool) -> None:
    assert bool(memory_of_tests(total)) == in_memory


def test_hosts_of_tests_have_the_disk_that_preflight_asks_for(root: Path) -> None:
    asked = yaml.safe_load((root / "playbooks/roles/preflight/defaults/main.yml").read_text())["preflight_min_disk_gib"]
    assert int(memory_of_tests(LEAST_FOR_MEMORY)) > asked * 2**30


def test_who_says_how_much_is_in_memory_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY, "")
    assert Places.default().memory == ""
    monkeypatch.setenv(MEMORY, "8G")
    assert Places.default().memory == "8G"

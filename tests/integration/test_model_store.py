"""The model store on this machine: a real rsync daemon, a real web server, kill -9 in the middle, a file system that fills up."""

import contextlib
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import pytest

from tests.unit.roles.loading import PLAYBOOKS

sys.path.append(str(PLAYBOOKS / "module_utils"))

from model_store import delivery as deliveries
from model_store import web as servers
from model_store.base import Source
from model_store.delivery import Delivery, Round, incoming_of
from model_store.folders import counted
from model_store.manifest import MANIFEST, MARK, StoreError, checked, read
from model_store.sources import source
from model_store.survey import survey

MIB = 1 << 20
RECORD = '{"kind": "test"}\n'
TOKEN = "hf_canary0123456789"


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 -- the same each time


def model(folder: Path, *, mib: int = 4) -> dict[str, bytes]:
    """A model's files; the last one is empty."""
    files = {
        "config.json": b'{"model_type": "llama"}',
        "model-00001-of-00002.safetensors": content(mib * MIB, 1),
        "model-00002-of-00002.safetensors": content(mib * MIB + 17, 2),
        "original/params with space.json": b"{}",
        "empty": b"",
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def held(folder: Path) -> dict[str, bytes]:
    """What a folder holds beside Slipway's own."""
    own = (MANIFEST, MARK)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in own
    }


def to_the_end(delivery: Delivery, given: Source, seconds: float = 20) -> list[Round]:
    rounds = [delivery.step(given, seconds)]
    while not rounds[-1].done:
        rounds.append(delivery.step(given, seconds))
    return rounds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def daemon(
    store: Path, folder: Path, *, limit: int | None = None, readers: Sequence[str] = ("127.0.0.1", "10.0.0.12")
) -> Iterator[str]:
    """A real rsync daemon that serves a store, with the role's own configuration; its address."""
    port = free_port()
    config = folder / "rsyncd.conf"
    template = jinja2.Template((PLAYBOOKS / "roles/store/templates/rsyncd.conf.j2").read_text(), autoescape=False)
    told = {"store_port": port, "store_address": "127.0.0.1", "store_readers": readers, "store_path": str(store)}
    config.write_text(template.render(told))
    slow = [] if limit is None else [f"--bwlimit={limit}"]
    process = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={config}", *slow])
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"rsync://127.0.0.1:{port}/store"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one model in it."""
    origin, folder = tmp_path / "origin", tmp_path / "store"
    folder.mkdir()
    model(origin)
    to_the_end(Delivery(folder / "tiny-1", RECORD, "tiny"), source({"kind": "folder", "path": str(origin)}, files=None))
    return folder


def test_a_folder_becomes_a_whole_model_of_the_store(tmp_path: Path) -> None:
    origin, target = tmp_path / "origin", tmp_path / "store" / "tiny-1"
    files = model(origin)
    (origin / ".cache").mkdir()
    (origin / ".cache" / "x").write_text("of a hub's client")
    given = source({"kind": "folder", "path": str(origin)}, files=None)
    (last,) = to_the_end(Delivery(target, RECORD, "tiny"), given)
    assert last.changed
    assert held(target) == files
    known = read(target)
    assert known is not None
    assert known["files"]["config.json"]["sha256"] == hashlib.sha256(files["config.json"]).hexdigest()
    assert not incoming_of(target).exists()
    assert not Delivery(target, RECORD, "tiny").step(given, 20).changed


def test_hosts_get_it_by_rsync(store: Path, tmp_path: Path) -> None:
    with daemon(store, tmp_path) as url:
        target = tmp_path / "models" / "tiny"
        rounds = to_the_end(
            Delivery(target, RECORD, "tiny"), source({"kind": "store", "url": f"{url}/tiny-1"}, files=None)
        )
    assert held(target) == held(store / "tiny-1")
    assert "verified" in rounds[-1].said
    assert {path.stat().st_mode & 0o777 for path in target.rglob("*") if path.is_file()} == {0o644}


def test_the_store_serves_its_readers_alone_and_nothing_that_still_arrives(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "tiny"
    with daemon(store, tmp_path, readers=["10.0.0.12"]) as url:
        given = source({"kind": "store", "url": f"{url}/tiny-1"}, files=None)
        with pytest.raises(StoreError, match="does not give the files"):
            Delivery(target, RECORD, "tiny").step(given, 20)
    shutil.copytree(store / "tiny-1", store / ".tiny-2.incoming")
    with daemon(store, tmp_path) as url:
        given = source({"kind": "store", "url": f"{url}/.tiny-2.incoming"}, files=None)
        with pytest.raises(StoreError, match="does not give the files"):
            Delivery(target, RECORD, "tiny").step(given, 20)
        (tmp_path / "evil").write_text("x")
        done = subprocess.run(
            ["rsync", str(tmp_path / "evil"), f"{url}/tiny-1/"], capture_output=True, text=True, check=False
        )
        assert "read only" in done.stderr
    assert not target.exists()


def test_on_the_stores_own_host_it_is_linked(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "tiny"
    to_the_end(Delivery(target, RECORD, "tiny"), source({"kind": "beside", "path": str(store / "tiny-1")}, files=None))
    name = "model-00001-of-00002.safetensors"
    assert (target / name).stat().st_ino == (store / "tiny-1" / name).stat().st_ino
    assert held(target) == held(store / "tiny-1")


def test_a_whole_folder_asks_nobody(store: Path, tmp_path: Path) -> None:
    """The store's host may be down."""
    target = tmp_path / "models" / "tiny"
    with daemon(store, tmp_path) as url:
        given = source({"kind": "store", "url": f"{url}/tiny-1"}, files=None)
        to_the_end(Delivery(target, RECORD, "tiny"), given)
    last = Delivery(target, RECORD, "tiny").step(given, 20)
    assert (last.done, last.changed) == (True, False)
    with pytest.raises(StoreError, match=r"rsync://127.0.0.1:\d+/store/tiny-1 does not give the files: .*no firewall"):
        Delivery(target, "another\n", "tiny").step(given, 20)


def test_a_flipped_byte_is_found_and_only_its_file_is_fetched_again(store: Path, tmp_path: Path) -> None:
    target, name = tmp_path / "models" / "tiny", "model-00002-of-00002.safetensors"
    with daemon(store, tmp_path) as url:
        given = source({"kind": "store", "url": f"{url}/tiny-1"}, files=None)
        delivery = Delivery(target, RECORD, "tiny")
        to_the_end(delivery, given)
        times, other = (target / name).stat(), (target / "model-00001-of-00002.safetensors").stat().st_ino
        damage(target / name)
        os.utime(target / name, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert not delivery.is_whole()
        assert to_the_end(delivery, given)[-1].total == times.st_size
    assert delivery.is_whole()
    assert held(target) == held(store / "tiny-1")
    assert (target / "model-00001-of-00002.safetensors").stat().st_ino == other


def damage(path: Path) -> None:
    """One byte in the middle, turned over."""
    with path.open("r+b") as opened:
        opened.seek(path.stat().st_size // 2)
        byte = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte[0] ^ 0xFF]))


def test_a_store_that_holds_a_damaged_file_is_named(store: Path, tmp_path: Path) -> None:
    damage(store / "tiny-1" / "model-00001-of-00002.safetensors")
    target = tmp_path / "models" / "tiny"
    with daemon(store, tmp_path) as url:
        given = source({"kind": "store", "url": f"{url}/tiny-1"}, files=None)
        with pytest.raises(
            StoreError, match=r"model-00001-of-00002\.safetensors of tiny came twice with another checksum"
        ):
            to_the_end(Delivery(target, RECORD, "tiny"), given)
    assert not target.exists()


def test_what_is_not_the_models_goes_and_a_new_version_takes_over_what_it_shares(store: Path, tmp_path: Path) -> None:
    origin, target = tmp_path / "origin", store / "tiny-2"
    (origin / "config.json").write_text("{}")
    (origin / "model-00002-of-00002.safetensors").unlink()
    rounds = to_the_end(Delivery(target, "two\n", "tiny"), source({"kind": "folder", "path": str(origin)}, files=None))
    name = "model-00001-of-00002.safetensors"
    assert rounds[-1].done
    assert (target / name).stat().st_ino == (store / "tiny-1" / name).stat().st_ino
    host = tmp_path / "models" / "tiny"
    to_the_end(Delivery(host, RECORD, "tiny"), source({"kind": "beside", "path": str(store / "tiny-1")}, files=None))
    (host / "stranger").mkdir()
    (host / "stranger" / "shard.safetensors").write_text("x")
    to_the_end(Delivery(host, "two\n", "tiny"), source({"kind": "beside", "path": str(target)}, files=None))
    assert held(host) == held(target)
    assert not (host / "stranger").exists()


ROUND = """
import json, sys
sys.path.append(sys.argv[1])
from pathlib import Path
from model_store.delivery import Delivery
from model_store.sources import source
given = json.loads(sys.argv[2])
delivery = Delivery(Path(given["target"]), given["record"], "tiny")
while not delivery.step(source(given["source"], files=None), 20).done:
    pass
"""


def start(target: Path, given: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The whole delivery in a process group of its own."""
    order = json.dumps({"target": str(target), "record": RECORD, "source": given})
    command = [sys.executable, "-c", ROUND, str(PLAYBOOKS / "module_utils"), order]
    return subprocess.Popen(command, start_new_session=True)


def wait_for(condition: Any, what: str) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come")


def arrived(target: Path) -> int:
    folder = incoming_of(target)
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    return 0


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    store, target = tmp_path / "store", tmp_path / "models" / "tiny"
    store.mkdir()
    model(tmp_path / "origin", mib=24)
    folder = source({"kind": "folder", "path": str(tmp_path / "origin")}, files=None)
    to_the_end(Delivery(store / "tiny-1", RECORD, "tiny"), folder)
    with daemon(store, tmp_path, limit=16 * 1024) as url:
        given = {"kind": "store", "url": f"{url}/tiny-1"}
        process = start(target, given)
        try:
            wait_for(lambda: arrived(target) > 6 * MIB, "a part of the first file")
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        had = arrived(target)
        assert MIB < had < 48 * MIB
        assert not target.exists()
        assert not Delivery(target, RECORD, "tiny").is_whole()
        time.sleep(0.3)  # what the daemon's end still holds
        had = arrived(target)
    with daemon(store, tmp_path) as url:
        again = Delivery(target, RECORD, "tiny")
        rest = source({"kind": "store", "url": f"{url}/tiny-1"}, files=None)
        first = (incoming_of(target) / "model-00001-of-00002.safetensors").stat().st_ino
        to_the_end(again, rest)
    assert held(target) == held(store / "tiny-1")
    # Gone on with at its end, and not begun anew.
    assert (target / "model-00001-of-00002.safetensors").stat().st_ino == first
    assert had > 0


@pytest.mark.parametrize("after", range(4))
def test_killed_while_files_take_their_places_it_is_not_whole_and_is_ended(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    target = tmp_path / "models" / "tiny"
    given = source({"kind": "beside", "path": str(store / "tiny-1")}, files=None)
    places = iter(range(after))
    original = deliveries._make_way

    def interrupted(*arguments: Any) -> None:
        if next(places, None) is None:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(deliveries, "_make_way", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Delivery(target, RECORD, "tiny").step(given, 20)
    assert not Delivery(target, RECORD, "tiny").is_whole()
    assert (target / MARK).read_text() != RECORD
    monkeypatch.undo()

    def refusing(*_: Any) -> str:
        raise AssertionError("all has come, and nothing is fetched again")

    monkeypatch.setattr(type(given), "bring", refusing)
    to_the_end(Delivery(target, RECORD, "tiny"), given)
    assert held(target) == held(store / "tiny-1")


class Web(http.server.BaseHTTPRequestHandler):
    """A web server with ranges, and a double of a model hub's two addresses; the class holds what it knows and what it saw."""

    top: ClassVar[Path]
    asked: ClassVar[list[tuple[str, str, str, str]]]
    ranges: ClassVar[bool] = True
    token: ClassVar[str] = ""
    cut_after: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        wanted = self.headers.get("Range", "")
        self.asked.append((self.command, self.path, wanted, self.headers.get("Authorization", "")))
        if self.token and self.headers.get("Authorization") != f"Bearer {self.token}":
            self.send_error(401)
            return
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/o/m/revision/"):
            data = json.dumps({"siblings": self._siblings()}).encode()
        else:
            name = path.replace("/o/m/resolve/" + "a" * 40 + "/", "/").replace("%20", " ").lstrip("/")
            if not (self.top / name).is_file():
                self.send_error(404)
                return
            data = (self.top / name).read_bytes()
        begin = int(match[1]) if self.ranges and (match := re.match(r"bytes=(\d+)-", wanted)) else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            rest = data[begin:]
            if self.cut_after and len(rest) > self.cut_after:
                self.wfile.write(rest[: self.cut_after])
                self.close_connection = True
                return
            with contextlib.suppress(OSError):
                self.wfile.write(rest)

    def _siblings(self) -> Iterator[Any]:  # type: ignore[misc]
        found = []
        for path in sorted(self.top.rglob("*")):
            if path.is_file():
                data, name = path.read_bytes(), str(path.relative_to(self.top))
                blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
                entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
                if name.endswith(".safetensors"):
                    entry["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                found.append(entry)
        return found  # type: ignore[return-value]

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the tests' output."""


@contextlib.contextmanager
def web(top: Path, **how: Any) -> Iterator[tuple[str, type[Web]]]:
    handler = type("Handler", (Web,), {"top": top, "asked": [], **how})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def mirrored(url: str, origin: Path) -> dict[str, Any]:
    sums = {name: entry["sha256"] for name, entry in counted(origin).items()}
    return {"kind": "mirror", "url": f"{url}/", "sha256sums": sums}


def test_a_mirror_that_cuts_off_is_gone_on_with(tmp_path: Path) -> None:
    files, target = model(tmp_path / "origin"), tmp_path / "store" / "tiny"
    with web(tmp_path / "origin", cut_after=3 * MIB) as (url, seen):
        to_the_end(Delivery(target, RECORD, "tiny"), source(mirrored(url, tmp_path / "origin"), files=None))
        ranges = [each[2] for each in seen.asked if each[2] and not each[2].startswith("bytes=0-")]
    assert held(target) == files
    assert any(begin.startswith(f"bytes={3 * MIB}-") for begin in ranges), ranges


def test_a_server_without_ranges_is_asked_from_the_beginning(tmp_path: Path) -> None:
    files, target = model(tmp_path / "origin"), tmp_path / "store" / "tiny"
    with web(tmp_path / "origin", ranges=False) as (url, _):
        delivery, given = Delivery(target, RECORD, "tiny"), source(mirrored(url, tmp_path / "origin"), files=None)
        original = type(given).bring

        def once(self: Any, names: list[str], folder: Path, seconds: float) -> str:
            (folder / names[0]).write_bytes(b"x")
            type(given).bring = original  # type: ignore[method-assign]
            return ""

        type(given).bring = once  # type: ignore[assignment, method-assign]
        try:
            to_the_end(delivery, given)
        finally:
            type(given).bring = original  # type: ignore[method-assign]
    assert held(target) == files


def test_a_mirror_with_another_file_is_refused_and_names_it(tmp_path: Path) -> None:
    model(tmp_path / "origin")
    with web(tmp_path / "origin") as (url, _):
        given = mirrored(url, tmp_path / "origin")
        given["sha256sums"]["config.json"] = "0" * 64
        with pytest.raises(StoreError, match=r"config\.json of tiny came twice with another checksum"):
            to_the_end(Delivery(tmp_path / "store" / "tiny", RECORD, "tiny"), source(given, files=None))
        given["sha256sums"]["nothing.safetensors"] = "0" * 64
        with pytest.raises(StoreError, match=r"nothing\.safetensors does not answer: 404"):
            to_the_end(Delivery(tmp_path / "store" / "tiny", RECORD, "tiny"), source(given, files=None))
    assert not (tmp_path / "store" / "tiny").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *(
            (name, "its place there can be written in other ways")
            for name in ("./x", "a/./x", "a//x", "../x", "/x", "x/", ".")
        ),
        (".slipway.json", "names that begin with .slipway are Slipway's own"),
        ("x\ty", "characters that can't be shown"),
    ],
)
def test_a_file_has_one_name(name: str, why: str) -> None:
    """Under two, it would be removed as one that is not the model's, and the model would be whole without it."""
    with pytest.raises(StoreError, match=re.escape(repr(name))) as refused:
        checked({name: {"size": 1}})
    assert why in str(refused.value)


def test_linked_folders_are_the_models_too(tmp_path: Path) -> None:
    top, elsewhere = tmp_path / "origin", tmp_path / "elsewhere"
    model(top)
    (elsewhere / "inner").mkdir(parents=True)
    (elsewhere / "inner" / "vocab.json").write_text("{}")
    (elsewhere / "back").symlink_to(top)
    (elsewhere / "nothing").symlink_to(tmp_path / "nothing")
    for name in ("one", "two"):
        (top / name).symlink_to(elsewhere)
    target = tmp_path / "store" / "tiny"
    given = source({"kind": "folder", "path": str(top)}, files=None)
    to_the_end(Delivery(target, RECORD, "tiny"), given)
    assert {"one/inner/vocab.json", "two/inner/vocab.json"} <= set(held(target))
    assert not any("back" in name or "nothing" in name for name in held(target))


@pytest.mark.parametrize(
    "url", ["http://me:pa55word@127.0.0.1:port/m", "http://me:pa55word@[::1/m", "http://me:pa55word@/"]
)
def test_an_address_that_cant_be_read_shows_no_login(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as refused:
        source({"kind": "mirror", "url": url, "sha256sums": {"x": "0" * 64}}, files=None).files()
    assert "pa55word" not in str(refused.value)
    assert "address" in str(refused.value)


def test_what_is_no_http_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(StoreError, match=r"does not answer: .*SSH"):
            source({"kind": "mirror", "url": url, "sha256sums": {"x": "0" * 64}}, files=None).files()
        thread.join()


@pytest.mark.parametrize(
    ("to", "kept"),
    [
        ("https://hub.example/y", True),
        ("http://hub.example/y", False),
        ("https://hub.example:444/y", False),
        ("https://cdn.example/y", False),
    ],
)
def test_a_token_follows_to_the_same_server_alone(to: str, kept: bool) -> None:
    asked = urllib.request.Request("https://hub.example/x", headers={"Authorization": f"Bearer {TOKEN}"})
    new = servers._NotElsewhere().redirect_request(asked, None, 302, "Found", {}, to)
    assert ("Authorization" in new.headers) == kept


def test_a_curl_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "origin")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "curl").write_text(f"#!/bin/sh\necho 'curl: symbol lookup error {TOKEN}' >&2\nexit 127\n")
    (tools / "curl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with web(tmp_path / "origin", token=TOKEN) as (url, _):
        given = source(hub(url), files=None, token=TOKEN)
        with pytest.raises(StoreError, match=r"curl on this host ended with 127: curl: symbol lookup error \[token\]"):
            to_the_end(Delivery(tmp_path / "store" / "tiny", RECORD, "tiny"), given)


def hub(url: str, **more: Any) -> dict[str, Any]:
    return {"kind": "hub", "endpoint": url, "repository": "o/m", "revision": "a" * 40, **more}


def test_a_hub_gives_its_files_with_its_own_checksums(tmp_path: Path) -> None:
    files, target = model(tmp_path / "origin"), tmp_path / "store" / "tiny"
    with web(tmp_path / "origin", token=TOKEN) as (url, seen):
        given = source(hub(url), files=None, token=TOKEN)
        to_the_end(Delivery(target, RECORD, "tiny"), given)
        before = len(seen.asked)
        # Of one commit, what is whole needs no hub.
        assert not Delivery(target, RECORD, "tiny").step(given, 20).changed
        assert len(seen.asked) == before
    assert held(target) == files


def test_a_hubs_small_file_is_known_by_gits_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "origin")
    with web(tmp_path / "origin") as (url, seen):
        listed = seen._siblings

        def forged(self: Web) -> Any:
            found: Any = listed(self)
            return [{**each, "blobId": "0" * 40} for each in found]

        monkeypatch.setattr(seen, "_siblings", forged)
        with pytest.raises(StoreError, match=r"(config|params with space)\.json of tiny|empty of tiny"):
            to_the_end(Delivery(tmp_path / "store" / "tiny", RECORD, "tiny"), source(hub(url), files=None))


def test_a_hubs_patterns_and_its_refusal(tmp_path: Path) -> None:
    model(tmp_path / "origin")
    target = tmp_path / "store" / "tiny"
    with web(tmp_path / "origin", token=TOKEN) as (url, _):
        with pytest.raises(StoreError) as refused:
            Delivery(target, RECORD, "tiny").step(source(hub(url), files=None, token="hf_wrong"), 20)
        assert "401" in str(refused.value)
        assert "hf_wrong" not in str(refused.value)
        with pytest.raises(StoreError, match=r"none of the 5 files of o/m matches \*\.gguf"):
            Delivery(target, RECORD, "tiny").step(source(hub(url, files=["*.gguf"]), files=None, token=TOKEN), 20)
        to_the_end(Delivery(target, RECORD, "tiny"), source(hub(url, files=["*.json"]), files=None, token=TOKEN))
    assert set(held(target)) == {"config.json", "original/params with space.json"}


def test_the_token_is_in_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What curl is started with can be read by everybody on the machine."""
    model(tmp_path / "origin")
    started: list[list[str]] = []
    original = subprocess.Popen

    def seen(command: list[str], **how: Any) -> Any:
        started.append(command)
        return original(command, **how)

    monkeypatch.setattr(subprocess, "Popen", seen)
    with web(tmp_path / "origin", token=TOKEN) as (url, _):
        given = source(hub(url), files=None, token=TOKEN)
        to_the_end(Delivery(tmp_path / "store" / "tiny", RECORD, "tiny"), given)
    assert any(command[0] == "curl" for command in started)
    assert TOKEN not in str(started)
    assert all(TOKEN not in path.read_text() for path in (tmp_path / "store" / "tiny").glob(".slipway*"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_without_room_nothing_is_written(tmp_path: Path, small: Path) -> None:
    model(tmp_path / "origin", mib=16)
    given = source({"kind": "folder", "path": str(tmp_path / "origin")}, files=None)
    with pytest.raises(
        StoreError, match=r"small has no room for tiny: 33\.6 MB needed, 25\.2 MB free; nothing was written"
    ):
        Delivery(small / "tiny", RECORD, "tiny").step(given, 20)
    assert list(small.iterdir()) == []


def test_full_half_way_nothing_is_taken_for_whole_and_it_goes_on_once_there_is_room(
    tmp_path: Path, small: Path
) -> None:
    files = model(tmp_path / "origin", mib=8)
    target = small / "tiny"
    with web(tmp_path / "origin") as (url, _):
        given = source(mirrored(url, tmp_path / "origin"), files=None)
        original = type(given).bring

        def filling(self: Any, names: list[str], folder: Path, seconds: float) -> str:
            # Somebody else writes there after it was looked for room.
            (small / "other").write_bytes(b"x" * 14 * MIB)
            return original(self, names, folder, seconds)

        type(given).bring = filling  # type: ignore[assignment, method-assign]
        try:
            with pytest.raises(
                StoreError, match=r"small became full: .* still missing, .* free; what has come is kept"
            ):
                to_the_end(Delivery(target, RECORD, "tiny"), given)
        finally:
            type(given).bring = original  # type: ignore[method-assign]
        assert not target.exists()
        assert not Delivery(target, RECORD, "tiny").is_whole()
        # Said at once, before anything is fetched.
        with pytest.raises(StoreError, match="small became full"):
            to_the_end(Delivery(target, RECORD, "tiny"), given)
        (small / "other").unlink()
        to_the_end(Delivery(target, RECORD, "tiny"), given)
    assert held(target) == files


def test_full_half_way_by_rsync(store: Path, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "free", lambda _: 1 << 40)
    monkeypatch.setattr(deliveries, "expect", lambda *_: None)
    (small / "other").write_bytes(b"x" * 18 * MIB)
    target = small / "tiny"
    with daemon(store, tmp_path) as url:
        given = source({"kind": "store", "url": f"{url}/tiny-1"}, files=None)
        with pytest.raises(StoreError, match="small became full"):
            to_the_end(Delivery(target, RECORD, "tiny"), given)
        assert not target.exists()
        (small / "other").unlink()
        to_the_end(Delivery(target, RECORD, "tiny"), given)
    assert held(target) == held(store / "tiny-1")


def test_nothing_comes_any_more(tmp_path: Path) -> None:
    model(tmp_path / "origin")
    with web(tmp_path / "origin", cut_after=0) as (url, seen):
        given = source(mirrored(url, tmp_path / "origin"), files=None)
        seen.cut_after = 1  # a byte and no more, of which nothing stays where the server is asked again
        seen.ranges = False
        with pytest.raises(StoreError, match=r"tiny: nothing comes any more .*what has come is kept"):
            to_the_end(Delivery(tmp_path / "store" / "tiny", RECORD, "tiny"), given)


def test_two_at_the_same_time_take_turns(tmp_path: Path) -> None:
    store, target = tmp_path / "store", tmp_path / "models" / "tiny"
    store.mkdir()
    model(tmp_path / "origin", mib=8)
    folder = source({"kind": "folder", "path": str(tmp_path / "origin")}, files=None)
    to_the_end(Delivery(store / "tiny-1", RECORD, "tiny"), folder)
    with daemon(store, tmp_path, limit=16 * 1024) as url:
        both = [start(target, {"kind": "store", "url": f"{url}/tiny-1"}) for _ in range(2)]
        assert [each.wait(60) for each in both] == [0, 0]
    assert held(target) == held(store / "tiny-1")
    assert not incoming_of(target).exists()


def test_survey_names_what_nobody_needs_and_prunes_only_that(store: Path, tmp_path: Path, monkeypatch: Any) -> None:
    units = tmp_path / "units"
    units.mkdir()
    monkeypatch.setattr("model_store.survey.UNITS", units)
    models = tmp_path / "models"
    for name in ("named", "running", "old", "running-2"):
        given = source({"kind": "beside", "path": str(store / "tiny-1")}, files=None)
        to_the_end(Delivery(models / name, RECORD, name), given)
    (models / "somebody-elses").mkdir()
    (models / "somebody-elses" / "weights").write_text("x")
    shutil.copytree(models / "old", incoming_of(models / "gone"))
    (units / "slipway-running.service").write_text(f"ExecStart=vllm serve {models}/running --port 1\n")
    damage(store / "tiny-1" / "model-00001-of-00002.safetensors")
    order = {"verb": "prune", "remove": False, "places": [{"path": str(models), "keep": ["named"]}]}
    seen = {each["name"]: each["kept"] for each in survey(order)["places"][0]["models"]}
    assert seen == {
        "named": "the stack names it",
        "running": "a unit on this host names it",
        "old": "",
        "running-2": "",
        "gone": "",
    }
    found = survey({**order, "verb": "verify"})["places"][0]["models"]
    assert {each["name"]: each["files"] for each in found}["named"] == ["model-00001-of-00002.safetensors"]
    removed = survey({**order, "remove": True})["places"][0]["models"]
    assert {each["name"] for each in removed if each["removed"]} == {"old", "running-2", "gone"}
    assert {path.name for path in models.iterdir()} == {"named", "running", "somebody-elses"}

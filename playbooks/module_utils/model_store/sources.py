"""Where files come from, and how: each source says what files there are, and brings more of them for a while.

What was cut off is gone on with at its end. rsync and curl do the work; nothing of a secret is among their arguments.
"""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .manifest import MANIFEST, OWN, Files, StoreError, checked, read, sha256_of, size_of

PATIENCE_S = 60
"""How long a source may say nothing."""
STREAMS = 4
"""Files that are fetched over HTTP at the same time."""
_CUT_OFF = frozenset({"18", "28", "52", "55", "56", "92", "95"})
"""Exit codes of curl after which the next round may go on: what came was cut off, or nothing came for a while."""
_NO_RANGES, _NOT_WRITTEN = "33", "23"
_BEYOND = "416"
"""The status where a server has no byte at which a file is to be gone on with."""
_FULL = "No space left on device"


class FullError(Exception):
    """The disk became full."""


class ChangedError(StoreError):
    """A file at the source is another than when the delivery began; what has come of it is of no use."""


class Source:
    """What all sources have in common."""

    pinned = True
    """Whether the same record always means the same files, so that a whole folder need not ask."""
    is_told = False
    """Whether its files are known anyway, and may be others than in the round before."""

    def files(self) -> Files:
        """What there is.

        Raises:
            StoreError: the source does not say.
        """
        raise NotImplementedError

    def needs(self, names: list[str], folder: Path, size: Callable[[str], int]) -> int:
        """Bytes that bringing these files to `folder` will take there."""
        return sum(size(name) - (size_of(folder / name) or 0) for name in names)

    def called(self, name: str) -> str:
        """How messages call a file; where it can be looked at, if that says more than its name."""
        return name

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """Bring more of these files, at most for so long; why no more came, where something can be said.

        Raises:
            StoreError: it does not work.
            ChangedError: it is another than before.
            FullError: the disk is full.
        """
        raise NotImplementedError


class Store(Source):
    """A model's folder in the store, by rsync: of another host (``rsync://…``), or of this one."""

    pinned = False

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def files(self) -> Files:
        """By its manifest."""
        with tempfile.TemporaryDirectory(prefix=".slipway-") as folder:
            target = Path(folder, "manifest")
            _run(["rsync", *self._timeouts(), f"{self._url}/{MANIFEST}", str(target)], self._said)
            target.rename(target.with_name(MANIFEST))
            found = read(Path(folder))
        if found is None:
            raise StoreError(f"the manifest of {self._url} can't be read; run the `up` again, it is written anew")
        return found["files"]

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """Several files one after the other: the store's disk and network are shared by all hosts."""
        how = ("--append", "--files-from=-", "--from0", "--copy-links", *self._timeouts())
        # From the folder above: the daemon of rsync 3.5.0 finds no file below a folder that the address names.
        above, _, last = self._url.rpartition("/")
        _run(
            ["rsync", *how, f"{above}/", f"{folder}/"],
            self._said,
            given="\0".join(f"{last}/./{name}" for name in names),
            seconds=seconds,
        )
        return ""

    def _timeouts(self) -> tuple[str, ...]:
        remote = self._url.startswith("rsync://")
        return (f"--timeout={PATIENCE_S}", *(("--contimeout=15",) if remote else ()))

    def _said(self, text: str) -> StoreError:
        return StoreError(
            f"{self._url} does not give the files: {text}; see that slipway-store.service runs on the store's host and that no "
            "firewall is between, then repeat: what has come is kept"
        )


class Beside(Store):
    """A model's folder in the store of this very host: linked, where both are on one file system."""

    def needs(self, names: list[str], folder: Path, size: Callable[[str], int]) -> int:
        """Nothing where it is linked."""
        return 0 if self._near(folder) else super().needs(names, folder, size)

    def files(self) -> Files:
        """By its manifest."""
        found = read(Path(self._url))
        if found is None:
            raise StoreError(f"{self._url} is not whole; run the `up` again")
        return found["files"]

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """Links, or copies."""
        if not self._near(folder):
            return super().bring(names, folder, seconds)
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            os.link(Path(self._url, name), target)
        return ""

    def _near(self, folder: Path) -> bool:
        return Path(self._url).stat().st_dev == folder.stat().st_dev


class Folder(Store):
    """A folder of this host that somebody else brought: read where it lies, copied, and not changed."""

    def files(self) -> Files:
        """All that is in it, read once for the checksums."""
        top = Path(self._url)
        if not top.is_dir():
            raise StoreError(
                f"{top} is no folder of this host; put the model there, or name another in source.store_path"
            )
        return counted(top)

    def _said(self, text: str) -> StoreError:
        return StoreError(f"{self._url} can't be copied: {text}; what has come is kept")


class Pushed(Source):
    """Files that the machine that runs the `up` sends by itself, between two rounds."""

    pinned = False
    is_told = True

    def __init__(self, files: Files) -> None:
        self._files = files

    def files(self) -> Files:
        """As that machine counted them."""
        return self._files

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:  # noqa: ARG002 -- as the others
        """Nothing: it is done from there."""
        return ""


class Web(Source):
    """Files of a web server, by curl."""

    FOLLOWS = True
    """Whether the server may send on to another one."""

    def __init__(self, urls: dict[str, str], files: Files | None = None, token: str = "") -> None:
        self._urls, self._files, self._token = urls, files or {}, token

    def files(self) -> Files:
        """With the sizes that the server tells."""
        return {
            name: {"size": self._length(url), **self._files.get(name, {})} for name, url in sorted(self._urls.items())
        }

    def called(self, name: str) -> str:
        """By its address."""
        return shown(self._urls[name])

    def _length(self, url: str) -> int:
        with _ask(url, self._token, "HEAD") as reply:
            length = reply.headers.get("Content-Length")
        if length is None:
            raise StoreError(
                f"{shown(url)} does not tell its size (Content-Length), so nobody could tell a part from the whole"
            )
        return int(length)

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """Several at the same time."""
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        # As its configuration on stdin: arguments can be read by everybody on the machine.
        lines = ["fail", "silent", "show-error", "parallel", f"parallel-max = {STREAMS}", "continue-at = -"]
        lines += ["location"] if self.FOLLOWS else []
        lines += ["connect-timeout = 15", "speed-limit = 1", f"speed-time = {PATIENCE_S}", 'proto = "=http,https"']
        lines += ['write-out = "%{exitcode}\\t%{http_code}\\t%{filename_effective}\\t%{errormsg}\\n"']
        lines += [f"header = {_quoted(f'Authorization: Bearer {self._token}')}"] if self._token else []
        for name in names:
            lines += [f"url = {_quoted(self._urls[name])}", f"output = {_quoted(str(folder / name))}"]
        why = ""
        for line in _curl("\n".join(lines), seconds, self._token).splitlines():
            code, status, path, reason = (*line.split("\t"), "", "", "", "")[:4]
            if status == _BEYOND:
                # To curl, which goes on at the end of what is there, that is no failure.
                raise ChangedError(
                    f"{self.called(str(Path(path).relative_to(folder)))} is smaller than when its delivery began: it was changed "
                    "meanwhile; see that it is the right one, then repeat: the files are fetched from their beginning"
                )
            if code == _NO_RANGES:
                # From the beginning, then.
                with contextlib.suppress(FileNotFoundError):
                    Path(path).unlink()
                why = "the server can't go on in the middle of a file"
            elif code == _NOT_WRITTEN:
                raise FullError
            elif code in _CUT_OFF:
                why = reason
            elif code != "0":
                name = str(Path(path).relative_to(folder)) if path else names[0]
                why = self._refused(name, status, reason)
        return why

    def _refused(self, name: str, status: str, reason: str) -> str:
        """Why a file does not come, where the next round may bring it.

        Raises:
            StoreError: it would not.
        """
        why = reason.replace(self._token, "[token]") if self._token else reason
        mends = {"401": "the token", "403": "the token and who may read it", "404": "the address"}
        mend = mends.get(status, "the address and the network")
        raise StoreError(
            f"{shown(self._urls[name])} does not come: {why}; look at {mend}, then repeat: what has come is kept"
        )


class Hub(Web):
    """A repository of a model hub at one commit."""

    def __init__(self, endpoint: str, repository: str, revision: str, patterns: list[str], token: str = "") -> None:
        super().__init__({}, token=token)
        self._endpoint, self._repository = endpoint.rstrip("/"), repository
        self._revision, self._patterns = revision, patterns

    def files(self) -> Files:
        """By the hub's list, with its SHA-256 of large files and git's SHA-1 of small ones."""
        address = f"{self._endpoint}/api/models/{self._repository}/revision/{self._revision}?blobs=true"
        try:
            with _ask(address, self._token) as reply:
                listed: list[dict[str, Any]] = json.load(reply)["siblings"]
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{shown(address)} answers nothing that a hub would; look at source.endpoint") from None
        except (OSError, http.client.HTTPException):
            raise StoreError(f"{shown(address)} broke off in its answer; look at the network, then repeat") from None
        files: Files = {}
        for each in listed:
            name, large = str(each["rfilename"]), each.get("lfs") or {}
            if self._patterns and not any(fnmatch.fnmatch(name, pattern) for pattern in self._patterns):
                continue
            self._urls[name] = self._address(name)
            size = large.get("size", each.get("size"))
            files[name] = {"size": self._length(self._urls[name]) if size is None else size}
            if large.get("sha256"):
                files[name]["sha256"] = large["sha256"]
            elif each.get("blobId"):
                files[name]["git"] = each["blobId"]
        if not files and listed:
            raise StoreError(
                f"none of the {len(listed)} files of {self._repository} matches {', '.join(self._patterns)}"
            )
        return files

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """As of any web server."""
        for name in names:
            self._urls[name] = self._address(name)
        return super().bring(names, folder, seconds)

    def _address(self, name: str) -> str:
        return f"{self._endpoint}/{self._repository}/resolve/{self._revision}/{urllib.parse.quote(name)}"


def source(
    given: dict[str, Any],
    *,
    files: Files | None,
    token: str = "",
    signed: dict[str, str] | None = None,
    unsigned: str = "",
) -> Source:
    """From what a role says: ``kind`` and what goes with it. For a bucket the `signed` addresses, or why there are none."""
    kind = given["kind"]
    if kind == "store":
        return Store(given["url"])
    if kind == "beside":
        return Beside(given["path"])
    if kind == "folder":
        return Folder(given["path"])
    if kind == "pushed":
        return Pushed(checked(files or {}))
    if kind == "hub":
        return Hub(given["endpoint"], given["repository"], given["revision"], list(given.get("files") or ()), token)
    if kind == "s3":
        from .s3 import Bucket

        return Bucket(given["url"], given["sha256sums"], signed or {}, unsigned)
    base, sums = given["url"].rstrip("/"), given["sha256sums"]
    return Web(
        {name: f"{base}/{urllib.parse.quote(name)}" for name in sums}, {name: {"sha256": sums[name]} for name in sums}
    )


def shown(url: str) -> str:
    """An address without what may be secret in it."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "the source's address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def counted(top: Path) -> Files:
    """All files of a folder with size and SHA-256, links followed; what a hub's client keeps beside its downloads is none."""
    found = {}
    for path in sorted(_below(top)) if top.is_dir() else [top]:
        name = path.name if path == top else str(path.relative_to(top))
        if path.is_file() and name not in OWN and not name.startswith(".cache/"):
            found[name] = path
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        sums = list(pool.map(sha256_of, found.values()))
    return {name: {"size": path.stat().st_size, "sha256": sum_} for (name, path), sum_ in zip(found.items(), sums)}


def _below(top: Path) -> Iterator[Path]:
    """What is no folder below a folder, in linked ones too; of folders that a link leads back to, nothing again."""
    ways: dict[str, frozenset[tuple[int, int]]] = {str(top): frozenset()}
    for current, folders, names in os.walk(top, followlinks=True):
        status = Path(current).stat()
        above = ways.pop(current) | {(status.st_dev, status.st_ino)}
        yield from (Path(current, name) for name in names)
        inner = []
        for name in folders:
            status = Path(current, name).stat()
            if (status.st_dev, status.st_ino) not in above:
                ways[f"{current}/{name}"] = above
                inner.append(name)
        folders[:] = inner


class _NotElsewhere(urllib.request.HTTPRedirectHandler):
    """A token goes to nobody but the one whom it is for."""

    def redirect_request(self, req: Any, *rest: Any) -> Any:
        new = super().redirect_request(req, *rest)
        if new is not None and _server(new.full_url) != _server(req.full_url):
            new.headers.pop("Authorization", None)
        if new is not None and req.get_method() == "HEAD":
            new.method = "HEAD"
        return new


def _server(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _ask(url: str, token: str, method: str = "GET") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # Compressed, a length would be another one.
    headers["Accept-Encoding"] = "identity"
    if url.partition(":")[0].lower() not in {"http", "https"}:
        raise StoreError(f"{shown(url)} is no address of a web server; give http:// or https://")
    try:
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 -- looked at above
        return urllib.request.build_opener(_NotElsewhere).open(request, timeout=PATIENCE_S)
    except urllib.error.HTTPError as error:
        error.close()
        why = f"{error.code} {error.reason}"
    except http.client.InvalidURL:
        # Its text has the address with all that is secret in it.
        why = "no server's name and port can be read in it"
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", "") or str(error) or type(error).__name__
    raise StoreError(f"{shown(url)} does not answer: {why}; look at the address, the token and the network") from None


def _quoted(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise StoreError("a name or token has a line break in it")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _curl(config: str, seconds: float, secret: str = "") -> str:
    command = ["curl", "--disable", "--config", "-"]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise StoreError("curl is not on this host; install it") from None
    said, complained, over = _ended(process, config, seconds)
    if not over and process.returncode and not said.strip():
        # It did not come to any file.
        complained = complained.replace(secret, "[token]") if secret else complained
        why = next((line.strip() for line in complained.splitlines() if line.strip()), "it gave no reason")
        raise StoreError(
            f"curl on this host ended with {process.returncode}: {why}; see that it works there, then repeat: what has come is "
            "kept"
        )
    return said


def _ended(process: subprocess.Popen[str], given: str, seconds: float | None) -> tuple[str, str, bool]:
    """Both outputs, and whether its time was over."""
    try:
        said, complained = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        said, complained = process.communicate()
        return said or "", complained or "", True
    return said or "", complained or "", False


def _run(
    command: list[str], error: Callable[[str], StoreError], *, given: str = "", seconds: float | None = None
) -> None:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise StoreError(f"{command[0]} is not on this host; install it") from None
    _, complained, over = _ended(process, given, seconds)
    if over or process.returncode == 0:
        return
    if _FULL in complained:
        raise FullError
    lines = [line.strip() for line in complained.splitlines() if line.strip()]
    raise error(lines[0] if lines else f"{command[0]} ended with {process.returncode}")

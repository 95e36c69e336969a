"""Web servers, mirrors and hubs, by curl. What was cut off is gone on with at its end."""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from .base import PATIENCE_S, ChangedError, FullError, Source
from .manifest import Files, StoreError
from .programs import ended

STREAMS = 4
"""Files that are fetched over HTTP at the same time."""
_CUT_OFF = frozenset({"18", "28", "52", "55", "56", "92", "95"})
"""Exit codes of curl after which the next round may go on: what came was cut off, or nothing came for a while."""
_NO_RANGES, _NOT_WRITTEN = "33", "23"
_BEYOND = "416"
"""The status where a server has no byte at which a file is to be gone on with."""


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


def shown(url: str) -> str:
    """An address without what may be secret in it."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "the source's address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


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
    said, complained, over = ended(process, config, seconds)
    if not over and process.returncode and not said.strip():
        # It did not come to any file.
        complained = complained.replace(secret, "[token]") if secret else complained
        why = next((line.strip() for line in complained.splitlines() if line.strip()), "it gave no reason")
        raise StoreError(
            f"curl on this host ended with {process.returncode}: {why}; see that it works there, then repeat: what has come is "
            "kept"
        )
    return said

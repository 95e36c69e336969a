"""Give the Ollama server beside it the one model that this instance serves; a second run changes nothing.

usage: ollama-create FILE

FILE is JSON: {"model": NAME, "file": PATH OF A GGUF, "chat": BOOL} and, as in Ollama's own API, "template", "renderer",
"parser", "system" and "parameters". OLLAMA_HOST and OLLAMA_MODELS are the server's own.

`ollama create` would do, but for two things. It copies the weights into the store, where here a link to them is enough.
And where a GGUF's chat template is none that Ollama knows, it goes on without any, so that a chat model is asked without
roles and answers badly: that is an error here. Other models in the store are removed: an instance serves one.

Not done: GGUFs in several files, which Ollama does not load either.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

WAIT_S = 60.0
ANSWER_S = 600.0
NO_TEMPLATE = "{{ .Prompt }}"
TAKEN = ("template", "renderer", "parser", "system", "parameters")
BLOCK = 1 << 22


class CreateError(Exception):
    """The model can't be served; the text says what to do."""


class Server:
    """Ollama's API."""

    def __init__(self, host: str) -> None:
        self._url = host if "://" in host else f"http://{host}"
        # A proxy of the host's environment is for the outside.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON, or None where there is none.

        Raises:
            CreateError: the server refused; the text is its own.
            OSError: nobody answered.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 -- the unit's own server
            self._url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=ANSWER_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said = json.loads(said)["error"]
            raise CreateError(f"Ollama answered {error.code} to {path}: {said}") from None
        return json.loads(text) if text else None

    def wait(self, seconds: float = WAIT_S) -> None:
        """Until it answers.

        Raises:
            CreateError: it did not in time.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                self.ask("GET", "/api/version")
            except OSError as error:
                if time.monotonic() >= end:
                    raise CreateError(f"{self._url} does not answer after {seconds:.0f} s: {error}") from None
                time.sleep(0.2)
            else:
                return


def digest(file: Path, known: Path) -> str:
    """The SHA-256 of a file; `known` remembers it while the file stays what it is."""
    status = file.stat()
    identity = [str(file), status.st_ino, status.st_size, status.st_mtime_ns]
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        was = json.loads(known.read_text(encoding="utf-8"))
        if was["file"] == identity:
            return str(was["sha256"])
    found = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            found.update(block)
    known.write_text(json.dumps({"file": identity, "sha256": found.hexdigest()}), encoding="utf-8")
    return found.hexdigest()


def link(file: Path, blob: Path) -> None:
    """Have the store's blob be the file itself."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    if blob.is_symlink() and blob.readlink() == file:
        return
    new = blob.with_name(f".{blob.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(file)
    new.replace(blob)


def create(server: Server, wanted: dict[str, Any], store: Path) -> None:
    """Bring the server to the wanted model.

    Raises:
        CreateError: it can't be served.
        OSError: the file can't be read, or the server went away.
    """
    name, file = str(wanted["model"]), Path(wanted["file"])
    server.wait()
    known = digest(file, store.parent / "digest.json")
    link(file, store / "blobs" / f"sha256-{known}")
    server.ask(
        "POST",
        "/api/create",
        {
            "model": name,
            "files": {file.name: f"sha256:{known}"},
            "stream": False,
            **{key: wanted[key] for key in TAKEN if wanted.get(key)},
        },
    )
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    for other in server.ask("GET", "/api/tags")["models"]:
        if other["name"] != tagged:
            server.ask("DELETE", "/api/delete", {"model": other["name"]})
    if wanted.get("chat") and not wanted.get("renderer"):
        template = server.ask("POST", "/api/show", {"model": name}).get("template", "").strip()
        if template in ("", NO_TEMPLATE):
            raise CreateError(
                f"Ollama knows no template like the chat template of {file}, so {name} would be asked without roles: "
                "give the engine's option template (Go's syntax), or renderer and parser"
            )


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    try:
        (path,) = arguments
        wanted = json.loads(Path(path).read_text(encoding="utf-8"))
        create(Server(os.environ["OLLAMA_HOST"]), wanted, Path(os.environ["OLLAMA_MODELS"]))
    except (CreateError, OSError, ValueError, KeyError) as error:
        print(f"ollama-create: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

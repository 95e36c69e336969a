"""A network of its own, without privileges, in which a limit of role service is loaded, loaded again, and tried.

`unshare --map-root-user --net python limited.py`, with a JSON object on standard input: `start` and `reload` as the unit has
them, the `file` that they load, the `texts` that are written to it in turn, and the `targets`. It prints a list: how a
connection to each target went before there was a limit, and with each of the texts; null where a reload did not end.

Whatever runs here is the limited user's, as there is no other.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def attempt(address: str, port: int) -> str:
    """Say how a connection went."""
    try:
        with socket.create_connection((address, port), timeout=10):
            return "connected"
    except OSError as error:
        return type(error).__name__


def run(given: dict[str, Any]) -> list[list[str] | None]:
    """Try all targets, before and with each text."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    listeners = []
    for address, port in given["targets"]:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listener.bind((address, port))
        listener.listen()
        listeners.append(listener)

    def tried() -> list[str]:
        return [attempt(address, port) for address, port in given["targets"]]

    found: list[list[str] | None] = [tried()]
    file, environment = Path(given["file"]), {**os.environ, "RUNTIME_DIRECTORY": str(Path(given["file"]).parent)}
    first, *others = given["texts"]
    file.write_text(first, encoding="utf-8")
    loader = subprocess.Popen(["/bin/sh", "-c", given["start"]], env=environment, stderr=subprocess.DEVNULL)
    try:
        while not subprocess.run(["nft", "list", "tables"], capture_output=True, check=True).stdout:
            time.sleep(0.02)
        found.append(tried())
        for text in others:
            file.write_text(text, encoding="utf-8")
            try:
                subprocess.run(["/bin/sh", "-c", given["reload"]], env=environment, check=True, timeout=3)
            except subprocess.TimeoutExpired:
                found.append(None)
            found.append(tried())
    finally:
        loader.kill()
        loader.wait()
    return found


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))

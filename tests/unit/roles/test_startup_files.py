"""The files that every process of the engine, and the gateway, start with."""

import ctypes
import platform
import runpy
import socket
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.loading import PLAYBOOKS, load


@pytest.mark.parametrize(("machine", "calls"), [("x86_64", [(158, 0x1023, 18)]), ("aarch64", [])])
def test_the_engine_asks_the_kernel_for_amx(monkeypatch: pytest.MonkeyPatch, machine: str, calls: list[Any]) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(syscall=lambda *arguments: seen.append(arguments)))
    runpy.run_path(str(PLAYBOOKS / "roles/vllm/files/sitecustomize.py"))
    assert seen == calls


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    class TCPConnector:
        def __init__(self, **options: Any) -> None:
            self.options = options

    aiohttp = ModuleType("aiohttp")
    vars(aiohttp).update(TCPConnector=TCPConnector)
    monkeypatch.setitem(sys.modules, "aiohttp", aiohttp)
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)  # not at its import: explicitly below
    module = load("roles/litellm/files/slipway/sitecustomize.py")
    module.watch_connections()
    return module


def test_the_gateways_connections_notice_silence(gateway: ModuleType) -> None:
    connector = sys.modules["aiohttp"].TCPConnector(limit=3)
    assert connector.options == {"limit": 3, "socket_factory": gateway.watched}
    with gateway.watched((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT) == 2


def test_a_socket_factory_of_somebody_else_stays(gateway: ModuleType) -> None:
    assert sys.modules["aiohttp"].TCPConnector(socket_factory=print).options == {"socket_factory": print}

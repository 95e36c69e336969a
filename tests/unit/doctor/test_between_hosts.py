"""Hosts that share a replica exchange: each in a process of its own, with a double of NCCL, over the loopback."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slipway.catalog import load
from slipway.deployment.types import Deployment
from slipway.doctor.order import meeting_orders
from tests.fixtures.gpu_simulator.asking import examine
from tests.fixtures.gpu_simulator.simulator import GpuHost
from tests.unit.deployment.stacks import deployment
from tests.unit.deployment.test_hosts import document
from tests.unit.doctor.hosts import SERVER, SUMMED

GPUS = 2


def shared(*changes: tuple[Any, Any]) -> Deployment:
    """A stack with one replica on two hosts of two GPUs each."""
    return deployment(document(("pools.main.gpu", SERVER), *changes, has=GPUS))


def orders_of(stack: Deployment) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack.known(meeting_orders(stack, stack.heads[0]))
    return found


@pytest.fixture
def orders() -> dict[str, dict[str, Any]]:
    """What both are asked, carried to this machine."""
    found = orders_of(shared())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for order in found.values():
        order["nccl"]["meeting"] |= {"address": "127.0.0.1", "port": port}
        order["nccl"]["environment"]["NCCL_SOCKET_IFNAME"] = "=@127.0.0.1"
        order["nccl"]["size"] = SUMMED
        for check in order["checks"]:
            check["limit"] = 100.0 if check["id"] == "nccl.bandwidth-hosts" else None
    return found


@pytest.fixture
def hosts(tmp_path: Path, orders: dict[str, dict[str, Any]]) -> dict[str, GpuHost]:
    found = {name: GpuHost(tmp_path / name, load().gpus[SERVER], GPUS, switches=4) for name in orders}
    for name, host in found.items():
        for library in orders[name]["nccl"]["libraries"]:
            host.bring_nccl(library)
    return found


def exchanged(hosts: dict[str, GpuHost], orders: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each host answers when all are asked at once."""
    with ThreadPoolExecutor(len(orders)) as pool:
        return dict(zip(orders, pool.map(lambda name: examine(hosts[name], orders[name]), orders), strict=True))


def states(report: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["state"] for each in report["results"]}


def test_all_hosts_are_asked_to_meet_where_their_engines_would() -> None:
    stack = shared(("pools.main.network", {"adapters": ["mlx5_0"]}))
    head = stack.heads[0]
    assert head.meeting is not None

    first, second = orders_of(stack).values()

    assert first["nccl"]["meeting"] == {
        "address": "10.0.0.1",
        "port": head.meeting.port,
        "host": 0,
        "hosts": 2,
        "gpus": GPUS,
    }
    assert second["nccl"]["meeting"]["host"] == 1
    assert second["nccl"]["environment"] == {"NCCL_IB_HCA": "=mlx5_0", "NCCL_SOCKET_IFNAME": "=@10.0.0.2"}
    assert [check["id"] for check in first["checks"]] == ["nccl.all-reduce", "nccl.bandwidth-hosts"]


def test_they_sum_together(hosts: dict[str, GpuHost], orders: dict[str, dict[str, Any]]) -> None:
    found = exchanged(hosts, orders)

    for report in found.values():
        assert states(report) == {"nccl.all-reduce": "passed", "nccl.bandwidth-hosts": "passed"}
        assert report["all_reduce"]["ranks"] == GPUS * 2


def test_a_slow_network_is_a_warning(hosts: dict[str, GpuHost], orders: dict[str, dict[str, Any]]) -> None:
    for host in hosts.values():
        host.say(nccl_gb_s=10)

    result = exchanged(hosts, orders)["gpu-1"]["results"][1]

    assert (result["state"], result["severity"]) == ("failed", "warning")
    assert "GB/s among 4 NVIDIA GPUs, at least 100 expected" in result["evidence"][0]


def test_a_host_that_does_not_come_is_told_within_the_time(
    hosts: dict[str, GpuHost], orders: dict[str, dict[str, Any]]
) -> None:
    orders["gpu-1"]["nccl"]["limit"] = 8

    result = examine(hosts["gpu-1"], orders["gpu-1"])["results"][0]

    assert result["evidence"] == ["over 2 NVIDIA GPUs: of 2 hosts 1 came; the others did not, or are in use"]


def test_the_first_host_that_does_not_answer_is_named(
    hosts: dict[str, GpuHost], orders: dict[str, dict[str, Any]]
) -> None:
    nccl = orders["gpu-2"]["nccl"]
    nccl["limit"] = 8

    result = examine(hosts["gpu-2"], orders["gpu-2"])["results"][0]

    place = f"127.0.0.1:{nccl['meeting']['port']}"
    assert result["evidence"] == [f"over 2 NVIDIA GPUs: the first host does not answer at {place}"]


def test_an_address_that_no_interface_has_is_told(hosts: dict[str, GpuHost], orders: dict[str, dict[str, Any]]) -> None:
    orders["gpu-1"]["nccl"]["environment"]["NCCL_SOCKET_IFNAME"] = "=@192.0.2.77"

    result = examine(hosts["gpu-1"], orders["gpu-1"])["results"][0]

    assert result["evidence"] == ["over 2 NVIDIA GPUs: no network interface has the address 192.0.2.77"]

"""What users of other tools complain about, of hosts: each complaint has a test with its number in the name.

docs/gpu-hosts.md has the table of them. Where the whole way is tested elsewhere, the test here holds the part that answers the
complaint.
"""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from policies.planned import planned_stack
from policies.resources import PLAYBOOK
from slipway.catalog import load
from slipway.checks.rules import findings
from slipway.doctor.order import ALL_REDUCE_S, Moment
from slipway.findings import Severity
from slipway.layers import drivers
from tests.unit.checks.stacks import TODAY
from tests.unit.deployment.stacks import LLAMA_70B, deployment, roles, stack, steps
from tests.unit.doctor.hosts import CARD, SERVER, asked, failed, promised, results, server
from tests.unit.doctor.hosts import card as card_host
from tests.unit.doctor.test_watch import LEFT, RIGHT, Watched
from tests.unit.roles.loading import PLAYBOOKS
from tests.unit.roles.rendering import shown, unit
from tests.unit.roles.test_driver_survey import Machine
from tests.unit.roles.test_kernel_modules import Host, modules
from tests.unit.roles.test_nvidia_driver import KERNEL, expression, rendered, task
from tests.unit.settings.documents import pair

L4 = ("pools.main.gpu", "l4")

HOSTS = {
    "NVIDIA/gpu-operator": (2685,),
    "NVIDIA/nvidia-container-toolkit": (48,),
    "NVIDIA/open-gpu-kernel-modules": (855, 1128, 1143, 1272),
    "NVIDIA/ubuntu-packaging-nvidia-driver": (3,),
    "NVIDIA/yum-packaging-precompiled-kmod": (68,),
    "dstackai/dstack": (1947,),
    "gpustack/gpustack": (3884, 4154, 4678),
    "huggingface/huggingface_hub": (4128,),
    "kaito-project/kaito": (2132,),
    "llm-d/llm-d": (927,),
    "pulumi/pulumi": (20891,),
    "pulumi/pulumi-command": (773,),
    "vllm-project/production-stack": (838,),
    "vllm-project/vllm": (16118, 51513),
}
"""All complaints about hosts: issues by their project on GitHub. Each has a row in docs/gpu-hosts.md."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def errors(*changes: tuple[Any, Any], model: str | None = None) -> dict[str, str]:
    """What is refused before a host is touched: messages by the finding's id."""
    document = stack(*changes) if model is None else stack(*changes, model=model)
    return {each.id: each.message for each in findings(deployment(document), TODAY) if each.severity is Severity.ERROR}


def of_host(host: Any, wanted: dict[str, Any], *ids: str) -> dict[str, str]:
    """What fails there, of some checks."""
    wanted["checks"] = [check for check in wanted["checks"] if check["id"] in ids]
    assert len(wanted["checks"]) == len(ids)
    return failed(results(host, wanted))


def test_gpu_operator_2685_a_host_without_uvm_nodes_is_not_ready(tmp_path: Path) -> None:
    """nvidia-smi passes while CUDA is broken."""
    host = card_host(tmp_path)
    host.take("/dev/nvidia-uvm")
    host.say(cuda_error=100)

    found = of_host(host, asked(promised(CARD, 1), Moment.PROOF), "driver.device-nodes", "gpu.count", "cuda.kernel")

    assert set(found) == {"driver.device-nodes", "cuda.kernel"}
    assert "are the device nodes of nvidia-uvm there?" in found["cuda.kernel"]


def test_ubuntu_packaging_nvidia_driver_3_no_upgrade_moves_library_and_module_apart(tmp_path: Path) -> None:
    """Driver/library version mismatch after an unattended upgrade."""
    held = rendered("ubuntu-24.04", "distribution", "nvidia_driver_held")
    assert {"*nvidia*", "linux-image-*", "linux-modules-*"} <= set(held)
    assert '".*nvidia";' in rendered("ubuntu-24.04", "distribution", "unattended.j2")

    host = card_host(tmp_path)
    host.say(nvml_error=18)
    found = of_host(host, asked(promised(CARD, 1), Moment.WATCH), "driver.library")
    assert "of another version than the kernel module" in found["driver.library"]


def test_nvidia_container_toolkit_48_an_engine_has_its_gpus_by_its_unit_and_no_container() -> None:
    """Containers lose their GPUs when systemd reloads: what gave them the devices is not what systemd knows of."""
    found = roles(deployment(stack(L4)))["gpu-1/m"]

    assert found["service_sandbox"]["PrivateDevices"] == "no"
    assert found["service_command"][0].startswith("/opt/slipway/vllm-")
    lines = unit(shown("service", "service.j2", **found, service_addresses={"stdout": "[]"}))
    # A rule for devices is written into the unit, where a reload of systemd finds it, or there is none.
    assert lines["PrivateDevices"][-1] == "no"
    assert {"DeviceAllow", "DevicePolicy"} & set(lines) == set()
    commands = [value for name, values in lines.items() if name.startswith("Exec") for value in values]
    assert not re.search(r"podman|docker|nerdctl", " ".join(commands))


def test_gpustack_4678_driver_and_engine_are_held_against_one_table() -> None:
    """Driver, CUDA and image out of step."""
    found = errors(L4, ("pools.main.driver", {"branch": 535}))

    assert "is built with CUDA 13.0 and needs 580.65.06 or later" in found["driver.cuda"]
    assert found["driver.cuda"].endswith("use branch 580 or 595 or 620, or an older release")


def test_huggingface_hub_4128_and_gpustack_4154_error_802_is_fabric_manager(tmp_path: Path) -> None:
    """Fabric manager missing, of another version than the driver, or where there is no NVSwitch."""
    host = server(tmp_path)
    host.take("/sys/fs/cgroup/system.slice/nvidia-fabricmanager.service")
    host.say(cuda_error=802)
    found = of_host(host, asked(promised(SERVER, 8), Moment.PROOF), "fabric.manager", "cuda.kernel")
    assert found["fabric.manager"] == "nvidia-fabricmanager.service does not run"
    assert "802: the system is not ready: fabric manager" in found["cuda.kernel"]

    install = task("fabric-apt", "Install fabric manager where there is an NVSwitch")
    remove = task("fabric-apt", "Remove fabric manager where there is none")
    for switches in ("", "pci"):
        there = {
            each["when"]: rendered("debian-12", "vendor", each["when"], nvswitch=switches) for each in (install, remove)
        }
        assert list(there.values()) == [bool(switches), not switches]
    names = expression(install["owned_packages"]["names"])
    for version in ("580.173.02", "580.65.06"):
        built = {"nvidia_driver_built": {"version": version}}
        asked_for = rendered("debian-12", "vendor", names, nvswitch="pci", **built)
        assert asked_for == [f"nvidia-fabricmanager={version}-*"]


def test_dstack_1947_a_host_with_fewer_gpus_is_refused(tmp_path: Path) -> None:
    """Nodes that silently have fewer GPUs."""
    host = server(tmp_path)
    host.take(f"/sys/bus/pci/devices/{host.bus(7)}")
    host.say(count=7)

    for moment in (Moment.PREFLIGHT, Moment.PROOF, Moment.WATCH):
        found = of_host(host, asked(promised(SERVER, 8), moment), "gpu.on-bus", "gpu.count")
        assert found == {
            "gpu.on-bus": "7 NVIDIA GPUs on the PCI bus, 8 promised",
            "gpu.count": "the driver has 7 NVIDIA GPUs in working order, 8 promised",
        }
        # What refuses: an `up` ends at what is critical alone.
        assert {load().checks[name].severity for name in found} == {"critical"}


def test_dstack_1947_engines_are_taken_out_while_a_gpu_is_gone(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.round() == {}
    watched.host.say(count=1)

    out = watched.round()

    assert set(out) == {LEFT, RIGHT}
    assert {each["reason"] for each in out.values()} == {
        "gpu.count: the driver has 1 NVIDIA GPU in working order, 2 promised"
    }
    assert watched.orders() == [f"stop --no-block slipway-{name}.service" for name in (LEFT, RIGHT)]


def test_vllm_16118_and_kaito_2132_what_does_not_fit_is_told_before_a_host_is_touched(tmp_path: Path) -> None:
    """Out of memory at start."""
    found = errors(L4, ("models.m.max_model_len", 8192), model=LLAMA_70B)
    assert found
    assert all("GiB" in message for message in found.values())

    host = server(tmp_path, 2)
    host.say_of(1, memory_mib=40_000)
    less = of_host(host, asked(promised(SERVER, 2), Moment.PREFLIGHT), "gpu.memory")
    assert less["gpu.memory"].startswith("GPU 1 has 40,000 MiB")


def test_vllm_51513_gpus_that_hang_together_are_refused_within_a_time(tmp_path: Path) -> None:
    """NCCL and peer-to-peer copies hang, and the engine's start with them."""
    host, wanted = server(tmp_path, 2), asked(promised(SERVER, 2), Moment.EXCHANGE)
    host.say(nccl_hangs_s=60)
    # What every host is given; here it is cut short.
    assert wanted["nccl"]["limit"] == ALL_REDUCE_S == 120
    shipped = steps(promised(SERVER, 2))["gpu-1/exchange"].variables["gpu_exchange_order"]
    assert shipped["nccl"]["limit"] == ALL_REDUCE_S
    wanted["nccl"]["limit"] = 5

    began = time.monotonic()
    found = of_host(host, wanted, "nccl.all-reduce")

    assert time.monotonic() - began < 30
    assert found["nccl.all-reduce"] == "over 2 NVIDIA GPUs: the all-reduce does not end within 5 s"
    assert "NCCL_P2P_DISABLE=1" in load().checks["nccl.all-reduce"].mend


def test_vllm_51513_the_engine_waits_for_its_gpus_exchange() -> None:
    of = steps(promised(SERVER, 2))
    assert "gpu-1/exchange" in of["gpu-1/m"].after
    assert of["gpu-1/exchange"].after == ("gpu-1/gpus", "gpu-1/program-vllm-cuda")
    alone = steps(promised(SERVER, 1))
    assert "gpu-1/exchange" not in alone
    assert "gpu-1/exchange" not in alone["gpu-1/m"].after


def test_llm_d_927_replicas_drain_and_change_one_at_a_time() -> None:
    """Requests are lost on a restart."""
    found = steps(deployment(pair()))
    engines = [step for step in found.values() if step.role == "service" and step.instance == "m"]

    assert len(engines) > 1
    assert {step.rolling for step in engines} == {"model m"}
    assert all(step.variables["service_drain_timeout"] > 0 for step in engines)


def test_production_stack_838_and_gpustack_3884_with_a_mirror_nothing_is_asked_of_the_vendor(tmp_path: Path) -> None:
    """Installs without a network that are none."""
    mirror = {
        "nvidia_driver_mirror_url": "https://mirror.test/nvidia/",
        "nvidia_driver_key": "a key",
        "nvidia_driver_key_fingerprint": "A" * 40,
    }
    for system in ("debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"):
        assert "nvidia.com" in rendered(system, "vendor", "sources.j2")
        written = rendered(system, "mirror", "sources.j2", **mirror)
        assert "URIs: https://mirror.test/nvidia/" in written
        assert "nvidia.com" not in written
    written = rendered("redhat-9", "mirror", "repository.j2", **mirror)
    assert "https://mirror.test/nvidia/" in written
    assert "nvidia.com" not in written

    # The key is given, so the vendor's is not fetched; and its URL is named nowhere else.
    put = "Put the repository's key in place"
    for file, system in (("apt", "debian-12"), ("redhat", "redhat-9")):
        given_key = expression(task(file, put)["repository_key"]["content"])
        assert rendered(system, "mirror", given_key, **mirror) == "a key"
    texts = [each.read_text() for each in (PLAYBOOKS / "roles/nvidia_driver").rglob("*") if each.is_file()]
    assert sum(text.count("nvidia_driver_vendor_key_url }}") for text in texts) == 2

    key = tmp_path / "k.asc"
    key.write_text("a key")
    given = {
        "source": "mirror",
        "mirror_url": "https://mirror.test/nvidia",
        "key_file": str(key),
        "key_fingerprint": "A" * 40,
        "version": "580.173.02",
    }
    plan = deployment(stack(L4, ("pools.main.driver", given))).machines["gpu-1"].driver
    assert plan is not None
    assert drivers.variables(plan, "main")["nvidia_driver_key"] == "a key"


def test_pulumi_command_773_no_private_key_of_a_login_is_an_input(tmp_path: Path) -> None:
    """Private keys are printed in diffs."""
    canary = "b3BlbnNzaC1rZXktdjEAAAAA-canary"
    key = tmp_path / "id_ed25519"
    key.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{canary}\n-----END OPENSSH PRIVATE KEY-----\n")
    document = stack(L4, ("pools.main.hosts.gpu-1.key_file", str(key)))
    of = deployment(document)
    planned = planned_stack("s", of, document, {}).resources

    logins = [each.inputs.get("host", "keyFile") for each in planned if each.type == PLAYBOOK]
    assert set(logins) == {str(key)}
    assert len(logins) == len(steps(of))
    for each in planned:
        # With what is secret in the open.
        inputs = json.dumps(each.inputs.raw, default=lambda value: getattr(value, "value", repr(value)))
        assert canary not in inputs, each.name
    assert canary not in repr(roles(of))


def test_open_gpu_kernel_modules_855_a_system_gets_packages_of_its_own_repository() -> None:
    """Debian 13 with packages of Debian 12's repository, whose modules did not build."""
    for system in ("debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"):
        own = f"/repos/{system.replace('-', '').replace('.', '')}/"
        (repository,) = re.findall(r"^URIs: (.*)$", rendered(system, "vendor", "sources.j2"), re.MULTILINE)
        assert own in repository


def test_open_gpu_kernel_modules_1128_what_the_compiler_said_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A module fails to build, again and again, and nobody says why."""
    host, log = Host(), tmp_path / "make.log"
    host.builds = False
    monkeypatch.setattr(modules, "run", host.run)
    log.write_text("CC nv.o\nnv.c:9:2: error: implicit declaration of function 'x'\nmake: *** Error 2\n")
    monkeypatch.setattr(modules, "LOGS", str(log))

    assert "nv.c:9:2: error: implicit declaration of function 'x'" in modules.build("6.12.74+deb13+1-amd64")
    assert next(each.id for each in load().drivers.values() if each.default) == "580"


def test_open_gpu_kernel_modules_1143_a_kernel_that_550_does_not_build_for_is_refused(machine: Machine) -> None:
    broken = [
        {"system": each.system, "first": each.first, "below": each.below}
        for each in load().drivers["550"].broken_kernels
    ]
    machine.write("/etc/os-release", 'ID=debian\nVERSION_ID="13"\n')
    machine.write("/proc/sys/kernel/osrelease", "6.17.13-2-pve\n")

    (problem,) = machine.problems(broken_kernels=broken)

    assert problem.startswith("the modules of branch 550 do not build for kernel 6.17.13-2-pve")


def test_yum_packaging_precompiled_kmod_68_modules_do_not_wait_for_a_precompiled_one(machine: Machine) -> None:
    """No precompiled module for the kernel; and one whose key secure boot does not know."""
    stream = rendered("redhat-9", "vendor", "nvidia_driver_stream")
    assert stream == "580-open"
    packages = rendered("redhat-9", "vendor", "nvidia_driver_packages")["vendor"]
    assert [names[0] for names in packages.values()] == ["kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms"]

    machine.write("/etc/os-release", 'ID=rhel\nVERSION_ID="9.7"\n')
    machine.write("/proc/sys/kernel/osrelease", f"{KERNEL['redhat-9']}\n")
    machine.secure(on=True)
    (problem,) = machine.problems(source="vendor", branch="580")
    assert problem.startswith("secure boot is on")
    assert "mokutil --import" in problem


def test_each_complaint_has_its_test(root: Path) -> None:
    """The table in the documentation, against the names of tests and of what they are about."""
    text = (root / "docs/gpu-hosts.md").read_text()
    rows = re.findall(r"^\| ([^|]*#\d+[^|]*) \| .* \| ([^|]*) \|$", text, re.MULTILINE)
    known = {
        name: path
        for path in (root / "tests/unit").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    told, answered = set(), set()
    for complaints, tests in rows:
        project = ""
        for name, number in re.findall(r"([\w-]*)#(\d+)", complaints):
            project = name or project
            answered.add(f"{project}#{number}")
        names = re.findall(r"`(test_\w+)`", tests)
        assert names, complaints
        told |= set(names)
        for number in re.findall(r"#(\d+)", complaints):
            assert any(f"_{number}_" in name for name in names), f"{complaints}: no test has {number} in its name"
        for name in names:
            assert name in known, f"{name} is told of {complaints}, and there is no such test"
    assert answered == {f"{name.rpartition('/')[2]}#{each}" for name, numbers in HOSTS.items() for each in numbers}
    here = {name for name, path in known.items() if path.name == Path(__file__).name}
    assert here - told <= {"test_each_complaint_has_its_test"}

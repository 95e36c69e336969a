"""Modules per kernel: what modinfo and dkms say, and what is said of what is missing or of another version."""

from typing import Any

import pytest

from tests.unit.roles.loading import load

modules = load("module_utils/slipway_modules.py")
K, NEXT = "6.1.0-50-amd64", "6.1.0-56-amd64"


class Host:
    """A host with modinfo, dkms and dpkg, as far as the module asks them."""

    def __init__(self) -> None:
        self.modules: dict[tuple[str, str], tuple[str, str]] = {}
        self.libraries: dict[str, str] = {}
        self.known = f"nvidia-current/535.309.01, {K}, x86_64: installed\n"
        self.builds = True
        self.log: list[tuple[str, ...]] = []

    def run(self, *command: str) -> tuple[int, str]:
        self.log.append(command)
        match command:
            case ("modinfo", "-k", kernel, "-F", field, name):
                found = self.modules.get((kernel, name))
                if found is None:
                    return 1, f"modinfo: ERROR: Module {name} not found.\n"
                return 0, f"{found[0]} SMP preempt mod_unload modversions\n" if field == "vermagic" else f"{found[1]}\n"
            case ("dkms", "status"):
                return 0, self.known
            case ("dkms", "install", source, "-k", kernel):
                if not self.builds:
                    return 10, "Error! Bad return status for module build on kernel\n"
                self.modules[kernel, "nvidia-current"] = (kernel, source.partition("/")[2])
                return 0, ""
            case ("dpkg-query", "-W", "-f", _, package):
                return (0, self.libraries[package]) if package in self.libraries else (1, "")
        return 127, ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(modules, "run", made.run)
    return made


def wrong(kernel: str, **more: Any) -> list[str]:
    arguments = {"branch": "535", "version": "", "library": "libcuda1", "setting": "pools.gpu.driver", **more}
    return list(modules.wrong(kernel, modules.module_of(kernel), arguments, more.get("why", "")))


@pytest.mark.parametrize("name", ["nvidia", "nvidia-current", "nvidia-current-open"])
def test_a_module_is_found_by_any_of_its_names(host: Host, name: str) -> None:
    host.modules[K, name] = (K, "535.309.01")
    assert modules.module_of(K) == (K, "535.309.01")
    assert wrong(K) == []
    assert wrong(K, version="535.309.01") == []


def test_the_kernel_without_a_module_is_built_for_by_name(host: Host) -> None:
    """`dkms autoinstall` alone takes the kernel that has headers, and that may be neither."""
    host.modules[K, "nvidia"] = (K, "535.309.01")
    assert modules.module_of(NEXT) is None
    assert modules.build(NEXT) == ""
    assert ("dkms", "install", "nvidia-current/535.309.01", "-k", NEXT) in host.log
    assert modules.module_of(NEXT) == (NEXT, "535.309.01")


def test_why_a_build_failed_is_said(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    host.builds = False
    assert modules.build(NEXT) == "Error! Bad return status for module build on kernel"
    log = tmp_path / "make.log"
    log.write_text(
        "CC x.o\nnv-pci.c:1:2: error: too few arguments to function 'pci_resize_resource'\nmake: *** Error 2\n"
    )
    monkeypatch.setattr(modules, "LOGS", str(log))
    assert modules.compiler_said().startswith("nv-pci.c:1:2: error")
    why = modules.build(NEXT)
    assert why.startswith("nv-pci.c:1:2: error: too few arguments to function 'pci_resize_resource'")
    (problem,) = wrong(NEXT, why=why)
    assert problem == (
        f"there is no NVIDIA module for kernel {NEXT} ({why}); its GPUs would be without a driver: install the kernel's headers, "
        "or set another pools.gpu.driver.branch"
    )


def test_a_module_for_another_kernel_does_not_count(host: Host) -> None:
    host.modules[NEXT, "nvidia"] = (K, "535.309.01")
    assert wrong(NEXT) == [
        f"the NVIDIA module of kernel {NEXT} was built for {K}, so it can't be loaded: run `dkms autoinstall -k {NEXT}`"
    ]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [({"branch": "580"}, "580"), ({"version": "535.309.02"}, "535.309.02"), ({"branch": "53"}, "53")],
)
def test_another_version_is_told(host: Host, asked: dict[str, str], shown: str) -> None:
    host.modules[K, "nvidia"] = (K, "535.309.01")
    (problem,) = wrong(K, **asked)
    assert problem.startswith(f"the NVIDIA module of kernel {K} is of version 535.309.01, and {shown} was asked for: ")


def test_modules_and_libraries_of_two_versions_are_told(host: Host) -> None:
    """Debian 12's archive has the open modules of another version than libcuda1."""
    host.modules[K, "nvidia"] = (K, "535.261.03")
    host.libraries["libcuda1"] = "535.309.01-1~deb12u1"
    (problem,) = wrong(K)
    assert problem.startswith(
        f"the NVIDIA module of kernel {K} is of version 535.261.03, and libcuda1 is 535.309.01; NVML and CUDA refuse such a pair"
    )
    host.libraries["libcuda1"] = "1:535.261.03-1"
    assert wrong(K) == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("nvidia/580.65.06, 6.1.0-56-amd64, x86_64: installed\n", [("nvidia", "580.65.06")]),
        ("nvidia/580.65.06: added\n", [("nvidia", "580.65.06")]),
        (
            "nvidia-current-open/550.163.01, k, x86_64: built\nzfs/2.1.11: added\n",
            [("nvidia-current-open", "550.163.01")],
        ),
        ("", []),
    ],
)
def test_what_dkms_knows(host: Host, said: str, found: list[tuple[str, str]]) -> None:
    host.known = said
    assert modules.sources() == found
    if not found:
        assert modules.build(K) == "DKMS knows no NVIDIA driver"

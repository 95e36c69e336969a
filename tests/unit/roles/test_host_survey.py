"""What preflight says about a host, word for word: end-to-end tests and users' notes rely on it."""

import importlib
from pathlib import Path

import pytest

from tests.unit.roles.loading import PLAYBOOKS  # noqa: F401 -- with it Ansible finds ours

survey = importlib.import_module("ansible.module_utils.host_survey.survey")
systems = importlib.import_module("ansible.module_utils.slipway_systems")
GIB = survey.GIB


def write(root: Path, **files: str) -> object:
    """A host made of files; two underscores stand for a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return survey.Host(root)


def release(identity: str, version: str) -> str:
    return f'PRETTY_NAME="{identity.title()} {version}"\nID={identity}\n' + (
        f'VERSION_ID="{version}"\n' if version else ""
    )


@pytest.mark.parametrize(
    ("identity", "version", "good"),
    [
        ("debian", "12", True),
        ("debian", "13", True),
        ("debian", "", True),  # testing
        ("debian", "11", False),
        ("ubuntu", "22.04", True),
        ("ubuntu", "24.04", True),
        ("ubuntu", "26.04", True),
        ("ubuntu", "20.04", False),
        ("rhel", "9.4", True),
        ("rocky", "9.6", True),
        ("almalinux", "9.7", True),
        ("rocky", "9.3", False),  # no Python 3.12 in its AppStream
        ("rocky", "10.0", False),
        ("fedora", "42", False),
        ("", "", False),
    ],
)
def test_systems(tmp_path: Path, identity: str, version: str, good: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(release(identity, version))
    problems = list(survey.check_system(survey.Host(tmp_path).release(), systemd=True))
    assert bool(problems) is not good
    if not good and identity:
        assert problems == [
            f"the system is {identity.title()} {version}; Slipway needs Debian 12 or later, Ubuntu 22.04 or later, or RHEL, "
            "Rocky Linux or AlmaLinux 9.4 or a later 9: install one of them or name another host in hosts"
        ]


def test_no_systemd(tmp_path: Path) -> None:
    host = write(tmp_path)
    assert not host.boots_systemd()
    assert list(survey.check_system({"ID": "debian", "VERSION_ID": "12"}, systemd=False)) == [
        "systemd does not run here, and every layer is a systemd unit: "
        "boot the host with systemd or name another one in hosts"
    ]


@pytest.mark.parametrize(
    ("name", "version", "venv", "problem"),
    [
        ("Debian 12", (3, 11), True, None),
        ("Debian 13", (3, 14), True, None),
        ("Debian 12", (3, 10), True, "/usr/bin/python3 is 3.10; the layers need Python 3.11 or later"),
        ("Debian 12", (), True, "/usr/bin/python3 is none"),
        ("Debian 12", (3, 11), False, "apt knows no package python3-venv"),
        # An interpreter is brought in beside the system's own.
        ("Ubuntu 22.04", (3, 10), True, None),
        ("Ubuntu 22.04", (3, 10), False, "apt knows no package python3-venv"),
        ("RHEL 9.4", (3, 9), True, None),
        # What it is, is another problem's matter.
        (None, (3, 9), True, "/usr/bin/python3 is 3.9"),
    ],
)
def test_python(name: str | None, version: tuple[int, ...], venv: bool, problem: str | None) -> None:
    system = next((system for system in systems.SYSTEMS if system.name == name), None)
    problems = list(survey.check_python(system, version, venv=venv))
    assert (problem in problems[0]) if problem else not problems


@pytest.mark.parametrize(
    ("identity", "version", "roles", "refused"),
    [
        ("debian", "12", ["litellm", "nginx", "vllm"], None),
        ("ubuntu", "24.04", ["nginx"], None),
        ("ubuntu", "22.04", ["llama_cpp", "vllm"], None),
        ("ubuntu", "22.04", ["nginx", "vllm"], "nginx 1.18, which lacks what the front uses"),
        ("rocky", "9.6", ["litellm", "vllm"], None),
        ("rocky", "9.6", ["nginx"], "neither the distribution nor EPEL packages that module"),
        ("fedora", "42", ["nginx"], None),  # refused as a whole
    ],
)
def test_roles(identity: str, version: str, roles: list[str], refused: str | None) -> None:
    fields = systems.read_release(release(identity, version))
    problems = list(survey.check_roles(fields, roles))
    if refused is None:
        assert not problems
    else:
        assert problems == [
            f"nginx cannot run on {identity.title()} {version}: the front is nginx with its Lua module, and "
            + problems[0].partition(", and ")[2]
        ]
        assert refused in problems[0]
        assert problems[0].endswith("Debian 12 or Ubuntu 24.04 or later, in a pool called edge")


def test_disk() -> None:
    spaces = [("/opt/slipway and /var/lib/slipway", int(12.5 * GIB), 7 * GIB)]
    assert not list(survey.check_disk(19, spaces))
    assert list(survey.check_disk(30, spaces)) == [
        "only 12.5 GiB are free for /opt/slipway and /var/lib/slipway; the stack needs 30 GiB there, "
        "7.0 of which are in use by Slipway: free some space or mount a larger disk there"
    ]


@pytest.mark.parametrize(("need", "have", "good"), [(64, 62.7, True), (64, 59, False), (0, 0.1, True), (4, 3.8, True)])
def test_memory(need: float, have: float, good: bool) -> None:
    assert bool(list(survey.check_memory(need, int(have * GIB)))) is not good


def test_memory_says_what_to_do() -> None:
    assert list(survey.check_memory(64, 32 * GIB)) == [
        "the host has 32.0 GiB of memory; the stack needs 64 GiB: "
        "add memory, choose a smaller model or name another host in hosts"
    ]


@pytest.mark.parametrize(("skew", "good"), [(0, True), (299, True), (-299, True), (301, False), (-301, False)])
def test_clock(skew: float, good: bool) -> None:
    assert bool(list(survey.check_clock(1_800_000_000 + skew, 1_800_000_000))) is not good


def test_clock_says_which_way() -> None:
    (problem,) = survey.check_clock(1_800_000_000 + 90061, 1_800_000_000)
    assert problem.startswith(
        "the clock says 2027-01-16 09:01 UTC, 1 day, 1:01:01 ahead of the machine that runs Slipway"
    )
    assert " behind " in next(survey.check_clock(0, 1_800_000_000))
    assert not list(survey.check_clock(0, 0))


PORTS = [
    {"port": 443, "unit": "slipway-nginx.service", "purpose": "the front", "setting": "front.port"},
    {"port": 4000, "unit": "slipway-litellm.service", "purpose": "the gateway"},
    {"port": 8000, "unit": "slipway-tiny-llama.service"},
]


class Processes:
    """Processes with sockets, as /proc shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = survey.Host(root)
        (root / "proc/net").mkdir(parents=True)
        self.listen()

    def listen(self, *sockets: tuple[int, int], six: tuple[tuple[int, int], ...] = ()) -> None:
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        line = "   0: {}:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0\n"
        rows = [line.format("00000000", port, "0A", inode) for port, inode in sockets]
        rows.append(line.format("0100007F", 443, "01", 99))  # a connection, not a listener
        (self.root / "proc/net/tcp").write_text(head + "".join(rows))
        (self.root / "proc/net/tcp6").write_text(head + "".join(line.format("0" * 32, p, "0A", i) for p, i in six))

    def add(self, pid: int, name: str, *inodes: int, parent: int = 1, group: str = "") -> None:
        folder = self.root / f"proc/{pid}"
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "stat").write_text(f"{pid} ({name} (x) y) S {parent} 1 1 0\n")
        if group:
            (folder / "cgroup").write_text(f"0::{group}\n")
        for number, inode in enumerate(inodes):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")

    def problems(self, **main_pid: int) -> list[str]:
        pids = {f"slipway-{name.replace('_', '-')}.service": pid for name, pid in main_pid.items()}
        return list(survey.check_ports(self.host, PORTS, pids))


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def test_free_ports(processes: Processes) -> None:
    processes.listen((22, 5))
    assert processes.problems() == []


def test_a_stranger_on_a_port_is_named(processes: Processes) -> None:
    processes.listen((443, 7), (4000, 8), six=((8000, 9),))
    processes.add(1234, "python3", 7)
    processes.add(55, "node", 8)
    processes.add(56, "java", 9)
    assert processes.problems(nginx=77) == [
        "port 443 is already used by python3 (pid 1234); the front needs it: "
        "stop that program or set front.port in the stack",
        "port 4000 is already used by node (pid 55); the gateway needs it: "
        "stop that program or choose another port in the stack",
        "port 8000 is already used by java (pid 56); slipway-tiny-llama.service needs it: "
        "stop that program or choose another port in the stack",
    ]


def test_another_instance_of_ours_will_have_made_way(processes: Processes) -> None:
    """Role vacate stops it first; another unit of that form, which claims nothing, is a stranger."""
    units = processes.root / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "slipway-old.service").write_text("[Unit]\nX-Slipway-Claims=port:8000=1.0\n")
    (units / "slipway-other.service").write_text("[Unit]\nDescription=of somebody else\n")
    processes.listen((4000, 7), (8000, 8))
    processes.add(90, "node", 7, group="/system.slice/slipway-other.service")
    processes.add(91, "python3", 8)
    assert [line[:43] for line in processes.problems(old=91, other=90)] == [
        "port 4000 is already used by node (pid 90);"
    ]
    assert survey.Host(processes.root).instances() == {"slipway-old.service"}


def test_our_own_unit_by_its_control_group(processes: Processes) -> None:
    processes.listen((443, 7))
    processes.add(90, "nginx", 7, group="/system.slice/slipway-nginx.service")
    assert processes.problems() == []


def test_our_own_unit_by_descent(processes: Processes) -> None:
    processes.listen((8000, 7))
    processes.add(80, "python", parent=1)
    processes.add(81, "sh", parent=80)
    processes.add(82, "VLLM::Engine", 7, parent=81)
    assert processes.problems(tiny_llama=80) == []
    assert processes.problems(tiny_llama=0) != []
    assert processes.problems(litellm=80) != []


def test_a_like_named_unit_is_a_stranger(processes: Processes) -> None:
    processes.listen((443, 7))
    processes.add(90, "nginx", 7, group="/system.slice/not-slipway-nginx.service")
    assert "nginx (pid 90)" in processes.problems()[0]


def test_a_listener_that_cannot_be_seen(processes: Processes) -> None:
    processes.listen((443, 7))
    assert processes.problems() == [
        "port 443 is already used by an unknown program; the front needs it: "
        "stop that program or set front.port in the stack"
    ]


def test_a_busy_process_closes_files_while_they_are_listed(processes: Processes) -> None:
    """A gateway under load opens and closes connections all the time; it must not be taken for a stranger."""
    processes.listen((4000, 7))
    processes.add(90, "litellm", 7, group="/system.slice/slipway-litellm.service")
    (processes.root / "proc/90/fd/9").touch()  # like one that is gone: it cannot be read as a link
    assert processes.problems() == []
    assert processes.host.handles(90) == {"socket:[7]"}
    assert processes.host.handles(91) == set()


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    wanted = [{"path": "/srv"}, {"path": "/srv/m"}, {"path": "/x", "purpose": "the data", "setting": "a.b"}]
    assert list(survey.check_paths(survey.Host(tmp_path), wanted)) == [
        "/srv/m is not there; it is needed for the model's files: put it there or change its path in the stack",
        "/x is not there; it is needed for the data: put it there or change a.b in the stack",
    ]

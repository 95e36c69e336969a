"""What the lab reads from the machine around it, in all the forms such machines have."""

import tomllib
from pathlib import Path

import pytest

from tools.lab import LabError
from tools.lab.apt import Distribution, read_distribution, render
from tools.lab.base import base_key
from tools.lab.outer import Outer, put, uv_toml

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n'
UBUNTU = 'PRETTY_NAME="Ubuntu 24.04"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n'
DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://vendor.example/deb
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/vendor.gpg

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] http://vendor.example/deb bookworm main
deb http://mirror.example/pgdg bookworm-pgdg main
deb [ arch=amd64 ] http://mirror.example/debian bookworm main contrib # the mirror
deb http://mirror.example/security bookworm-security main
"""


def _etc(tmp_path: Path, release: str, **files: str) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(release)
    for name, text in files.items():
        folder = tmp_path / "apt" if name == "sources_list" else tmp_path / "apt/sources.list.d"
        (folder / name.replace("_", ".")).write_text(text)
    return tmp_path


def test_deb822(tmp_path: Path) -> None:
    found = read_distribution(_etc(tmp_path, DEBIAN, debian_sources=DEB822))
    assert (found.identity, found.suite, found.mirror) == ("debian", "bookworm", "http://mirror.example/debian")
    assert [source.uris[0] for source in found.sources] == ["http://mirror.example/debian"]
    assert render(found.sources) == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_one_line(tmp_path: Path) -> None:
    found = read_distribution(_etc(tmp_path, DEBIAN, sources_list=ONE_LINE))
    assert found.mirror == "http://mirror.example/debian"
    assert [(source.suites, source.components) for source in found.sources] == [
        (("bookworm",), ("main", "contrib")),
        (("bookworm-security",), ("main",)),
    ]


def test_a_list_of_mirrors(tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors.list"
    mirrors.write_text("https://first.example/debian\nhttps://second.example/debian\n")
    found = read_distribution(_etc(tmp_path, DEBIAN, sources_list=f"deb mirror+file:{mirrors} bookworm main\n"))
    assert found.mirror == "https://first.example/debian"


def test_ubuntu_has_its_own_suite_and_universe(tmp_path: Path) -> None:
    line = "deb http://mirror.example/ubuntu noble main universe\ndeb http://ppa.example/x noble-x main\n"
    found = read_distribution(_etc(tmp_path, UBUNTU, sources_list=line))
    assert (found.identity, found.suite, found.components) == ("ubuntu", "noble", ("main", "universe"))


@pytest.mark.parametrize(
    ("release", "line", "message"),
    [
        (DEBIAN, "", "no archive of bookworm"),
        (DEBIAN, "deb http://mirror.example/debian trixie main", "no archive of bookworm"),
        (DEBIAN, "deb http://mirror.example/debian bookworm contrib", "no archive of bookworm"),
        (DEBIAN, "deb cdrom:[x]/ bookworm main", "no archive of bookworm"),
        ('ID="fedora"\nPRETTY_NAME="Fedora 43"\n', "", "this machine is Fedora 43"),
    ],
)
def test_machines_without_an_archive(tmp_path: Path, release: str, line: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        read_distribution(_etc(tmp_path, release, sources_list=line))


def test_another_release_comes_from_where_the_machines_own_does(tmp_path: Path) -> None:
    found = read_distribution(_etc(tmp_path, DEBIAN, debian_sources=DEB822), "trixie")
    assert (found.identity, found.suite, found.mirror) == ("debian", "trixie", "http://mirror.example/debian")
    assert "Suites: trixie trixie-updates\n" in render(found.sources)
    assert "bookworm" not in render(found.sources)


def test_the_machines_own_release_by_its_name(tmp_path: Path) -> None:
    etc = _etc(tmp_path, DEBIAN, debian_sources=DEB822)
    assert read_distribution(etc, "bookworm") == read_distribution(etc)


def test_a_release_with_sources_of_its_own_is_taken_from_there(tmp_path: Path) -> None:
    other = "deb [signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] http://ubuntu.example/ubuntu jammy main universe\n"
    found = read_distribution(_etc(tmp_path, DEBIAN, debian_sources=DEB822, sources_list=other), "jammy")
    assert (found.identity, found.mirror) == ("ubuntu", "http://ubuntu.example/ubuntu")
    assert found.components == ("main", "universe")


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ("sid", "lab hosts of release 'sid' are not known; there are bookworm, trixie, jammy, noble"),
        (
            "jammy",
            "no archive of jammy with component main is among the apt sources of this machine, which runs bookworm",
        ),
    ],
)
def test_a_release_that_cannot_be_had(tmp_path: Path, release: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        read_distribution(_etc(tmp_path, DEBIAN, debian_sources=DEB822), release)


def test_the_key_of_a_base_changes_with_what_it_is_made_of() -> None:
    debian = Distribution("debian", "bookworm", "http://one.example", ("main",))
    other_mirror = Distribution("debian", "bookworm", "http://two.example", ("main",))
    ubuntu = Distribution("ubuntu", "noble", "http://one.example", ("main", "universe"))
    assert base_key(debian, "amd64") == base_key(other_mirror, "amd64")
    assert len({base_key(debian, "amd64"), base_key(debian, "arm64"), base_key(ubuntu, "amd64")}) == 3


def _outer(tmp_path: Path, environ: dict[str, str]) -> Outer:
    return Outer.read(
        Distribution("debian", "bookworm", "http://one.example", ("main",)),
        {"HOME": str(tmp_path / "home"), **environ},
        tmp_path,
    )


def test_proxies_and_resolvers_on_the_loopback_are_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    environ = {
        "http_proxy": "http://127.0.0.1:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "no_proxy": "localhost,127.0.0.1",
        "ALL_PROXY": "",
    }
    outer = _outer(tmp_path, environ)
    assert outer.environment == {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "localhost,127.0.0.1"}
    assert [note for note in outer.notes if "http_proxy" in note]
    assert outer.resolv_conf == "nameserver 192.0.2.53\n"


def test_pip_settings_in_pips_own_order(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a.example/simple\ncert = /x.pem\ntimeout = 5\n")
    (tmp_path / "home/.config/pip").mkdir(parents=True)
    (tmp_path / "home/.config/pip/pip.conf").write_text(
        "[install]\nextra-index-url =\n  https://b.example/simple\n  https://c.example/simple%20x\n"
    )
    outer = _outer(tmp_path, {"PIP_INDEX_URL": "https://d.example/simple", "PIP_FIND_LINKS": "/opt/wheels"})
    assert outer.pip == {
        "index-url": ["https://d.example/simple"],
        "extra-index-url": ["https://b.example/simple", "https://c.example/simple%20x"],
        "timeout": ["5"],
    }
    assert tomllib.loads(uv_toml(outer.uv)) == {
        "cache-dir": "/var/cache/slipway-uv",
        "link-mode": "symlink",
        "index": [
            {"url": "https://b.example/simple"},
            {"url": "https://c.example/simple%20x"},
            {"url": "https://d.example/simple", "default": True},
        ],
    }


def test_uvs_own_settings_come_before_pips(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://pip.example/simple\n")
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv/uv.toml").write_text(
        '[[index]]\nname = "own"\nurl = "https://own.example/simple"\ndefault = true\n'
    )
    environ = {"UV_INDEX": "extra=https://extra.example/simple", "SSL_CERT_FILE": "/nowhere.pem"}
    assert _outer(tmp_path, environ).uv == {
        "native-tls": True,
        "index": [
            {"name": "own", "url": "https://own.example/simple", "default": True},
            {"name": "extra", "url": "https://extra.example/simple"},
        ],
    }
    assert tomllib.loads(uv_toml({})) == {"cache-dir": "/var/cache/slipway-uv", "link-mode": "symlink"}


def test_a_machine_with_nothing_special(tmp_path: Path) -> None:
    outer = _outer(tmp_path, {})
    assert (outer.environment, outer.pip, outer.uv, outer.certificates) == ({}, {}, {}, "")


def test_a_link_in_the_host_does_not_lead_out_of_it(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.write_text("ours")
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").symlink_to(outside)
    put(root, "etc/resolv.conf", "theirs")
    assert outside.read_text() == "ours"
    assert (root / "etc/resolv.conf").read_text() == "theirs"

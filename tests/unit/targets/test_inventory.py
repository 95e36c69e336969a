"""Hosts from an Ansible inventory, read by Ansible itself."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from slipway.targets.inventory import hosts as inventory
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import OTHER_KEY, good

INI = """\
[gpu]
gpu-[1:2].example.com slipway_private_address=10.0.0.1
node_9 ansible_host=10.0.0.9 ansible_port=2222 ansible_user=admin

[edge]
edge-1 ansible_host=10.0.0.20

[site:children]
gpu
edge
"""
YAML = """\
all:
  vars: {ansible_user: ubuntu}
  children:
    gpu:
      hosts:
        gpu-1: {ansible_host: 10.0.0.41, ansible_ssh_private_key_file: /keys/one}
        gpu-2: {ansible_host: 192.0.2.42, slipway_private_address: 10.0.0.42}
    other:
      hosts: {other-1: {ansible_host: 10.0.0.50}}
"""
VAULTED = "$ANSIBLE_VAULT;1.1;AES256\n6162\n"


def document(file: Path, **more: Any) -> dict[str, Any]:
    found = good()
    found["pools"]["main"] = {"inventory": {"file": str(file), **more}}
    found["gateway"]["engine_key"] = OTHER_KEY
    return found


def refused(file: Path, **more: Any) -> list[str]:
    with pytest.raises(SettingsError) as error:
        parse(document(file, **more), "s")
    return [line.removeprefix("slipway:platform.pools.main.inventory.") for line in error.value.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "host_vars").mkdir()
    return tmp_path


def test_groups_ranges_and_variables_beside_it_are_read_as_ansible_reads_them(folder: Path) -> None:
    (folder / "hosts.ini").write_text(INI)
    (folder / "group_vars/gpu.yml").write_text("ansible_user: ubuntu\n")
    (folder / "host_vars/gpu-2.example.com.yml").write_text(
        "ansible_user: debian\nslipway_private_address: 10.0.0.2\nsomething_else: 5\n"
    )

    found = parse(document(folder / "hosts.ini", group="gpu"), "s").machines

    assert {name: (each.address, each.user, each.port) for name, each in found.items()} == {
        "gpu-1-example-com": ("gpu-1.example.com", "ubuntu", 22),
        "gpu-2-example-com": ("gpu-2.example.com", "debian", 22),
        "node-9": ("10.0.0.9", "admin", 2222),
    }
    whole = parse(document(folder / "hosts.ini", group="site", user="root"), "s").machines
    assert (list(whole)[-1], whole["edge-1"].user) == ("edge-1", "root")


def test_what_stands_in_it_is_what_is_deployed(folder: Path) -> None:
    (folder / "hosts.yml").write_text(YAML)
    found = deployment(document(folder / "hosts.yml", group="gpu")).machines

    assert list(found) == ["gpu-1", "gpu-2"]
    assert (found["gpu-1"].key_file, found["gpu-1"].private_address) == (Path("/keys/one"), "10.0.0.41")
    assert (found["gpu-2"].address, found["gpu-2"].private_address) == ("192.0.2.42", "10.0.0.42")
    (folder / "hosts.yml").write_text(YAML.replace("10.0.0.41", "10.0.0.99"))
    assert deployment(document(folder / "hosts.yml", group="gpu")).machines["gpu-1"].address == "10.0.0.99"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a ansible_connection=local", "a: ansible_connection is not followed by Slipway; "),
        ("a ansible_become_password=canary", "a: ansible_become_password is not followed by Slipway; "),
        ("a ansible_ssh_common_args='-J jump'", "a: ansible_ssh_common_args is not followed by Slipway; "),
        ("a ansible_become_user=oracle", "a: ansible_become_user is not followed by Slipway; "),
        ("a ansible_host={{where}}", "a: ansible_host is a template, "),
        ("a ansible_port=70000", "a: ansible_port: "),
        ("a ansible_host='no address'", "a: ansible_host: "),
    ],
)
def test_variables_that_reach_a_host_otherwise_are_refused_by_name(folder: Path, line: str, said: str) -> None:
    (folder / "hosts.ini").write_text(f"{line} ansible_user=u\n")
    (told,) = refused(folder / "hosts.ini")
    assert told.startswith(f"file: {said}"), told
    assert "canary" not in told


def test_variables_that_say_what_slipway_does_anyway_are_taken(folder: Path) -> None:
    (folder / "hosts.ini").write_text(
        "a ansible_user=u ansible_connection=ssh ansible_become=true ansible_become_user=root\n"
    )
    assert list(parse(document(folder / "hosts.ini"), "s").machines) == ["a"]


def test_odd_values_are_refused_by_name(folder: Path) -> None:
    (folder / "hosts.yml").write_text(
        "all: {hosts: {a: {ansible_user: u, ansible_become: [1], ansible_become_user: {b: 1}, ansible_connection: 1}}}\n"
    )
    told = refused(folder / "hosts.yml")
    assert [line.split(" is not followed")[0] for line in told] == [
        "file: a: ansible_become",
        "file: a: ansible_become_user",
        "file: a: ansible_connection",
    ]


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["", "\u00b2", "9" * 5000, "~nobody-/x", "a\nb"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KNOWN = sorted({*inventory._AS_IT_IS, *(name for names in inventory._READ.values() for name in names)})


@settings(deadline=None)
@given(variable=st.sampled_from(KNOWN), value=ODD)
def test_whatever_yaml_holds_is_taken_or_refused_by_name(variable: str, value: object) -> None:
    variables = {"ansible_user": "u", variable: value}
    told = list(inventory._refused("a", variables))
    if not told:
        _, told = inventory._host("a", variables, None)
    assert all(line.startswith(f"a: {variable}") for line in told), told


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ansible_port", "\u00b2"),
        ("ansible_port", "9" * 5000),
        ("ansible_become", 1),
        ("ansible_become", [1]),
        ("ansible_ssh_private_key_file", ""),
        ("ansible_ssh_private_key_file", "~nobody-of-that-name/key"),
        ("ansible_ssh_private_key_file", "/keys/a\nb"),
    ],
)
def test_what_could_not_reach_a_host_is_refused(variable: str, value: object) -> None:
    variables = {"ansible_user": "u", variable: value}
    assert list(inventory._refused("a", variables)) or inventory._host("a", variables, None)[1]


def test_what_a_vault_encrypts_is_refused_by_name(folder: Path) -> None:
    vaulted = "".join(f"        {line}\n" for line in VAULTED.splitlines())
    (folder / "hosts.yml").write_text(
        f"all:\n  hosts:\n    a:\n      ansible_user: u\n      ansible_host: !vault |\n{vaulted}"
    )
    assert refused(folder / "hosts.yml")[0].startswith("file: a: ansible_host is encrypted with Ansible Vault, ")
    (folder / "hosts.yml").write_text(
        f"all:\n  hosts:\n    a:\n      ansible_user: u\n      the_apps_key: !vault |\n{vaulted}"
    )
    assert list(parse(document(folder / "hosts.yml"), "s").machines) == ["a"], "nobody reads that one"
    (folder / "group_vars/all.yml").write_text(VAULTED)
    assert "a file of its variables is encrypted with Ansible Vault" in refused(folder / "hosts.yml")[0]


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (None, {}, "does not exist; the pool would have no hosts: correct the path"),
        (
            "[gpu]\na ansible_user=u\n",
            {"group": "gpus"},
            "has no group 'gpus' with hosts; nothing could run: use one of gpu",
        ),
        ("[gpu]\n", {"group": "gpu"}, "has no group 'gpu' with hosts; nothing could run: use one of all"),
        ("[gpu\n", {}, "can't be read: "),
        ("a\n", {}, "a: ansible_user is missing; SSH would log in as whoever runs Slipway: "),
    ],
)
def test_a_file_that_gives_no_hosts_is_refused(folder: Path, text: str | None, more: dict[str, Any], said: str) -> None:
    if text is not None:
        (folder / "hosts.ini").write_text(text)
    (told,) = refused(folder / "hosts.ini", **more)
    assert said in told, told


def test_two_names_of_one_address_are_refused(folder: Path) -> None:
    (folder / "hosts.ini").write_text(
        "a ansible_host=10.0.0.1 ansible_user=u\nb ansible_host=10.0.0.1 ansible_user=u\n"
    )
    with pytest.raises(SettingsError) as error:
        parse(document(folder / "hosts.ini"), "s")
    assert "10.0.0.1 port 22 is that of a too; one machine would be set up as two" in error.value.problems[0]

"""What roles write, rendered as Ansible does it, and read back as systemd and nginx read it."""

import json
import re
import shlex
from functools import cache
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from tests.unit.roles.loading import PLAYBOOKS

Variables = dict[str, Any]


@cache
def start_ansible() -> None:
    """Once per process."""
    init_plugin_loader()


@cache
def role_variables(role: str) -> Variables:
    """Defaults and variables of a role."""
    start_ansible()
    loaded: Variables = {}
    for part in ("defaults", "vars"):
        loaded |= DataLoader().load_from_file(
            str(PLAYBOOKS / "roles" / role / part / "main.yml"), trusted_as_template=True
        )
    return loaded


def shown(role: str, what: str, **variables: Any) -> Any:
    """A template of the role (``NAME.j2``), or one of its expressions, with these variables."""
    search = [str(PLAYBOOKS / "roles" / role), str(PLAYBOOKS / "roles/unit")]
    templar = Templar(
        loader=DataLoader(), variables={**role_variables(role), "ansible_search_path": search, **variables}
    )
    look = f"lookup('ansible.builtin.template', '{what}')" if what.endswith(".j2") else what
    return templar.template(trust_as_template("{{ " + look + " }}"))


def unit(text: str) -> dict[str, list[str]]:
    """The lines of a unit file by their names, continued ones as one; comments are none."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r" \\\n *", " ", text).splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";", "[")):
            found.setdefault(name, []).append(value)
    return found


def words(value: str) -> list[str]:
    """The words of a line of a unit file: without quotes, and with what stands for itself as it is."""
    return [word.replace("\\n", "\n").replace("$$", "$").replace("%%", "%") for word in shlex.split(value)]


def written_service(variables: Variables) -> Variables:
    """What the unit of role service says, by the names of the variables that it comes from."""
    interfaces = [
        {"ifname": f"on-{address}", "addr_info": [{"local": address}]}
        for address in {value.removeprefix("=") for value in variables.get("service_interfaces", {}).values()}
    ]
    # What `ip -json address` says on the host.
    seen = {"service_addresses": {"stdout": json.dumps(interfaces)}}
    lines = unit(shown("service", "service.j2", **variables, **seen))
    (command,), (stop,) = lines["ExecStart"], lines["TimeoutStopSec"]
    environment = [words(line)[0].partition("=") for line in lines.get("Environment", [])]
    return {
        "service_command": words(command),
        "service_environment": {name: value for name, _, value in environment},
        "service_memory_max": lines.get("MemoryMax", [""])[0],
        # Half a minute more than the drain: what it takes to end after the last answer.
        "service_drain_timeout": int(stop) - 30,
        "service_name": lines["User"][0].removeprefix("slipway-"),
    }


def written_front(variables: Variables) -> Variables:
    """What nginx's configuration says, by the names of the variables that it comes from."""
    text = shown("nginx", "nginx.conf.j2", **variables)
    (protocols,) = re.findall(r"^ *ssl_protocols (.*);$", text, re.MULTILINE)
    (allowed,) = re.findall(r"geo \$slipway_allowed \{\n *default (\d);\n(.*?) *\}", text, re.DOTALL)
    networks = re.findall(r"^ *(\S+) 1;$", allowed[1], re.MULTILINE)
    assert bool(networks) == (allowed[0] == "0")
    return {
        "nginx_tls_versions": protocols.split(),
        "nginx_port": int(re.findall(r"^ *listen (\d+) ssl", text, re.MULTILINE)[0]),
        "nginx_allowed_networks": networks,
        # As they stand in teams.json and routes.json.
        "nginx_teams": json.loads(shown("nginx", "nginx_teams_text", **variables)),
        "nginx_routes": json.loads(shown("nginx", "nginx_routes_text", **variables)),
        "nginx_server_name": shown("nginx", "nginx_certificate_settings", **variables)["names"][0],
    }


def told_by(role: str, variables: Variables) -> Any:
    """What the role says of a host in its result (`playbook_results`), where its tasks have registered such variables."""
    start_ansible()
    for file in sorted((PLAYBOOKS / "roles" / role / "tasks").glob("*.yml")):
        todo = list(DataLoader().load_from_file(str(file), trusted_as_template=True))
        while todo:
            each = todo.pop(0)
            if "ansible.builtin.set_stats" in each:
                return Templar(loader=DataLoader(), variables=variables).template(
                    each["ansible.builtin.set_stats"]["data"]["playbook_results"]
                )
            todo += each.get("block", [])
    raise AssertionError(role)

#!/usr/bin/python
"""Ansible module: a systemd unit that runs what is configured.

The unit records the checksums of the files it was started from (a drop-in of the role `unit` does that), and this
module compares them with the files as they ought to be. So a restart that is due is seen on every run, also when the
run that changed a file was killed before its restart, or when somebody edited a file and restarted the unit by hand.

It writes no unit files; `state=absent` removes them. `daemon-reload` happens only when systemd asks for it, because it
takes the GPUs away from running containers of some runtimes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: unit_state
short_description: Keep a systemd unit enabled and running what is configured
description:
  - Unmasks, enables and starts a unit; restarts or reloads it when it was started from other files than the given ones.
  - With C(state=absent), stops it and removes its files.
  - Works in check mode on hosts that have no such unit yet.
options:
  name:
    description: Full name of the unit, with its suffix.
    type: str
    required: true
  state:
    description: What the unit is to be; C(loaded) for one that something else starts, such as a timer's service.
    type: str
    choices: [started, loaded, absent]
    default: started
  enabled:
    description: Whether it starts at boot.
    type: bool
    default: true
  files:
    description: Paths that the unit reads, with the SHA-256 each one ought to have.
    type: dict
    default: {}
  reload_files:
    description: Those of the paths for which a reload is enough.
    type: list
    elements: path
    default: []
  record:
    description: File into which the unit writes the checksums at its start; empty when it does not.
    type: str
    default: ""
  timeout:
    description: Seconds to wait for a start, a reload or a stop.
    type: int
    default: 300
  journal_lines:
    description: How many of the last journal lines a failure shows; 0 for a unit that may log secrets.
    type: int
    default: 5
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Run the engine
  unit_state:
    name: slipway-vllm.service
    files:
      /etc/slipway/vllm/environment: 1b4f0e9851971998e732078544c96b36c3d01cedf7caa332359d6f1d83567014
    record: /run/slipway/started/slipway-vllm.service
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done to the unit.
  type: list
  returned: always
manages:
  description: What there is to look at on the host, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: always
"""

UNITS = Path("/etc/systemd/system")
RUNNING = {"active", "reloading"}


class UnitError(Exception):
    """systemd could not do what was asked; the text is for the person at the keyboard."""


@dataclass(frozen=True)
class Unit:
    """What systemd says about a unit."""

    load: str
    active: str
    sub: str
    enabled: str
    stale: bool
    result: str

    @property
    def exists(self) -> bool:
        """Whether there is a unit file that systemd could load."""
        return self.load == "loaded"

    @property
    def running(self) -> bool:
        """Whether it runs or is on its way up; waiting to be restarted after a crash is neither."""
        return self.active in RUNNING or (self.active == "activating" and self.sub != "auto-restart")


def systemctl(*arguments: str, timeout: int = 60) -> subprocess.CompletedProcess[str]:
    """Run systemctl in the C locale; the caller looks at the result."""
    command = ("systemctl", "--no-pager", "--no-ask-password", *arguments)
    try:
        return subprocess.run(
            command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UnitError(f"systemctl {' '.join(arguments)} took more than {timeout} s") from error


def show(name: str) -> Unit:
    """Ask systemd about a unit; a unit that is not there is an answer too."""
    wanted = "LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Result"
    lines = systemctl("show", name, f"--property={wanted}").stdout.splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return Unit(
        load=values.get("LoadState", "not-found"),
        active=values.get("ActiveState", "inactive"),
        sub=values.get("SubState", "dead"),
        enabled=values.get("UnitFileState", ""),
        stale=values.get("NeedDaemonReload") == "yes",
        result=values.get("Result", ""),
    )


def recorded(record: str) -> dict[str, str]:
    """The checksums that the running unit was started from, in the format of sha256sum; empty when unknown."""
    try:
        lines = Path(record).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines) if path}


def plan(unit: Unit, arguments: dict[str, Any]) -> list[str]:
    """The systemctl verbs that lead from what is to what ought to be, in order."""
    verbs = []
    if unit.load == "masked":
        verbs.append("unmask")
    if unit.stale or not unit.exists:
        verbs.append("daemon-reload")
    if arguments["enabled"] and unit.enabled not in ("enabled", "static", "alias"):
        verbs.append("enable")
    elif not arguments["enabled"] and unit.enabled in ("enabled", "enabled-runtime"):
        verbs.append("disable")
    if arguments["state"] == "loaded":
        return verbs
    if not unit.running:
        return [*verbs, "restart" if unit.active == "activating" else "start"]
    if arguments["record"]:
        was = recorded(arguments["record"])
        differing = {path for path in {*was, *arguments["files"]} if was.get(path) != arguments["files"].get(path)}
        if differing:
            return [*verbs, "reload" if differing <= set(arguments["reload_files"]) else "restart"]
    return verbs


def carry_out(name: str, verbs: list[str], arguments: dict[str, Any]) -> None:
    """Do what was planned and make sure that the unit came up."""
    for verb in verbs:
        if verb in ("start", "restart"):
            systemctl("reset-failed", name)  # else an exhausted start limit refuses the start
        target = () if verb == "daemon-reload" else (name,)
        result = systemctl(verb, *target, timeout=arguments["timeout"])
        if result.returncode:
            raise UnitError(explain(name, f"systemctl {verb} failed", arguments["journal_lines"], result.stderr))
    if arguments["state"] == "started" and not (unit := show(name)).running:
        raise UnitError(explain(name, f"it is {unit.active} ({unit.result})", arguments["journal_lines"]))


def explain(name: str, what: str, journal_lines: int, said: str = "") -> str:
    """One line with the last words of the unit, so that nobody has to log in for the cause."""
    text = f"{name} does not run: {what}"
    first = next((line for line in said.splitlines() if line.strip()), "")
    if first and "journalctl" not in first and "See" not in first:
        text += f": {first.strip()}"
    if journal_lines:
        command = ("journalctl", "-u", name, "-n", str(journal_lines), "-o", "cat", "--no-pager", "-q")
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            journal = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout
            text += f"; its last words: {' / '.join(line.strip() for line in journal.splitlines() if line.strip())}"
    return f"{text}; look at: journalctl -u {name}"


def remove(name: str, arguments: dict[str, Any], *, dry: bool) -> list[str]:
    """Stop and disable the unit and take its files away; returns what there was to do."""
    unit = show(name)
    done = []
    if unit.active not in ("inactive", "failed"):
        done.append("stop")
    if unit.enabled in ("enabled", "enabled-runtime"):
        done.append("disable")
    paths = [UNITS / name, UNITS / f"{name}.d", *([Path(arguments["record"])] if arguments["record"] else [])]
    existing = [path for path in paths if path.is_symlink() or path.exists()]
    done += [f"remove {path}" for path in existing]
    if dry or not done:
        return done
    for verb in done:
        if verb in ("stop", "disable"):
            result = systemctl(verb, name, timeout=arguments["timeout"])
            if result.returncode and unit.exists:
                raise UnitError(f"systemctl {verb} {name} failed: {result.stderr.strip()}")
    for path in existing:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    systemctl("daemon-reload")
    systemctl("reset-failed", name)
    return done


def manages(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """What shows whether the unit still runs what it was started from."""
    name, record, state = arguments["name"], arguments["record"], arguments["state"]
    paths = [str(UNITS / name), str(UNITS / f"{name}.d")] if state == "absent" else sorted(arguments["files"])
    paths += [record] if record else []
    unit = {"kind": "unit", "name": name, "running": state != "loaded"}
    return [unit, *({"kind": "path", "path": path} for path in paths)]


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "loaded", "absent"], "default": "started"},
            "enabled": {"type": "bool", "default": True},
            "files": {"type": "dict", "default": {}},
            "reload_files": {"type": "list", "elements": "path", "default": []},
            "record": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 300},
            "journal_lines": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    name: str = arguments["name"]
    try:
        if arguments["state"] == "absent":
            actions = remove(name, arguments, dry=module.check_mode)
        else:
            actions = plan(show(name), arguments)
            if actions and not module.check_mode:
                carry_out(name, actions, arguments)
    except UnitError as error:
        module.fail_json(msg=str(error))
        return
    except FileNotFoundError as error:
        if not module.check_mode:
            module.fail_json(msg=f"{name}: {error.filename} is not there; this needs a host that runs systemd")
            return
        actions = ["start"]
    module.exit_json(
        changed=bool(actions),
        actions=actions,
        manages=manages(arguments),
        diff={
            "before_header": name,
            "after_header": name,
            "before": "",
            "after": "".join(f"{action}\n" for action in actions),
        },
    )


if __name__ == "__main__":
    main()

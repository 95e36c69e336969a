"""One Ansible run, in a process of the plugin's pool.

Nothing of Pulumi is imported here: ansible-runner in a process that serves gRPC fails at random, and a pool that starts fast
keeps the first run fast. Variables reach Ansible through a FIFO: no file holds them, nor any process list. All that Ansible
writes while it runs lies in the plugin's private folder, in memory where the machine has such a place.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import yaml

from provider import bytecode, events, managed, paths, processes
from provider.redaction import Scrubber
from provider.run import Host, Outcome, Progress, Request

CONNECT_TIMEOUT = 10
"""Seconds to wait for a host to answer; `events` names the figure in its message."""

_MASTER_IDLE = 60
"""Seconds an ssh master lives on between two runs of one command; it is killed with the plugin anyway."""

_NOTES = "managed"
"""The file in a run's folder to which the callback of that name writes what tasks were about."""

_PLUGIN_FOLDERS = {
    "library": "ANSIBLE_LIBRARY",
    "module_utils": "ANSIBLE_MODULE_UTILS",
    "filter_plugins": "ANSIBLE_FILTER_PLUGINS",
    "lookup_plugins": "ANSIBLE_LOOKUP_PLUGINS",
    "test_plugins": "ANSIBLE_TEST_PLUGINS",
    "action_plugins": "ANSIBLE_ACTION_PLUGINS",
}

_progress: SimpleQueue[Progress | None] | None = None
_set_aside: dict[str, str] = {}
"""Of the engine's environment, what only those runs see that ask for it."""


_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|XDG_\w+|SSH_AUTH_SOCK|PYTHON\w+|VIRTUAL_ENV"
    r"|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|(?i:https?_proxy|no_proxy|all_proxy)|LD_LIBRARY_PATH|SLIPWAY_PLAYBOOK_LOG"
)
"""Variables of the engine's environment that every run keeps."""

ENVIRONMENT = "playbook_environment"
"""The variable of a run that has what it asked for of the engine's environment, for plugins of the role."""

_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|KEY")
"""In the name of a variable whose value is shown nowhere."""


def without_secrets() -> dict[str, str]:
    """The environment of this process, without anything that a run has no need of: secrets may be among it."""
    return {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}


def asked_for(names: Sequence[str]) -> dict[str, str]:
    """Of what was set aside, the variables with these names, or with `*` at the end these beginnings."""
    return {name: value for name, value in _set_aside.items() if any(fnmatch.fnmatchcase(name, each) for each in names)}


def start(progress: SimpleQueue[Progress | None], scratch: str) -> None:
    """Readies a worker: it reports to `progress`, and ends with all it started when the plugin ends."""
    global _progress  # noqa: PLW0603 -- a pool hands its workers nothing else
    _progress = progress
    # A person's Ctrl-C reaches the whole process group; the plugin decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes.become_subreaper()
    bytecode.keep()
    for name in os.environ.keys() - without_secrets().keys():
        # Whatever secrets the engine's environment holds are none of Ansible's business, unless a resource names them.
        _set_aside[name] = os.environ.pop(name)
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()


def _end_with_parent(scratch: str) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    processes.kill_descendants()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def run(request: Request) -> Outcome:
    """Runs a role and waits for its end. Failures are in the outcome; an exception is a bug."""
    # Imported by the first run of each worker, not by the plugin.
    import ansible_runner  # type: ignore[import-untyped]

    own = asked_for(request.environment)
    # Not as the run's environment: ansible-runner writes that to a file, and every child of Ansible has it.
    told = {**request.variables, ENVIRONMENT: own} if own else request.variables
    scrub = Scrubber([*request.secrets, *(value for name, value in own.items() if _SECRET.search(name))])
    recorder = events.Recorder(request, scrub)
    began = time.monotonic()
    folder = Path(request.scratch) / f"run-{request.run_id}"
    control = Path(request.scratch) / "ssh"
    for made in (folder, folder / "project", control):
        made.mkdir(mode=0o700, exist_ok=True)

    def take(event: dict[str, Any]) -> bool:
        before = recorder.current
        ended = recorder.take(event)
        if ended or recorder.current != before:
            _report(Progress(run_id=request.run_id, task=recorder.current, ended=ended))
        return False  # ansible-runner writes no event to a file

    try:
        (folder / "project" / "main.json").write_text(json.dumps(play(request)))
        (folder / "hosts.json").write_text(json.dumps(inventory(request.host, folder, control)))
        with (
            _fifo(folder / "variables", variables_document(told)) as variables,
            _deadline(request.timeout) as deadline,
        ):
            ran = ansible_runner.run(
                private_data_dir=str(folder),
                playbook="main.json",
                inventory=str(folder / "hosts.json"),
                cmdline=shlex.join(
                    ["-e", f"@{variables}", *(["--check", "--diff"] if request.mode == "check" else [])]
                ),
                envvars=environment(request, folder),
                event_handler=take,
                cancel_callback=bool,  # keeps ansible-runner from taking the signals over
                fact_cache_type="",
                suppress_env_files=True,
                quiet=True,
            )
        outcome = recorder.outcome(
            code=int(ran.rc if ran.rc is not None else -1),
            seconds=time.monotonic() - began,
            timed_out=deadline.is_set(),
        )
        return _with_things(outcome, folder, scrub) if request.mode == "apply" and not outcome.failure else outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        processes.reap_orphans()
        _report(Progress(run_id=request.run_id, task=recorder.current, last=True))


def _with_things(outcome: Outcome, folder: Path, scrub: Scrubber) -> Outcome:
    try:
        return replace(outcome, managed=managed.things(managed.read(folder / _NOTES), scrub))
    except managed.Unrecordable as reason:
        return replace(outcome, unrecordable=str(reason))


def _report(progress: Progress) -> None:
    if _progress is not None:
        _progress.put(progress)


def play(request: Request) -> list[dict[str, Any]]:
    """The playbook: the role, and nothing else."""
    return [
        {
            "name": request.role,
            "hosts": "all",
            "gather_facts": False,
            "become": request.host.become,
            "roles": [request.role],
        }
    ]


def inventory(host: Host, folder: Path, control: Path) -> dict[str, Any]:
    """The inventory of one host."""
    variables: dict[str, Any] = {
        "ansible_connection": host.connection,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_remote_tmp": paths.remote_folder(),
    }
    if host.connection == "local":
        variables["ansible_remote_tmp"] = str(folder / "remote")
    else:
        variables |= {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_ssh_args": shlex.join(ssh_options(host, folder, control)),
        }
        if host.user:
            variables["ansible_user"] = host.user
        if host.key_file:
            variables["ansible_ssh_private_key_file"] = host.key_file
    return {"all": {"hosts": {host.name: variables}}}


def ssh_options(host: Host, folder: Path, control: Path) -> list[str]:
    """OpenSSH's options: no questions, a known host key, one connection for all runs of a command with the same login."""
    known = paths.known_hosts()
    if host.host_key:
        known = folder / "known_hosts"
        known.write_text("".join(f"{host.target} {key}\n" for key in host.host_key.splitlines() if key.strip()))
    # The same address with another key or user is another login: it must not slip through the first one's connection.
    login = "\0".join([host.address, str(host.port), host.user, host.key_file, host.host_key])
    socket = control / hashlib.sha256(login.encode()).hexdigest()[:16]
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes" if host.host_key else "accept-new",
        "UserKnownHostsFile": f'"{known}"',
        "GlobalKnownHostsFile": "/dev/null" if host.host_key else None,
        "IdentitiesOnly": "yes" if host.key_file else None,
        "ConnectTimeout": CONNECT_TIMEOUT,
        "ServerAliveInterval": 15,
        "ServerAliveCountMax": 4,
        "ControlMaster": "auto",
        "ControlPersist": _MASTER_IDLE,
        "ControlPath": f'"{socket}"',
        "LogLevel": "ERROR",
    }
    return [part for name, value in options.items() if value is not None for part in ("-o", f"{name}={value}")]


def environment(request: Request, folder: Path) -> dict[str, str]:
    """Ansible's settings. Those of the playbooks folder's ansible.cfg count, save the ones set here."""
    playbooks = Path(request.playbooks)
    config = playbooks / "ansible.cfg"
    if not config.is_file():
        # So that Ansible doesn't look for one in the user's home; the setting is explained in Slipway's own.
        config = folder / "ansible.cfg"
        config.write_text("[defaults]\ninternal_poll_interval = 0.02\n")
    collections = [str(playbooks / "collections"), "~/.ansible/collections", "/usr/share/ansible/collections"]
    found = {name: str(playbooks / sub) for sub, name in _PLUGIN_FOLDERS.items() if (playbooks / sub).is_dir()}
    notes = {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
        "PLAYBOOK_MANAGED": str(folder / _NOTES),
    }
    return {
        **found,
        **(notes if request.mode == "apply" else {}),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_ROLES_PATH": str(playbooks / "roles"),
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(collections),
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_FORKS": "1",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_TIMEOUT": str(CONNECT_TIMEOUT),
        "ANSIBLE_SSH_RETRIES": "0",
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_NO_TARGET_SYSLOG": "True",  # modules would tell the host's journal their arguments
        "ANSIBLE_KEEP_REMOTE_FILES": "False",
        "ANSIBLE_LOG_PATH": "",
        "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_NOCOWS": "True",
        "ANSIBLE_VERBOSITY": "0",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
    }


class _Dumper(yaml.SafeDumper):
    """Writes strings that look like templates as `!unsafe`: a variable's value is a value, never an expression."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- aliases would only make the document harder to read
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    template = any(mark in text for mark in ("{{", "{%", "{#"))
    return dumper.represent_scalar("!unsafe" if template else "tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _represent)


def variables_document(variables: Mapping[str, Any]) -> str:
    """The variables as a YAML document for Ansible's `-e @FILE`, every string taken literally."""
    return yaml.dump(dict(variables), Dumper=_Dumper, width=sys.maxsize, sort_keys=True)


@contextlib.contextmanager
def _fifo(path: Path, content: str) -> Iterator[Path]:
    """A FIFO from which the content can be read once; it is never in a file."""
    os.mkfifo(path, 0o600)

    def write() -> None:
        with contextlib.suppress(OSError), path.open("w", encoding="utf-8") as opened:
            opened.write(content)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield path
    finally:
        # Where nobody has read, the writer still waits for someone to open the other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        while writer.is_alive():
            with contextlib.suppress(BlockingIOError):
                os.read(descriptor, 65536)
            writer.join(0.01)
        os.close(descriptor)


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[threading.Event]:
    """Kills the run when its time is over, and says so; ansible-runner looks at its own limit every five seconds only."""
    passed = threading.Event()

    def end() -> None:
        passed.set()
        processes.kill_descendants()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()

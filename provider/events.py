"""From ansible-runner's events to tasks, counts and one clear message.

Pure: takes events as dictionaries, needs neither Ansible nor a host. The message formats are constants, so that tests and
documentation quote them exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from provider.redaction import Scrubber
from provider.run import Failure, FailureKind, Host, Outcome, Request, Task

LAYER_FAILED = "{label}: layer {instance}: {message} {mend}"
TASK_FAILED = "{label}: layer {instance}, task '{task}': {message}"
TASK_MEND = "Mend the cause and run the command again: what is done stays done."
TASK_HIDDEN = (
    "it failed, and its output is hidden because it handles a secret. "
    "Look at what the task touches on the host: it is in {where}."
)
VARIABLES_REFUSED = "the variables are not what the role accepts: {errors}."
VARIABLES_MEND = "Mend them in `variables`; the role lists what it takes in meta/argument_specs.yml."
TIMED_OUT = "stopped after {timeout:g} s, during task '{task}'."
TIMED_OUT_MEND = "Raise `timeout` if the task needs longer, and run the command again: what is done stays done."
INTERRUPTED = "interrupted during task '{task}'."
INTERRUPTED_MEND = "The host may be half configured: run `pulumi up` again to finish."
KILLED = "the process that ran Ansible was killed during task '{task}'."
KILLED_MEND = "Look for a shortage of memory on this machine (dmesg), and run the command again."
PLAYBOOK_BROKEN = "Ansible can't begin: {errors}"
PLAYBOOK_MEND = "Mend the role's files."
ENDED_SILENTLY = "ansible-playbook ended with code {code} and said nothing."
ENDED_SILENTLY_MEND = "Try the role by hand with ansible-playbook -vvv."


class _Explanation(NamedTuple):
    """What a sign in ssh's, sudo's or the shell's output means, and the mend."""

    pattern: str
    kind: FailureKind
    said: str
    mend: str


# What ssh says of a host that it can't reach; the first that matches explains it.
_SSH: tuple[_Explanation, ...] = (
    _Explanation(
        r"Connection refused",
        "unreachable",
        "nothing listens for SSH on port {port}.",
        "Start sshd on the host, or mend `host.address` and `host.port`.",
    ),
    _Explanation(
        r"No route to host|Network is unreachable",
        "unreachable",
        "there is no route to the host.",
        "Check that it is switched on and that `host.address` is right.",
    ),
    _Explanation(
        r"timed out",
        "unreachable",
        "no answer to SSH on port {port} within 10 s.",
        "Check that the host is up, that `host.address` is right and that no firewall drops the port.",
    ),
    _Explanation(
        r"Could not resolve hostname|Name or service not known",
        "unreachable",
        "the name can't be resolved.",
        "Mend `host.address`, or use an IP address.",
    ),
    _Explanation(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key is known for",
        "access",
        "the host shows another key than the one {known}.",
        "{forget}",
    ),
    _Explanation(
        r"Permission denied \(|Too many authentication failures|Load key .*(?:error|invalid|denied)",
        "access",
        "SSH refuses the login as {user} with {key}.",
        "Put the key's public half into that user's ~/.ssh/authorized_keys, or mend `host.user` and `host.keyFile`.",
    ),
    _Explanation(
        r"Connection (?:closed|reset) by|Broken pipe|Shared connection to .* closed",
        "unreachable",
        "the SSH connection broke off.",
        "Look at the host and run the command again: what is done stays done.",
    ),
)
# What sudo and the host's shell say before a module has even begun. Modules fail with words of ssh's too (a refused
# connection to their own service): those are failures of the task.
_HOST: tuple[_Explanation, ...] = (
    _Explanation(
        r"Missing sudo password|sudo: a password is required|sudo: a terminal is required|is not in the sudoers",
        "access",
        "{user} may not use sudo without a password.",
        "Allow it in /etc/sudoers.d (NOPASSWD:ALL), or set `host.become` to false.",
    ),
    _Explanation(
        r"sudo: (?:command )?not found",
        "access",
        "there is no sudo on the host.",
        "Install sudo, or log in as root and set `host.become` to false.",
    ),
    _Explanation(
        r"module interpreter '.*' was not found|/usr/bin/python3: (?:No such file|not found)",
        "access",
        "there is no /usr/bin/python3 on the host.",
        "Install it: apt-get install python3, or dnf install python3.",
    ),
)
_UNREACHABLE = _Explanation(
    "", "unreachable", "the host can't be reached: {raw}.", "Try: ssh {user}@{address} -p {port}"
)

_VALIDATION = "validate_argument_spec"
_HARMLESS = frozenset({"assert", "fail", "debug", "set_fact", "set_stats", "meta", _VALIDATION})
"""Actions that leave a host as it is, however they end."""

_PREFIXES = re.compile(r"^(?:Task failed: |Module failed: |Action failed: )+")
_STDERR_LINES = 5
_MESSAGE = 1500
_DIFF_LINES = 6
_DIFF_LINE = 120


def _action(data: Mapping[str, Any]) -> str:
    """The module of a task, without its collection."""
    return str(data.get("task_action", "")).rsplit(".", 1)[-1]


class Recorder:
    """Takes the events of one run as they come, and makes its outcome at the end."""

    def __init__(self, request: Request, scrub: Scrubber) -> None:
        """Starts with nothing having happened."""
        self._request = request
        self._scrub = scrub
        self._tasks: list[Task] = []
        self._failed_last: Failure | None = None
        self._unreachable: Failure | None = None
        self._stats: Mapping[str, Any] | None = None
        self._ok = 0
        self._results: dict[str, Any] = {}
        self._said: list[str] = []
        self._changed_items: set[str] = set()
        self._touched = False
        self._reached = False
        """Whether a task has come back from the host."""
        self.current = ""
        """The task under way, as messages name it."""

    def take(self, event: Mapping[str, Any]) -> Task | None:
        """Notes one event; returns the task if it has changed something or failed."""
        kind = event.get("event", "")
        data: Mapping[str, Any] = event.get("event_data") or {}
        match kind:
            case "playbook_on_task_start":
                self.current = self._name(data)
            case "runner_on_ok":
                return self._ended(event, data)
            case "runner_on_failed" if not data.get("ignore_errors"):
                return self._failed(data)
            case "runner_on_unreachable":
                # Lost on the way, in the middle of a task that may have done a part of its work.
                self._touched = self._touched or self._reached
                self._unreachable = self._access(_text(data.get("res")), (*_SSH, *_HOST), _UNREACHABLE)
            case "runner_retry":
                self._gone_on(data)
            case "runner_item_on_ok":
                # The result of a hidden task says `changed` only in what is printed.
                if _changed(event, data):
                    self._changed_items.add(str(data.get("task_uuid")))
            case "playbook_on_stats":
                self._stats = data
                artifacts = data.get("artifact_data") or {}
                self._results = dict(artifacts.get("playbook_results") or {})
            case "verbose" | "error":
                self._said += [line.rstrip() for line in str(event.get("stdout", "")).splitlines()]
        return None

    def _gone_on(self, data: Mapping[str, Any]) -> None:
        """A task that is repeated until it is done may say how far it is."""
        said = (data.get("res") or {}).get("progress")
        if isinstance(said, str) and said:
            self.current = f"{self._name(data)}: {self._scrub(said)}"

    def outcome(self, *, code: int, seconds: float, timed_out: bool) -> Outcome:
        """The whole run, once ansible-playbook has ended with an exit code."""
        failure = self._failure(code, timed_out=timed_out)
        failed = [task for task in self._tasks if task.result == "failed"]
        # A rescued failure is none, and Ansible says so in its statistics only.
        if failure is None or failure.kind not in {"task", "variables"}:
            self._tasks = [task for task in self._tasks if task.result != "failed"]
            failed = []
        else:
            self._tasks = [task for task in self._tasks if task.result != "failed" or task is failed[-1]]
        return Outcome(
            ok=self._ok,
            changed=sum(task.result == "changed" for task in self._tasks),
            failed=len(failed[-1:]),
            seconds=seconds,
            tasks=tuple(self._tasks),
            results=self._results,
            failure=failure,
            touched=self._touched or (timed_out and bool(self.current)),
        )

    def _ended(self, event: Mapping[str, Any], data: Mapping[str, Any]) -> Task | None:
        self._ok += 1
        action = _action(data)
        self._reached = self._reached or not (action in _HARMLESS or action.startswith(("include_", "import_")))
        if not _changed(event, data) and str(data.get("task_uuid")) not in self._changed_items:
            return None
        self._touched = True
        result = data.get("res") or {}
        where = ", ".join(_unique(_where(item) for item in _items(result) if item.get("changed", True)))
        detail = "\n".join(_diff(result)) if "censored" not in result else ""
        task = Task(
            name=self._name(data),
            role=str(data.get("role") or self._request.role),
            result="changed",
            seconds=float(data.get("duration") or 0),
            where=self._scrub(where),
            detail=self._scrub(detail),
        )
        self._tasks.append(task)
        return task

    def _failed(self, data: Mapping[str, Any]) -> Task:
        result = data.get("res") or {}
        action = _action(data)
        message = self._scrub(_message(result, str(data.get("task_path", ""))))
        # What a role asserts says itself what to do.
        advised = message if action in {"assert", "fail"} else f"{message}{_joint(message)}{TASK_MEND}"
        if action == _VALIDATION:
            errors = "; ".join(str(error) for error in result.get("argument_errors") or [message])
            failure = self._layer("variables", VARIABLES_REFUSED.format(errors=self._scrub(errors)), VARIABLES_MEND)
        else:
            access = self._access(_text(result), _HOST)
            failure = access or Failure(
                kind="task",
                message=TASK_FAILED.format(
                    label=self._request.host.label,
                    instance=self._request.instance,
                    task=self._name(data),
                    message=advised,
                ),
            )
        self._failed_last = failure
        self._touched = self._touched or (failure.kind == "task" and action not in _HARMLESS)
        task = Task(
            name=self._name(data),
            role=str(data.get("role") or self._request.role),
            result="failed",
            seconds=float(data.get("duration") or 0),
            detail=message,
        )
        self._tasks.append(task)
        return task

    def _failure(self, code: int, *, timed_out: bool) -> Failure | None:
        if timed_out:
            said = TIMED_OUT.format(timeout=self._request.timeout, task=self.current)
            return self._layer("timeout", said, TIMED_OUT_MEND)
        if code == 0:
            return None
        stats = self._stats or {}
        if stats.get("dark") and self._unreachable:
            return self._unreachable
        if self._failed_last:
            return self._failed_last
        errors = _first_error(self._said)
        if errors:
            return self._layer("playbook", PLAYBOOK_BROKEN.format(errors=self._scrub(errors)), PLAYBOOK_MEND)
        return self._layer("internal", ENDED_SILENTLY.format(code=code), ENDED_SILENTLY_MEND)

    def _access(self, raw: str, known: Iterable[_Explanation], other: _Explanation | None = None) -> Failure | None:
        return _explained(self._request.host, self._request.instance, raw, known=known, other=other, scrub=self._scrub)

    def _layer(self, kind: FailureKind, message: str, mend: str) -> Failure:
        return _layer(self._request.host, self._request.instance, kind, message, mend)

    def _name(self, data: Mapping[str, Any]) -> str:
        name = str(data.get("task") or data.get("task_action") or "unnamed")
        role = data.get("role")
        return self._scrub(f"{role} : {name}" if role and role != self._request.role else name)


def no_access(host: Host, instance: str, raw: str, *, connected: bool) -> Failure | None:
    """Why ssh or sudo let nothing run on a host, as a run would say it; None if they said nothing of the kind."""
    known, other = (_HOST, None) if connected else ((*_SSH, *_HOST), _UNREACHABLE)
    return _explained(host, instance, raw, known=known, other=other, scrub=Scrubber(()))


def interrupted(host: Host, instance: str) -> Failure:
    """Of a look at a host that was broken off by a person or the engine."""
    return _layer(host, instance, "interrupted", INTERRUPTED.format(task="none"), INTERRUPTED_MEND)


def broken_off(
    request: Request, current: str, seconds: float, *, by_intent: bool, tasks: Sequence[Task] = ()
) -> Outcome:
    """The outcome of a run that can't tell itself: interrupted by the engine or a person, or killed by something else."""
    message, mend = (INTERRUPTED, INTERRUPTED_MEND) if by_intent else (KILLED, KILLED_MEND)
    text = LAYER_FAILED.format(
        label=request.host.label, instance=request.instance, message=message.format(task=current or "none"), mend=mend
    )
    kind: FailureKind = "interrupted" if by_intent else "internal"
    changed = sum(task.result == "changed" for task in tasks)
    return Outcome(
        changed=changed,
        seconds=seconds,
        tasks=tuple(tasks),
        failure=Failure(kind=kind, message=text),
        touched=bool(current),
    )


def _explained(
    host: Host,
    instance: str,
    raw: str,
    *,
    known: Iterable[_Explanation],
    other: _Explanation | None,
    scrub: Scrubber,
) -> Failure | None:
    """Explains why nothing can be run on the host, if that is what `raw` says."""
    found = next((entry for entry in known if re.search(entry.pattern, raw)), other)
    if found is None:
        return None
    words = _words(host, raw)
    return _layer(host, instance, found.kind, scrub(found.said.format(**words)), found.mend.format(**words))


def _layer(host: Host, instance: str, kind: FailureKind, message: str, mend: str) -> Failure:
    text = LAYER_FAILED.format(label=host.label, instance=instance, message=message, mend=mend)
    return Failure(kind=kind, message=text)


def _words(host: Host, raw: str) -> dict[str, Any]:
    from provider.paths import known_hosts

    if host.host_key:
        known, forget = (
            "that `host.hostKey` pins",
            "If the machine was made anew, mend `host.hostKey`; if not, stop here.",
        )
    else:
        known = "it showed before"
        forget = (
            "If the machine was made anew, forget the old key: "
            f"ssh-keygen -R '{host.target}' -f {known_hosts()}; if not, stop here."
        )
    return {
        "address": host.address or host.name,
        "port": host.port,
        "user": host.user or "the default user",
        "key": f"the key {host.key_file}" if host.key_file else "the keys at hand",
        "known": known,
        "forget": forget,
        "raw": _lines(raw)[-1] if _lines(raw) else "no reason given",
    }


def _changed(event: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    result = data.get("res") or {}
    if "censored" in result:
        return any(line.startswith("changed:") for line in str(event.get("stdout", "")).splitlines())
    return bool(result.get("changed"))


def _items(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = result.get("results")
    if isinstance(items, list) and items and all(isinstance(item, dict) for item in items):
        return items
    return [result]


def _where(result: Mapping[str, Any]) -> str:
    given = (result.get("invocation") or {}).get("module_args") or {}
    for source in (result, given):
        for key in ("path", "dest", "name", "unit", "repo"):
            value = source.get(key)
            if isinstance(value, list) and value:
                return ", ".join(map(str, value))
            if value and isinstance(value, str):
                return value
    return ""


def _message(result: Mapping[str, Any], task_path: str) -> str:
    """What a failed task says: its message, and for a command the end of its error output."""
    if "censored" in result:
        return TASK_HIDDEN.format(where=task_path or "the role")
    broken = next((item for item in _items(result) if item.get("failed") or item.get("rc")), result)
    if "censored" in broken:
        return TASK_HIDDEN.format(where=task_path or "the role")
    message = _PREFIXES.sub("", str(broken.get("msg") or result.get("msg") or "failed")).strip()
    if message == "non-zero return code":
        message = f"exit code {broken.get('rc')}"
    said = _lines(str(broken.get("stderr") or broken.get("module_stderr") or "")) or _lines(
        str(broken.get("stdout") or broken.get("module_stdout") or "")
    )
    said = [line for line in said if line not in message][-_STDERR_LINES:]
    if "module_stderr" in broken:
        # A module that crashed: the last line of its traceback says what, the rest is for its author.
        said = said[-1:]
    text = "\n  ".join([*_lines(message), *said])
    return text if len(text) <= _MESSAGE else f"{text[:_MESSAGE]}…"


def _joint(message: str) -> str:
    """What separates a message from the sentence after it."""
    if "\n" in message:
        return "\n  "
    return " " if message.endswith((".", "!", "?")) else ". "


def _text(result: Mapping[str, Any] | None) -> str:
    """All that a connection, sudo or a shell may have said; not what a command of the role printed."""
    result = result or {}
    return "\n".join(str(result.get(key) or "") for key in ("msg", "module_stderr", "module_stdout")).strip()


def _diff(result: Mapping[str, Any]) -> list[str]:
    """The first changed lines of a task's diff, `-` and `+` in front."""
    found: list[str] = []
    for item in _items(result):
        diffs = item.get("diff") or []
        for diff in diffs if isinstance(diffs, list) else [diffs]:
            if not isinstance(diff, dict):
                continue
            if diff.get("prepared"):
                lines = [line for line in str(diff["prepared"]).splitlines() if line[:1] in {"-", "+"}]
            else:
                before, after = _side(diff.get("before")), _side(diff.get("after"))
                lines = [f"-{line}" for line in before if line not in after]
                lines += [f"+{line}" for line in after if line not in before]
            found += [
                line if len(line) <= _DIFF_LINE else f"{line[:_DIFF_LINE]}…" for line in lines if line[1:].strip()
            ]
    if len(found) > _DIFF_LINES:
        return [*found[:_DIFF_LINES], f"… and {len(found) - _DIFF_LINES} more lines"]
    return found


def _side(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}: {value[key]}" for key in sorted(value) if key != "path"]
    return str(value or "").splitlines()


def _first_error(said: list[str]) -> str:
    """The first error of a playbook that doesn't load, with the place that Ansible names for it."""
    for index, line in enumerate(said):
        match = re.match(r"(?:\[ERROR\]|ERROR!?):?\s*(.+)", line)
        if match:
            origin = next((other for other in said[index + 1 : index + 4] if other.startswith("Origin: ")), "")
            place = f" ({origin.removeprefix('Origin: ')})" if origin else ""
            return f"{match[1].rstrip('.')}{place}."
    return ""


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.replace("\r", "").splitlines() if line.strip()]


def _unique(items: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(item for item in items if item))

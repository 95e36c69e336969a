"""Ansible callback: writes down which tasks ran and what they were about, for the record of what a role manages.

Of arguments and results only those that name things go to the file, never what is put into them: a task with a secret is
listed too, by its place. The file lies in the run's own folder and goes with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.executor import task_result  # type: ignore[import-untyped]
from ansible.plugins.callback import CallbackBase  # type: ignore[import-untyped]

DOCUMENTATION = """
name: managed
type: aggregate
short_description: Lists what tasks were about
description:
  - Writes a line for each task, or item of a task, that ran.
"""

FILE = "PLAYBOOK_MANAGED"

ARGUMENTS = frozenset(
    {
        "path",
        "dest",
        "src",
        "name",
        "state",
        "enabled",
        "masked",
        "recurse",
        "creates",
        "removes",
        "url",
        "paths",
        "patterns",
        "excludes",
        "use_regex",
        "file_type",
        "hidden",
        "depth",
        "get_checksum",
        "pkg",
        "package",
        "deb",
        "upgrade",
        "update_cache",
        "update_only",
        "autoremove",
        "autoclean",
    }
)
"""Arguments that say what a task is about. `src` and `url` go by their last part only."""

COMMANDS = frozenset({"command", "shell"})

# The result of a task with a secret is hidden from callbacks; what a module says to manage is no secret.
task_result._PRESERVE.add("manages")  # noqa: SLF001 -- there is no other way; without it such a role is checked each time


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Notes what ran."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "managed"

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task without a loop has ended; items of a loop were noted one by one."""
        if not _looped(result.task):
            self._note(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """A failure that the role goes on after may have changed something too."""
        if not _looped(result.task):
            self._note(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """One item of a loop has ended."""
        self._note(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """One item of a loop has failed."""
        self._note(result)

    def _note(self, result: Any) -> None:
        file = os.environ.get(FILE)
        if not file:
            return
        fields: Mapping[str, Any] = result.task_fields
        arguments: Mapping[str, Any] = fields.get("args") or {}
        said: Mapping[str, Any] = result.result
        action = str(fields.get("action") or result.task.action)
        note = {
            "task": str(fields.get("name") or action),
            "action": action,
            "arguments": {key: _short(key, value) for key, value in arguments.items() if key in ARGUMENTS},
            "result": {key: said[key] for key in ("path", "dest", "state", "manages") if key in said},
            "delegated": bool(fields.get("delegate_to")),
        }
        if action.rsplit(".", 1)[-1] in COMMANDS and _runs_in_checks(result.task):
            note["observes"] = _observed(fields, arguments)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(json.dumps(note, default=str) + "\n")


def _looped(task: Any) -> bool:
    return bool(task.loop is not None or task.loop_with)


def _short(key: str, value: Any) -> Any:
    if key in {"src", "url"}:
        text = str(value)
        return f"{Path(text).name}{'/' if text.endswith('/') else ''}"
    return value


def _runs_in_checks(task: Any) -> bool:
    """Whether the role asks for the task in check mode too: then a check may tell its change."""
    node = task
    while node is not None:
        given = node.get_ds()
        if isinstance(given, Mapping) and "check_mode" in given:
            return True
        node = getattr(node, "_parent", None)
    return False


def _observed(fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A command that only looks, as it can be run again; empty where it can't be, or may do more than look."""
    looks = all(condition is False for condition in fields.get("changed_when") or [None])
    plain = not any(fields.get(key) for key in ("no_log", "become_user", "delegate_to", "async_val"))
    if (
        not looks
        or not plain
        or any(fields.get("environment") or [])
        or arguments.get("stdin")
        or arguments.get("executable")
    ):
        return {}
    raw = arguments.get("_raw_params") or arguments.get("cmd")
    argv = arguments.get("argv")
    if argv:
        command = [str(part) for part in argv]
    elif arguments.get("_uses_shell"):
        command = ["/bin/sh", "-c", str(raw)]
    else:
        import shlex

        command = shlex.split(str(raw))
    return {"argv": command, "chdir": arguments.get("chdir")}

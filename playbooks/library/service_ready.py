#!/usr/bin/python
"""Ansible module: wait until a service under systemd answers a real request, or say early why it never will.

It only reads and asks: it starts nothing, changes nothing, and never reports a change. A service that crashes while
it starts is not waited for: the module stops at the second crash, or at the first one whose last words name a
mistake that no restart mends, and hands on those words.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: service_ready
short_description: Wait until a service answers a real request
description:
  - Asks a URL until it answers with status 200, while watching the service's unit.
  - Fails as soon as the unit turns out not to come up, with the cause from its journal.
  - Does nothing in check mode.
options:
  unit:
    description: The service's unit.
    type: str
    required: true
  url:
    description: What to ask; needed unless C(line) is given.
    type: str
    default: ""
  line:
    description: Instead of asking, a regular expression for the line of the journal since the unit's start by which it is ready.
    type: str
    default: ""
  elsewhere:
    description: Where else to look when it does not come up, in words.
    type: str
    default: ""
  body:
    description: Sent as JSON in a POST; without it, the request is a GET.
    type: dict
    default: {}
  key:
    description: Sent as bearer token.
    type: str
    default: ""
  timeout:
    description: Seconds to wait.
    type: int
    default: 300
  request_timeout:
    description: Seconds that a single request may take.
    type: int
    default: 120
  also:
    description: URLs of JSON documents to read once the service is ready, by name.
    type: dict
    default: {}
  journal:
    description: Regular expressions by name; the first group of each one's first match since the unit's start is returned.
    type: dict
    default: {}
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Wait until the engine generates a token
  service_ready:
    unit: slipway-vllm.service
    url: http://127.0.0.1:8000/v1/completions
    body: {model: tiny, prompt: Hello, max_tokens: 1}
    timeout: 900
"""

RETURN = r"""
seconds:
  description: How long it took.
  type: float
  returned: success
facts:
  description: What the documents under C(also) and the patterns under C(journal) gave, by name; absent when they gave nothing.
  type: dict
  returned: success
manages:
  description: Nothing, so a refresh that looks at the host has nothing to look at here.
  type: list
  returned: success
"""

INTERVAL = 0.5
CRASHES = 2
JOURNAL_LINES = 2000
EXCERPT = 400

PREFIX = re.compile(
    r"^(?:\([A-Za-z0-9_ -]+ pid=\d+\)\s*)?"  # (EngineCore pid=12)
    r"(?:(?:ERROR|CRITICAL|WARNING|INFO)\s+)?"
    r"(?:\d\d-\d\d \d\d:\d\d:\d\d\s+)?"
    r"(?:\[[\w./-]+:\d+\]\s*)?"
)
CAUSE = re.compile(r"^(?:[\w.]*(?:Error|Exception|Interrupt)\b|[\w./-]+: error):? ")
NEXT_LINE = re.compile(r"^[\w.]*ValidationError: \d+ validation errors? for ")
# These only report that something else failed.
ECHO = re.compile(
    r"Engine core initialization failed|See (?:root cause|stack trace)|EngineDeadError|RuntimeError: cancelled"
)
STARTING = re.compile(r"Start(?:ing|ed) ")
EXITED = re.compile(r"^\S+: Main process exited")
# Mistakes in what was configured: another start says the same. Memory that a dying process still holds does not belong here.
FINAL = re.compile(
    r"ValidationError|ValueError|: error: |FileNotFoundError|NotADirectoryError|ImportError|ModuleNotFoundError"
)
PASSING = re.compile(r"[Ff]ree memory|Address already in use")


@dataclass(frozen=True)
class State:
    """What systemd says about the unit."""

    active: str
    sub: str
    restarts: int
    invocation: str
    outcome: str

    @property
    def down(self) -> bool:
        """Whether it neither runs nor is on its way up by itself."""
        return self.active in ("inactive", "failed", "deactivating")


def state(unit: str) -> State:
    """Ask systemd about the unit."""
    names = "ActiveState,SubState,NRestarts,InvocationID,Result,ExecMainCode,ExecMainStatus"
    text = output("systemctl", "show", unit, f"--property={names}")
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    # 1 is "exited"; otherwise the status is the number of a signal.
    kind = "exit status" if values.get("ExecMainCode") == "1" else "signal"
    return State(
        active=values.get("ActiveState", "inactive"),
        sub=values.get("SubState", ""),
        restarts=int(values.get("NRestarts") or 0),
        invocation=values.get("InvocationID", ""),
        outcome=f"{values.get('Result', '')}, {kind} {values.get('ExecMainStatus', '?')}",
    )


def journal(unit: str) -> list[str]:
    """The unit's last lines."""
    command = ("journalctl", "--output=cat", "--no-pager", "--quiet", f"--lines={JOURNAL_LINES}", "-u", unit)
    return output(*command).splitlines()


def beginning(invocation: str) -> list[str]:
    """The first lines of an invocation, however long it has been running since."""
    which = f"_SYSTEMD_INVOCATION_ID={invocation}"
    command = ("journalctl", "--output=cat", "--no-pager", "--quiet", which)
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        ) as process:
            lines = list(itertools.islice(process.stdout or (), JOURNAL_LINES))
            process.kill()
            return lines
    except OSError:
        return []


def output(*command: str) -> str:
    """What a command prints; nothing where it is not there or hangs."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def cause(lines: Iterable[str]) -> str:
    """The line of a crash that names its cause; empty when none does.

    Tracebacks of several processes lie in one another: the first message is the root, the ones after it echo it. Where
    there is none, as after an abort in a library, the last line before the end is the best there is.
    """
    plain = [PREFIX.sub("", line.strip()).strip() for line in lines]
    for index, line in enumerate(plain):
        if not CAUSE.match(line) or ECHO.search(line):
            continue
        if NEXT_LINE.match(line) and index + 1 < len(plain):
            said = plain[index + 1].split(" [type=")[0].removeprefix("Value error, ")
            return f"ValueError: {said}"[:EXCERPT]
        return line[:EXCERPT]
    end = next((index for index, line in enumerate(plain) if EXITED.search(line)), 0)
    before = [line for line in plain[:end] if line and not STARTING.match(line)]
    return before[-1][:EXCERPT] if before else ""


def ask(url: str, body: dict[str, Any], key: str, timeout: float) -> tuple[int, str]:
    """One request; status 0 and the reason when there was no answer."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    data = json.dumps(body).encode() if body else None
    # A proxy of the host's environment is for the outside, and this is the host's own service.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 -- from the role, not from a caller
        with opener.open(request, timeout=timeout) as response:
            return int(response.status), response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")[:EXCERPT]
    except OSError as error:
        return 0, str(getattr(error, "reason", error))


class NotReadyError(Exception):
    """The service will not come up; the text is for the person at the keyboard."""


def crashed(unit: str, now: State, crashes: int, last: str) -> NotReadyError:
    """Put the words of a unit that does not come up into one line."""
    lines = journal(unit)
    why = cause(journal_of_last_crash(lines)) or last
    said = f"; it said: {why}" if why else ""
    times = f"it crashed {crashes} times" if crashes > 1 else "it crashed"
    how = times if crashes else f"it is {now.active}"
    return NotReadyError(f"{unit} does not come up: {how} ({now.outcome}){said}; the whole story: journalctl -u {unit}")


def journal_of_last_crash(lines: list[str]) -> list[str]:
    """The part of the journal between the last two starts, or from the last start on when it holds a cause."""
    starts = [index for index, line in enumerate(lines) if STARTING.match(line)]
    bounds = [0, *starts, len(lines)]
    for begin, end in zip(reversed(bounds[:-1]), reversed(bounds[1:])):
        if cause(lines[begin:end]):
            return lines[begin:end]
    return []


def saying(
    unit: str, line: str, look: Callable[[str], State] = state, read: Callable[[str], list[str]] = beginning
) -> Callable[[str, dict[str, Any], str, float], tuple[int, str]]:
    """In the place of `ask`: status 200 once a running unit's journal has the line since its start, else no answer."""

    def look_for(*_: object) -> tuple[int, str]:
        now = look(unit)
        said = now.active == "active" and any(re.search(line, each) for each in read(now.invocation))
        return (200 if said else 0), ""

    return look_for


def wait(
    arguments: dict[str, Any],
    look: Callable[[str], State] = state,
    request: Callable[[str, dict[str, Any], str, float], tuple[int, str]] = ask,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> float:
    """Seconds until the service answered; NotReadyError when it does not come up in time or at all."""
    unit: str = arguments["unit"]
    begun = clock()
    first = look(unit)
    last = ""
    while True:
        left = arguments["timeout"] - (clock() - begun)
        if left <= 0:
            break
        status, text = request(
            arguments["url"], arguments["body"], arguments["key"], min(left, arguments["request_timeout"])
        )
        if status == 200:
            return clock() - begun
        if status:
            last = f"status {status} to {arguments['url']}: {' '.join(text.split())[:EXCERPT]}"
        now = look(unit)
        crashes = max(now.restarts - first.restarts, 0) + (now.active == "activating" and now.sub == "auto-restart")
        if now.down and now.active != "deactivating":
            raise crashed(unit, now, crashes, last)
        if crashes >= CRASHES:
            raise crashed(unit, now, crashes, last)
        if crashes:
            why = cause(journal_of_last_crash(journal(unit)))
            if FINAL.search(why) and not PASSING.search(why):
                raise crashed(unit, now, crashes, last)
        if status in (400, 401, 403, 404, 422):
            raise NotReadyError(f"{unit} refuses the request: it answered {last}; look at: journalctl -u {unit}")
        pause(INTERVAL)
    now = look(unit)
    said = last or next((line.strip() for line in reversed(journal(unit)) if line.strip()), "nothing")
    raise NotReadyError(
        f"{unit} is {now.active} but did not answer within {arguments['timeout']} s; its last words: {said[:EXCERPT]}; "
        f"allow it more time if it was still loading, else look at: journalctl -u {unit}"
    )


def facts(arguments: dict[str, Any]) -> dict[str, Any]:
    """What there is to know about the service now that it runs; a missing answer is left out."""
    found: dict[str, Any] = {}
    for name, url in arguments["also"].items():
        status, text = ask(url, {}, arguments["key"], 30)
        if status == 200:
            found[name] = json.loads(text)
    if arguments["journal"]:
        lines = beginning(state(arguments["unit"]).invocation)
        for name, pattern in arguments["journal"].items():
            matches = (re.search(pattern, line) for line in lines)
            if match := next((match for match in matches if match), None):
                found[name] = match.group(1)
    return found


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "url": {"type": "str", "default": ""},
            "line": {"type": "str", "default": ""},
            "elsewhere": {"type": "str", "default": ""},
            "body": {"type": "dict", "default": {}},
            "key": {"type": "str", "default": "", "no_log": True},
            "timeout": {"type": "int", "default": 300},
            "request_timeout": {"type": "int", "default": 120},
            "also": {"type": "dict", "default": {}},
            "journal": {"type": "dict", "default": {}},
        },
        required_one_of=[("url", "line")],
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, manages=[], skipped=True, facts={})
        return
    arguments: dict[str, Any] = module.params
    try:
        request = saying(arguments["unit"], arguments["line"]) if arguments["line"] else ask
        seconds = wait(arguments, request=request)
    except NotReadyError as failure:
        elsewhere = f"; {arguments['elsewhere']}" if arguments["elsewhere"] else ""
        module.fail_json(msg=f"{failure}{elsewhere}")
        return
    module.exit_json(changed=False, manages=[], seconds=round(seconds, 2), facts=facts(arguments))


if __name__ == "__main__":
    main()

"""A headless Chromium that is told by pipe what to do, and what a page does in it.

It runs in a network namespace without any device, so a page that it shows whole needs no network. It speaks the DevTools
protocol (https://chromedevtools.github.io/devtools-protocol/) over two pipes: no port, and nothing else on them.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PATIENCE = 60.0
"""Seconds that an answer may take on a busy machine."""

# What a reader's eye needs of a chart: marks that cover something, and labels that neither leave it nor cover each other.
_CHARTS = """
JSON.stringify([...document.querySelectorAll('svg[role="img"]')].map(chart => {
  const box = element => { const b = element.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  return {
    title: chart.querySelector('title')?.textContent ?? '',
    description: chart.querySelector('desc')?.textContent ?? '',
    box: box(chart),
    marks: [...chart.querySelectorAll('.mark')].map(mark => {
      const style = getComputedStyle(mark);
      return {name: mark.getAttribute('class'), box: box(mark), fill: style.fill, stroke: style.stroke};
    }),
    texts: [...chart.querySelectorAll('text')].map(text => ({text: text.textContent, box: box(text)})),
  };
}))
"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What a page did while it was opened."""

    charts: list[dict[str, Any]]
    complaints: list[str]
    """Of the console: its errors and warnings, exceptions, and what the browser itself logs."""
    requests: list[str]
    """All addresses asked for but the page's own; not those that the page's policy stopped, which is a complaint."""
    overflow: float
    """Pixels by which the page is wider than the window."""

    def faults(self, charts: int) -> list[str]:
        """What is wrong with a page that has to show so many charts and ask for nothing; empty when nothing is."""
        found = [f"asked for {address}" for address in self.requests]
        found += [f"console: {complaint}" for complaint in self.complaints]
        if len(self.charts) != charts:
            found.append(f"{len(self.charts)} charts, not {charts}")
        for chart in self.charts:
            found += [f"{chart['title']!r}: {fault}" for fault in _chart_faults(chart)]
        if self.overflow > 0:
            found.append(f"wider than the window by {self.overflow:g} px")
        return found


class Browser:
    """One tab."""

    def __init__(self, folder: Path) -> None:
        """Starts it; the profile goes below `folder`."""
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4; these numbers may be taken here, so ours are out of the way.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]
        wired = f'exec 3<&{ends[0]} 4>&{ends[1]} {ends[0]}<&- {ends[1]}>&-; exec "$@"'
        chromium = [
            *("unshare", "--net", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
            *("--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "about:blank"),
        ]
        self._log = (folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            ["bash", "-c", wired, "bash", *chromium],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "HOME": str(folder)},
            start_new_session=True,
        )
        for end in (commands, answers, *ends):
            os.close(end)
        self._buffer = b""
        self._count = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None

    def _tab(self) -> dict[str, Any]:
        """The first tab, which may come a moment after the browser answers."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for each in self._ask("Target.getTargets")["targetInfos"]:
                if each["type"] == "page":
                    return each
            time.sleep(0.05)
        raise TimeoutError("the browser opened no tab")

    def __enter__(self) -> Self:
        try:
            tab = self._tab()
            self._session = self._ask("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._ask(f"{domain}.enable")
            self._ask("Page.setLifecycleEventsEnabled", enabled=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # A browser whose pipe is closed ends by itself.
        for pipe in (self._read, self._write):
            os.close(pipe)
        try:
            self._process.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._log.close()

    def show(self, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """How pages are shown from now on."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def visit(self, file: Path) -> Visit:
        """Open `file`, wait until it is whole and quiet, and say what it did."""
        self._load("about:blank")
        self._events.clear()
        address = file.as_uri()
        self._load(address)
        # Two frames later all that the page draws is drawn; what it logs or asks for meanwhile has arrived before the answer.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return Visit(
            charts=json.loads(self.evaluate(_CHARTS)),
            complaints=[said for event in self._events if (said := _complaint(event))],
            requests=list(_requests(self._events, address)),
            overflow=self.evaluate(_OVERFLOW),
        )

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; a promise's, once it has one."""
        answer = self._ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def picture(self, file: Path, part: str = "html") -> None:
        """What the selector `part` finds, as PNG; the whole page by default."""
        box = self.evaluate(f"JSON.stringify(document.querySelector({json.dumps(part)}).getBoundingClientRect())")
        clip = {
            **{key: value for key, value in json.loads(box).items() if key in {"x", "y", "width", "height"}},
            "scale": 1,
        }
        answer = self._ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(answer["data"]))

    def printed(self) -> bytes:
        """The page as the browser prints it, in PDF."""
        return base64.b64decode(self._ask("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)
        raise AssertionError

    def _load(self, address: str) -> None:
        """Until this very document is loaded: events of one before it may come late."""
        loader = self._ask("Page.navigate", url=address)["loaderId"]

        def loaded(event: dict[str, Any]) -> bool:
            params = event.get("params", {})
            return event["method"] == "Page.lifecycleEvent" and (params["loaderId"], params["name"]) == (loader, "load")

        if any(loaded(event) for event in self._events):
            return
        for event in self._messages():
            self._events.append(event)
            if loaded(event):
                return

    def _messages(self) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + PATIENCE
        while True:
            message, found, rest = self._buffer.partition(b"\0")
            if found:
                self._buffer = rest
                yield json.loads(message)
                continue
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium said nothing for {PATIENCE:g} s; its log: {self._log.name}")
            piece = os.read(self._read, 1 << 16)
            if not piece:
                raise EOFError(f"Chromium ended: {Path(self._log.name).read_text(encoding='utf-8', errors='replace')}")
            self._buffer += piece


def _requests(events: list[dict[str, Any]], own: str) -> Iterator[str]:
    stopped = {
        event["params"]["requestId"]
        for event in events
        if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp"
    }
    for event in events:
        if event["method"] == "Network.requestWillBeSent" and event["params"]["requestId"] not in stopped:
            address = event["params"]["request"]["url"]
            if address.partition("#")[0] != own:
                yield address


def _complaint(event: dict[str, Any]) -> str:
    params = event.get("params", {})
    match event["method"]:
        case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
            return f"{params['type']}: " + " ".join(str(each.get("value", "")) for each in params["args"])
        case "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            return str(details.get("exception", {}).get("description", details["text"]))
        case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
            return str(params["entry"]["text"])
    return ""


def _chart_faults(chart: dict[str, Any]) -> Iterator[str]:
    if not chart["title"] or not chart["description"]:
        yield "no title or description"
    if not chart["marks"]:
        yield "nothing is drawn"
    for mark in chart["marks"]:
        left, top, right, bottom = mark["box"]
        if not (right - left > 1 or bottom - top > 1):
            yield f"a mark of no size: {mark['name']}"
        if mark["fill"] == "none" and mark["stroke"] == "none":
            yield f"a mark without colour: {mark['name']}"
        if not _within(mark["box"], chart["box"]):
            yield f"a mark outside: {mark['name']}"
    yield from _label_faults(chart)


def _label_faults(chart: dict[str, Any]) -> Iterator[str]:
    texts = chart["texts"]
    for index, one in enumerate(texts):
        if one["box"][2] - one["box"][0] <= 1:
            yield f"a label of no size: {one['text']}"
        if not _within(one["box"], chart["box"]):
            yield f"a label outside: {one['text']}"
        for other in texts[index + 1 :]:
            if _overlap(one["box"], other["box"]):
                yield f"labels on each other: {one['text']} and {other['text']}"


def _within(inner: Box, outer: Box) -> bool:
    slack = 1.0
    return all(inner[i] >= outer[i] - slack for i in (0, 1)) and all(inner[i] <= outer[i] + slack for i in (2, 3))


def _overlap(one: Box, other: Box) -> bool:
    # Boxes of text are higher than its letters: a pixel of air is not missed.
    slack = 1.0
    return (
        min(one[2], other[2]) - max(one[0], other[0]) > slack and min(one[3], other[3]) - max(one[1], other[1]) > slack
    )

"""What every client is asked, what it must get, and how a script tells the matrix's test.

Each script beside this one is a client: it runs in that client's own environment, asks for all that the client can do, and
prints one JSON line for each ability: ``{"ability", "ok", "detail"}``. It is told by environment variables where to ask:
BASE_URL (ends in /v1), SLIPWAY_KEY, SSL_CERT_FILE, CHAT_MODEL, EMBEDDING_MODEL and RERANK_MODEL. The answers are the
scripted model's (tests/integration/scripted_model.py); cells.mjs says the same for Node.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

BASE_URL, KEY = os.environ["BASE_URL"], os.environ["SLIPWAY_KEY"]
CHAT_MODEL, EMBEDDING_MODEL, RERANK_MODEL = (os.environ[f"{task}_MODEL"] for task in ("CHAT", "EMBEDDING", "RERANK"))

HELLO, WEATHER, BOTH = "Where is the ship?", "How is the weather?", "How is the weather in both cities?"
PROSE = "The ship is in the harbour."
PARIS, OSLO, ROME = ({"city": city} for city in ("Paris", "Oslo", "Rome"))
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TEXTS = ["the ship is in the harbour", "a tree"]
CALLS: dict[str, tuple[str, Any, list[tuple[str, dict[str, str]]]]] = {
    "tools auto": (WEATHER, "auto", [("weather", OSLO)]),
    "tools required": (HELLO, "required", [("weather", ROME)]),
    "tools named": (HELLO, "clock", [("clock", ROME)]),
    "tools parallel": (BOTH, "auto", [("weather", OSLO), ("weather", ROME)]),
}
"""By ability: what the user says, the choice of a tool (a name is that tool), and the calls that come back."""


def functions() -> list[dict[str, Any]]:
    """The tools, in OpenAI's form."""
    about = {"weather": "Tells the weather of a city.", "clock": "Tells the time in a city."}
    return [
        {"type": "function", "function": {"name": name, "description": text, "parameters": SCHEMA}}
        for name, text in about.items()
    ]


def choice(wanted: str) -> Any:
    """A choice of a tool, in OpenAI's form."""
    return wanted if wanted in {"auto", "required"} else {"type": "function", "function": {"name": wanted}}


def said(text: str | None) -> None:
    """A text must be the prose."""
    same((text or "").strip(), PROSE)


def same(found: Any, wanted: Any) -> None:
    """Both must be equal."""
    if found != wanted:
        raise AssertionError(f"{found!r} in place of {wanted!r}"[:300])


def holds(fact: object, what: str) -> None:
    """Something must be so."""
    if not fact:
        raise AssertionError(what)


def run(cells: Mapping[str, Callable[[], None]]) -> None:
    """Ask for each ability, and print what came of it."""
    for ability, ask in cells.items():
        detail = ""
        try:
            ask()
        except Exception as error:  # noqa: BLE001 -- whatever a client raises is this cell's result
            detail = f"{type(error).__name__}: {error}"[:600]
        print(json.dumps({"ability": ability, "ok": not detail, "detail": detail}), flush=True)

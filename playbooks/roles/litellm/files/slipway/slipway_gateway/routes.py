"""The routes of routes.json: which backends serve which model, and what is asked when none of them answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TASKS = {
    "chat": frozenset({"chat", "completions", "responses", "messages", "tokenize"}),
    "completion": frozenset({"completions", "tokenize"}),
    "embedding": frozenset({"embeddings", "tokenize"}),
    "rerank": frozenset({"rerank", "tokenize"}),
    "transcription": frozenset({"transcriptions"}),
}
"""What a model is for, and the families of the API that it serves."""

FAMILIES: frozenset[str] = frozenset().union(*TASKS.values())
"""Parts of the API that a backend may speak itself."""


@dataclass(frozen=True)
class Deployment:
    """One backend of a model.

    Attributes:
        id: unique among all.
        name: the model's name, as clients ask for it.
        litellm: what LiteLLM needs to reach it; its `model` is "provider/name".
        task: one of `TASKS`.
        weight: share of the requests among the backends of the model; with 0 it is asked when the others failed.
        native: families of the API that go to `url` as they are.
        url: base URL that ends with /v1; None where only LiteLLM can reach the backend.
        private: served here, so that private requests may go to it.
        context_window: tokens; None where it is not known.
        max_output_tokens: None where it is not known.
    """

    id: str
    name: str
    litellm: Mapping[str, Any]
    task: str
    weight: int = 1
    native: frozenset[str] = frozenset()
    url: str | None = None
    private: bool = False
    context_window: int | None = None
    max_output_tokens: int | None = None

    @property
    def model(self) -> str:
        """The name that the backend itself knows the model by."""
        return str(self.litellm["model"]).partition("/")[2]

    def serves(self, family: str) -> bool:
        """Whether the model is for requests of the family."""
        return family in TASKS[self.task]

    def passes(self, family: str) -> bool:
        """Whether requests of the family go to it as they are."""
        return self.url is not None and family in self.native


@dataclass(frozen=True)
class Routes:
    """All that is served.

    Attributes:
        models: the backends of each name.
        aliases: other names.
        fallbacks: the names that are asked, in this order, when all backends of a name failed.
        timeout_s: how long an answer may take, over all backends that are tried for it.
        cooldown_s: how long a backend that failed is only asked when the others failed too.
    """

    models: Mapping[str, tuple[Deployment, ...]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timeout_s: float = 600
    cooldown_s: float = 15

    def deployments(self) -> Iterator[Deployment]:
        """All backends."""
        for deployments in self.models.values():
            yield from deployments

    def chain(self, name: str) -> list[str]:
        """The names to ask, in order: the name, its fall-backs, then theirs; each once."""
        names = [name]
        for asked in names:  # grows while it is walked
            names += [other for other in self.fallbacks.get(asked, ()) if other not in names]
        return names


def parse(text: str) -> Routes:
    """The routes of a routes.json.

    Raises:
        ValueError: it is something else; the message names models and fields, and never a value of one.
    """
    data = _map(json.loads(text), "the file")
    models: dict[str, tuple[Deployment, ...]] = {}
    ids: set[str] = set()
    missing = set(_list(data.get("missing", []), "missing"))
    for entry in _list(data.get("models", []), "models"):
        if missing.intersection(_list(_map(entry, "an entry of models").get("machines", []), "machines")):
            continue  # one of the machines that it needs is not there
        deployment = _deployment(_map(entry, "an entry of models"))
        if deployment.id in ids:
            raise ValueError(f"two entries of models have the id {deployment.id}")
        ids.add(deployment.id)
        models[deployment.name] = (*models.get(deployment.name, ()), deployment)
    aliases = _map(data.get("aliases", {}), "aliases")
    for alias, name in aliases.items():
        if name not in models or alias in models:
            raise ValueError(f"the alias {alias} is a model's name, or stands for no model")
    fallbacks = {}
    for name, others in _map(data.get("fallbacks", {}), "fallbacks").items():
        for other in [name, *_list(others, f"the fall-backs of {name}")]:
            if other not in models:
                raise ValueError(f"fallbacks of {name}: {other} is no model")
        fallbacks[name] = tuple(others)
    return Routes(
        models=models,
        aliases=aliases,
        fallbacks=fallbacks,
        timeout_s=_number(data, "timeout_s", Routes.timeout_s),
        cooldown_s=_number(data, "cooldown_s", Routes.cooldown_s),
    )


def _deployment(entry: dict[str, Any]) -> Deployment:
    name = _text(entry, "name", "an entry of models")
    where = f"model {name}"
    litellm = _map(entry.get("litellm"), f"litellm of {where}")
    if "/" not in _text(litellm, "model", f"litellm of {where}"):
        raise ValueError(f"litellm.model of {where} names no provider")
    native = frozenset(_list(entry.get("native", []), f"native of {where}"))
    if not native <= FAMILIES:
        raise ValueError(f"native of {where} has a family that is none of {', '.join(sorted(FAMILIES))}")
    url = entry.get("url")
    if url is not None and not _text(entry, "url", where).endswith("/v1"):
        raise ValueError(f"url of {where} does not end with /v1")
    if entry.get("task") not in TASKS:
        raise ValueError(f"task of {where} is none of {', '.join(sorted(TASKS))}")
    # Where a private request may go is never guessed.
    if not isinstance(entry.get("private"), bool):
        raise ValueError(f"private of {where} is neither true nor false")  # noqa: TRY004
    for number in ("weight", "context_window", "max_output_tokens"):
        value = entry.get(number)
        if value is not None and (type(value) is not int or value < 0):
            raise ValueError(f"{number} of {where} is no whole number")
    return Deployment(
        id=_text(entry, "id", where),
        name=name,
        litellm=litellm,
        task=entry["task"],
        weight=1 if entry.get("weight") is None else entry["weight"],
        native=native,
        url=url,
        private=entry["private"],
        context_window=entry.get("context_window"),
        max_output_tokens=entry.get("max_output_tokens"),
    )


def _map(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no map")  # noqa: TRY004
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(part, str | dict) for part in value):
        raise ValueError(f"{what} is no list")
    return value


def _text(entry: Mapping[str, Any], key: str, what: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} of {what} is missing or no text")
    return value


def _number(data: Mapping[str, Any], key: str, default: float) -> float:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(f"{key} is no number above 0")
    return float(value)

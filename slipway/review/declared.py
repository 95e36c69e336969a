"""What two declarations of a stack differ in, in a reviewer's words: pools, machines, models, providers, teams, front.

A declaration is the `deployment` of `slipway check --json` (`slipway.deployment.declaration`): plain data, without a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Entry = Mapping[str, Any]


class Kind(StrEnum):
    """What one side has and the other has not, or has otherwise."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that is said of an entry; a side on which it says nothing is None."""

    label: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One entry that was added, removed or changed."""

    what: str
    """`model`, `pool`, `team` …"""
    name: str
    kind: Kind
    facts: tuple[Fact, ...]
    """Those that differ."""


def differences(before: Entry, after: Entry) -> tuple[Difference, ...]:
    """All of them, in the order of the declaration; both sides may be empty."""
    found = []
    for what, key, facts in _SECTIONS:
        olds, news = _entries(before.get(key)), _entries(after.get(key))
        for name in (*olds, *(name for name in news if name not in olds)):
            old, new = olds.get(name), news.get(name)
            differing = tuple(_differing({} if old is None else facts(old), {} if new is None else facts(new)))
            kind = Kind.ADDED if old is None else Kind.REMOVED if new is None else Kind.CHANGED
            if differing or kind is not Kind.CHANGED:
                found.append(Difference(what=what, name=name, kind=kind, facts=differing))
    return tuple(found)


def _entries(section: Any) -> dict[str, Entry]:
    """By name; a section that is one map alone goes by the name of its kind."""
    entries = [section] if isinstance(section, Mapping) else section if isinstance(section, list) else []
    return {str(entry.get("name", "")): entry for entry in entries if isinstance(entry, Mapping)}


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Fact]:
    for label in dict.fromkeys((*before, *after)):
        old, new = before.get(label), after.get(label)
        if old != new:
            yield Fact(label=label, before=old, after=new)


def _facts(labels: Mapping[str, str]) -> Callable[[Entry], dict[str, str]]:
    """Those of an entry's properties that `labels` name, as text."""
    return lambda entry: _told({label: entry.get(key) for key, label in labels.items()})


def _told(values: Mapping[str, Any]) -> dict[str, str]:
    """As text; what says nothing is left out."""
    return {
        # A port is a name, and no amount.
        label: str(value) if label == "port" else _text(value)
        for label, value in values.items()
        if value not in (None, [], {}, False, "")
    }


def _text(value: Any) -> str:
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _ranges(indices: list[int]) -> str:
    """`0-3, 6`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


_MODEL = {
    "task": "task",
    "provider": "provider",
    "targets": "shared out over",
    "id": "catalogue's model",
    "source": "files",
    "pool": "pool",
    "gpus": "GPUs of each replica",
    "replicas": "replicas",
    "maxModelLen": "context window",
    "maxOutputTokens": "longest answer",
    "aliases": "aliases",
    "fallbacks": "fall-backs",
    "private": "private",
    "trustRemoteCode": "runs code of its own",
}
_ENGINE = {
    "tensorParallel": "tensor parallel",
    "pipelineParallel": "pipeline parallel",
    "dataParallel": "data parallel",
    "options": "engine's options",
    "flags": "engine's flags",
    "environment": "engine's environment",
    "drainSeconds": "drain in seconds",
}


def _model(entry: Entry) -> dict[str, str]:
    engine = entry.get("engine")
    found = {}
    if isinstance(engine, Mapping):
        found["engine"] = f"{engine.get('name')} {engine.get('release')} ({engine.get('build')})"
        found |= {label: value for label, value in _facts(_ENGINE)(engine).items() if value != "1"}
    if entry.get("provider") is not None and entry.get("model") != entry.get("name"):
        found["provider's name for it"] = str(entry.get("model"))
    placed = [_place(each) for each in entry.get("instances") or [] if isinstance(each, Mapping)]
    hosts = entry.get("hosts")
    return {
        **_facts(_MODEL)(entry),
        **({"hosts of each replica": _text(hosts)} if isinstance(hosts, int) and hosts > 1 else {}),
        **found,
        **_told({"runs on": "; ".join(placed)}),
    }


def _place(instance: Entry) -> str:
    """`gpu-1 GPU 0-7 port 8100`; of a part of a replica that is not asked itself, with whom it is one."""
    gpus = instance.get("gpus")
    where = f"{instance.get('machine')} {f'GPU {_ranges(gpus)}' if gpus else 'CPU'}"
    return f"{where} with {instance.get('head')}" if instance.get("rank") else f"{where} port {instance.get('port')}"


_SECTIONS: tuple[tuple[str, str, Callable[[Entry], dict[str, str]]], ...] = (
    (
        "pool",
        "pools",
        _facts({"target": "machines from", "tier": "tier", "gpu": "GPU", "gpus": "GPUs of each machine"}),
    ),
    (
        "machine",
        "machines",
        _facts(
            {"pool": "pool", "address": "address", "privateAddress": "private address", "hostKey": "pinned host key"}
        ),
    ),
    ("model", "models", _model),
    ("provider", "providers", _facts({"kind": "kind", "url": "address"})),
    (
        "team",
        "teams",
        _facts(
            {
                "models": "models",
                "private": "private",
                "requestsPerMinute": "requests a minute",
                "tokensPerMinute": "tokens a minute",
            }
        ),
    ),
    (
        "gateway",
        "gateways",
        _facts({"release": "release", "machine": "machine", "port": "port", "privateOnly": "reaches no provider"}),
    ),
    (
        "front",
        "front",
        _facts(
            {
                "machine": "machine",
                "serverName": "name",
                "port": "port",
                "tlsVersions": "TLS versions",
                "siteCertificate": "certificate of the site",
                "allowedNetworks": "admitted networks",
                "metricsNetworks": "networks that may read figures",
            }
        ),
    ),
)
"""What is looked at: the kind of entry, where entries of it stand, and what is said of one."""

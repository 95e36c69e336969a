"""`slipway store`: what models lie on a stack's hosts and in its store, whether they are whole, and which nobody needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cli.carried import asked
from cli.remote import RemoteError
from slipway.deployment.files import STORED_DIGITS, stored_name
from slipway.deployment.resolve import deployment_of
from slipway.deployment.types import Deployment, Machine
from slipway.paths import ROOT
from slipway.settings.store import MODELS

_AT_ONCE = 16
_TIMEOUT_S = {"look": 120, "verify": 6 * 3600, "prune": 3600}
_NAMED = "the stack names it"
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def show_store(stack: str, *, verb: str, remove: bool = False, as_json: bool = False, root: Path = ROOT) -> bool:
    """Look at the models on all hosts of `stack`, and print what was found.

    Args:
        stack: its name.
        verb: look, verify (reads every file) or prune.
        remove: with prune, remove what nobody needs instead of naming it.
        as_json: print one object instead of lines.
        root: the project's folder.

    Returns:
        Whether every host answered, nothing is damaged, and nothing that was to be removed is left; of verify, whether
        every model that the stack names is whole where it names it.

    Raises:
        SettingsError: no such stack, or its settings were refused.
    """
    deployment = deployment_of(stack, root)
    orders = {name: places(deployment, machine) for name, machine in deployment.machines.items()}
    with ThreadPoolExecutor(_AT_ONCE) as pool:

        def all_asked(verb: str, machines: Iterable[Machine], *, remove: bool) -> dict[str, dict[str, Any]]:
            chosen = list(machines)
            said = pool.map(lambda each: _asked(deployment, each, verb, root, orders[each.name], remove=remove), chosen)
            return dict(zip((each.name for each in chosen), said, strict=True))

        if verb == "prune" and deployment.store is not None:
            # What the hosts have is asked first: the store keeps it, whatever the stack's file says by now.
            first = all_asked("look", deployment.machines.values(), remove=False)
            orders[deployment.store.machine.name][-1] |= _needed_by_hosts(first)
            silent = {name: found for name, found in first.items() if "error" in found}
            rest = [machine for name, machine in deployment.machines.items() if name not in silent]
            told = all_asked(verb, rest, remove=remove)
            hosts = {name: silent.get(name) or told[name] for name in deployment.machines}
        else:
            hosts = all_asked(verb, deployment.machines.values(), remove=remove)
    well = all(_is_well(each, verb, remove=remove) for each in hosts.values())
    if as_json:
        print(json.dumps({"stack": stack, "well": well, "hosts": hosts}, indent=2))
    else:
        for line in lines(hosts, verb, remove=remove, stack=stack):
            print(line)
    return well


def places(deployment: Deployment, machine: Machine) -> list[dict[str, Any]]:
    """Where models lie on a machine, and which of them the stack names there."""
    here = sorted({each.served.files.slug for each in deployment.on(machine) if each.served.settings.source.is_brought})
    found = [{"path": MODELS, "keep": here}]
    store = deployment.store
    if store is not None and store.machine == machine:
        brought = [each for each in deployment.served.values() if each.settings.source.is_brought]
        found.append({"path": store.path, "keep": sorted(stored_name(each.files) for each in brought)})
    return found


def _needed_by_hosts(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the store keeps for its hosts, as an order says it: models that stay on one, and all where one does not answer."""
    silent = sorted(name for name, found in hosts.items() if "error" in found)
    why = {
        f"{model['name']}-{model['record'][:STORED_DIGITS]}": f"{host} has it"
        for host, found in hosts.items()
        for place in found.get("places", [])
        for model in place["models"]
        if model["kept"] and model["record"]
    }
    return {"why": why, "held": f"{' and '.join(silent)} did not answer, and may have it" if silent else ""}


def lines(hosts: Mapping[str, Mapping[str, Any]], verb: str, *, remove: bool, stack: str) -> Iterator[str]:
    """For people: of each host its folders, and in them each model with its size, its state, and whether it may go."""
    spare = 0
    for host, found in hosts.items():
        if "error" in found:
            yield f"{host}: {found['error']}"
            continue
        for place in found["places"]:
            yield f"{host}: {place['path']}, {_amount(place['free'])} free"
            for model in place["models"]:
                goes = verb == "prune" and not model["kept"]
                spare += model["bytes"] if goes else 0
                what = "removed" if model["removed"] else "goes" if goes else f"stays: {model['kept']}"
                if verb != "prune":
                    what = model["kept"] or "nobody needs it"
                yield f"  {model['name']:40} {_amount(model['bytes']):>9}  {_state(model)}; {what}"
                for name in model["files"]:
                    yield f"  {'':40} {'':>9}  damaged, missing or not its own: {name}"
            if not place["models"]:
                yield "  no model that Slipway brought"
    if verb == "prune" and not remove:
        what = (
            f"{_amount(spare)} would be freed: slipway store prune {stack} --yes"
            if spare
            else "nothing is to be removed"
        )
        yield what
    yield from _mends(hosts, verb, stack)


def _mends(hosts: Mapping[str, Mapping[str, Any]], verb: str, stack: str) -> Iterator[str]:
    kept = [model for model in _models(hosts) if model["kept"] == _NAMED]
    if verb == "verify" and any(model["state"] == "not listed" for model in kept):
        yield "what is not listed was brought without a store: there is nothing to compare it with"
    if any(model["state"] == "damaged" for model in _models(hosts)) or (
        verb == "verify" and any(model["state"] in {"missing", "partial"} for model in kept)
    ):
        yield f"to mend what is damaged or missing: slipway drift {stack} --deep --mend"


def _models(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for found in hosts.values():
        for place in found.get("places", []):
            yield from place["models"]


def _state(model: Mapping[str, Any]) -> str:
    if model["state"] == "partial":
        total = model.get("of")
        return "arriving" if not total else f"arriving, {min(100, 100 * model['bytes'] // total)} % of {_amount(total)}"
    return str(model["state"])


def _asked(
    deployment: Deployment, machine: Machine, verb: str, root: Path, where: list[dict[str, Any]], *, remove: bool
) -> dict[str, Any]:
    order = {"verb": verb, "remove": remove, "places": where}
    try:
        return asked(deployment, machine, root, "model_store.survey.survey", order, timeout_s=_TIMEOUT_S[verb])
    except RemoteError as error:
        return {"error": str(error)}


def _is_well(found: Mapping[str, Any], verb: str, *, remove: bool) -> bool:
    if "error" in found:
        return False
    models = [model for place in found["places"] for model in place["models"]]
    named = [
        (place, model["name"]) for place in found["places"] for model in place["models"] if model["kept"] == _NAMED
    ]
    if verb == "verify" and not all(_is_whole(place, name) for place, name in named):
        return False
    left = any(model["kept"].startswith("it ") and not model["removed"] for model in models) if remove else False
    return not left and not any(model["state"] == "damaged" for model in models)


def _is_whole(place: Mapping[str, Any], name: str) -> bool:
    """Whether a model is whole there; another delivery of it may be on its way beside it."""
    return any(model["name"] == name and model["state"] == "whole" for model in place["models"])


def _amount(size: float) -> str:
    """As `model_store.space.amount`, which runs on hosts, says it."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"

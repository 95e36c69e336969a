"""The resource `playbook:index:Quorum`: whether enough of several hosts are there. It touches none of them."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi.provider.experimental import provider as base

from provider.fleet import too_many
from provider.values import COMPUTED, Properties, has_unknown, is_unknown, plain, wrap

TYPE = "playbook:index:Quorum"

_KEYS = ("group", "most", "hosts")


def check(request: base.CheckRequest) -> base.CheckResponse:
    """Validates inputs: `group` (a text), `most` (a number), `hosts` (by name why each is missing; empty where it is there)."""
    given = {key: value for key, value in request.new_inputs.items() if value.value is not None}
    found = [
        base.CheckFailure(key, f"is no input of a Quorum; those are {', '.join(_KEYS)}")
        for key in sorted(given.keys() - {*_KEYS, "missing"})
    ]
    hosts = given.get("hosts")
    if not is_unknown(hosts) and (hosts is None or not isinstance(hosts.value, Mapping)):
        found.append(
            base.CheckFailure("hosts", "must be a map: by each host's name why it is missing, or an empty text")
        )
    most = given.get("most")
    if not is_unknown(most) and (isinstance(plain(most), bool) or not isinstance(plain(most), int) or plain(most) < 0):
        found.append(base.CheckFailure("most", "must be a whole number: how many may be missing"))
    if found:
        return base.CheckResponse(failures=found)
    return base.CheckResponse(inputs={key: given[key] for key in _KEYS if key in given})


def diff(request: base.DiffRequest) -> base.DiffResponse:
    """Compares inputs with the state."""
    changed = [key for key in _KEYS if request.old_state.get(key) != request.new_inputs.get(key)]
    return base.DiffResponse(changes=bool(changed), replaces=[], diffs=changed)


def decided(given: Properties, *, preview: bool) -> tuple[Properties, str]:
    """The state: the inputs, and `missing`, which has by name why each host is; and why there are too few, empty if not."""
    if has_unknown(given.get("hosts")):
        return {**given, "missing": COMPUTED}, ""
    hosts: dict[str, str] = plain(given["hosts"])
    missing = {name: reason for name, reason in hosts.items() if reason}
    most = int(plain(given.get("most")) or 0)
    refusal = "" if preview or len(missing) <= most else too_many(str(plain(given.get("group"))), most, missing)
    return {**given, "missing": wrap(missing)}, refusal

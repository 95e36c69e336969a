"""A package of ours, carried to a host in a text for its Python, which makes one call of it and leaves nothing behind."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.remote import RemoteError, on_machine
from slipway.deployment.types import Deployment, Machine

_PROGRAM = """\
import base64, json, os, sys, tempfile
with tempfile.TemporaryDirectory(prefix=".slipway-") as folder:
    program = os.path.join(folder, "program.zip")
    with open(program, "wb") as file:
        file.write(base64.b64decode({program!r}))
    sys.path.insert(0, program)
    from {module} import {function}
    print({mark!r} + json.dumps({function}(json.loads({order!r}))))
"""
_MARK = "slipway-answer:"


class UnreadableError(RemoteError):
    """The machine let the call be made, and what it said is no answer."""


def asked(
    deployment: Deployment,
    machine: Machine,
    root: Path,
    call: str,
    order: dict[str, Any],
    *,
    timeout_s: float,
    beside: Sequence[str] = (),
) -> dict[str, Any]:
    """What `call` answers to `order` on a machine.

    Raises:
        UnreadableError: it answered nothing that could be read.
        RemoteError: the machine can't be asked.
    """
    text = program(root, call, order, beside)
    said = on_machine(deployment, machine, "/usr/bin/python3 -I -B -", given=text, timeout_s=timeout_s)
    found: dict[str, Any] | None = answer(said)
    if found is None:
        raise UnreadableError(f"{machine.name} answered nothing that could be read")
    return found


def program(root: Path, call: str, order: dict[str, Any], beside: Sequence[str] = ()) -> str:
    """A text for ``python3 -``.

    Args:
        root: the project's folder.
        call: ``package.module.function``, of playbooks/module_utils.
        order: plain data, the function's one argument.
        beside: modules of playbooks/module_utils that the package takes from where Ansible's modules have them.
    """
    package = root / "playbooks" / "module_utils"
    module, _, function = call.rpartition(".")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((package / module.partition(".")[0]).glob("*.py")):
            archive.write(file, file.relative_to(package))
        for folder in ("ansible", "ansible/module_utils") if beside else ():
            archive.writestr(f"{folder}/__init__.py", "")
        for name in beside:
            archive.write(package / f"{name}.py", f"ansible/module_utils/{name}.py")
    return _PROGRAM.format(
        program=base64.b64encode(packed.getvalue()),
        module=module,
        function=function,
        mark=_MARK,
        order=json.dumps(order),
    )


def answer(said: str) -> Any:
    """What the function returned, from all that the host printed; None where it returned nothing."""
    line = next((line for line in said.splitlines() if line.startswith(_MARK)), None)
    return None if line is None else json.loads(line.removeprefix(_MARK))

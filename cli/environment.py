"""The environment in which a stack's program runs: where the engine is, the passphrase, the stack's secrets.

Keys that a stack takes from variables (``{env: NAME}``) and that nobody has set are made once, kept in files that
only this user can read, and the same ever after.
"""

import os
import secrets
import shlex
import sys
from pathlib import Path

from slipway.paths import MACHINE, PASSPHRASE, PLAYBOOK_LOG, PULUMI_STATE, ROOT, SECRETS, STATE
from slipway.settings.load import made_secrets, read_raw

_SWITCHES = {
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    # All plugins are in the checkout or on PATH; a download attempt would only wait for a network that may not be there.
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    # An unknown output inside a text fails the run instead of ending up in a configuration file.
    "PULUMI_ERROR_OUTPUT_STRING": "true",
}


def stack_environment(stack: str) -> dict[str, str]:
    """The variables that a run of pulumi on `stack` needs beyond the ones that are set already.

    Raises:
        SettingsError: no such stack, or a stack file that can't be read.
    """
    PULUMI_STATE.mkdir(parents=True, exist_ok=True)
    additions = {key: value for key, value in _SWITCHES.items() if key not in os.environ}
    additions["PATH"] = _path_with_engine()
    if "SLIPWAY_PLAYBOOK_LOG" not in os.environ:
        additions["SLIPWAY_PLAYBOOK_LOG"] = str(PLAYBOOK_LOG)
    if STATE != MACHINE and "PULUMI_BACKEND_URL" not in os.environ:
        # Pulumi.yaml names the usual place; it can't follow SLIPWAY_STATE.
        additions["PULUMI_BACKEND_URL"] = f"file://{PULUMI_STATE}"
    if "PULUMI_CONFIG_PASSPHRASE" not in os.environ and "PULUMI_CONFIG_PASSPHRASE_FILE" not in os.environ:
        kept_secret(PASSPHRASE)
        additions["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(PASSPHRASE)
    for variable in dict.fromkeys(made_secrets(read_raw(stack, ROOT))):
        if not os.environ.get(variable):
            additions[variable] = kept_secret(SECRETS / variable)
    return additions


def exports(stack: str) -> str:
    """Shell commands that export `stack_environment`."""
    return "\n".join(f"export {key}={shlex.quote(value)}" for key, value in stack_environment(stack).items())


def kept_secret(file: Path) -> str:
    """The secret in `file`, made if there is none: 256 random bits in hexadecimal, readable by this user alone."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    STATE.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(secret + "\n")
    try:
        # Unlike a rename, a link never replaces a secret that another process has just made.
        os.link(part, file)
    except FileExistsError:
        return file.read_text(encoding="ascii").strip()
    finally:
        part.unlink()
    return secret


def _path_with_engine() -> str:
    """PATH with the virtual environment's bin first: the engine and its language host are beside the interpreter."""
    here = str(Path(sys.executable).parent)
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([here, *(part for part in parts if part != here)])

"""Read a stack's settings: from what Pulumi hands the program, or from the stack's file for commands that only compute."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from slipway.settings.errors import PREFIX, SettingsError, path, place, render
from slipway.settings.models import ModelSource
from slipway.settings.platform import Settings
from slipway.settings.secrets import misplaced_secrets, places, values_at
from slipway.settings.types import Secret, is_environment_variable


def parse(document: object, source: str) -> Settings:
    """Validate what stands under ``slipway:platform``.

    Args:
        document: the decrypted section as plain data.
        source: what the errors name as its origin, such as ``stacks/Pulumi.lab.yaml``.

    Raises:
        SettingsError: with every mistake, one line each.
    """
    if not isinstance(document, Mapping):
        what = "is missing" if document is None else "is not a section with keys"
        raise SettingsError(
            [f"{PREFIX}: {what}; there is nothing to deploy; start from a copy of stacks/Pulumi.poc.yaml"], source
        )
    try:
        return Settings.model_validate(dict(document))
    except ValidationError as error:
        raise SettingsError(render(error, Settings), source) from None


def in_order_of(document: Any, raw: Any) -> Any:
    """`document` with the keys of its maps in the order of `raw`'s; those that `raw` does not have come last.

    Pulumi hands a program its configuration with all keys sorted. The order of the stack's file has a meaning (models are
    given GPUs in it, the first machine of a pool has the gateway), and is what `slipway check` goes by.
    """
    if isinstance(document, Mapping) and isinstance(raw, Mapping):
        keys = [*(key for key in raw if key in document), *(key for key in document if key not in raw)]
        return {key: in_order_of(document[key], raw.get(key)) for key in keys}
    if isinstance(document, list) and isinstance(raw, list) and len(document) == len(raw):
        return [in_order_of(inner, other) for inner, other in zip(document, raw, strict=True)]
    return document


def check_files(settings: Settings, source: str) -> None:
    """Check that the files which the settings name on this machine are there and of use.

    Raises:
        SettingsError: with every missing file, one line each.
    """
    problems = []
    told: set[tuple[str | int, ...]] = set()
    for machine in settings.machines.values():
        # Machines of one section have one key.
        if machine.key_file is not None and not machine.key_file.is_file() and machine.keys not in told:
            told.add(machine.keys)
            problems.append(
                f"{place(*machine.keys, 'key_file')}: {machine.key_file} does not exist; "
                f"{machine.name} could not be reached: correct the path, or make the key with ssh-keygen"
            )
    for pool_name, pool in settings.pools.items():
        public_key = pool.driver.key_file
        if public_key is not None and (unreadable := _unreadable(public_key)):
            mend = "the driver's packages could not be trusted: correct the path"
            problems.append(f"{place('pools', pool_name, 'driver', 'key_file')}: {public_key} {unreadable}; {mend}")
    for name, model in settings.served.items():
        if (reason := _lacking(model.source)) is not None:
            problems.append(f"{place('models', name, 'source', 'path')}: {model.source.path} {reason}")
    for key in ("certificate_file", "key_file", "ca_file"):
        file: Path | None = getattr(settings.front, key)
        if file is not None and (reason := _unreadable(file)):
            problems.append(f"{place('front', key)}: {file} {reason}; the front could not serve TLS: correct the path")
    if problems:
        raise SettingsError(problems, source)


def _lacking(source: ModelSource) -> str | None:
    """What is wrong with the files of `source` on this machine; None where nothing is, or none are meant to be here."""
    given = source.path
    if given is None:
        return None
    if source.gguf is not None:
        file = given / source.gguf if given.is_dir() else given
        if file.is_file():
            return None
        return "does not exist; the engine would have nothing to load: give the GGUF file, or the folder that holds it"
    if (given / "config.json").is_file():
        return None
    what = "holds no config.json" if given.is_dir() else "does not exist"
    return f"{what}; the engine would have nothing to load: give the folder that holds the model's config.json"


def _unreadable(file: Path) -> str:
    """Why `file` can't be taken as PEM text; empty when it can."""
    try:
        file.read_text(encoding="ascii")
    except FileNotFoundError:
        return "does not exist"
    except (OSError, UnicodeDecodeError) as error:
        return f"can't be read as PEM text ({getattr(error, 'strerror', None) or 'not ASCII'})"
    return ""


def stack_file(stack: str, root: Path) -> Path:
    """The YAML file of `stack` in the checkout at `root`."""
    return root / "stacks" / f"Pulumi.{stack}.yaml"


def read_raw(stack: str, root: Path) -> Any:
    """What `stack`'s file says under ``slipway:platform``, secrets still encrypted; None when it says nothing.

    Raises:
        SettingsError: no such stack, or a file that is not YAML.
    """
    return read_config(stack, root).get(PREFIX)


def read_config(stack: str, root: Path) -> dict[str, Any]:
    """All that `stack`'s file says under ``config``, secrets still encrypted.

    Raises:
        SettingsError: no such stack, or a file that is not YAML.
    """
    file = stack_file(stack, root)
    source = str(file.relative_to(root))
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(stack_names(root)) or "none"
        raise SettingsError([f"there is no such stack; the stacks here are: {known}"], source) from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError([f"can't be read ({why}); nothing is known of the stack: mend the file"], source) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise SettingsError([f"{line}not valid YAML; the stack can't be read; correct the line"], source) from None
    config = document.get("config") if isinstance(document, dict) else None
    return config if isinstance(config, dict) else {}


def stack_names(root: Path) -> list[str]:
    """The stacks that have a file in the checkout."""
    return sorted(
        file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in (root / "stacks").glob("Pulumi.*.yaml")
    )


_OWN = (("gateway", "engine_key"), ("gateway", "teams", "*", "key"), ("front", "floating", "secret"))
"""Secrets that are Slipway's own: it may make them up. All others are somebody's: providers' keys, hubs' tokens."""


def made_secrets(document: object) -> Iterator[str]:
    """The variables among `secret_variables` whose values Slipway may make up: its own keys, and nobody else's tokens."""
    own = [value for each in _OWN for _, value in values_at(document, each)]
    for variable in dict.fromkeys(secret_variables(own)):
        # The name becomes a file's and a shell's: what can't name a variable is left to the settings to refuse.
        if is_environment_variable(variable):
            yield variable


def secret_variables(document: object) -> Iterator[str]:
    """The names of the environment variables that the settings take secrets from (each ``{env: NAME}``), in order."""
    if isinstance(document, Mapping):
        if set(document) == {"env"} and isinstance(document["env"], str):
            yield document["env"]
            return
        for value in document.values():
            yield from secret_variables(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from secret_variables(value)


def read_public(stack: str, root: Path) -> Settings:
    """The settings of `stack` for commands that need no secret: every secret is replaced by a placeholder.

    Raises:
        SettingsError: as `read_raw` and `parse`.
    """
    raw = read_raw(stack, root)
    source = str(stack_file(stack, root).relative_to(root))
    refuse_misplaced_secrets(raw, source)
    return parse(_without_secrets(raw), source)


def refuse_misplaced_secrets(raw: object, source: str) -> None:
    """See that nothing is encrypted in the file that Slipway would not keep secret.

    Raises:
        SettingsError: something is, one line each.
    """
    kept = ", ".join(path(*each) for each in places())
    problems = [
        f"{PREFIX}.{misplaced}: is encrypted, and no secret is kept there: its value would be readable in the stack's state and "
        f"on the hosts; keep secrets in {kept}, or have the host's own administration bring it"
        for misplaced in misplaced_secrets(raw)
    ]
    if problems:
        raise SettingsError(problems, source)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) in ({"env"}, {"secure"}):
            return _placeholder(value)
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _placeholder(value: Mapping[str, Any]) -> Any:
    # Distinct per reference, so that two teams' different keys stay different, and strong enough to be accepted.
    secret = Secret(f"placeholder-{'0123456789abcdefghijklmnopqrstuvwxyz'}-{next(iter(value.values()))}")
    secret.env = value.get("env")
    return secret

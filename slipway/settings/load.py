"""Read a stack's settings: from what Pulumi hands the program, or from the stack's file for commands that only compute."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from slipway.settings.errors import PREFIX, SettingsError, render
from slipway.settings.platform import Settings
from slipway.settings.secrets import misplaced_secrets
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


def check_files(settings: Settings, source: str) -> None:
    """Check that the files which the settings name on this machine are there and of use.

    Raises:
        SettingsError: with every missing file, one line each.
    """
    problems = []
    for index, host in enumerate(settings.hosts):
        if host.key_file is not None and not host.key_file.is_file():
            problems.append(
                f"{PREFIX}.hosts[{index}].key_file: {host.key_file} does not exist; "
                f"{host.name} could not be reached: correct the path, or make the key with ssh-keygen"
            )
    folder = settings.model.source.path
    if folder is not None and not (folder / "config.json").is_file():
        what = "holds no config.json" if folder.is_dir() else "does not exist"
        problems.append(
            f"{PREFIX}.model.source.path: {folder} {what}; the engine would have nothing to load: "
            "give the folder that holds the model's config.json"
        )
    for key in ("certificate_file", "key_file", "ca_file"):
        file: Path | None = getattr(settings.front, key)
        if file is not None and (reason := _unreadable(file)):
            problems.append(f"{PREFIX}.front.{key}: {file} {reason}; the front could not serve TLS: correct the path")
    if problems:
        raise SettingsError(problems, source)


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


def made_secrets(document: object) -> Iterator[str]:
    """The variables among `secret_variables` whose values Slipway may make up: its own keys, and nobody else's tokens."""
    sections = document if isinstance(document, Mapping) else {}
    gateway, engine = sections.get("gateway"), sections.get("engine")
    keys = gateway.get("keys") if isinstance(gateway, Mapping) else None
    own = [entry.get("key") for entry in keys if isinstance(entry, Mapping)] if isinstance(keys, list) else []
    if isinstance(engine, Mapping):
        own.insert(0, engine.get("key"))
    for variable in secret_variables(own):
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
    kept = "gateway.keys[].key, engine.key or model.source.token"
    problems = [
        f"{PREFIX}.{path}: is encrypted, and no secret is kept there: its value would be readable in the stack's state and on "
        f"the hosts; keep secrets in {kept}, or have the host's own administration bring it"
        for path in misplaced_secrets(raw)
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

"""Makes keys of teams, and writes what is kept of them into a stack's file.

A key is ``sk-ID-SECRET``: eight letters and digits by which it is found, and 43 characters of base 62 (256 bits). Only a hash
of it is kept (`slipway.deployment.teams.key_hash`), with a salt of its own.
"""

from __future__ import annotations

import os
import secrets
import string
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway.deployment.teams import key_hash
from slipway.errors import UserMistake

_ID = string.ascii_lowercase + string.digits
_SECRET = string.ascii_letters + string.digits
ID_LENGTH = 8
SECRET_LENGTH = 43
SALT_BYTES = 16
INDENT = 2

Entry = dict[str, Any]
"""What is kept of a key: id, salt, hash and, where it ends, not_after."""


@dataclass(frozen=True)
class Made:
    """A new key. `key` is shown once; `entry` is what is kept."""

    key: str
    entry: Entry

    def __repr__(self) -> str:
        """The key itself is no part of it."""
        return f"Made({self.entry['id']})"


def make(not_after: str | None = None) -> Made:
    """A new key, which ends at `not_after` (a date or a time, as the settings have it)."""
    id_ = "".join(secrets.choice(_ID) for _ in range(ID_LENGTH))
    key = f"sk-{id_}-" + "".join(secrets.choice(_SECRET) for _ in range(SECRET_LENGTH))
    salt = secrets.token_hex(SALT_BYTES)
    entry: Entry = {"id": id_, "salt": salt, "hash": key_hash(salt, key)}
    return Made(key, entry if not_after is None else entry | {"not_after": not_after})


def with_keys(text: str, team: Sequence[str], entries: Sequence[Entry]) -> str:
    """A stack's YAML with other `keys` for a team; all else stays, comments and order too.

    Args:
        text: the file's content.
        team: the keys that lead to the team's map.
        entries: what is kept of its keys; none removes the list.

    Raises:
        UserMistake: the team stands in a flow map within another one, which can't be edited line by line.
    """
    node, parent = _found(text, team)
    before = yaml.safe_load(text)
    style = " " * (node.start_mark.column if not node.flow_style else 0)
    keyed = next(((name, value) for name, value in node.value if name.value == "keys"), None)
    if node.flow_style:
        if parent.flow_style:
            raise UserMistake(
                f"{'.'.join(team)} stands within braces inside other braces, where no line can be put in; write the teams one "
                "below the other, then try again"
            )
        rest = {name: value for name, value in _at(before, team).items() if name != "keys"}
        name_column = next(name.start_mark.column for name, value in parent.value if value is node)
        indent = " " * (name_column + INDENT)
        block = _dump(rest | ({"keys": list(entries)} if entries else {}), indent)
        comment, _, after = text[node.end_mark.index :].partition("\n")
        head = text[: node.start_mark.index].rstrip(" ") + (f"  {comment.strip()}" if comment.strip() else "")
        new = f"{head}\n{block}{after}"
    else:
        block = _dump({"keys": list(entries)}, style) if entries else ""
        if keyed is not None:
            start = text.rindex("\n", 0, keyed[0].start_mark.index) + 1
            end = _line_end(text, _last(keyed[1]))
        else:
            start = end = _line_end(text, _last(node))
        head = text[:start]
        new = (head if head.endswith("\n") else f"{head}\n") + block + text[end:]
    _check(before, new, team, entries)
    return new if new.endswith("\n") else new + "\n"


def write(file: Path, text: str) -> None:
    """Put a file in the place of another at once, so that a kill leaves the old one or the new one."""
    mode = file.stat().st_mode & 0o777
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        Path(name).chmod(mode)
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _found(text: str, keys: Sequence[str]) -> tuple[yaml.MappingNode, yaml.MappingNode]:
    node = parent = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in keys:
        parent = node
        below = parent.value if isinstance(parent, yaml.MappingNode) else []
        node = next((value for name, value in below if name.value == key), None)
    if not isinstance(node, yaml.MappingNode) or not isinstance(parent, yaml.MappingNode):
        raise UserMistake(f"{'.'.join(keys)} is no map in the stack's file: write the team as one")
    return node, parent


def _at(document: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        document = document[key]
    return document


def _last(node: yaml.Node) -> int:
    """Where a node's last character stands: the end of a block's own mark is that of the blanks and comments after it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    index: int = node.end_mark.index
    return index


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _dump(data: dict[str, Any], indent: str) -> str:
    lines = yaml.dump(data, Dumper=_Indented, sort_keys=False, default_flow_style=False, width=120).splitlines()
    return "".join(f"{indent}{line}\n" for line in lines)


class _Indented(yaml.SafeDumper):
    """Indents lists below their key, as the ready stacks have it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- its own
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 -- its own
        super().increase_indent(flow, indentless=False)


def _check(before: Any, new: str, team: Sequence[str], entries: Sequence[Entry]) -> None:
    """Nothing but the keys may have changed, whatever form the file has."""
    expected, after = before, yaml.safe_load(new)
    wanted = _at(expected, team)
    wanted.pop("keys", None)
    if entries:
        wanted["keys"] = list(entries)
    if after != expected:
        raise UserMistake(
            f"the keys of {'.'.join(team)} can't be put into the stack's file without changing something else of it; write "
            "the team's settings one below the other, then try again"
        )

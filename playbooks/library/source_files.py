#!/usr/bin/python
"""Ansible module: a folder of text files that holds just these, written in one go.

A task with a loop starts a program on the host for each file; this is one for all. Each file appears whole or not at all.
What else lies in the folder is removed, but for the bytecode that Python keeps beside its files.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: source_files
short_description: Keep a folder of text files
description:
  - Writes the files that differ, makes the folders that they need, and removes what else is in the folder.
  - All is root's, and readable for everybody. The folder's own parent has to be there.
options:
  folder:
    description: The folder.
    type: path
    required: true
  files:
    description: The text of each file, by its path in the folder.
    type: dict
    required: true
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Install the modules
  source_files:
    folder: /opt/slipway/nginx/lua/slipway
    files: {init.lua: "return {}\n"}
"""

RETURN = r"""
written:
  description: Files that were, or in check mode would be, written.
  type: list
  returned: always
removed:
  description: What was, or in check mode would be, removed.
  type: list
  returned: always
manages:
  description: What of the host is the task's, for the record (docs/reference/playbook-resource.md).
  type: list
  returned: always
"""

BYTECODE = "__pycache__"
FILE_MODE, FOLDER_MODE = 0o644, 0o755


def folders(files: Mapping[str, str]) -> set[str]:
    """The folders that the files need, by their path; "." is the folder itself."""
    return {"."} | {str(parent) for path in files for parent in Path(path).parents}


def is_kept(path: Path, mode: int) -> bool:
    """Whether it is a file or folder of root's with this mode, and no link."""
    try:
        status = path.lstat()
    except OSError:
        return False
    kind = stat.S_ISDIR if mode == FOLDER_MODE else stat.S_ISREG
    mine = (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    return kind(status.st_mode) and stat.S_IMODE(status.st_mode) == mode and mine


def differing(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    """Files and folders that are not as they ought to be; folders first, the outer before the inner."""
    anew = set()
    for path in sorted(folders(files)):
        if not is_kept(folder / path, FOLDER_MODE):
            yield path
        if (folder / path).is_symlink() or not (folder / path).is_dir():
            anew.add(Path(path))
    for path, text in sorted(files.items()):
        target = folder / path
        if anew & set(Path(path).parents) or not is_kept(target, FILE_MODE) or target.read_bytes() != text.encode():
            yield path


def strangers(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    """What else is in the folder; of a folder that is a stranger itself, nothing of what it holds."""
    known = folders(files)
    for path in sorted(known):
        inner = folder / path
        if not inner.is_dir() or inner.is_symlink():
            continue
        for entry in sorted(inner.iterdir()):
            name = str(entry.relative_to(folder))
            if entry.name != BYTECODE and name not in files and name not in known:
                yield name


def remove(path: Path) -> None:
    """A file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


def put(folder: Path, path: str, text: str | None) -> None:
    """One file whole, or with None for its text a folder. What has its place and is of another kind makes way."""
    target = folder / path
    if text is None:
        if target.is_symlink() or not target.is_dir():
            remove(target)
            target.mkdir()
        mode = FOLDER_MODE
    else:
        if target.is_dir() and not target.is_symlink():
            remove(target)
        new = target.with_name(f".{target.name}.new")
        remove(new)
        new.write_text(text, encoding="utf-8")
        new.replace(target)
        mode = FILE_MODE
    os.chown(target, os.geteuid(), os.getegid())
    target.chmod(mode)


def keep(folder: Path, files: Mapping[str, str], *, check: bool) -> tuple[list[str], list[str]]:
    """Bring the folder to what it ought to hold; what was written and removed. check: only say it."""
    written, removed = list(differing(folder, files)), list(strangers(folder, files))
    if not check:
        for path in removed:
            remove(folder / path)
        for path in written:
            put(folder, path, files.get(path))
    return written, removed


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"folder": {"type": "path", "required": True}, "files": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    folder, files = Path(module.params["folder"]), module.params["files"]
    try:
        written, removed = keep(folder, files, check=module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"{folder} can't be brought to its files: {error}")
        return
    lines = [*(f"write {path}\n" for path in written), *(f"remove {path}\n" for path in removed)]
    module.exit_json(
        changed=bool(lines),
        written=written,
        removed=removed,
        manages=[{"kind": "tree", "path": str(folder), "content": True}],
        diff={"before_header": str(folder), "after_header": str(folder), "before": "", "after": "".join(lines)},
    )


if __name__ == "__main__":
    main()

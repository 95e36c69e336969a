#!/usr/bin/python
"""Ansible module: a program of somebody else's in a folder of its own, from a single executable or a tar archive.

Whatever the archive's own layout, the program is `bin/NAME` in the folder afterwards, with what it came with beside it. The
folder appears whole or not at all. A file that was changed, lost or cut off is noticed by its size and mode; a change that
keeps both is not. It fetches nothing: the file lies on the host already, and is taken away once it is unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway_selinux import relabel

DOCUMENTATION = r"""
module: program_files
short_description: Keep a program that comes as an executable or a tar archive in a folder
description:
  - Verifies the file's SHA-256, unpacks it, and sees that the program starts on this host.
  - In check mode it only says whether there is something to do; then no file is needed.
options:
  folder:
    description: The program's folder; its name is the first 16 hex digits of the file's SHA-256.
    type: path
    required: true
  name:
    description: The program; afterwards bin/NAME in the folder.
    type: str
    required: true
  source:
    description: The executable or archive, on the host.
    type: path
    required: true
  sha256:
    description: The file's digest; empty where only the folder's name is known of it.
    type: str
    default: ""
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Install Ollama
  program_files:
    folder: /opt/slipway/ollama/0123456789abcdef
    name: ollama
    source: /opt/slipway/ollama/.0123456789abcdef.part
"""

RETURN = r"""
reason:
  description: Why the program was, or in check mode would be, installed.
  type: str
  returned: always
manages:
  description: What of the host is the program's.
  type: list
  elements: dict
  returned: always
"""

STAMP = "slipway.json"
BLOCK = 1 << 22
SHOWN = 300


class ProgramError(Exception):
    """It can't be installed; the text is for the person at the keyboard."""


def contents(folder: Path) -> dict[str, list[Any]]:
    """Size and mode of each file, and where a link leads, by path in the folder."""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(folder))] = [str(path.readlink())]
        elif stat.S_ISREG(status.st_mode):
            found[str(path.relative_to(folder))] = [status.st_size, stat.S_IMODE(status.st_mode)]
    return found


def reason(folder: Path, name: str) -> str:
    """Why the program has to be installed; empty when it is as it ought to be. Files beside it are nobody's business."""
    if not folder.is_dir():
        return "it is not there"
    try:
        was = json.loads((folder / STAMP).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return "its installation was not completed"
    if f"bin/{name}" not in was:
        return f"bin/{name} is not among its files"
    now = contents(folder)
    if wrong := sorted(path for path, entry in was.items() if now.get(path) != entry):
        return f"changed by hand: {', '.join(wrong[:5])}"
    return ""


def digest(file: Path) -> str:
    """The file's SHA-256."""
    found = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def verify(source: Path, sha256: str, folder: Path) -> None:
    """That the file is the one that was asked for.

    Raises:
        ProgramError: it is another.
    """
    found = digest(source)
    if sha256 and found != sha256.lower():
        raise ProgramError(f"its SHA-256 is {found}, and not {sha256}: it is another file, or not whole")
    if found[:16] != folder.name:
        raise ProgramError(
            f"its SHA-256 is {found}, and so it belongs in {folder.parent / found[:16]}, not in {folder}"
        )


def unpack(source: Path, name: str, target: Path) -> None:
    """Put the program to bin/NAME in `target`, which is not there yet.

    Raises:
        ProgramError: the file is neither a program nor an archive with one.
    """
    with source.open("rb") as file:
        magic = file.read(4)
    if magic == b"\x7fELF" or magic[:2] == b"#!":
        (target / "bin").mkdir(parents=True)
        shutil.copyfile(source, target / "bin" / name)
        (target / "bin" / name).chmod(0o755)
        return
    if magic[:2] == b"PK":
        raise ProgramError("it is a ZIP archive: pack it anew as a tar archive, or take the executable out of it")
    tree = target.with_name(f"{target.name}.tree")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    try:
        options = ("--no-same-owner", "--no-same-permissions")
        command = ["tar", "--extract", *options, f"--file={source}", f"--directory={tree}"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            said = done.stderr.strip()[:SHOWN]
            raise ProgramError(f"it is neither a program nor a tar archive that this host can unpack: {said}")
        files = [path for path in tree.rglob(name) if path.is_file() and not path.is_symlink()]
        found = [path for path in files if path.stat().st_mode & stat.S_IXUSR]
        if len(found) != 1:
            what = "no executable" if not found else "several executables"
            raise ProgramError(f"it holds {what} named {name}")
        home = found[0].parent
        if home.name == "bin" and home != tree:
            home.parent.rename(target)
        else:
            # A flat archive: the libraries that the program looks for beside itself lie there too.
            target.mkdir()
            home.rename(target / "bin")
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def starts(program: Path) -> None:
    """That the program runs on this host at all.

    Raises:
        ProgramError: it does not; the text is its own.
    """
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=120,
            env={**os.environ, "HOME": "/nonexistent"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramError(f"the program does not start on this host: {error}") from None
    if done.returncode:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])[:SHOWN]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise ProgramError(f"the program does not start on this host ({how}): {said or 'it said nothing'}")


def install(folder: Path, name: str, source: Path, sha256: str) -> None:
    """Bring the folder to what the file holds, and take the file away.

    Raises:
        ProgramError: the file is not what was asked for, or does not work here.
    """
    if not source.is_file():
        raise ProgramError("it is not there")
    verify(source, sha256, folder)
    new, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("new", "old"))
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        unpack(source, name, new)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                os.chown(path, 0, 0)
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        starts(new / "bin" / name)
        (new / STAMP).write_text(json.dumps({"files": contents(new)}, indent=1) + "\n", encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(old)
        new.rename(folder)
        if problem := relabel(folder):
            raise ProgramError(problem)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
    source.unlink()


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "source": {"type": "path", "required": True},
            "sha256": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    folder, name = Path(module.params["folder"]), module.params["name"]
    why = reason(folder, name)
    if why and not module.check_mode:
        os.umask(0o022)
        try:
            install(folder, name, Path(module.params["source"]), module.params["sha256"])
        except (ProgramError, OSError) as error:
            module.fail_json(msg=f"{name} can't be installed from {module.params['source']}: {error}")
            return
    module.exit_json(
        changed=bool(why),
        reason=why,
        manages=[{"kind": "tree", "path": str(folder)}],
        diff={
            "before_header": str(folder),
            "after_header": str(folder),
            "before": "",
            "after": f"{why}\n" if why else "",
        },
    )


if __name__ == "__main__":
    main()

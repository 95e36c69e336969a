#!/usr/bin/python
"""Ansible module: the public key of a package repository, put in place only where it is the one that was asked for.

The fingerprint is computed here from the key itself, so that no GnuPG is needed on the host and nothing is trusted before.
It does not configure repositories.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

DOCUMENTATION = r"""
module: repository_key
short_description: Put a repository's public key in place if it has this fingerprint
description:
  - Takes the key as text or fetches it, and writes it where its fingerprint is the one that was asked for. Another key is refused
    before anything is written.
options:
  dest:
    description: The file of the key (ASCII-armoured), read by apt or rpm.
    type: path
    required: true
  fingerprint:
    description: The whole fingerprint of the key.
    type: str
    required: true
  content:
    description: The key; where it is empty it is fetched from C(url).
    type: str
    default: ""
  url:
    description: Where the key is fetched from. A key that is in place already is not fetched again.
    type: str
    default: ""
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Put the key in place
  repository_key:
    dest: /etc/apt/keyrings/vendor.asc
    fingerprint: EB693B3035CD5710E231E123A4B469963BF863CC
    url: https://vendor.example/key.pub
"""

RETURN = r"""
manages:
  description: The file, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: always
"""

PUBLIC_KEY = 6
"""The tag of a primary key's packet (RFC 9580, section 5)."""
_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
LARGEST = 1 << 20
FETCH_S = 60


class KeyRefused(Exception):  # noqa: N818 -- the mistake is not the program's
    """The key is none, or another one; the text is for the person at the keyboard."""


def fingerprints(text: str) -> list[str]:
    """The fingerprints of the primary keys in an armoured text.

    Raises:
        KeyRefused: it holds no key that can be read.
    """
    found = [fingerprint(body) for tag, body in packets(dearmoured(text)) if tag == PUBLIC_KEY]
    if not found:
        raise KeyRefused("holds no public key")
    return found


def dearmoured(text: str) -> bytes:
    """The bytes within the armour of one block."""
    if text.count(_BEGIN) != 1 or _END not in text:
        raise KeyRefused("is not exactly one block that begins with '-----BEGIN PGP PUBLIC KEY BLOCK-----'")
    block = text.partition(_BEGIN)[2].partition(_END)[0].replace("\r", "")
    # Headers end at the first empty line; the checksum is a line of its own that begins with =.
    headers, _, rest = block.partition("\n\n")
    lines = (rest or headers).splitlines()
    data = "".join(line.strip() for line in lines if not line.startswith("="))
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyRefused(f"can't be read ({error})") from error


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each OpenPGP packet."""
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise KeyRefused("is no OpenPGP data")
        if head & 0x40:
            tag, (length, at) = head & 0x3F, new_length(data, at + 1)
        else:
            tag, size = (head >> 2) & 0x0F, head & 3
            if size == 3:
                raise KeyRefused("has a packet without a length")
            width = 1 << size
            length, at = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
        body = data[at : at + length]
        if len(body) < length:
            raise KeyRefused("is cut off")
        yield tag, body
        at += length


def new_length(data: bytes, at: int) -> tuple[int, int]:
    """The length of a packet of the new format, and where its body begins."""
    first = data[at] if at < len(data) else 0
    if first < 192:
        return first, at + 1
    if first < 224:
        return ((first - 192) << 8) + int.from_bytes(data[at + 1 : at + 2], "big") + 192, at + 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise KeyRefused("has a packet in parts")


def fingerprint(body: bytes) -> str:
    """Of a public key's packet (RFC 9580, section 5.5.4)."""
    version = body[0] if body else 0
    if version == 4:
        # SHA-1 is what a fingerprint of version 4 is; a second preimage of it is not known.
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()
    if version == 6:
        return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise KeyRefused(f"is of version {version}, which is not supported")


def check(text: str, wanted: str, where: str) -> None:
    """The text is the key with this fingerprint and holds no other.

    Raises:
        KeyRefused: it is not.
    """
    try:
        found = fingerprints(text)
    except KeyRefused as error:
        raise KeyRefused(
            f"the key from {where} {error}; packages could not be trusted: look at that file, or give another key_file"
        ) from error
    if found != [wanted]:
        raise KeyRefused(
            f"the key from {where} has the fingerprint {', '.join(found)}, and {wanted} was asked for; nothing is installed with "
            "a key that may be anybody's: ask whoever runs the repository, and mend key_fingerprint or key_file"
        )


def fetch(url: str) -> str:
    """The text at an address."""
    try:
        answer = open_url(url, timeout=FETCH_S, http_agent="slipway")
        return bytes(answer.read(LARGEST)).decode("ascii", errors="replace")
    except Exception as error:  # open_url raises many kinds
        raise KeyRefused(
            f"the key can't be fetched from {url}: {error}; check that the host may reach it, or give the key as key_file"
        ) from error


def same(file: Path, wanted: str) -> bool:
    """Whether the right key lies there already."""
    try:
        check(file.read_text(encoding="ascii"), wanted, str(file))
    except (OSError, UnicodeDecodeError, KeyRefused):
        return False
    return True


def put(file: Path, text: str) -> None:
    """Write the key so that a crash leaves the old file or the new one."""
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text, encoding="ascii")
    temporary.chmod(0o644)
    temporary.replace(file)


def apply(arguments: dict[str, Any], *, dry: bool) -> bool:
    """Whether something changed, or would."""
    file, wanted = Path(arguments["dest"]), re.sub(r"\s", "", arguments["fingerprint"]).upper()
    given = arguments["content"]
    if given:
        check(given, wanted, "key_file")
        if file.is_file() and file.read_text(encoding="ascii", errors="replace") == given and readable(file):
            return False
    elif same(file, wanted) and readable(file):
        return False
    if not dry:
        text = given or fetch(arguments["url"])
        check(text, wanted, "key_file" if given else arguments["url"])
        put(file, text)
    return True


def readable(file: Path) -> bool:
    """Whether apt's own user may read it, and nobody but root may write it."""
    status = file.stat()
    return status.st_mode & 0o777 == 0o644 and status.st_uid == os.geteuid()


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "fingerprint": {"type": "str", "required": True},
            "content": {"type": "str", "default": "", "no_log": False},
            "url": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        changed = apply(module.params, dry=module.check_mode)
    except KeyRefused as error:
        module.fail_json(msg=str(error))
        return
    module.exit_json(
        changed=changed, dest=module.params["dest"], manages=[{"kind": "path", "path": module.params["dest"]}]
    )


if __name__ == "__main__":
    main()

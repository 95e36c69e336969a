"""A repository's key: its fingerprint is computed from the key itself, and another key is refused before it is written."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.loading import load

keys = load("library/repository_key.py")
BODY = b"\x04" + (1_700_000_000).to_bytes(4, "big") + b"\x01" + b"\x00\x10\xff\xff" + b"\x00\x11\x01\x00\x01"
OTHER = BODY[:-1] + b"\x03"


def armoured(*packets: bytes, headers: str = "") -> str:
    text = base64.encodebytes(b"".join(packets)).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n{headers}\n{text}=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"


def old(tag: int, body: bytes) -> bytes:
    return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2, "big") + body


def new(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, len(body)]) + body


def print_of(body: bytes) -> str:
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324


KEY = armoured(old(6, BODY), new(13, b"somebody"))


def apply(folder: Path, *, dry: bool = False, **more: Any) -> bool:
    arguments = {"dest": str(folder / "k.asc"), "fingerprint": print_of(BODY), "content": "", "url": "https://v.test/k"}
    changed: bool = keys.apply({**arguments, **more}, dry=dry)
    return changed


@pytest.mark.parametrize("packet", [old, new])
@pytest.mark.parametrize("headers", ["", "Version: GnuPG v2.0.22 (GNU/Linux)\nComment: x\n"])
def test_the_fingerprint_of_both_formats(packet: Any, headers: str) -> None:
    text = armoured(packet(6, BODY), packet(13, b"somebody"), packet(14, OTHER), headers=headers)
    assert keys.fingerprints(text) == [print_of(BODY)]


@pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg to compare with")
def test_gpg_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(tmp_path / "home"), "--batch", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "a@b.test", "rsa2048"], check=True, capture_output=True)
    listed = subprocess.run([*gpg, "--with-colons", "--fingerprint"], check=True, capture_output=True, text=True).stdout
    wanted = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    text = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True, text=True).stdout
    assert keys.fingerprints(text) == [wanted]


def test_the_right_key_is_written_once(tmp_path: Path) -> None:
    assert apply(tmp_path, content=KEY, dry=True)
    assert not (tmp_path / "k.asc").exists()
    assert apply(tmp_path, content=KEY)
    assert (tmp_path / "k.asc").read_text() == KEY
    assert not apply(tmp_path, content=KEY)
    (tmp_path / "k.asc").chmod(0o666)
    assert apply(tmp_path, content=KEY)


def test_another_key_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for dry in (True, False):
        with pytest.raises(keys.KeyRefused) as refused:
            apply(tmp_path, content=armoured(old(6, OTHER)), dry=dry)
    assert str(refused.value) == (
        f"the key from key_file has the fingerprint {print_of(OTHER)}, and {print_of(BODY)} was asked for; nothing is installed "
        "with a key that may be anybody's: ask whoever runs the repository, and mend key_fingerprint or key_file"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_second_key_beside_the_right_one_is_refused(tmp_path: Path) -> None:
    """apt would trust both."""
    with pytest.raises(keys.KeyRefused, match=f"{print_of(BODY)}, {print_of(OTHER)}"):
        apply(tmp_path, content=armoured(old(6, BODY), old(6, OTHER)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not exactly one block"),
        (KEY + KEY, "is not exactly one block"),
        (armoured(new(13, b"x")), "holds no public key"),
        (armoured(old(6, BODY)[:-3]), "is cut off"),
        (armoured(b"plain text"), "is no OpenPGP data"),
        (armoured(old(6, b"\x03" + BODY[1:])), "is of version 3"),
    ],
)
def test_what_is_no_key(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(keys.KeyRefused, match=f"the key from somewhere {why}"):
        keys.check(text, print_of(BODY), "somewhere")


def test_a_key_that_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def fetch(url: str) -> str:
        fetched.append(url)
        return KEY

    monkeypatch.setattr(keys, "fetch", fetch)
    assert apply(tmp_path, dry=True)
    assert apply(tmp_path)
    assert not apply(tmp_path)
    assert fetched == ["https://v.test/k"]
    (tmp_path / "k.asc").write_text(armoured(old(6, OTHER)))
    assert apply(tmp_path)
    assert (tmp_path / "k.asc").read_text() == KEY


def test_what_can_not_be_fetched_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        keys.KeyRefused, match=r"can't be fetched from http://127\.0\.0\.1:9/k: .*give the key as key_file"
    ):
        apply(tmp_path, url="http://127.0.0.1:9/k")

"""Texts that are secrets in clear: by the form of a known kind of token, or by the name that a value goes by.

A token with its maker's prefix is found anywhere. Any other value counts where its name says that it is a secret and it
looks like one: under a password's name whatever is literal, under other names what is random.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from policies.node import UNKNOWN, Node, Secret
from policies.subjects.scripts import decoded

_FORMATS = Path(__file__).parents[1] / "data" / "token-formats.yaml"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORDS = {"password", "passwd", "passphrase"}
_SECRETS = {"secret", "token", "credential", "credentials"}
_ONE_WORD = {"apikey", "accesskey", "privatekey", "masterkey", "secretkey", "authtoken", "accesstoken", "clientsecret"}
_KEYS = {
    "api", "access", "private", "master", "secret", "signing", "encryption", "auth", "account", "shared", "salt",
    "license", "hmac", "subscription", "jwt", "admin",
}  # fmt: skip
"""What makes a `key` a secret; a host key, a public key, a sort key and the key of a label are none."""
_NO_SECRET_TOKENS = {
    "creation", "client", "idempotency", "request", "next", "pagination", "continuation", "pad", "eos", "bos", "unk", "sep",
    "cls", "mask", "stop", "end", "start", "special", "per", "first", "last",
}  # fmt: skip
"""What makes a `token` none: AWS's idempotency tokens, and those of a tokenizer."""

_NO_SECRET = {"existing", "pull", "checksum", "hash", "digest", "sha"}
"""What makes any of them none: names of Secrets that are there already, and annotations such as `checksum/secret`."""

_PLACEHOLDER = re.compile(
    r"""^(?:
        [<\[{$%*] .* | .* (?:\$\{ | \$\( | \{\{ ) .* | os\.environ/ .*
        | x+ | redacted | hidden | empty | none | null | nil | string | dummy | unused | not[-_ ]?(?:needed|used|set)
        | no[-_]?key(?:[-_].*)? | true | false | yes | no | on | off | -?[\d.]+
    )$""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
"""What stands for a value, or says that there is none. vLLM's own clients write EMPTY."""
_REFERENCE = re.compile(
    r"""^(?: arn: | alias/ | projects/ | vault: | op:// | ref\+ | ssm: | sm: | secretsmanager: | sha\d+: | \.{0,2}/ | ~/ )
        | :// | ^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$ | ^ssh-(?:rsa|ed25519)\b | BEGIN\s(?:CERTIFICATE|PUBLIC)
        | [()] """,
    re.VERBOSE | re.IGNORECASE,
)
"""What points at a secret, or is none: ARNs, paths, addresses, digests, UUIDs, certificates, public keys, calls."""

_AWS_SECRET_KEY = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9/+]{40}")
"""AWS's secret access keys have no prefix, and slashes in them."""
_LEAST_LENGTH = 12
_LEAST_BITS = 3.0
_LEAST_CHANGES = 2

_HINT = re.compile(r"key|token|secret|passw|passphrase|credential", re.IGNORECASE)
_NAME = r"[\w.-]{0,60}?(?:key|token|secret|password|passwd|passphrase|credentials?)"
_LINES = re.compile(
    rf"""^[ \t]* (?:-[ \t]+)? (?:(?:export|set|ENV|ARG|Environment=)[ \t]*)? ["']? (?P<name>{_NAME}) ["']?
         [ \t]*[:=][ \t]* (?P<quote>["']?) (?P<value>[^\s"'#]+) (?P=quote) [ \t]* ,? [ \t]* (?:\#.*)? $""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
"""`NAME: value` or `NAME=value` alone on a line: shell, YAML, INI, .env."""
_OPTIONS = re.compile(rf"--(?P<name>{_NAME})(?:=|[ \t]+)(?P<quote>[\"']?)(?P<value>[^\s\"']+)(?P=quote)", re.IGNORECASE)
"""`--name value` in a command."""
_INLINE = re.compile(
    rf"(?:^|[\s;&])(?P<name>[A-Z_]{_NAME})=(?P<quote>[\"']?)(?P<value>[^\s\"';&]+)(?P=quote)(?=[\s;&]|$)",
    re.IGNORECASE,
)
"""`NAME=value command`."""


@dataclass(frozen=True)
class Format:
    """The form of one kind of token."""

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


class Text(Node):
    """A text, or a value that is not known, and the name that it goes by."""

    __slots__ = ("name", "strict")

    def __init__(self, node: Node, name: str, *, strict: bool) -> None:
        super().__init__(node.raw, node.path)
        self.name = name
        self.strict = strict
        """Whether it stands where nothing but secrets belongs."""

    def suspicious(self) -> bool:
        """Whether anything of a secret could be in it, or in its name; the quick question before the long ones."""
        if self.strict or says_secret(self.name):
            return True
        text = self.raw
        if not isinstance(text, str):
            return False
        # Of addresses only those with a user are worth a look.
        return _has(text, _hints()) or ("://" in text and "@" in text) or _HINT.search(text) is not None

    def secrets(self) -> list[str]:
        """What is secret in it, in words; nothing of the values themselves.

        Only of texts: a value that is not known has none.
        """
        text = str(self.raw)
        found = [each.name for each in formats() if _has(text, each.hints) and each.pattern.search(text)]
        if not found and _secret_value(self.name, text, strict=self.strict):
            found.append(f"the value of {self.name}")
        if not found and _HINT.search(text):
            found += [f"the value of {name}" for name in _assigned(text)]
        return list(dict.fromkeys(found))


def texts(node: Node, name: str = "", *, strict: bool = False) -> Iterator[Text]:
    """Every text below `node` that is not secret, JSON documents taken apart, with its name; unknown values as well."""
    data = node.raw
    if isinstance(data, str):
        if data[:1] in {"{", "["} and isinstance((document := node.document()).data, dict | list):
            yield from texts(document, name, strict=strict)
        elif name in {"userData", "userDataBase64"}:
            yield Text(Node(decoded(data), node.path), name, strict=strict)
        else:
            yield Text(node, name, strict=strict)
    elif data is UNKNOWN:
        yield Text(node, name, strict=strict)
    elif isinstance(data, Mapping):
        for key, below in node.entries():
            yield from texts(below, name_of(node, key), strict=strict)
    elif isinstance(data, Sequence):
        before = ""
        for below in node.each():
            # `--api-key`, `value`: two words of a command.
            option = before.lstrip("-") if before.startswith("--") and "=" not in before else name
            yield from texts(below, option, strict=strict)
            before = below.raw if isinstance(below.raw, str) else ""


def name_of(node: Node, key: str) -> str:
    """The name that the value at `key` goes by: that of an environment variable's `value` is the `name` beside it."""
    data = node.raw
    if key == "value" and isinstance(data, Mapping):
        named = data.get("name", data.get("key"))
        return named if isinstance(named, str) else key
    return key


def unpacked(node: Node) -> Node:
    """The data of a Kubernetes Secret, whose values are in base64."""
    data = node.raw
    if not isinstance(data, Mapping):
        return node
    return Node({key: _plain(value) for key, value in data.items()}, node.path)


def says_secret(name: str) -> bool:
    """Whether a value by this name is a secret: `hfToken`, `HF_TOKEN`, `auth.password`; not `secretName` or `tokenizer`."""
    return _kind(name) != ""


def formats() -> tuple[Format, ...]:
    """All known forms of tokens."""
    return _formats()


@cache
def _formats() -> tuple[Format, ...]:
    entries = yaml.safe_load(_FORMATS.read_text(encoding="utf-8"))["formats"]
    return tuple(
        Format(entry["name"], tuple(entry["hints"]), re.compile(entry["pattern"].strip())) for entry in entries
    )


@cache
def _hints() -> tuple[str, ...]:
    return tuple(hint for each in _formats() for hint in each.hints if hint != "://")


def _has(text: str, hints: tuple[str, ...]) -> bool:
    return any(hint in text for hint in hints)


def _plain(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, Secret):
        return value
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return value


@cache
def _kind(name: str) -> str:
    """`password`, `secret` or nothing."""
    words = [word.casefold() for word in _WORDS.findall(name)]
    if _NO_SECRET & set(words):
        return ""
    while words and words[-1].isdigit():
        words.pop()
    if not words:
        return ""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _PASSWORDS:
        return "password"
    if last == "key":
        return "secret" if before in _KEYS else ""
    if last == "token" and before in _NO_SECRET_TOKENS:
        return ""
    return "secret" if last in _SECRETS | _ONE_WORD or (before, last) == ("secret", "string") else ""


def _secret_value(name: str, value: str, *, strict: bool = False) -> bool:
    """Whether `value` is a secret in clear, where it goes by `name`."""
    kind, value = _kind(name), value.strip()
    if not value or _PLACEHOLDER.match(value) or _REFERENCE.search(value):
        return False
    if kind == "password" or (strict and kind):
        return True
    # A LiteLLM key may be as short as sk-1234.
    return (bool(kind) or strict) and (value.startswith("sk-") or _random(value))


def _random(value: str) -> bool:
    """Whether no person would have chosen it.

    Entropy alone does not tell a random text from a name: `huggingface-credentials` has 3.6 bits a character, and 16
    random hexadecimal digits often have less. So one unbroken stretch of it has to be long (12 characters: less than that
    is no key), mix digits and letters more than a name with a number does (two changes from one to the other or more), and
    have 3 bits a character, which rejects repetitions and counted names. Names of Kubernetes objects and paths are made of
    words between dashes, dots and slashes, so their stretches are short or without digits.
    """
    if _AWS_SECRET_KEY.fullmatch(value):
        return True
    return not re.search(r"\s", value) and any(_is_random(stretch) for stretch in re.split(r"[-_./:@,=]+", value))


def _is_random(stretch: str) -> bool:
    if len(stretch) < _LEAST_LENGTH:
        return False
    changes = len(re.findall(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", stretch))
    counts = Counter(stretch).values()
    bits = -sum(count / len(stretch) * math.log2(count / len(stretch)) for count in counts)
    return changes >= _LEAST_CHANGES and bits >= _LEAST_BITS


def _assigned(text: str) -> Iterator[str]:
    """Names of secrets that a script, a command or a file of settings sets to literal values."""
    for pattern in (_LINES, _OPTIONS, _INLINE):
        for found in pattern.finditer(text):
            if _secret_value(found["name"], found["value"]):
                yield found["name"]

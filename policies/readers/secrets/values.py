"""What a secret looks like: the forms of known kinds of tokens, the names of secrets, and what is literal or random.

A token with its maker's prefix is one anywhere. Any other value counts where its name says that it is a secret and it
looks like one: under a password's name, and that of an engine's or a gateway's own key, whatever is literal; under other
names what is random. Weak keys such as `changeme` are literal; EMPTY and the like say that there is none.

Not judged: a word under `pass` alone, a person's own word (`hunter2`) under `token`, `secret` and `key`, passwords of digits
alone that are short.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from policies.readers.tables import table

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORDS = {"passphrase", "passwords", "requirepass", "masterauth"}
_SECRETS = {"secret", "secrets", "token", "credential", "credentials", "authorization", "pass"}
_ONE_WORD = {
    "apikey", "apikeys", "accesskey", "privatekey", "masterkey", "secretkey", "authtoken", "accesstoken", "clientsecret",
}  # fmt: skip
_WHOSE_PASS = {
    "admin", "amqp", "auth", "basic", "broker", "cache", "database", "db", "docker", "email", "ftp", "git", "http", "ldap",
    "login", "mail", "mariadb", "minio", "mongo", "mongodb", "mqtt", "mssql", "mysql", "pg", "postgres", "postgresql",
    "rabbitmq", "redis", "registry", "root", "sa", "service", "sftp", "smtp", "sql", "sudo", "user", "valkey",
}  # fmt: skip
"""What makes a `pass` a password; a first pass and a render pass are none."""
_OWN_KEYS = {"VLLM_API_KEY", "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "--api-key", "--api_key", "--api-keys"}
"""Names of an engine's and a gateway's own keys: whatever stands there is the key."""
_KEYS = {
    "api", "access", "private", "master", "secret", "signing", "encryption", "auth", "account", "shared", "salt",
    "license", "hmac", "subscription", "jwt", "admin", "anthropic", "azure", "cohere", "datadog", "deepseek", "gemini", "groq",
    "langfuse", "mistral", "openai", "openrouter", "wandb", "webui",
}  # fmt: skip
"""What makes a `key` a secret, and `keys`; a host key, a public key, a sort key and the key of a label are none."""
_NO_SECRET_TOKENS = {
    "creation", "client", "idempotency", "request", "next", "pagination", "continuation", "pad", "eos", "bos", "unk", "sep",
    "cls", "mask", "stop", "end", "start", "special", "per", "first", "last", "input", "output", "prompt", "completion",
}  # fmt: skip
"""What makes a `token` none: AWS's idempotency tokens, and those that a tokenizer makes and that are paid for."""

_MANY_TOKENS = {"api", "auth", "access", "bearer", "refresh"}
"""What makes `tokens` secrets; others are counted."""

_NO_SECRET = {"existing", "pull", "checksum", "hash", "hashed", "digest", "sha", "encrypted"}
"""What makes any of them none: names of Secrets that are there already, and annotations such as `checksum/secret`."""
_SWITCHES = {"no", "skip", "empty", "disable", "enable", "require"}
"""What makes a switch of the word behind it: `--no-password`."""

_PLACEHOLDER = re.compile(
    r"""^(?:
        \$(?:(?-i:[A-Z_][A-Z0-9_]*) | [a-z_]+) | <.*> | \[.*\] | \{[^}]*\} | %\S*% | %s | %\(.*\)s
        | \*+ | .* (?:\$\{.*\} | \$\(.*\) | \{\{.*\}\}) .*
        | os\.environ/ .* | \$__\w+\{.*\} | SECRET\[.*\]
        | x+ | redacted | hidden | empty | none | null | nil | string | dummy | unused
        | not[-_ ]?(?:needed|used|set) | (?:sk-)?no[-_]?key(?:[-_].*)? | true | false | yes | no | on | off | -?[\d.]+
    )$""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
"""What stands for a value, or says that there is none: Grafana's and Vector's references too. vLLM's own clients write EMPTY."""
_REFERENCE = re.compile(
    r"""^(?:
        arn: | alias/ | projects/ | vault: | op:// | ref\+ | ssm: | sm: | secretsmanager: | gcp:secretmanager:
        | infisical: | sha\d+: | file: | ENC\[
        | (?:\.{1,2}|~)/ | /(?=.*[/.])(?![A-Za-z0-9/+]{40}$)
        | \$(?:1|2[abxy]?|5|6|y|apr1|argon2\w*|pbkdf2[\w-]*|scrypt)\$ | \{\w+\}\S | SCRAM-SHA-256\$
        | [a-z_][\w.]*\((?:.*\))?;?$
    ) | :// | ^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$ | ^ssh-(?:rsa|ed25519)\b | BEGIN\s(?:CERTIFICATE|PUBLIC) """,
    re.VERBOSE | re.IGNORECASE,
)
"""What points at a secret, or is none: ARNs, paths, addresses, digests, hashes, UUIDs, certificates, public keys, calls."""

_AWS_SECRET_KEY = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9/+]{40}")
"""AWS's secret access keys have no prefix, and slashes in them."""
_LEAST_LENGTH = 12
_LEAST_BITS = 3.0
_LEAST_CHANGES = 2
_LEAST_DIGITS = 6


@dataclass(frozen=True)
class Found:
    """A secret, and its description for messages."""

    what: str
    value: str
    certain: bool = False
    """Whether its own form tells that it is one, so that no other value has it in it by accident."""

    def is_told_by(self, other: Found) -> bool:
        """Whether it is a key by its form that `other` has told already."""
        return other.certain and (self.value in other.value or other.value in self.value)


@dataclass(frozen=True)
class Format:
    """The form of one kind of token."""

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]

    def found(self, text: str) -> Iterator[Found]:
        """The secrets in what it matches: all of it, unless it says which part; such a part may be any word."""
        part = "secret" in self.pattern.groupindex
        for match in self.pattern.finditer(text):
            yield Found(self.name, match["secret"] if part else match[0], certain=not part)


@cache
def formats() -> tuple[Format, ...]:
    """All known forms of tokens."""
    entries = table("token-formats")["formats"]
    return tuple(
        Format(entry["name"], tuple(entry["hints"]), re.compile(entry["pattern"].strip())) for entry in entries
    )


def found_by_form(text: str) -> Iterator[Found]:
    """Tokens that their form alone tells."""
    for each in formats():
        if _has(text, each.hints):
            yield from each.found(text)


def could_have_form(text: str) -> bool:
    """The quick question before the long one."""
    # Of addresses only those with a user are worth a look.
    return _has(text, _hints()) or ("://" in text and "@" in text)


def says_secret(name: str) -> bool:
    """Whether a value by this name is a secret: `hfToken`, `HF_TOKEN`, `auth.password`; not `secretName` or `tokenizer`."""
    return _kind(name) != ""


def secret_value(name: str, value: str, *, strict: bool = False) -> bool:
    """Whether `value` is a secret in clear, where it goes by `name`."""
    kind, value = _kind(name), value.strip()
    if kind == "password" and value.isdigit() and len(value) >= _LEAST_DIGITS:
        return True
    if not literal(value):
        return False
    if kind == "password" or (strict and kind) or name in _OWN_KEYS:
        return True
    # As Docker's configuration has it.
    if name == "auth" and is_basic(value):
        return True
    # A LiteLLM key may be as short as sk-1234.
    return (bool(kind) or strict) and (value.startswith("sk-") or looks_random(value))


def literal(value: str) -> bool:
    """Whether it says something itself: no placeholder, and nothing that points elsewhere."""
    return bool(value) and not _PLACEHOLDER.match(value) and not _REFERENCE.search(value)


def looks_random(value: str) -> bool:
    """Whether no person would have chosen it.

    Entropy alone does not tell a random text from a name: `huggingface-credentials` has 3.6 bits a character, and 16
    random hexadecimal digits often have less. So one unbroken stretch of it has to be long (12 characters: less than that
    is no key), mix digits and letters more than a name with a number does (two changes from one to the other or more), and
    have 3 bits a character, which rejects repetitions and counted names. Names of Kubernetes objects and paths are made of
    words between dashes, dots and slashes, so their stretches are short or without digits.
    """
    if _AWS_SECRET_KEY.fullmatch(value):
        return True
    keys = re.split(r"[,;]\s*", value)
    return not re.search(r"\s", "".join(keys)) and any(
        _is_random(stretch) for key in keys for stretch in re.split(r"[-_./:@=]+", key)
    )


def is_basic(value: str) -> bool:
    """Whether it is `user:password` in base64."""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return False
    return (user + password).isprintable() and literal(password)


@cache
def _hints() -> tuple[str, ...]:
    return tuple(hint for each in formats() for hint in each.hints if hint != "://")


def _has(text: str, hints: tuple[str, ...]) -> bool:
    return any(hint in text for hint in hints)


@cache
def _kind(name: str) -> str:
    """What a value by this name is: `password`, `secret`, or empty where it is neither."""
    words = [word.casefold() for word in _WORDS.findall(name)]
    if _NO_SECRET & set(words):
        return ""
    while words and words[-1].isdigit():
        words.pop()
    if not words:
        return ""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if before in _SWITCHES:
        return ""
    if last in _PASSWORDS or last.endswith(("password", "passwd")) or (last == "pwd" and before):
        return "password"
    if last == "pass" and before:
        return "password" if before in _WHOSE_PASS else ""
    if last in {"key", "keys"}:
        return "secret" if before in _KEYS else ""
    if last == "tokens":
        return "secret" if before in _MANY_TOKENS else ""
    if last == "token" and before in _NO_SECRET_TOKENS:
        return ""
    return "secret" if last in _SECRETS | _ONE_WORD or (before, last) == ("secret", "string") else ""


def _is_random(stretch: str) -> bool:
    if len(stretch) < _LEAST_LENGTH:
        return False
    changes = len(re.findall(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", stretch))
    counts = Counter(stretch).values()
    bits = -sum(count / len(stretch) * math.log2(count / len(stretch)) for count in counts)
    return changes >= _LEAST_CHANGES and bits >= _LEAST_BITS

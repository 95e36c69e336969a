"""Texts that are secrets in clear: by the form of a known kind of token, or by the name that a value goes by.

A token with its maker's prefix is found anywhere. Any other value counts where its name says that it is a secret and it
looks like one: under a password's name, and that of an engine's or a gateway's own key, whatever is literal; under other
names what is random. Weak keys such as `changeme` are literal; EMPTY and the like say that there is none.

Not judged: a word under `pass` alone, a person's own word (`hunter2`) under `token`, `secret` and `key`, a second key after
`--api-key`, passwords of digits alone that are short.
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
from policies.resources import Resource
from policies.subjects.scripts import decoded

_KUBERNETES_SECRET = "kubernetes:core/v1:Secret"  # noqa: S105 -- a type
_FORMATS = Path(__file__).parents[1] / "data" / "token-formats.yaml"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORDS = {"password", "passwd", "passphrase", "passwords", "requirepass", "masterauth"}
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
    "cls", "mask", "stop", "end", "start", "special", "per", "first", "last",
}  # fmt: skip
"""What makes a `token` none: AWS's idempotency tokens, and those of a tokenizer."""

_MANY_TOKENS = {"api", "auth", "access", "bearer", "refresh"}
"""What makes `tokens` secrets; others are counted."""

_NO_SECRET = {"existing", "pull", "checksum", "hash", "hashed", "digest", "sha", "encrypted"}
"""What makes any of them none: names of Secrets that are there already, and annotations such as `checksum/secret`."""

_PLACEHOLDER = re.compile(
    r"""^(?:
        \$(?:(?-i:[A-Z_][A-Z0-9_]*) | [a-z_]+) | <.*> | \[.*\] | \{[^}]*\} | %\S*% | %s | %\(.*\)s
        | \*+ | .* (?:\$\{.*\} | \$\(.*\) | \{\{.*\}\}) .*
        | os\.environ/ .* | x+ | redacted | hidden | empty | none | null | nil | string | dummy | unused
        | not[-_ ]?(?:needed|used|set) | no[-_]?key(?:[-_].*)? | true | false | yes | no | on | off | -?[\d.]+
    )$""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
"""What stands for a value, or says that there is none. vLLM's own clients write EMPTY."""
_EXPANDED = re.compile(
    r"""^(?: [$`*&!@|>%{\[(] | <\( | <[A-Z] ) | ^[A-Z_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASS)[A-Z_]*$""", re.VERBOSE
)
"""What a shell or YAML reads as something else than a literal, and the words of a manual."""
_PROSE = {
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "for", "from", "here", "if", "in", "instead", "is", "it", "must",
    "of", "on", "option", "or", "required", "set", "should", "so", "that", "the", "then", "to", "value", "via", "was", "when",
    "which", "will", "with",
}  # fmt: skip
"""What stands after an option in a sentence about it."""
_REFERENCE = re.compile(
    r"""^(?:
        arn: | alias/ | projects/ | vault: | op:// | ref\+ | ssm: | sm: | secretsmanager: | sha\d+: | file: | ENC\[
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

_HINT = re.compile(r"key|token|secret|pass|pwd|credential|authorization|bearer|basic|login|curl|mysql", re.IGNORECASE)
_NAME = r"[\w.-]{0,60}?(?:keys?|tokens?|secrets?|passwords?|passwd|passphrase|pass|pwd|masterauth|credentials?|authorization)"
_LINES = re.compile(
    rf"""^[ \t]* (?:-[ \t]+)? (?:(?:export|set|ENV|ARG|Environment=)[ \t]*)? ["']? (?P<name>{_NAME}) ["']?
         [ \t]*[:=][ \t]* (?P<quote>["']?) (?P<value>[^\s"'#]+) (?P=quote) [ \t]* ,? [ \t]* (?:\#.*)? $""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
"""`NAME: value` or `NAME=value` alone on a line: shell, YAML, INI, .env."""
_FLOW = re.compile(
    rf"""(?<!\$)[{{,]\s*["']?(?P<name>{_NAME})["']?\s*:\s*(?P<quote>["']?)(?P<value>[^\s"',}}\]]+)(?P=quote)\s*(?=[,}}\]])""",
    re.IGNORECASE,
)
"""`{name: value}`: YAML's flow style, and JSON within something else."""
_OPTIONS = re.compile(
    rf"(?P<name>--{_NAME})(?P<sign>=|[ \t]+)(?P<quote>[\"']?)(?P<value>[^\s\"']+)(?P=quote)", re.IGNORECASE
)
"""`--name value` in a command."""
_INLINE = re.compile(
    rf"(?:^|[\s;&?=\"'])(?P<name>{_NAME})=(?P<quote>[\"']?)(?P<value>[^\s\"';&]+)(?P=quote)(?=[\s;&\"']|$)",
    re.IGNORECASE,
)
"""`NAME=value command`, and the parts of a connection's description."""
_COMMANDS = (
    re.compile(r"\b(?P<name>login)\b[^\n;|&]{0,200}?[ \t]-p[ =]?[\"']?(?P<value>[^\s\"']+)"),
    re.compile(r"\b(?P<name>curl)\b[^\n;|&]{0,200}?[ \t](?:-u|--user)[ =]?[\"']?[^\s:\"']*:(?P<value>[^\s\"']+)"),
    re.compile(r"\b(?P<name>mysql(?:dump|admin)?)\b[^\n;|&]{0,200}?[ \t]-p(?P<value>[^\s\"']+)"),
    re.compile(
        r"\becho[ \t]+(?:-n[ \t]+)?[\"']?(?P<value>[^\s\"'|]+)[\"']?[ \t]*\|[ \t]*[\w./-]+[^\n;|&]{0,200}\b(?P<name>login)\b"
    ),
    re.compile(r";[ \t]*(?P<name>pwd)=(?P<value>[^\s\"';]+)", re.IGNORECASE),
)
"""Commands, and connections of ODBC, with a password that has no name of its own."""
_HEADER = re.compile(r"\b(?P<scheme>bearer|basic)[ \t]+(?P<value>[\w.~+/=-]{8,})", re.IGNORECASE)
_YAML = re.compile(r"""^[ \t]*(?:-[ \t]+)*["']?[\w.-]+["']?[ \t]*:(?:[ \t]|$)""", re.MULTILINE)
_ANCHOR = re.compile(r"[:-][ \t]+&\w")
_WORD_OF_SECRET = re.compile(rf"{_NAME}\b", re.IGNORECASE)
_LONGEST_YAML = 50_000
"""Characters; what is longer is read by lines alone."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        if self.strict or self.name == "auth" or says_secret(self.name):
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
        return list(dict.fromkeys(what for what, _ in self.found()))

    def found(self) -> list[tuple[str, str]]:
        """What is secret in it, in words, and the secrets themselves."""
        text = str(self.raw)
        found: list[tuple[str, str]] = []
        for what, value in self.all_found(text):
            # A key by its form is told once, whatever name it goes by as well.
            if not any(value in other or other in value for known, other in found if known != what):
                found.append((what, value))
        return found

    def all_found(self, text: str) -> Iterator[tuple[str, str]]:
        """As `found`, with what is told twice."""
        for each in formats():
            if _has(text, each.hints):
                yield from ((each.name, _matched(match)) for match in each.pattern.finditer(text))
        if _secret_value(self.name, text, strict=self.strict) or self._is_master_key(text):
            yield f"the value of {self.name.lstrip('-')}", text.strip()
        if _HINT.search(text):
            for name, value in _assigned(text):
                yield f"the value of {name.lstrip('-')}", value
            yield from _headers(text)
            for below in _of_yaml(text, self):
                yield from below.all_found(str(below.raw))

    def _is_master_key(self, text: str) -> bool:
        """LiteLLM's, in its configuration."""
        return self.name == "master_key" and "general_settings" in self.path and _literal(text.strip())


def texts_of(resource: Resource) -> Iterator[Text]:
    """Every text of the resource that is not secret, with its name; unknown values as well."""
    inputs = resource.inputs
    if inputs.data is UNKNOWN:
        return
    for key, node in inputs.entries():
        strict = resource.type == _KUBERNETES_SECRET and key in {"data", "stringData"}
        below = unpacked(node) if strict and key == "data" else node
        yield from texts(below, name_of(inputs, key), strict=strict)


def in_clear(resource: Resource) -> set[str]:
    """The secrets that stand in clear in the resource; a private key with all that is around it."""
    return {
        str(text.raw) if what == "a private key" else value
        for text in texts_of(resource)
        if text.raw is not UNKNOWN and text.suspicious()
        for what, value in text.found()
    }


def texts(node: Node, name: str = "", *, strict: bool = False) -> Iterator[Text]:
    """Every text below `node` that is not secret, JSON documents taken apart, with its name; unknown values as well."""
    data = node.raw
    if isinstance(data, str):
        if data.lstrip()[:1] in {"{", "["} and isinstance((document := node.document()).data, dict | list):
            yield from texts(document, name, strict=strict)
        elif name in {"userData", "userDataBase64"}:
            yield Text(Node(decoded(data), node.path), name, strict=strict)
        else:
            yield Text(node, name, strict=strict)
    elif data is UNKNOWN:
        yield Text(node, name, strict=strict)
    elif isinstance(data, Mapping):
        for key, below in node.entries():
            # A sealed secret is for its controller's eyes.
            if key == "encryptedData":
                continue
            yield from texts(below, name_of(node, key), strict=strict)
    elif isinstance(data, Sequence):
        before = ""
        for below in node.each():
            # `--api-key`, `value`: two words of a command.
            option = before if before.startswith("--") and "=" not in before else name
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


def _matched(match: re.Match[str]) -> str:
    """The secret in what a form matches: all of it, unless the form says which part."""
    return match["secret"] if "secret" in match.re.groupindex else match[0]


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


def _secret_value(name: str, value: str, *, strict: bool = False) -> bool:
    """Whether `value` is a secret in clear, where it goes by `name`."""
    kind, value = _kind(name), value.strip()
    if kind == "password" and value.isdigit() and len(value) >= _LEAST_DIGITS:
        return True
    if not _literal(value):
        return False
    if kind == "password" or (strict and kind) or name in _OWN_KEYS:
        return True
    # As Docker's configuration has it.
    if name == "auth" and _is_basic(value):
        return True
    # A LiteLLM key may be as short as sk-1234.
    return (bool(kind) or strict) and (value.startswith("sk-") or _random(value))


def _literal(value: str) -> bool:
    return bool(value) and not _PLACEHOLDER.match(value) and not _REFERENCE.search(value)


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


def _assigned(text: str) -> Iterator[tuple[str, str]]:
    """Names and values of secrets that a script, a command or a file of settings sets to literals."""
    for pattern in (_LINES, _FLOW, _OPTIONS, _INLINE):
        for match in pattern.finditer(text):
            # Unquoted, what closes a call or a list is none of it.
            name, value = match["name"], match["value"] if match["quote"] else match["value"].rstrip(",):")
            if _secret_value(name, value) and not _EXPANDED.match(value) and not _of_a_program(match, value):
                yield name, value
    for pattern in _COMMANDS:
        for match in pattern.finditer(text):
            value = match["value"]
            if _literal(value) and not _EXPANDED.match(value) and value.casefold() not in _PROSE:
                yield match["name"], value


def _of_a_program(match: re.Match[str], value: str) -> bool:
    """Whether it is a variable of a program, such as `password=password` and `settings.password`, or a sentence's word."""
    if match["quote"]:
        return False
    name = match["name"]
    return (
        value.rstrip(",)") == name
        or (re.fullmatch(r"[A-Za-z_][\w.]*\.\w+[,)]*", value) is not None and says_secret(value.rstrip(",)")))
        or (name.startswith("--") and match.groupdict().get("sign", "=") != "=" and value.casefold() in _PROSE)
    )


def _headers(text: str) -> Iterator[tuple[str, str]]:
    """Credentials of HTTP."""
    for match in _HEADER.finditer(text):
        value = match["value"]
        known = _is_basic(value) if match["scheme"].casefold() == "basic" else value.startswith("sk-") or _random(value)
        if known:
            yield f"a credential of HTTP's {match['scheme'].capitalize()} scheme", value


def _is_basic(value: str) -> bool:
    """Whether it is `user:password` in base64."""
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return False
    return bool(colon and user.isprintable() and password.isprintable() and _literal(password))


def _of_yaml(text: str, around: Text) -> Iterator[Text]:
    """The texts in a YAML text, where a name of a secret is in it; it is slow to read."""
    if len(text) > _LONGEST_YAML or text.startswith("#!") or not _YAML.search(text) or _ANCHOR.search(text):
        return
    if not any(says_secret(name) for name in _WORD_OF_SECRET.findall(text)):
        return
    try:
        documents = list(yaml.load_all(text, Loader=_LOADER))
    except (yaml.YAMLError, ValueError):
        return
    for document in documents:
        if isinstance(document, dict | list):
            below = texts(Node(document, around.path), around.name, strict=around.strict)
            yield from (each for each in below if each.raw is not UNKNOWN)

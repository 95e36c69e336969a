"""Semantic types of the settings, each defined once; every validator's message says the consequence and the mend."""

import ipaddress
import math
import os
import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, SecretStr, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
_ADAPTER = re.compile(r"[a-z][a-z0-9_]{0,62}(:[0-9]{1,2})?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IP_VERSION = 4
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}")
_FLAG = re.compile(r"[a-z][a-z0-9-]*")
_PROVIDER = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_CATALOG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/+-]{0,127}")
_METHOD = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ENVIRONMENT_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_KEY_CHARACTERS = re.compile(r"[A-Za-z0-9._~+/=-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BUCKET = re.compile(r"[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")
_REVISION = re.compile(r"[0-9a-f]{40}")
_KEY_ID = re.compile(r"[a-z0-9]{8}")
_SALT = re.compile(r"([0-9a-f]{2}){16,64}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_API_PATH = re.compile(r"/[A-Za-z0-9._/-]*[A-Za-z0-9]")
_ORIGIN = re.compile(r"(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?|http://(localhost|127\.0\.0\.1))(:[1-9][0-9]{0,4})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SIZE = re.compile(r"[1-9][0-9]*(\.[0-9]+)?[KMGT]?|[1-9][0-9]?%|100%")

MOST_MONEY = 9_000_000
"""The front counts in billionths, exactly up to here."""
MIN_KEY_CHARACTERS = 32
MIN_KEY_ENTROPY_BITS = 100.0
"""Shannon entropy over the key's own characters, times its length: a crude floor that random keys of 32 hexadecimal
digits (about 115 bits by this measure) pass and repeated words or runs of one character do not."""


def host_name(value: str) -> str:
    """A DNS label: it names the host in previews, logs and resource names."""
    if not _LABEL.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a host name; resources and logs carry it: use a-z, 0-9 and inner hyphens, up to 63"
        )
    return value


def address(value: str) -> str:
    """An IPv4 address or a DNS name."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        pass
    else:
        if parsed.version != _IP_VERSION:
            raise ValueError(
                f"{value} is an IPv6 address; the front listens on IPv4 only: give the host's IPv4 address"
            )
        return str(parsed)
    name = value.rstrip(".").lower()
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(f"{value!r} is neither an IP address nor a DNS name; Slipway can't reach it: correct it")
    return name


def private_address(value: str) -> str:
    """An IP address of a private network or loopback, as text."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not an IP address; a service binds to it: give the host's own address"
        ) from None
    if parsed.version != _IP_VERSION:
        raise ValueError(f"{value} is an IPv6 address; services bind to IPv4 only: give the host's IPv4 address")
    if not parsed.is_private or parsed.is_unspecified:
        raise ValueError(
            f"{value} is not a private address; engines behind it would face the internet without TLS: "
            "use the host's address in the private network"
        )
    return str(parsed)


def network(value: str) -> str:
    """A network in CIDR notation."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"{error}; nobody could be admitted by it: write it like 10.20.0.0/16") from None


def floating_address(value: str) -> str:
    """An IPv4 address with the length of its prefix, that hosts of one network can hand to each other."""
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        raise ValueError(f"{value!r} is no address with a prefix; write it like 10.0.0.100/24") from None
    network = found.network
    if found.version != _IP_VERSION or "/" not in value:
        raise ValueError(f"{value!r} has no prefix, or is no IPv4 address; write it like 10.0.0.100/24")
    if network.prefixlen < network.max_prefixlen - 1 and found.ip in {
        network.network_address,
        network.broadcast_address,
    }:
        raise ValueError(
            f"{value!r} is the network itself or its broadcast address; no host could have it: choose another"
        )
    return str(found)


def interface_name(value: str) -> str:
    """A network interface of Linux."""
    if not _INTERFACE.fullmatch(value):
        raise ValueError(f"{value!r} is no network interface; write it as `ip link` does, such as eth0")
    return value


def adapter_name(value: str) -> str:
    """An InfiniBand or RoCE adapter of Linux, or one port of it."""
    if not _ADAPTER.fullmatch(value):
        raise ValueError(
            f"{value!r} is no InfiniBand adapter; NCCL would not find it: write it as `ibstat` does, such as mlx5_0, or "
            "mlx5_0:1 for its first port"
        )
    return value


def user_name(value: str) -> str:
    """A POSIX user name."""
    if not _USER.fullmatch(value):
        raise ValueError(f"{value!r} is not a user name; SSH can't log in as it: use a-z, 0-9, _ and -")
    return value


def model_name(value: str) -> str:
    """The id by which clients ask for the model."""
    if not _MODEL_NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} can't be a model id; clients send it in every request: use letters, digits and . _ / : -"
        )
    return value


def provider_name(value: str) -> str:
    """What the stack calls a provider; a kind of provider, such as azure_openai, is one."""
    if not _PROVIDER.fullmatch(value):
        raise ValueError(
            f"{value!r} can't be a provider's name; routes and logs carry it: use a-z, 0-9, _ and inner hyphens, up to 63"
        )
    return value


def flag(value: str) -> str:
    """A long command-line flag, without its dashes."""
    if not _FLAG.fullmatch(value):
        raise ValueError(f"{value!r} is not a flag; the engine would refuse to start: write it like max-num-seqs")
    return value


def catalog_name(value: str) -> str:
    """An id or alias of the catalogue; whether there is such an entry is looked up later."""
    if not _CATALOG_NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} can't be a name in the catalogue; nothing would be found: use letters, digits and . _ / + -"
        )
    return value


def method(value: str) -> str:
    """The name of a quantization, as the engine has it."""
    if not _METHOD.fullmatch(value):
        raise ValueError(f"{value!r} names no quantization; the engine would refuse to start: write it like fp8")
    return value


def environment_variable(value: str) -> str:
    """The name of an environment variable."""
    if not _ENVIRONMENT_VARIABLE.fullmatch(value):
        raise ValueError(f"{value!r} can't name an environment variable; use A-Z, 0-9 and _")
    return value


def is_environment_variable(value: str) -> bool:
    """Whether `value` can name an environment variable."""
    return _ENVIRONMENT_VARIABLE.fullmatch(value) is not None


def sha256(value: str) -> str:
    """A SHA-256 digest in hexadecimal."""
    if not _SHA256.fullmatch(value.lower()):
        raise ValueError("not a SHA-256 digest; the file could not be checked: give 64 hexadecimal digits")
    return value.lower()


def key_id(value: str) -> str:
    """What a created key is found by; it is part of the key and no secret."""
    if not _KEY_ID.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a key's id; the key would never be found: let `slipway key create` write the entry"
        )
    return value


def salt(value: str) -> str:
    """The salt of a hash: 16 to 64 bytes in hexadecimal."""
    if not _SALT.fullmatch(value.lower()):
        raise ValueError(
            "not a salt of 16 to 64 bytes in hexadecimal; no key would match: let `slipway key create` write the entry"
        )
    return value.lower()


def key_hash(value: str) -> str:
    """HMAC-SHA256 of a key, in hexadecimal."""
    if not _SHA256.fullmatch(value.lower()):
        raise ValueError(
            "not a hash of 64 hexadecimal digits; no key would match: let `slipway key create` write the entry"
        )
    return value.lower()


def moment(value: object) -> str:
    """A date or a time in ISO 8601, as text; YAML's own dates too. What has no zone is UTC."""
    if isinstance(value, date):  # a datetime is one too
        value = value.isoformat()
    try:
        if not isinstance(value, str):
            raise ValueError  # noqa: TRY004, TRY301 -- told below
        epoch(value)
    except (ValueError, OverflowError):
        raise ValueError(
            "not a date; nobody could say when it ends: write it like 2027-03-31, or 2027-03-31T18:00:00Z"
        ) from None
    return value


def epoch(value: str) -> int:
    """The end of validity in seconds since 1970: that of the whole day, in UTC, where `value` is a date.

    Raises:
        ValueError: it is neither a date nor a time.
    """
    try:
        day = date.fromisoformat(value)
    except ValueError:
        when = datetime.fromisoformat(value)
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    return int((datetime.combine(day, time(), UTC) + timedelta(days=1)).timestamp())


def request_field(value: str) -> str:
    """The name of a field in a request's body."""
    if not _FIELD.fullmatch(value):
        raise ValueError(f"{value!r} is not a field's name; no request has it: use letters, digits and _ . -")
    return value


def api_path(value: str) -> str:
    """A path of the API."""
    if not _API_PATH.fullmatch(value):
        raise ValueError(f"{value!r} is not a path; no request has it: write it like /v1/chat/completions")
    return value


def origin(value: str) -> str:
    """An origin that browsers send: exact, by https, or by http on this machine."""
    if value == "*":
        raise ValueError("'*' lets every web page ask with a key that it got hold of: name the origins, each exactly")
    if not _ORIGIN.fullmatch(value):
        raise ValueError(
            f"{value!r} is not an origin; no browser sends it: write it like https://app.example.com, without a path"
        )
    return value


def revision(value: str) -> str:
    """A git commit: hubs let tags and branches move."""
    if not _REVISION.fullmatch(value.lower()):
        raise ValueError(
            f"{value!r} is not a commit; what is deployed could change without a change in the stack: "
            "give the revision's 40 hexadecimal digits"
        )
    return value.lower()


def s3_address(value: str) -> str:
    """A bucket, and below it what all keys of a model begin with: ``s3://bucket/models/m``, without a slash at the end.

    Raises:
        ValueError: it is none, has a login or a query in it, or a part that the key of a file would not have.
    """
    bucket, _, prefix = value.removeprefix("s3://").partition("/")
    if "@" in bucket:
        raise ValueError(
            "has a login in its address, which would stand in states, logs and messages: give s3://bucket/prefix alone, and the "
            "keys to the machine that runs the deployment, as its AWS credentials"
        )
    if not value.startswith("s3://") or not _BUCKET.fullmatch(bucket) or re.fullmatch(r"[0-9.]+", bucket):
        raise ValueError(
            "is no address of a bucket; nothing could be fetched from it: write it like s3://bucket/models/m, the bucket with "
            "3 to 63 of a-z, 0-9, hyphens and dots"
        )
    prefix = prefix.removesuffix("/")
    if prefix and ({"", ".", ".."} & set(prefix.split("/")) or re.search(r"[?#\x00-\x1f\x7f]", prefix)):
        raise ValueError(
            "has a prefix with an empty part, . or .., or with ? or #; no file would be found by it: write what the model's keys "
            "begin with, and nothing of a signed address"
        )
    return f"s3://{bucket}/{prefix}".rstrip("/")


def memory_size(value: str) -> str:
    """A size as systemd writes it: 24G, or 90% of the host's memory."""
    if not _SIZE.fullmatch(value):
        raise ValueError(f"{value!r} is not a size; systemd would ignore the limit: write it like 24G")
    return value


def expanded(value: Path) -> Path:
    """A path with ``~`` replaced by the home folder.

    Raises:
        ValueError: it names somebody who is not there, or has a character that no path here may have.
    """
    if re.search(r"[\x00-\x1f\x7f]", str(value)):
        raise ValueError("a path with a control character; no file could be found by it: write it on one line")
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError(
            f"{value.parts[0]} has no home folder on this machine; the file could not be found: write the whole path"
        ) from None


def strong_key(value: str) -> str:
    """A bearer key that can't be guessed. The message never holds the key.

    Raises:
        ValueError: too short, too regular, or with characters that an HTTP header can't carry.
    """
    make = "make one with `openssl rand -hex 32`"
    if len(value) < MIN_KEY_CHARACTERS:
        raise ValueError(
            f"too weak ({len(value)} characters, at least {MIN_KEY_CHARACTERS} are needed); "
            f"it alone guards the endpoint: {make}"
        )
    if not _KEY_CHARACTERS.fullmatch(value):
        raise ValueError(f"has characters that an Authorization header can't carry; no client could send it: {make}")
    entropy = -sum(n * math.log2(n / len(value)) for n in Counter(value).values())
    if entropy < MIN_KEY_ENTROPY_BITS:
        raise ValueError(
            f"too weak (its characters repeat: {entropy:.0f} bits, at least {MIN_KEY_ENTROPY_BITS:.0f} are needed); "
            f"it alone guards the endpoint: {make}"
        )
    return value


class Secret(SecretStr):
    """A secret from the stack's YAML: the text itself (encrypted by ``pulumi config set --secret``) or ``{env: NAME}``.

    ``env`` holds the variable's name where one was given. The value is shown nowhere: not in ``repr``, ``str``, errors.
    """

    env: str | None = None

    @classmethod
    def from_yaml(cls, value: Any) -> "Secret":
        """Resolve what the stack says to a secret.

        Raises:
            ValueError: neither text nor ``{env: NAME}``, or a variable that is not set or empty.
        """
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, dict) or set(value) != {"env"} or not isinstance(value["env"], str):
            raise ValueError(
                "a secret is a text or {env: NAME}; nothing else can be kept from logs: "
                "set it with `pulumi config set --secret --path`, or name a variable"
            )
        name = environment_variable(value["env"])
        text = os.environ.get(name, "")
        if not text:
            raise ValueError(
                f"the environment variable {name} is not set; the secret is taken from it: "
                'export it, or let `eval "$(slipway env STACK)"` make and export the stack\'s secrets'
            )
        secret = cls(text)
        secret.env = name
        return secret

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.from_yaml,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # The shapes that a stack file may hold: Pulumi's own {secure: …} too, which the engine decrypts first.
        return {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"env": {"type": "string", "pattern": _ENVIRONMENT_VARIABLE.pattern}},
                    "required": ["env"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"secure": {"type": "string"}},
                    "required": ["secure"],
                    "additionalProperties": False,
                },
            ],
        }


def strong_secret(value: Secret) -> Secret:
    """A secret that passes `strong_key`."""
    strong_key(value.get_secret_value())
    return value


def currency(value: str) -> str:
    """A currency, by its code of ISO 4217; whether there is one of this name is not looked up."""
    if not _CURRENCY.fullmatch(value):
        raise ValueError(f"{value!r} is no currency's code; bills and figures carry it: write it like EUR, USD or CNY")
    return value


def exact(value: object) -> Decimal:
    """A number of YAML, read as it is written: 0.1 is a tenth."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("a number is wanted; write it like 1.5")  # noqa: TRY004 -- pydantic's contract
    return Decimal(str(value))


def not_boolean(value: object) -> object:
    """Refuse ``yes`` and ``true`` where a number is meant: YAML reads them as booleans and Python counts them as 1."""
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false; write the number")  # noqa: TRY004 -- pydantic's contract
    return value


HostName = Annotated[str, AfterValidator(host_name)]
HostKey = Annotated[str, Field(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$")]
Address = Annotated[str, AfterValidator(address)]
PrivateAddress = Annotated[str, AfterValidator(private_address)]
Network = Annotated[str, AfterValidator(network)]
FloatingAddress = Annotated[str, AfterValidator(floating_address)]
InterfaceName = Annotated[str, AfterValidator(interface_name)]
AdapterName = Annotated[str, AfterValidator(adapter_name)]
RouterId = Annotated[int, BeforeValidator(not_boolean), Field(ge=1, le=255)]
UserName = Annotated[str, AfterValidator(user_name)]
ModelName = Annotated[str, AfterValidator(model_name)]
ProviderName = Annotated[str, AfterValidator(provider_name)]
Flag = Annotated[str, AfterValidator(flag)]
CatalogName = Annotated[str, AfterValidator(catalog_name)]
Method = Annotated[str, AfterValidator(method)]
EnvironmentVariable = Annotated[str, AfterValidator(environment_variable)]
Sha256 = Annotated[str, AfterValidator(sha256)]
KeyId = Annotated[str, AfterValidator(key_id)]
Salt = Annotated[str, AfterValidator(salt)]
KeyHash = Annotated[str, AfterValidator(key_hash)]
Moment = Annotated[str, BeforeValidator(moment)]
RequestField = Annotated[str, AfterValidator(request_field)]
ApiPath = Annotated[str, AfterValidator(api_path)]
Origin = Annotated[str, AfterValidator(origin)]
Revision = Annotated[str, AfterValidator(revision)]
S3Address = Annotated[str, AfterValidator(s3_address)]
MemorySize = Annotated[str, AfterValidator(memory_size)]
HostPath = Annotated[str, Field(pattern=r"^/.+$")]
Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
Region = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""Of AWS, or of another store that speaks S3, which may have names of its own."""
AwsProfile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@:/+-]{0,127}$")]
LocalPath = Annotated[Path, AfterValidator(expanded)]
Port = Annotated[int, BeforeValidator(not_boolean), Field(ge=1, le=65535)]
Count = Annotated[int, BeforeValidator(not_boolean), Field(ge=0)]
PositiveCount = Annotated[int, BeforeValidator(not_boolean), Field(ge=1)]
Fraction = Annotated[float, BeforeValidator(not_boolean), Field(gt=0, le=1)]
GiB = Annotated[float, BeforeValidator(not_boolean), Field(gt=0)]
Currency = Annotated[str, AfterValidator(currency)]
Price = Annotated[
    Decimal,
    BeforeValidator(exact),
    Field(ge=0, le=1_000_000, decimal_places=6),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1_000_000}),
]
"""Of a million tokens. In millionths it is a whole number, which is how the front reckons."""
Amount = Annotated[
    Decimal,
    BeforeValidator(exact),
    Field(gt=0, le=MOST_MONEY, decimal_places=6),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MOST_MONEY}),
]
StrongSecret = Annotated[Secret, AfterValidator(strong_secret)]

"""Forms of tokens, names of secrets, and what is no secret though it looks like one."""

import base64

import pytest

from policies.node import UNKNOWN, Node
from policies.readers.secrets.texts import Text, in_clear, texts, texts_of
from policies.readers.secrets.values import formats, says_secret
from policies.resources import Resource

RANDOM = "q7Xp2Lm9Rt4vZk8Wn3BcY6hJ5sDf1GaT0uEiKoPxQzLwMvNbCrHyUjIkOlPmZxSwAqDeFrGt"
# Put together here, so that no scanner takes this file for a leak.
SAMPLES = {
    "an AWS access key id": "AK" + "IAQ7XP2LM6RT4VZK2W",
    "a Hugging Face token": "hf" + "_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "an Anthropic API key": "sk-" + "ant-api03-" + RANDOM[:40],
    "an OpenAI or LiteLLM key": "sk" + "-proj-" + RANDOM[:40],
    "a GitHub token": "gh" + "p_" + RANDOM[:36],
    "a GitLab token": "gl" + "pat-" + RANDOM[:20],
    "a Slack token": "xo" + "xb-123456789012-" + RANDOM[:24],
    "an NVIDIA API key": "nv" + "api-" + RANDOM[:64],
    "a Google API key": "AI" + "za" + RANDOM[:35],
    "an npm token": "np" + "m_" + RANDOM[:36],
    "a Docker token": "dckr" + "_pat_" + RANDOM[:27],
    "a Pulumi token": "pu" + "l-" + "0123456789abcdef" * 2 + "01234567",
    "a Stripe key": "sk" + "_live_" + RANDOM[:24],
    "a Groq API key": "gs" + "k_" + RANDOM[:52],
    "a HashiCorp Vault token": "hv" + "s." + RANDOM[:24],
    "an Azure storage key": "Account" + "Key=" + (RANDOM * 2)[:86] + "==",
    "a private key": "-----BEGIN OPENSSH" + " PRIVATE KEY-----",
    "a JSON Web Token": "ey" + "J" + RANDOM[:20] + "." + "ey" + "J" + RANDOM[:30] + "." + RANDOM[:43],
    "a URL with a password": "redis://:tiger" + "@cache:6379/0",
}
GITLAB = SAMPLES["a GitLab token"]
NAMES = """
    hfToken HF_TOKEN auth.password adminPassword masterUserPassword apiKey X_API_KEY x-api-key VLLM_API_KEY apikey privateKey
    secretString DB_PASSWORD_1 clientSecret project:hfToken LITELLM_SALT_KEY AWS_SECRET_ACCESS_KEY
    passphrase requirepass masterauth apiTokens pass MYSQL_PWD sslpassword NO_REPLY_PASSWORD
"""
OTHER_NAMES = """
    secretName secretKeyRef tokenizer keyId kmsKeyId keyName publicKey keyFile max_tokens tokensPerMinute hostKey key
    creationToken clientToken eos_token passwordLength accessKeyId existingSecret imagePullSecret checksum/secret
    POSTGRES_PASSWORD_FILE TOKENIZERS_PARALLELISM sortKey monkey
    PWD renderPass --no-password ALLOW_EMPTY_PASSWORD
"""
# Of stretches that are short, or without digits.
AWS_KEY = "wJa1rXUtnF/K7MDENGbPx/RfiCYAMPLEKEYa/BcD"
KINDS = ("RSA ", "", "EC ", "OPENSSH ", "ENCRYPTED ")


def secrets(text: str, name: str = "text") -> list[str]:
    return Text(Node(text), name, strict=False).secrets()


@pytest.mark.parametrize("name", [each.name for each in formats()])
def test_each_form_is_found_anywhere_and_alone(name: str) -> None:
    sample = SAMPLES[name]
    for text in (sample, f'export A="{sample}"', f"--header 'Authorization: Bearer {sample}'", f"a\n  b: {sample}\n"):
        assert secrets(text) == [name]
        assert Text(Node(text), "text", strict=False).suspicious()


@pytest.mark.parametrize("kind", KINDS)
def test_private_keys_in_base64(kind: str) -> None:
    pem = f"-----BEGIN {kind}PRIVATE KEY-----\nMIIB\n"
    assert secrets(pem) == ["a private key"]
    assert secrets(base64.b64encode(pem.encode()).decode()) == ["a private key"]


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "hf_transfer",
        "sk-learn-serving-runtime-for-large-models",
        "task-1234ABCD1234ABCD1234ABCD",
        "-----BEGIN CERTIFICATE-----\nMIIB\n",
        base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMIIB\n").decode(),
        "-----BEGIN PUBLIC KEY-----\nMIIB\n",
        "https://models.example:8443/v1/@team/m",
        "postgresql://llm:$(PASSWORD)@db/llm",
        "postgresql://llm:${PASSWORD}@db/llm",
        "postgresql://llm:{{ .Values.password }}@db/llm",
        "https://user:***@example",
        "git@github.com:org/name.git",
        "ssh://git@example:22/org/name",
        "oci://registry.example/vllm@sha256:" + "a" * 64,
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:llm-AbCdEf",
    ],
)
def test_what_only_resembles_one(text: str) -> None:
    assert secrets(text) == []


@pytest.mark.parametrize("name", NAMES.split())
def test_names_of_secrets(name: str) -> None:
    assert says_secret(name)


@pytest.mark.parametrize("name", ["", "2026", *OTHER_NAMES.split()])
def test_names_of_none(name: str) -> None:
    assert not says_secret(name)


@pytest.mark.parametrize(
    "value",
    [
        "litellm-master-key",
        "huggingface-credentials",
        "llama3-8b-token",
        "prod/llm/hf-token-v2",
        "nvidia-l40s-1x-token-2026",
        "550e8400-e29b-41d4-a716-446655440000",
        "sha256:" + "ab12" * 16,
        "aaaa1111aaaa1111",
        "a sentence with 4 words and 12 numbers",
        "commit 9f8a7b6c5d4e3f2a",
        "EMPTY",
        "os.environ/KEY",
        "",
    ],
)
def test_names_and_references_are_no_random_values(value: str) -> None:
    assert secrets(value, "token") == []


@pytest.mark.parametrize(
    "value",
    [
        "q7Xp2Lm9Rt4v",
        "kqzvtrgh84mwxbpl",
        "a1b2c3d4a1b2c3d4",
        AWS_KEY,
        "e3b0c44298fc1c149afbf4c8996fb924",
        "sk-1234",
        RANDOM,
    ],
)
def test_random_values_count_under_a_secrets_name_only(value: str) -> None:
    assert secrets(value, "hfToken") == ["the value of hfToken"]
    assert secrets(value, "modelName") == []


def test_a_text_tells_the_names_and_never_the_values() -> None:
    text = (
        "export HF_TOKEN=q7Xp2Lm9Rt4v\npassword: hunter2\ntokenizer: m\nvllm serve m --api-key sk-1234 --max-tokens 4\n"
    )
    assert secrets(text) == ["the value of HF_TOKEN", "the value of password", "the value of api-key"]


def test_a_json_document_is_taken_apart_and_templates_are_not() -> None:
    found = list(texts(Node({"a": '{"env": [{"name": "X", "value": "1"}]}', "b": "{{ .Values.x }}", "c": "[broken"})))
    assert [(each.path, each.name) for each in found] == [
        ("a.env[0].name", "name"),
        ("a.env[0].value", "X"),
        ("b", "b"),
        ("c", "c"),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hunter2", "PGPASSWORD"),
        ("hunter2", "DB_PASS"),
        ("hunter2", "MYSQL_PWD"),
        ("hunter2", "PASSWORD"),
        ("/abc123", "X_PASSWORD"),
        ("$ecret123", "X_PASSWORD"),
        ("(hunter2)", "X_PASSWORD"),
        ("q7Xp2Lm9Rt4v", "TOKEN"),
        ("q7Xp2Lm9Rt4v", "SECRET"),
        ("9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c", "AZURE_OPENAI_KEY"),
        ("q7Xp2Lm9Rt4v,Lm9Rt4vZk8Wn3Bc", "API_KEYS"),
        ("mysecretkey", "VLLM_API_KEY"),
        ("--api-key=hunter2hunter2", "args"),
        ("--ssl-key-password=tiger", "args"),
        ("Bearer 9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c", "AUTH_HEADER"),
        (f"Basic {base64.b64encode(b'user:tiger').decode()}", "AUTH_HEADER"),
        (base64.b64encode(b"user:tiger").decode(), "auth"),
        ("Server=db;Database=llm;Password=hunter2;", "dsn"),
        ("Server=db;Database=llm;Pwd=hunter2;", "dsn"),
        ("general_settings: {master_key: sk-1234}\n", "config.yaml"),
        ("client: {api_key: 9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c}\n", "config.yaml"),
        ("PASSWORD=hunter22 run", "command"),
        ("docker login -u a -p hunter2 registry.example", "command"),
        ("echo hunter2 | docker login --password-stdin", "command"),
        ("curl -u a:b http://gateway:4000", "command"),
        ("mysqldump -u root -phunter2 llm", "command"),
        ("123456", "password"),
        ("q7Xp2Lm9Rt4v, Lm9Rt4vZk8Wn3Bc", "API_KEYS"),
        ("Bearer sk-hunter2", "AUTH_HEADER"),
        ("Basic " + base64.b64encode(b"user:pass").decode(), "AUTH_HEADER"),
        ("redis-server --masterauth hunter2", "command"),
        ("requirepass hunter2\nmaxmemory 1gb\n", "redis.conf"),
        ("redis-cli -a hunter2 ping", "command"),
        ("CREATE USER llm WITH PASSWORD 'tiger';", "init.sql"),
        ("create user 'llm' identified by 'tiger';", "init.sql"),
        ("curl -sSu a:b http://gateway:4000", "command"),
        ('curl -H "x-api-key: q7Xp2Lm9Rt4v" http://gateway:4000', "command"),
        ('connect(password="tiger", user="llm")', "script.py"),
        ('connect(host, password="password")', "script.py"),
        ("PASSWORD='!hunter2' run", "command"),
        ("PASSWORD=root-password run", "command"),
        ("PASSWORD=tiger.two run", "command"),
        ("run --password=here", "command"),
    ],
)
def test_secrets_of_everyday(text: str, name: str) -> None:
    assert Text(Node(text), name, strict=False).suspicious()
    assert secrets(text, name) != []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dummy", "OPENAI_API_KEY"),
        ("none", "API_KEY"),
        ("$NAME", "PASSWORD"),
        ("$name", "PASSWORD"),
        ("${NAME}", "DB_PASS"),
        ("/run/secrets/password", "DB_PASSWORD"),
        ("first", "RENDER_PASS"),
        ("$6$salt$hash", "password"),
        ("aws ecr get-login-password | docker login --username AWS --password-stdin registry.example", "command"),
        ('docker login ghcr.io -u x -p "$TOKEN"', "command"),
        ("docker login -p is deprecated", "description"),
        ('curl -u "$USER:${PASS}" http://gateway', "command"),
        ('curl -H "Authorization: Bearer $(cat /token)" http://gateway', "command"),
        ("Set the password with --password to change it", "description"),
        ("Bearer authentication is on, basic authentication is off", "description"),
        ("def login(user, password=None):", "script.py"),
        ('client = OpenAI(api_key=os.environ["KEY"], token=token)', "script.py"),
        ("connect(host, password=settings.password)", "script.py"),
        ("auth: {existingSecret: db, secretKeys: {userPasswordKey: password}}\n", "values.yaml"),
        ("key: {secretKeyRef: {name: a, key: password}}\n", "values.yaml"),
        ("bearer_token_file: /var/run/secrets/kubernetes.io/serviceaccount/token\n", "prometheus.yml"),
        ('proxy_set_header Authorization "Bearer $token";', "nginx.conf"),
        ("--pass-access-token=true --pass-authorization-header=true", "args"),
        ("TOKEN=${1:?token missing}", "command"),
        ("password: ${DB_PASSWORD:?missing}\n", "compose.yaml"),
        ("kubectl create secret generic x --from-literal=token=$TOKEN", "command"),
        ("kubectl get secret x -o jsonpath={.data.password} | base64 -d", "command"),
        ('redis-cli -a "$REDIS_PASSWORD" ping', "command"),
        ("credentials: same-origin\n", "config.yaml"),
        ("12345", "password"),
        ("1048576", "max_model_len"),
        ("ldap", "auth"),
        (base64.b64encode(b"user:tiger").decode(), "note"),
        (base64.b64encode(b"user:").decode(), "auth"),
        (base64.b64encode(b"team one").decode(), "auth"),
        (base64.b64encode(b"\x02ser:tiger").decode(), "auth"),
        (base64.b64encode(b"user:\x02iger").decode(), "auth"),
        ("pg_dump --no-password llm", "command"),
        ("mysql --password --host=db", "command"),
        ("PASSWORD=$(cat /run/secrets/db) run", "command"),
        ("PASSWORD=`cat /run/secrets/db` run", "command"),
        ("password: >-\n", "values.yaml"),
        ("password: *shared\n", "values.yaml"),
        ("password: !vault\n", "values.yaml"),
        ('PASSWORD="$(cat" run', "command"),
        ("vllm serve m --password DB_PASSWORD", "README.md"),
        ('docker login -p "$(cat /run/token)" ghcr.io', "command"),
        ("docker login -p xxxxxxxx ghcr.io", "command"),
        ("curl -u user:<password> http://gateway", "command"),
        ("CREATE USER llm WITH PASSWORD '${DB_PASSWORD}';", "init.sql"),
        ('connect(host, password=password, user="llm")', "script.py"),
        ("connect(host, password=unquote(password), port=1)", "script.py"),
        ("enabled", "DISABLE_PASSWORD"),
        ("$__file{/etc/secrets/db/password}", "password"),
        ("$__env{SMTP_PASSWORD}", "password"),
        ("SECRET[aws.password]", "password"),
        ("sk-no-key-required", "OPENAI_API_KEY"),
        ("gcp:secretmanager:projects/p/secrets/s", "password"),
        ("infisical:prod/password", "password"),
        ("run kubectl login -p? see docs", "runbook"),
        ("connect(host, password=given)", "code"),
        ("with connect(host, password=given):", "code"),
    ],
)
def test_harmless_texts_of_everyday(text: str, name: str) -> None:
    assert secrets(text, name) == []


PAIR = "env:\n  - name: DB_PASSWORD\n    value: tiger\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (PAIR, "DB_PASSWORD"),
        (f"---\nkind: Deployment\n---\n{PAIR}", "DB_PASSWORD"),
        ("#!/usr/bin/env ansible-playbook\n" + PAIR, "DB_PASSWORD"),
        ("inner: |\n  " + PAIR.replace("\n", "\n  "), "DB_PASSWORD"),
        ('password: "two words"\n', "password"),
        ("command:\n  - --api-key\n  - tiger\n", "api-key"),
        ("general_settings:\n  master_key: my-master-key\n", "master_key"),
    ],
)
def test_yaml_is_read_where_lines_alone_do_not_tell(text: str, what: str) -> None:
    assert secrets(text, "config.yaml") == [f"the value of {what}"]


@pytest.mark.parametrize(
    "text",
    [
        "general_settings:\n  master_key: os.environ/KEY\n",
        "other_settings:\n  master_key: my-master-key\n",
        "general_settings:\n  salt_key: my-master-key\n",
        "required:\n  - password\n  - username\n",
    ],
)
def test_yaml_without_secrets(text: str) -> None:
    assert secrets(text, "config.yaml") == []


@pytest.mark.parametrize(
    "odd",
    [
        "b: &b [*b]\n",
        'b: !!int ""\n',
        "b: !!bool x\n",
        "b: !!timestamp x\n",
        "b: 2026-13-45\n",
        "b: " + "[" * 9000 + "]" * 9000,
        "b: [\n",
    ],
)
def test_yaml_that_cannot_be_read_is_read_by_lines(odd: str) -> None:
    assert secrets(f"password: tiger\n{odd}", "config.yaml") == ["the value of password"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"command": ["run", "--api-key", "tiger", "--port", "8000"]}, ["command[2]"]),
        ({"command": ["run", "--password=$(PASSWORD)", "model"]}, []),
        ({"command": ["pg_dump", "--password", "--host=db"]}, []),
        ({"required": ["password", "username"]}, []),
        ({"passwords": ["tiger", "lion"]}, ["passwords[0]", "passwords[1]"]),
        ({"password": 12345678, "maxTokens": 12345678, "passwordSet": True, "token": 12345678}, ["password"]),
        (
            {"spec": {"encryptedData": {"password": "AgBy3i4OJSWK"}, "template": {"password": "tiger"}}},
            ["spec.template.password"],
        ),
    ],
)
def test_where_in_plain_data_secrets_stand(data: object, told: list[str]) -> None:
    assert [each.path for each in texts(Node(data)) if each.secrets()] == told


@pytest.mark.parametrize(
    ("text", "clear", "told"),
    [
        (
            "A_PASSWORD=tiger\nB_PASSWORD=tigers\n",
            {"tiger", "tigers"},
            ["the value of A_PASSWORD", "the value of B_PASSWORD"],
        ),
        (
            "url: postgresql://llm:llm" + "@db/llm\npassword: llm-tiger\n",
            {"llm", "llm-tiger"},
            ["a URL with a password", "the value of password"],
        ),
        (f"TOKEN={GITLAB}\nPASSWORD=tiger\n", {GITLAB, "tiger"}, ["a GitLab token", "the value of PASSWORD"]),
        (f"PASSWORD=oauth2:{GITLAB} run", {GITLAB, f"oauth2:{GITLAB}"}, ["a GitLab token"]),
        (f"https://user:{GITLAB}" + "@example", {GITLAB}, ["a GitLab token"]),
        ('PASSWORD="tiger):" run', {"tiger):"}, ["the value of PASSWORD"]),
        ("connect(host, password='tiger')", {"tiger"}, ["the value of password"]),
    ],
)
def test_every_secret_of_a_text_is_hidden_and_told_once(text: str, clear: set[str], told: list[str]) -> None:
    assert in_clear(Resource.plain("example:index:Thing", "it", {"text": text})) == clear
    assert secrets(text) == told


def test_a_resource_of_which_nothing_is_known_has_no_texts() -> None:
    resource = Resource("example:index:Thing", "it", "", inputs=Node(UNKNOWN))
    assert list(texts_of(resource)) == []
    assert in_clear(resource) == set()
    assert in_clear(Resource.plain("example:index:Thing", "it", {"password": UNKNOWN})) == set()

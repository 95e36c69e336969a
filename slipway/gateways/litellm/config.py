"""LiteLLM's configuration as data: the part of config.yaml that no model changes, and what LiteLLM needs of a provider.

Models are not in it: they lie in routes.json, teams in teams.json, and Slipway's part in the gateway chooses among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.errors import UserMistake


def config(request_timeout_s: int) -> dict[str, Any]:
    """config.yaml, as it is at each start of the gateway.

    Args:
        request_timeout_s: seconds that a whole answer may take.
    """
    return {
        "router_settings": {
            # Slipway chooses the backend, and asks another one when it fails: one owner, also for what passes LiteLLM by.
            "num_retries": 0,
            "disable_cooldowns": True,
            "timeout": request_timeout_s,
        },
        "litellm_settings": {
            "request_timeout": request_timeout_s,
            "telemetry": False,
            # Prompts and answers appear in no log and in no error.
            "turn_off_message_logging": True,
            "redact_messages_in_exceptions": True,
            "redact_user_api_key_info": True,
            "set_verbose": False,
            # Parameters that a backend does not know are refused by the backend itself, not dropped in silence.
            "drop_params": False,
        },
        "general_settings": {
            "custom_auth": "custom_auth.user_api_key_auth",
            "store_model_in_db": False,
            "disable_spend_logs": True,
            "disable_error_logs": True,
        },
    }


@dataclass(frozen=True, kw_only=True)
class ProviderKind:
    """How LiteLLM reaches one kind of provider.

    Attributes:
        prefix: of the model's name, by which LiteLLM knows the kind.
        url: whether a base URL is "needed", "possible" or "none".
        key: whether a key is "needed", "possible" or "none"; the parameter it becomes is `key_parameter`.
        key_parameter: LiteLLM's name for the key.
        options: LiteLLM's name for each option.
        needed: options without which nothing works.
        fixed: parameters that every model of this kind has.
        source: page of LiteLLM's documentation.
    """

    prefix: str
    url: str = "none"
    key: str = "needed"
    key_parameter: str = "api_key"
    options: Mapping[str, str] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    source: str


KINDS: Mapping[str, ProviderKind] = {
    "openai": ProviderKind(
        prefix="openai",
        url="possible",
        options={"organization": "organization"},
        source="https://docs.litellm.ai/docs/providers/openai",
    ),
    "openai_compatible": ProviderKind(
        prefix="openai",
        url="needed",
        key="possible",
        # Else responses and messages would become /v1/responses there, which few such servers have.
        fixed={"use_chat_completions_api": True},
        source="https://docs.litellm.ai/docs/providers/openai_compatible",
    ),
    "anthropic": ProviderKind(
        prefix="anthropic",
        url="possible",
        source="https://docs.litellm.ai/docs/providers/anthropic",
    ),
    "azure_openai": ProviderKind(
        prefix="azure",
        url="needed",
        options={"api_version": "api_version"},
        needed=frozenset({"api_version"}),
        source="https://docs.litellm.ai/docs/providers/azure",
    ),
    # Without an access key LiteLLM takes what the machine has, as all of AWS' tools do: an instance's role, for instance.
    "bedrock": ProviderKind(
        prefix="bedrock",
        url="possible",
        key="possible",
        key_parameter="aws_secret_access_key",
        options={
            "region": "aws_region_name",
            "access_key_id": "aws_access_key_id",
            "session_token": "aws_session_token",
            "role": "aws_role_name",
            "role_session": "aws_session_name",
        },
        needed=frozenset({"region"}),
        source="https://docs.litellm.ai/docs/providers/bedrock",
    ),
    # The key is a service account's JSON; without it LiteLLM takes Google's application default credentials.
    "vertex": ProviderKind(
        prefix="vertex_ai",
        url="possible",
        key="possible",
        key_parameter="vertex_credentials",
        options={"project": "vertex_project", "location": "vertex_location"},
        needed=frozenset({"project", "location"}),
        source="https://docs.litellm.ai/docs/providers/vertex",
    ),
}
"""The kinds of providers that a stack can name."""


def provider_parameters(
    kind: str,
    *,
    model: str,
    url: str | None = None,
    key: Any = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """LiteLLM's parameters for one model of a provider: `litellm` of an entry in routes.json.

    Args:
        kind: one of `KINDS`.
        model: the provider's name for the model; with azure_openai the deployment's.
        url: base URL; with openai_compatible it ends with /v1.
        key: the secret, passed on as it is, of whatever type it is.
        options: by our names for them; None counts as not given.

    Raises:
        UserMistake: something that the kind needs is missing, or something is given that it does not know.
    """
    known = KINDS.get(kind)
    if known is None:
        raise UserMistake(f"provider kind {kind!r} is not known; the kinds are {', '.join(KINDS)}")
    given = {name: value for name, value in (options or {}).items() if value is not None}
    wrong = {
        "needs a url": known.url == "needed" and url is None,
        "has no url": known.url == "none" and url is not None,
        "needs a key": known.key == "needed" and key is None,
        "needs access_key_id beside a key": kind == "bedrock" and (key is None) != ("access_key_id" not in given),
        **{f"needs the option {name}": name not in given for name in sorted(known.needed)},
        **{f"does not know the option {name}": True for name in sorted(set(given) - set(known.options))},
    }
    for fault, found in wrong.items():
        if found:
            raise UserMistake(f"a provider of kind {kind} {fault}; see {known.source}")
    parameters: dict[str, Any] = {"model": f"{known.prefix}/{model}", **known.fixed}
    if url is not None:
        parameters["aws_bedrock_runtime_endpoint" if kind == "bedrock" else "api_base"] = url
    if key is not None:
        parameters[known.key_parameter] = key
    elif kind == "openai_compatible":
        # LiteLLM refuses to ask without one; servers that need none ignore it.
        parameters["api_key"] = "none"
    return parameters | {known.options[name]: value for name, value in given.items()}

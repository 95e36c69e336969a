"""What LiteLLM is configured with, and what it needs of each kind of provider."""

from typing import Any

import pytest

from slipway.errors import UserMistake
from slipway.gateways.litellm.config import KINDS, config, provider_parameters

KEY = object()  # whatever stands for a secret goes through untouched


def test_litellm_tries_nothing_again_and_leaves_no_backend_alone() -> None:
    """Slipway's part in the gateway does both; two that do would try a request over and over."""
    found = config(300)
    assert found["router_settings"] == {"num_retries": 0, "disable_cooldowns": True, "timeout": 300}
    assert "model_list" not in found


def test_nothing_that_people_say_is_kept_or_reported() -> None:
    found = config(300)
    assert found["litellm_settings"] == {
        "request_timeout": 300,
        "telemetry": False,
        "turn_off_message_logging": True,
        "redact_messages_in_exceptions": True,
        "redact_user_api_key_info": True,
        "set_verbose": False,
        "drop_params": False,
    }
    general = found["general_settings"]
    assert general["custom_auth"] == "custom_auth.user_api_key_auth"
    assert (general["disable_spend_logs"], general["disable_error_logs"]) == (True, True)
    assert general["store_model_in_db"] is False


@pytest.mark.parametrize(
    ("kind", "given", "parameters"),
    [
        ("openai", {"key": KEY}, {"model": "openai/m", "api_key": KEY}),
        (
            "openai",
            {"key": KEY, "url": "https://eu.api.example/v1", "options": {"organization": "o"}},
            {"model": "openai/m", "api_key": KEY, "api_base": "https://eu.api.example/v1", "organization": "o"},
        ),
        (
            "openai_compatible",
            {"url": "http://192.0.2.1:1234/v1"},
            {
                "model": "openai/m",
                "api_base": "http://192.0.2.1:1234/v1",
                "api_key": "none",
                "use_chat_completions_api": True,
            },
        ),
        ("anthropic", {"key": KEY}, {"model": "anthropic/m", "api_key": KEY}),
        (
            "azure_openai",
            {"key": KEY, "url": "https://a.example", "options": {"api_version": "2026-10-01"}},
            {"model": "azure/m", "api_key": KEY, "api_base": "https://a.example", "api_version": "2026-10-01"},
        ),
        (
            "bedrock",
            {"options": {"region": "eu-central-1", "role": None}},
            {"model": "bedrock/m", "aws_region_name": "eu-central-1"},
        ),
        (
            "bedrock",
            {"key": KEY, "url": "https://vpce.example", "options": {"region": "r", "access_key_id": "a"}},
            {
                "model": "bedrock/m",
                "aws_region_name": "r",
                "aws_access_key_id": "a",
                "aws_secret_access_key": KEY,
                "aws_bedrock_runtime_endpoint": "https://vpce.example",
            },
        ),
        (
            "vertex",
            {"key": KEY, "options": {"project": "p", "location": "europe-west3"}},
            {
                "model": "vertex_ai/m",
                "vertex_credentials": KEY,
                "vertex_project": "p",
                "vertex_location": "europe-west3",
            },
        ),
    ],
)
def test_a_provider_gets_what_its_kind_needs(kind: str, given: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert provider_parameters(kind, model="m", **given) == parameters


@pytest.mark.parametrize(
    ("kind", "given", "fault"),
    [
        ("openia", {}, "kind 'openia' is not known; the kinds are openai, openai_compatible,"),
        ("openai", {}, "kind openai needs a key"),
        ("openai_compatible", {}, "needs a url"),
        ("azure_openai", {"key": KEY, "url": "https://a.example"}, "needs the option api_version"),
        ("bedrock", {}, "needs the option region"),
        ("bedrock", {"key": KEY, "options": {"region": "r"}}, "needs access_key_id beside a key"),
        ("bedrock", {"options": {"region": "r", "access_key_id": "a"}}, "needs access_key_id beside a key"),
        ("vertex", {"options": {"project": "p"}}, "needs the option location"),
        ("anthropic", {"key": KEY, "options": {"region": "r"}}, "does not know the option region"),
    ],
)
def test_what_cannot_work_is_refused(kind: str, given: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserMistake, match=fault):
        provider_parameters(kind, model="m", **given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_asks_only_for_what_it_knows(kind: str) -> None:
    known = KINDS[kind]
    assert known.needed <= set(known.options)
    assert {known.url, known.key} <= {"needed", "possible", "none"}
    assert known.source.startswith("https://docs.litellm.ai/docs/providers/")

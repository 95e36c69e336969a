"""Providers: servers elsewhere that answer for some of the models."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, HttpUrl, Tag, model_validator

from slipway.settings.base import Section, tag
from slipway.settings.types import Secret


class Provider(Section):
    """What every kind of provider has."""

    @property
    def name(self) -> str:
        """Its kind."""
        kind: Any = getattr(self, "kind", "")
        return str(kind)


class OpenAi(Provider):
    """OpenAI's own service."""

    kind: Literal["openai"] = "openai"
    """The kind of provider. Default: that of the provider's name, where it is one of the kinds."""
    key: Secret
    """Its key."""
    organization: str | None = None
    """The organisation that is billed."""


class OpenAiCompatible(Provider):
    """Any server that speaks OpenAI's API: LM Studio on a desktop, another Slipway, a neighbour's vLLM."""

    kind: Literal["openai_compatible"]
    """The kind of provider."""
    url: HttpUrl
    """Its base URL, ending in /v1."""
    key: Secret | None = None
    """Its key, where it asks for one."""


class Anthropic(Provider):
    """Anthropic's own service."""

    kind: Literal["anthropic"] = "anthropic"
    """The kind of provider."""
    key: Secret
    """Its key."""


class AzureOpenAi(Provider):
    """OpenAI's models in Azure."""

    kind: Literal["azure_openai"] = "azure_openai"
    """The kind of provider."""
    url: HttpUrl
    """The resource's endpoint, such as https://NAME.openai.azure.com."""
    api_version: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$")
    """The API's version, such as 2025-04-01-preview."""
    key: Secret
    """Its key."""


class Bedrock(Provider):
    """Models in AWS Bedrock."""

    kind: Literal["bedrock"] = "bedrock"
    """The kind of provider."""
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """The AWS region."""
    access_key_id: str | None = None
    """The access key's id; without one the gateway's host must have a role of its own."""
    key: Secret | None = None
    """The secret access key."""

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        if (self.access_key_id is None) != (self.key is None):
            raise ValueError("access_key_id and key go together; AWS would refuse every request: give both, or neither")
        return self


class Vertex(Provider):
    """Models in Google's Vertex AI."""

    kind: Literal["vertex"] = "vertex"
    """The kind of provider."""
    project: str = Field(min_length=1)
    """The project's id."""
    location: str = Field(pattern=r"^[a-z0-9-]+$")
    """The region, or `global`."""
    key: Secret
    """The service account's key, the whole JSON document."""


KINDS: dict[str, type[Provider]] = {
    "openai": OpenAi,
    "openai_compatible": OpenAiCompatible,
    "anthropic": Anthropic,
    "azure_openai": AzureOpenAi,
    "bedrock": Bedrock,
    "vertex": Vertex,
}


def with_kinds(providers: Any) -> Any:
    """The section with each provider's kind filled in from its name, where that is one of the kinds."""
    if not isinstance(providers, dict):
        return providers
    return {
        name: {"kind": name, **section} if isinstance(section, dict) and name in KINDS else section
        for name, section in providers.items()
    }


def _kind(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return tag(kind) if kind in KINDS else None


AnyProvider = Annotated[
    Annotated[OpenAi, Tag(tag("openai"))]
    | Annotated[OpenAiCompatible, Tag(tag("openai_compatible"))]
    | Annotated[Anthropic, Tag(tag("anthropic"))]
    | Annotated[AzureOpenAi, Tag(tag("azure_openai"))]
    | Annotated[Bedrock, Tag(tag("bedrock"))]
    | Annotated[Vertex, Tag(tag("vertex"))],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"kind is missing or not known; nothing could be asked: use one of {', '.join(KINDS)}",
    ),
]

"""What a client's file is made of, and what Slipway needs to know of a tool that reads one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.errors import UserMistake


class ClientError(UserMistake):
    """No file can be made of a team's configuration: one line with what, the consequence and the mend."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model that a team may ask; bounds are in tokens, None where they are not known."""

    id: str
    task: str
    context_window: int | None
    max_output_tokens: int | None

    @property
    def max_input_tokens(self) -> int | None:
        """What is left of the context window for a prompt beside the longest answer."""
        if self.context_window is None or self.max_output_tokens is None:
            return None
        return max(1, self.context_window - self.max_output_tokens)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """All that one team's clients need. The key itself is no part of it."""

    provider: str
    """What a tool calls the stack."""
    team: str
    base_url: str
    """Ends in /v1."""
    key_variable: str
    models: tuple[Model, ...]
    ca_file: str | None = None
    """The certificate that clients must trust (PEM), as a path on this machine; None where they trust the front anyway."""

    def of(self, *tasks: str) -> tuple[Model, ...]:
        """The models for one of `tasks`, in the order of the stack."""
        return tuple(model for model in self.models if model.task in tasks)

    @property
    def chats(self) -> tuple[Model, ...]:
        """The models for chat.

        Raises:
            ClientError: the team may ask none.
        """
        found = self.of("chat")
        if not found:
            raise ClientError(
                f"team {self.team} may ask no chat model, and the tool wants one; nothing was written: give another --team"
            )
        return found

    @property
    def host_url(self) -> str:
        """The address without /v1, for clients that add it themselves."""
        return self.base_url.removesuffix("/v1")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool: where it reads its file, and what is in it."""

    name: str
    """As `slipway clients --for` takes it."""
    file: str
    """Where the tool looks for it, for the person who puts it there."""
    render: Callable[[Configuration], str]
    key: str
    """How the key gets to the tool; ``{variable}`` stands for the variable that holds it."""
    ca: str | None = None
    """How the tool learns to trust ``{file}``; None where its file says so."""

    def notes(self, configuration: Configuration) -> tuple[str, ...]:
        """What the file can't say."""
        key = self.key.format(variable=configuration.key_variable)
        if configuration.ca_file is None or self.ca is None:
            return (key,)
        return key, self.ca.format(file=configuration.ca_file)


def configuration_of(plain: Mapping[str, Any], *, provider: str, team: str, ca_file: str | None) -> Configuration:
    """The same of plain data (`slipway.clients.configuration`), whose references are resolved."""
    return Configuration(
        provider=provider,
        team=team,
        base_url=plain["base_url"],
        key_variable=plain["key_variable"],
        models=tuple(
            Model(
                id=model["id"],
                task=model["task"],
                context_window=model["context_window"],
                max_output_tokens=model["max_output_tokens"],
            )
            for model in plain["models"]
        ),
        ca_file=ca_file,
    )


def known(**values: Any) -> dict[str, Any]:
    """Those of `values` that are not None."""
    return {name: value for name, value in values.items() if value is not None}

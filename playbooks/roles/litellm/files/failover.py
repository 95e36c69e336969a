"""Has LiteLLM ask another engine where one is lost that nothing of an answer has come from yet.

LiteLLM 1.106 does so for chat completions whose engine refuses or breaks the connection at once. Two cases are left, in
which it knows too little of the engine that failed: an engine that has begun to answer a streamed chat completion, but
with its headers alone, as vLLM does while it still works on the prompt; and completions, of which a retry may go to the
same engine again. Both get what is missing here.

Not mended: streamed completions of the old kind (`/v1/completions` with `stream`), of which LiteLLM's router learns only
when the caller reads them, and whatever an engine is lost to in the middle of its answer.
"""

from __future__ import annotations

from typing import Any

from litellm.exceptions import MidStreamFallbackError
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.router import Router


def carry_on() -> None:
    """Mend both cases, in the LiteLLM that is loaded.

    Raises:
        AttributeError: this LiteLLM is built in another way.
    """
    _name_lost_streams()
    _skip_lost_engines()


def _name_lost_streams() -> None:
    """A stream's error says which engine it is of; the router's failover does nothing without."""
    plain = CustomStreamWrapper.__anext__

    async def following(self: Any) -> Any:
        try:
            return await plain(self)
        except MidStreamFallbackError as error:
            if not getattr(error, "failed_deployment_id", None):
                error.failed_deployment_id = self._hidden_params.get("model_id")
            raise

    CustomStreamWrapper.__anext__ = following


def _skip_lost_engines() -> None:
    """A retry leaves out the engine that failed, also where its error is one that may go away by itself."""
    plain = Router._deployment_ids_to_skip_on_retry  # noqa: SLF001 -- nothing else decides it

    def skipped(exception: Exception, already_skipped: Any) -> tuple[str, ...]:
        found = tuple(plain(exception, already_skipped))
        engine = getattr(exception, "retry_skip_deployment_id", None) or getattr(
            exception, "failed_deployment_id", None
        )
        status = getattr(exception, "status_code", None)
        if found or not engine or not isinstance(status, int) or status < 500:
            return found
        return tuple(sorted({*(already_skipped or ()), engine}))

    Router._deployment_ids_to_skip_on_retry = staticmethod(skipped)  # noqa: SLF001

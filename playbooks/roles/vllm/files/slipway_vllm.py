"""A plugin of vLLM: a request that never reached the engine's core keeps no place.

vLLM notes a request before it hands it to its core, and counts what is noted against --max-num-queued-reqs. A number beyond
64 bits can't be handed over: the request ends with status 500, and its note stays. After as many of them as the engine has
places, it says to everybody, and for good, that it is full. (AsyncLLM._add_request of vLLM 0.32.0; a request for several
answers at once is forgotten there.) vLLM loads plugins in each of its processes; the entry point beside this file names it.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

Method = Callable[..., Awaitable[Any]]


def register() -> None:
    """What vLLM calls. A version without these methods fails here, at its start: the fault may be another one there."""
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.engine.async_llm import AsyncLLM

    AsyncLLM._add_request = forgetting(AsyncLLM._add_request)  # noqa: SLF001 -- it is what does not clean up
    AsyncLLM.add_request = refusing(AsyncLLM.add_request, VLLMValidationError)


def forgetting(hand_over: Method) -> Method:
    """Aborts a request that was not handed over: its note, and, as it may have been under way, in the core."""

    @functools.wraps(hand_over)
    async def add(self: Any, request: Any, *rest: Any, **more: Any) -> Any:
        known = self.output_processor.has_request(request.request_id)
        try:
            return await hand_over(self, request, *rest, **more)
        except BaseException:
            if not known:
                await self.abort(request.request_id, internal=True)
            raise

    return add


def refusing(take: Method, refusal: type[Exception]) -> Method:
    """Raises `refusal`, which is status 400, for a number that can't be handed over: it is the caller's mistake."""

    @functools.wraps(take)
    async def add(self: Any, *arguments: Any, **more: Any) -> Any:
        try:
            return await take(self, *arguments, **more)
        except OverflowError as error:
            raise refusal("A number in the request does not fit into 64 bits.") from error

    return add

"""What is asked of a prediction, and what it answers. All of it encodes to JSON as it stands."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

PositiveInt = Annotated[int, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]


class PredictionError(ValueError):
    """A prediction that can't be made: one line with the reason."""


class Range(Struct, frozen=True):
    """A figure with what it may honestly be: `low` and `high` are numbers, not good and bad."""

    low: float
    expected: float
    high: float

    def scaled(self, factor: float) -> "Range":
        """All three times `factor`, which is positive."""
        return Range(self.low * factor, self.expected * factor, self.high * factor)


class Workload(Struct, frozen=True, kw_only=True):
    """What one copy of the model is given to do.

    Without `requests` it is a steady state: `concurrency` requests are always under way, a new one following each that
    ends. With `requests` so many arrive at once and are worked off, as offline jobs and benchmarks do.
    """

    prompt_tokens: PositiveInt
    """Of a request, as the mean."""
    output_tokens: PositiveInt
    """Of its answer, as the mean."""
    concurrency: PositiveInt
    """The most requests that are under way or waiting at once."""
    requests: PositiveInt | None = None
    lengths: Literal["fixed", "natural"] = "fixed"
    """Of the answers, where `requests` is given: all alike, or spread like people's (exponentially)."""
    cached_prompt: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share of the prompt's tokens that prefix caching saves."""


class StepTime(Struct, frozen=True, kw_only=True):
    """Where the time of one decoding step goes, in milliseconds."""

    weights_ms: float
    """Reading weights and multiplying with them."""
    kv_cache_ms: float
    communication_ms: float
    overhead_ms: float

    @property
    def total_ms(self) -> float:
        """The whole step."""
        return self.weights_ms + self.kv_cache_ms + self.communication_ms + self.overhead_ms


class Prediction(Struct, frozen=True, kw_only=True):
    """How fast one copy of the model will be."""

    concurrency: int
    """Requests that are worked on at once; fewer than asked for where there is no room for more."""
    limited_by: Literal["workload", "kv_cache", "max_num_seqs"]
    """What holds `concurrency` where it is."""
    ttft_s: Range
    """Mean time to the first token, in seconds; with `requests` this is mostly waiting."""
    itl_ms: Range
    """Mean time between two tokens of one request, in milliseconds, other requests' prompts included."""
    user_tokens_per_s: Range
    """What one user sees: 1000 / itl_ms."""
    output_tokens_per_s: Range
    """Of all requests together."""
    requests_per_s: Range
    request_s: Range
    """From arrival to the last token, in seconds."""
    step: StepTime
    """Of the expected case."""
    basis: Literal["measured", "similar", "theory"]
    """What the range rests on: measurements on this kind of GPU, on similar ones, or data sheets alone."""

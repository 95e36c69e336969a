"""Requests by which an engine that speaks OpenAI's API shows that it does its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.settings.models import Task

PROBES: Mapping[Task, tuple[str, Mapping[str, Any]]] = {
    Task.CHAT: ("/v1/completions", {"prompt": "Hello", "max_tokens": 1}),
    Task.COMPLETION: ("/v1/completions", {"prompt": "Hello", "max_tokens": 1}),
    Task.EMBEDDING: ("/v1/embeddings", {"input": "Hello"}),
    Task.RERANK: ("/v1/rerank", {"query": "Hello", "documents": ["Hello"]}),
}
"""Path, and body but for the model, of what has to be answered before an engine counts as ready. A transcription has none."""

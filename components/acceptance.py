"""The acceptance layer."""

from typing import Any

import pulumi

from components.layer import Layer


class Acceptance(Layer):
    """A real streamed completion through the front; without one token the deployment fails."""

    layer = "acceptance"

    @property
    def figures(self) -> pulumi.Output[dict[str, Any]]:
        """What was measured: model, ttft_ms, tokens_per_second, deltas, and direct_ttft_ms where it could be asked."""
        (playbook,) = self.all
        return playbook.results

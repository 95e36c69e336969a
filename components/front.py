"""The front layer."""

import pulumi

from components.layer import Layer


class Front(Layer):
    """TLS in front of the gateway."""

    layer = "front"

    @property
    def ca_certificate(self) -> pulumi.Output[str]:
        """The private CA's certificate (PEM); empty with a site certificate."""
        (playbook,) = self.all
        return playbook.results.apply(lambda results: str(results.get("ca_certificate", "")))

"""Pulumi components: they wire what `slipway` computed, and compute nothing themselves."""

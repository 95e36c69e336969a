"""What a stack's YAML may say, validated before anything is touched: one section a file.

`slipway.settings.load` reads a stack, `slipway.settings.platform` holds the whole. Nothing is looked up or computed here;
what follows from the settings is `slipway.deployment`.
"""

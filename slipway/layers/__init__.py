"""The layers of a platform, bottom up: pure functions from the settings to the steps of each layer."""

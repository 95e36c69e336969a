"""LiteLLM: https://docs.litellm.ai — routing over engines and providers, team keys and their limits."""

"""Ollama: https://ollama.com — GGUF files, on CPUs and GPUs; it has no keys, so it listens on loopback only."""

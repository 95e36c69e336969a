"""llama.cpp's server: https://github.com/ggml-org/llama.cpp — GGUF files, on CPUs of any kind and on GPUs."""

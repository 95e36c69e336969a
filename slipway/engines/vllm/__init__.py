"""vLLM: https://docs.vllm.ai — an OpenAI-compatible server, for CPU and CUDA."""

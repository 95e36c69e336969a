"""How a model fits a GPU: weights, KV cache, activations and the rest, by the engine's own way of counting."""

"""GGUF files: what their own headers say, without reading a weight.

    from slipway.sizing.gguf import read_gguf
    model = read_gguf(Path("model-Q4_K_M.gguf"))
    model.weights, model.context, model.quantization

Own code, and not PyPI's `gguf`: that one maps the whole file, builds numpy arrays of every vocabulary and tensor, and brings
requests and tqdm; `slipway check` has to answer at once, also about a file that means harm. A vocabulary of 260,000 with its
merges is passed over in 0.1 s here.
"""

from slipway.sizing.gguf.model import GgufModel, model_of, read_gguf
from slipway.sizing.gguf.reader import Header, read_header

__all__ = ["GgufModel", "Header", "model_of", "read_gguf", "read_header"]

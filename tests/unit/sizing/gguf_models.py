"""Headers of published models' shapes, as llama.cpp's converter names and shapes their tensors; F16, without weights.

Files with these headers, and nothing but zeros behind, were loaded into llama-server to get the figures of test_llama_cpp.py.
"""

from typing import Any, NamedTuple

from slipway.sizing.gguf.format import BY_NAME, GGML_TYPES
from slipway.sizing.gguf.model import GgufModel, model_of
from slipway.sizing.gguf.reader import Header, Skipped, Tensor

Shapes = dict[str, tuple[int, ...]]


def header(metadata: dict[str, Any], tensors: Shapes) -> Header:
    """Matrices in F16, vectors in F32, one behind the other."""
    described, at = [], 0
    for name, shape in tensors.items():
        kind = BY_NAME["F32" if len(shape) == 1 else "F16"]
        tensor = Tensor(name, shape, kind, at)
        assert not shape[0] % GGML_TYPES[kind].elements
        described.append(tensor)
        at += tensor.bytes + -tensor.bytes % 32
    return Header(version=3, metadata=metadata, tensors=tuple(described), data=4096)


def model(metadata: dict[str, Any], tensors: Shapes) -> GgufModel:
    """The model of one such header."""
    return model_of([header(metadata, tensors)], ("model.gguf",))


class Shape(NamedTuple):
    """Of a decoder."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int | list[int] | tuple[int, ...]
    head: int
    words: int
    context: int = 131072


def decoder(
    name: str,
    shape: Shape,
    *,
    norms: bool = False,
    biases: bool = False,
    after: bool = False,
    tied: bool = False,
    experts: tuple[int, int, int] | None = None,
    **keys: Any,
) -> GgufModel:
    """A decoder: `experts` are how many there are, how many a token uses, and the inner size of one."""
    layers, width, inner, heads, kv_heads, head, words, _ = shape
    assert isinstance(kv_heads, int)
    metadata = decoder_keys(name, shape) | {"tokenizer.ggml.tokens": Skipped(words)}
    metadata |= {f"{name}.{key.replace('__', '.')}": value for key, value in keys.items()}
    tensors: Shapes = {"token_embd.weight": (width, words), "output_norm.weight": (width,)}
    if not tied:
        tensors["output.weight"] = (width, words)
    if experts:
        number, used, size = experts
        metadata |= {
            f"{name}.expert_count": number,
            f"{name}.expert_used_count": used,
            f"{name}.expert_feed_forward_length": size,
        }
    for layer in range(layers):
        own: Shapes = {
            "attn_norm.weight": (width,),
            "attn_q.weight": (width, heads * head),
            "attn_k.weight": (width, kv_heads * head),
            "attn_v.weight": (width, kv_heads * head),
            "attn_output.weight": (heads * head, width),
            "ffn_norm.weight": (width,),
        }
        if norms:
            own |= {"attn_q_norm.weight": (head,), "attn_k_norm.weight": (head,)}
        if biases:
            own |= {
                "attn_q.bias": (heads * head,),
                "attn_k.bias": (kv_heads * head,),
                "attn_v.bias": (kv_heads * head,),
            }
        if after:
            own |= {"post_attention_norm.weight": (width,), "post_ffw_norm.weight": (width,)}
        if experts:
            number, _, size = experts
            own |= {
                "ffn_gate_exps.weight": (width, size, number),
                "ffn_up_exps.weight": (width, size, number),
                "ffn_down_exps.weight": (size, width, number),
            }
        else:
            own |= {
                "ffn_gate.weight": (width, inner),
                "ffn_up.weight": (width, inner),
                "ffn_down.weight": (inner, width),
            }
        tensors |= {f"blk.{layer}.{key}": shape for key, shape in own.items()}
    return model(metadata, tensors)


def decoder_keys(name: str, shape: Shape) -> dict[str, Any]:
    """The metadata that each decoder has, but for its vocabulary."""
    return {
        "general.architecture": name,
        "general.file_type": 1,
        f"{name}.context_length": shape.context,
        f"{name}.embedding_length": shape.width,
        f"{name}.block_count": shape.layers,
        f"{name}.feed_forward_length": shape.inner,
        f"{name}.attention.head_count": shape.heads,
        f"{name}.attention.head_count_kv": shape.kv_heads,
        f"{name}.attention.key_length": shape.head,
        f"{name}.attention.value_length": shape.head,
    }


def llama_8b() -> GgufModel:
    """Llama 3.1 8B."""
    return decoder(
        "llama",
        Shape(32, 4096, 14336, 32, 8, 128, 128256),
    )


def llama_70b() -> GgufModel:
    """Llama 3.3 70B."""
    return decoder(
        "llama",
        Shape(80, 8192, 28672, 64, 8, 128, 128256),
    )


def qwen2_half() -> GgufModel:
    """Qwen 2.5 0.5B."""
    return decoder("qwen2", Shape(24, 896, 4864, 14, 2, 64, 151936, 32768), biases=True, tied=True)


def qwen2_7b() -> GgufModel:
    """Qwen 2.5 7B."""
    return decoder("qwen2", Shape(28, 3584, 18944, 28, 4, 128, 152064), biases=True)


def qwen3_half() -> GgufModel:
    """Qwen 3 0.6B."""
    return decoder("qwen3", Shape(28, 1024, 3072, 16, 8, 128, 151936), norms=True, tied=True)


def qwen3_30b() -> GgufModel:
    """Qwen 3 30B A3B, without its routers."""
    return decoder("qwen3moe", Shape(48, 2048, 6144, 32, 4, 128, 151936), norms=True, experts=(128, 8, 768))


def gemma3_1b() -> GgufModel:
    """Gemma 3 1B."""
    return decoder(
        "gemma3",
        Shape(26, 1152, 6912, 4, 1, 256, 262144),
        norms=True,
        after=True,
        tied=True,
        attention__sliding_window=512,
    )


def gemma3_27b() -> GgufModel:
    """Gemma 3 27B, its heads as they were taken for the measurement."""
    return decoder(
        "gemma3",
        Shape(62, 5376, 21504, 32, 16, 128, 262144),
        norms=True,
        after=True,
        tied=True,
        attention__sliding_window=1024,
    )


def gpt_oss_20b() -> GgufModel:
    """gpt-oss 20B, without its routers and biases."""
    return decoder(
        "gpt-oss", Shape(24, 2880, 2880, 64, 8, 64, 201088), experts=(32, 4, 2880), attention__sliding_window=128
    )


def deepseek_v2_lite() -> GgufModel:
    """DeepSeek V2 Lite: MLA. Only what its caches and buffers follow from."""
    name, width, words = "deepseek2", 2048, 102400
    metadata = decoder_keys(name, Shape(27, width, 10944, 16, 1, 576, words, 163840)) | {
        f"{name}.attention.value_length": 512,
        "tokenizer.ggml.tokens": Skipped(words),
        f"{name}.attention.key_length_mla": 192,
        f"{name}.attention.value_length_mla": 128,
        f"{name}.expert_count": 64,
        f"{name}.expert_used_count": 6,
        f"{name}.expert_feed_forward_length": 1408,
    }
    return model(
        metadata,
        {"token_embd.weight": (width, words), "output.weight": (width, words), "blk.0.ffn_gate.weight": (8, 8)},
    )


def bge_m3() -> GgufModel:
    """BGE M3: an encoder without a cache or a gate."""
    metadata = {
        "general.architecture": "bert",
        "bert.context_length": 8192,
        "bert.embedding_length": 1024,
        "bert.block_count": 24,
        "bert.feed_forward_length": 4096,
        "bert.attention.head_count": 16,
        "bert.attention.causal": False,
        "bert.pooling_type": 2,
        "tokenizer.ggml.tokens": Skipped(250002),
    }
    tensors: Shapes = {"token_embd.weight": (1024, 250002), "position_embd.weight": (1024, 8192)}
    for layer in range(24):
        tensors |= {f"blk.{layer}.ffn_up.weight": (1024, 4096), f"blk.{layer}.ffn_down.weight": (4096, 1024)}
    return model(metadata, tensors)


def lfm2_1b() -> GgufModel:
    """LFM2 1.2B: short convolutions in layers without KV heads."""
    kv_heads = tuple(8 if layer in (2, 5, 8, 10, 12, 14) else 0 for layer in range(16))
    metadata = decoder_keys("lfm2", Shape(16, 2048, 8192, 32, kv_heads, 64, 65536, 128000)) | {
        "lfm2.shortconv.l_cache": 3
    }
    return model(metadata, {"token_embd.weight": (2048, 65536), "blk.0.ffn_gate.weight": (8, 8)})


def granite_4_h() -> GgufModel:
    """Granite 4.0 H Micro: Mamba 2 in layers without KV heads."""
    kv_heads = tuple(8 if layer in (5, 15, 25, 35) else 0 for layer in range(40))
    metadata = decoder_keys("granitehybrid", Shape(40, 2048, 8192, 32, kv_heads, 64, 100352))
    metadata |= {f"granitehybrid.ssm.{key}": value for key, value in _SSM.items()}
    return model(metadata, {"token_embd.weight": (2048, 100352), "blk.0.ffn_gate.weight": (8, 8)})


def qwen35_4b() -> GgufModel:
    """Qwen 3.5 4B: gated delta nets in three layers of four."""
    metadata = decoder_keys("qwen35", Shape(32, 2560, 9216, 16, 4, 256, 151936, 262144))
    metadata |= {f"qwen35.ssm.{key}": value for key, value in (_SSM | {"group_count": 16}).items()}
    return model(
        metadata | {"qwen35.full_attention_interval": 4},
        {"token_embd.weight": (2560, 151936), "blk.0.ffn_gate.weight": (8, 8)},
    )


_SSM = {"conv_kernel": 4, "inner_size": 4096, "state_size": 128, "group_count": 1}

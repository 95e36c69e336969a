"""A tiny Llama that says what its script has, so that a real engine can be asked for tool calls and JSON.

A random model's tool calls are no calls. This one's next token hangs on the last one alone: its layers add nothing, each
token of the script is a direction of its own in the embedding, and the output layer maps it to the token that follows. All
else is the engine's own work: templates, parsers of tool calls, grammars, log probabilities, streams.

After a prompt it would rather say `PROSE` than a JSON object than call `weather` than call `clock`: a grammar that forbids the
first brings out the next. Only where tools are in the prompt it calls one of itself: `bash` where that is among them and no tool
has answered yet; `weather` where the last message has that word, and twice where it has "both".
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tools.lab.model import CHARACTERS, HEAD_SIZE, HEADS, HIDDEN, INTERMEDIATE, KEY_VALUE_HEADS

PROSE = " The ship is in the harbour."
SCRIPTS = {
    "prose": (" The", " ship", " is", " in", " the", " harbour."),
    "object": ('{"city"', ': "Par', 'is"}'),
    "forced": ('<tool_call>{"name": "wea', 'ther", "arguments": ', '{"city": "', 'Rome"}', "}</tool_call>"),
    # Its second token ends the name and begins the arguments: the engine tells both in one event.
    "named": ('<tool_call>{"name": "clo', 'ck", "arguments": {', '"city": ', '"Rome', '"}}</tool_call>'),
    "one": ("<tool_call>\n", '{"name": "weather"', ', "arguments": {"city"', ': "Os', 'lo"}', "}\n</tool_call>"),
    "two": (
        *("<tool_", 'call>{"name": "weather"', ', "arguments": {"city": ', '"Os', 'lo"}}</tool_call>'),
        *("\n<tool_call>", '{"name": "weather", "arguments"', ': {"city": "Ro', 'me"', "}}</tool_call>"),
    ),
    "bash": ("<tool_call>{", '"name": "bash"', ', "arguments": {"command": "echo slip', 'way"}}', "</tool_call>"),
}
"""What it says, token by token; a token has one successor, so none is in two places."""
_MARKS = {f"<|{name}|>": name for name in ("one", "two", "bash")}
"""With which a prompt ends that is to be answered with a call."""
_SPECIAL = ("<s>", "</s>", *_MARKS)
_CONTEXT = 32768
_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant:"
    "{% if tools %}{% set names = tools | map(attribute='function.name') | list %}{% set last = messages[-1] %}"
    "{% if 'bash' in names %}{% if last['role'] != 'tool' %}<|bash|>{% endif %}"
    "{% elif 'both' in last['content'] %}<|two|>{% elif 'weather' in last['content'] %}<|one|>{% endif %}"
    "{% endif %}{% endif %}"
)


def make_scripted_model(folder: Path) -> Path:
    """Write it to `folder`, which is made, and return that."""
    folder.mkdir(parents=True)
    tokenizer = _tokenizer()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": _CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1}))
    (folder / "model.safetensors").write_bytes(save(_weights(tokenizer.get_vocab()), metadata={"format": "pt"}))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": _CONTEXT,
        "chat_template": _TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _tokenizer() -> Tokenizer:
    """A unigram tokenizer over single ASCII characters and the tokens of the script."""
    pieces = [(special, 0.0) for special in _SPECIAL]
    pieces += [(character, -1.0) for character in (*CHARACTERS, "\n")]
    # So unlikely that no prompt is cut into them.
    pieces += [(piece, -99.0) for script in SCRIPTS.values() for piece in script]
    assert len({piece for piece, _ in pieces}) == len(pieces), "a token has one successor"
    unknown = len(_SPECIAL) + CHARACTERS.index("?")
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Replace(Regex(r"[^\S\n]"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("?", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.add_special_tokens([AddedToken(special, normalized=False) for special in _SPECIAL])
    return tokenizer


def _weights(vocabulary: dict[str, int]) -> dict[str, np.ndarray]:
    size, heads, pairs = len(vocabulary), HEADS * HEAD_SIZE, KEY_VALUE_HEADS * HEAD_SIZE
    shapes = {
        "self_attn.q_proj": (heads, HIDDEN),
        "self_attn.k_proj": (pairs, HIDDEN),
        "self_attn.v_proj": (pairs, HIDDEN),
        "self_attn.o_proj": (HIDDEN, heads),
        "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
        "mlp.up_proj": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj": (HIDDEN, INTERMEDIATE),
    }
    weights = {f"model.layers.0.{name}.weight": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    norms = ("model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm")
    weights |= {f"{name}.weight": np.ones(HIDDEN, np.float32) for name in norms}
    directions = dict.fromkeys(vocabulary, 0)
    spoken = [*_MARKS, *(piece for script in SCRIPTS.values() for piece in script)]
    directions |= {piece: number for number, piece in enumerate(spoken, start=1)}
    embedding = np.zeros((size, HIDDEN), np.float32)
    for piece, number in vocabulary.items():
        embedding[number, directions[piece]] = 1
    head = np.zeros((size, HIDDEN), np.float32)

    def prefer(after: int, piece: str, logit: float) -> None:
        # The last norm makes a lone 1 the root of the width.
        head[vocabulary[piece], after] = logit / HIDDEN**0.5

    for after, first in {0: "prose", **{directions[mark]: name for mark, name in _MARKS.items()}}.items():
        for logit, name in ((90, first), (70, "object"), (50, "forced"), (30, "named")):
            prefer(after, SCRIPTS[name][0], logit)
    for script in SCRIPTS.values():
        for piece, following in pairwise((*script, "</s>")):
            prefer(directions[piece], following, 90)
    return weights | {"model.embed_tokens.weight": embedding, "lm_head.weight": head}

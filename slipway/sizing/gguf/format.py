"""Numbers of the GGUF format: kinds of values, types of tensors with their sizes, names of quantizations.

Sources: docs/gguf.md of ggml for the format; ggml/include/ggml.h (enum ggml_type), ggml/src/ggml-common.h (the blocks) and
include/llama.h (enum llama_ftype) of llama.cpp b11434 for the tables. PyPI's `gguf` has the same tables; it needs numpy,
requests and tqdm, its reader maps the whole file and builds an array for each tensor, and release 0.19.0 lacks Q2_0. So
the tables are here, and a test holds them against what that package says.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""1 had 32-bit counts, and llama.cpp no longer reads it."""
ALIGNMENT = 32
"""Of the tensors' data, where general.alignment says nothing else."""


class Value(IntEnum):
    """Kinds of metadata."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


STRUCTS = {
    Value.UINT8: "B",
    Value.INT8: "b",
    Value.UINT16: "H",
    Value.INT16: "h",
    Value.UINT32: "I",
    Value.INT32: "i",
    Value.FLOAT32: "f",
    Value.BOOL: "?",
    Value.UINT64: "Q",
    Value.INT64: "q",
    Value.FLOAT64: "d",
}
"""Letters of module `struct` for values of a fixed size."""


class GgmlType(NamedTuple):
    """How a tensor's numbers are stored: in blocks, each of so many elements in so many bytes."""

    name: str
    elements: int
    bytes: int

    def size(self, elements: int) -> int:
        """Bytes of `elements` numbers, whole blocks of them."""
        return elements // self.elements * self.bytes


GGML_TYPES: dict[int, GgmlType] = {
    0: GgmlType("F32", 1, 4),
    1: GgmlType("F16", 1, 2),
    2: GgmlType("Q4_0", 32, 18),
    3: GgmlType("Q4_1", 32, 20),
    6: GgmlType("Q5_0", 32, 22),
    7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34),
    9: GgmlType("Q8_1", 32, 36),
    10: GgmlType("Q2_K", 256, 84),
    11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144),
    13: GgmlType("Q5_K", 256, 176),
    14: GgmlType("Q6_K", 256, 210),
    15: GgmlType("Q8_K", 256, 292),
    16: GgmlType("IQ2_XXS", 256, 66),
    17: GgmlType("IQ2_XS", 256, 74),
    18: GgmlType("IQ3_XXS", 256, 98),
    19: GgmlType("IQ1_S", 256, 50),
    20: GgmlType("IQ4_NL", 32, 18),
    21: GgmlType("IQ3_S", 256, 110),
    22: GgmlType("IQ2_S", 256, 82),
    23: GgmlType("IQ4_XS", 256, 136),
    24: GgmlType("I8", 1, 1),
    25: GgmlType("I16", 1, 2),
    26: GgmlType("I32", 1, 4),
    27: GgmlType("I64", 1, 8),
    28: GgmlType("F64", 1, 8),
    29: GgmlType("IQ1_M", 256, 56),
    30: GgmlType("BF16", 1, 2),
    34: GgmlType("TQ1_0", 256, 54),
    35: GgmlType("TQ2_0", 256, 66),
    39: GgmlType("MXFP4", 32, 17),
    40: GgmlType("NVFP4", 64, 36),
    41: GgmlType("Q1_0", 128, 18),
    42: GgmlType("Q2_0", 64, 18),
}
"""By the number in the file. 4, 5, 31 to 33 and 36 to 38 were taken out of the format."""

BY_NAME = {each.name: number for number, each in GGML_TYPES.items()}

FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""general.file_type: what most of the tensors are, and the mixture."""

POOLING = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""pooling_type, as llama-server's --pooling names it."""

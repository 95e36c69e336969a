"""Baidu's ERNIE 4.5, dense and mixtures."""

from __future__ import annotations

from functools import partial

from slipway.sizing.families.guess import mixture
from slipway.sizing.families.llama import llama

MODEL_TYPES = {
    "ernie4_5": partial(llama, tied=True),
    "ernie4_5_moe": partial(mixture, correction=True, tied=True),
}

"""What engines are told by."""

import pytest

from policies.readers.engines.terms import SGLANG, TGI, VLLM, Terms


@pytest.mark.parametrize(("terms", "setting"), [(VLLM, "VLLM_API_KEY"), (SGLANG, "--api-key"), (TGI, "API_KEY")])
def test_a_key_is_set_by_a_variable_where_there_is_one(terms: Terms, setting: str) -> None:
    assert terms.key_setting == setting

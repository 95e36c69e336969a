"""Every semantic type as a pass list and a fail list."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.settings import types
from slipway.settings.types import Secret

PASS: dict[Callable[[str], object], list[str]] = {
    types.host_name: ["a", "gpu-1", "0", "x" * 63],
    types.address: ["10.0.0.1", "host", "gpu.example.com", "GPU.Example.com."],
    types.private_address: ["10.1.2.3", "192.168.0.1", "172.16.0.1", "127.0.0.1"],
    types.network: ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"],
    types.floating_address: ["10.0.0.100/24", "10.0.0.1/32", "10.0.0.0/31", "192.0.2.9/8"],
    types.interface_name: ["eth0", "enp1s0f0.100", "br-lan", "e" * 15],
    types.user_name: ["root", "ubuntu", "_x", "a-b_c"],
    types.model_name: ["m", "org/model", "Qwen2.5-1.5B:q4"],
    types.provider_name: ["openai", "lm_studio", "lm-studio", "a", "x" * 63],
    types.flag: ["max-num-seqs", "x", "swap4"],
    types.catalog_name: ["h100-sxm", "RTX 4090", "Qwen/Qwen2.5-7B-Instruct", "MI300X"],
    types.method: ["fp8", "compressed-tensors", "auto_round"],
    types.environment_variable: ["A", "HF_HOME", "_X9"],
    types.sha256: ["0" * 64, "ABCDEF" + "0" * 58],
    types.revision: ["0" * 40],
    types.currency: ["EUR", "USD", "CNY"],
    types.memory_size: ["90%", "100%", "24G", "512M", "1.5T", "1000"],
    types.strong_key: ["a1b2c3d4e5f60718293a4b5c6d7e8f90", "sk-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MDEy"],
}

FAIL: dict[Callable[[str], object], list[str]] = {
    types.host_name: ["", "-a", "a-", "A", "a.b", "x" * 64, "a\n"],
    types.address: ["", "2001:db8::1", "10.0.0.256", "a b", "-x.com", "x..y", "a" * 254, "1.2.3"],
    types.private_address: ["fd00::1", "8.8.8.8", "0.0.0.0", "::", "host", "2600::1"],
    types.network: ["10.0.0.1/8", "x", "10.0.0.0/33"],
    types.floating_address: ["", "10.0.0.1", "10.0.0.0/24", "10.0.0.255/24", "fd00::1/64", "host/24", "10.0.0.1/33"],
    types.interface_name: ["", "e" * 16, "a b", "eth0;", "-x", "a/b", "eth0\n"],
    types.user_name: ["", "Root", "1a", "a b", "a;b", "x" * 33],
    types.model_name: ["", "/x", "a b", "a'b", "x" * 129],
    types.provider_name: ["", "_a", "a_", "-a", "A", "a b", "a/b", "a.b", "x" * 64],
    types.flag: ["", "--x", "X", "a_b", "a=b"],
    types.catalog_name: ["", " x", "../x", "a\nb", "a;b", "x" * 129],
    types.method: ["", "FP8", "-x", "fp 8", "fp8;"],
    types.environment_variable: ["", "a", "1A", "A-B", "A=B"],
    types.sha256: ["", "0" * 63, "g" * 64],
    types.revision: ["main", "v1.0", "0" * 39],
    types.currency: ["", "eur", "EURO", "€", "EU"],
    types.memory_size: ["", "0", "24 G", "24GB", "-1G", "0%", "101%"],
    types.strong_key: ["", "hunter2", "a" * 64, "ab" * 32, "a1b2c3d4e5f60718293a4b5c6d7e8f9 ", "ü" * 40],
}


@pytest.mark.parametrize(("validator", "value"), [(v, value) for v, values in PASS.items() for value in values])
def test_accepts(validator: Callable[[str], object], value: str) -> None:
    assert validator(value) is not None


@pytest.mark.parametrize(("validator", "value"), [(v, value) for v, values in FAIL.items() for value in values])
def test_refuses(validator: Callable[[str], object], value: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        validator(value)


def test_every_validator_has_both_lists() -> None:
    assert PASS.keys() == FAIL.keys()


@given(st.text(max_size=80))
def test_a_refused_key_is_not_in_the_message(key: str) -> None:
    try:
        types.strong_key(key)
    except ValueError as error:
        # Very short keys are substrings of any sentence.
        assert len(key) < 8 or key not in str(error)


@given(st.text(alphabet="0123456789abcdef", min_size=32, max_size=64).filter(lambda key: len(set(key)) >= 14))
def test_hexadecimal_keys_with_many_digits_pass(key: str) -> None:
    if min(key.count(digit) for digit in set(key)) * len(set(key)) >= len(key) // 2:
        types.strong_key(key)


def test_secret_from_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_TEST_KEY", "canary-value")
    secret = Secret.from_yaml({"env": "SLIPWAY_TEST_KEY"})
    assert secret.get_secret_value() == "canary-value"
    assert secret.env == "SLIPWAY_TEST_KEY"
    assert "canary" not in f"{secret} {secret!r}"


@pytest.mark.parametrize(
    "value", [None, 1, [], {}, {"env": 1}, {"env": "x"}, {"env": "A", "b": 1}, {"env": "SLIPWAY_UNSET"}]
)
def test_secret_refuses(value: object) -> None:
    with pytest.raises(ValueError, match=r"secret|variable"):
        Secret.from_yaml(value)

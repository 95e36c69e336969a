"""No form of a secret survives in a text."""

from __future__ import annotations

import base64
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.redaction import Scrubber

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40).filter(
    lambda text: len(text.strip()) >= 4
)


def forms(secret: str) -> list[str]:
    return [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret),
        shlex.quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(secret.encode()).decode(),
    ]


@given(before=TEXTS, after=TEXTS, secret=SECRETS)
def test_every_form_is_masked_wherever_it_stands(before: str, after: str, secret: str) -> None:
    scrub = Scrubber([secret])
    for form in forms(secret):
        scrubbed = scrub(before + form + after)
        assert all(other not in scrubbed for other in forms(secret))


@given(text=TEXTS, secrets=st.lists(SECRETS, max_size=5))
def test_scrubbed_text_reveals_nothing_and_stays_as_it_is(text: str, secrets: list[str]) -> None:
    scrub = Scrubber(secrets)
    once = scrub(text + "".join(secrets))
    assert not scrub.reveals(once)
    assert scrub(once) == once


@given(text=TEXTS)
def test_without_secrets_nothing_changes(text: str) -> None:
    assert Scrubber([])(text) == text
    assert Scrubber([""])(text) == text


def test_overlapping_secrets_leave_no_rest() -> None:
    assert Scrubber(["abcdef", "defghi"])("x abcdefghi y") == "x [secret] y"


def test_short_secrets_are_masked_as_words_only() -> None:
    assert Scrubber(["no"])("no: nothing is known, say no") == "[secret]: nothing is known, say [secret]"


def test_lines_of_a_key_are_secrets_of_their_own() -> None:
    key = "-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG\n} x\n-----END KEY-----\n"
    scrubbed = Scrubber([key])("bad line: MIIEvAIBADANBgkqhkiG of } x")
    assert scrubbed == "bad line: [secret] of } x"


@pytest.mark.parametrize("secret", ["secret", "[secret]", "ecre", "[***]", "hidden"])
def test_a_mask_never_spells_the_secret(secret: str) -> None:
    assert secret not in Scrubber([secret])(f"it is {secret}, yes")

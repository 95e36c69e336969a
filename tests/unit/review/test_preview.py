"""What is kept of the engine's words: no value, no secret."""

import json

from slipway.review import read_preview
from slipway.review.preview import State, reduced, secrets_of

PASSPHRASE = "correct horse"


def raw() -> str:
    return json.dumps(
        {
            "config": {"slipway:platform": f"with {PASSPHRASE} in clear"},
            "steps": [
                {
                    "op": "update",
                    "urn": "urn:pulumi:s::p::a:b:C::n",
                    "newState": {"inputs": {"key": PASSPHRASE}},
                    "detailedDiff": {"variables.x": {"kind": "update"}},
                }
            ],
            "diagnostics": [
                {"severity": "error", "message": f"error: {PASSPHRASE} was refused"},
                {"severity": "info", "message": PASSPHRASE},
            ],
        }
    )


def test_values_and_secrets_stay_behind() -> None:
    kept = reduced(raw(), secrets=[PASSPHRASE, "abc"])
    assert PASSPHRASE not in kept
    preview = read_preview(kept)
    assert preview.errors == ("[hidden] was refused",)
    assert [(step.kind, step.type, step.name, step.properties) for step in preview.steps] == [
        ("update", "a:b:C", "n", ("variables.x",))
    ]


def test_a_failure_that_the_json_does_not_name_is_a_failure() -> None:
    fine = json.dumps({"steps": [], "changeSummary": {}})
    assert read_preview(reduced(fine)).errors == ()
    assert read_preview(reduced(fine, words=f"error: policy says {PASSPHRASE}", secrets=[PASSPHRASE])).errors == (
        "error: policy says [hidden]",
    )
    assert read_preview(reduced(fine, words="")).errors == ("the engine ended with an error and named none",)


def test_what_is_no_clean_json_is_shown_nowhere() -> None:
    """A line of the program's before the JSON, and every value would be in the comment."""
    spoilt = f"hello\n{raw()}"
    for kept in (reduced(spoilt), reduced(spoilt, words="error: boom"), spoilt, f"error: boom\n{raw()}"):
        preview = read_preview(kept)
        assert preview.errors
        assert PASSPHRASE not in str(preview)
        assert "hello" not in str(preview)
    assert read_preview(reduced(spoilt, words="error: boom")).errors == ("error: boom",)
    assert read_preview(f"error: boom\n{raw()}").errors == ("error: boom",)


def test_of_endless_words_the_last_lines_stay() -> None:
    words = f"{'x' * 90}\n" * 2_000 + f"error: {PASSPHRASE} was refused"
    kept = reduced("", words=words, secrets=[PASSPHRASE])
    assert len(kept) < 50_000
    assert read_preview(kept).errors[0].endswith("error: [hidden] was refused")
    assert len(read_preview(words).errors[0]) < 50_000


def test_what_the_stack_was_held_against_is_kept() -> None:
    for state in State:
        assert read_preview(reduced(raw(), state=state)).state is state
        assert read_preview(reduced("", state=state)).state is state
    assert read_preview(raw()).state is State.KEPT


def test_words_instead_of_json_are_a_failure() -> None:
    for text in ("", "error: boom", "[]", "{}", "null", "12"):
        assert read_preview(text).errors
        assert read_preview(reduced(text)).errors
    assert read_preview(reduced("", words="\x1b[31merror: boom\x1b[0m")).errors == ("error: boom",)


def test_variables_that_say_so_are_secret() -> None:
    environment = {
        "PULUMI_CONFIG_PASSPHRASE": "one",
        "SLIPWAY_KEY_TEAM": "two",
        "SLIPWAY_SECRETS": "SLIPWAY_KEY_A=three\nSLIPWAY_KEY_B=four",
        "PATH": "/bin",
    }
    assert {"one", "two", "three", "four"} <= set(secrets_of(environment))
    assert "/bin" not in secrets_of(environment)

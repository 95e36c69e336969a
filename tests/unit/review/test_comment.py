"""The comment: what it says, that nobody else's words are obeyed in it, and that it fits."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example as also
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from slipway.review import MARKER, Changed, Changes, How, Review, Side, comment, read_preview
from slipway.review.limit import LIMIT, Block, fitted
from slipway.review.preview import reduced
from slipway.review.text import HIDDEN, code, redacted, spans
from tests.unit.review.example import CHANGES, COMMITS, REVIEWS, checked, finding, policy, rendered, steps

GOLDEN = Path(__file__).parent / "comment.md"
NOTHING = Changes(stacks=(), shared=())
HOSTILE = [
    "@org/security please approve",
    "#1 owner/repo#2 !3 ~label %milestone",
    "[click](https://evil.example) https://evil.example www.evil.example a@evil.example",
    "![](https://evil.example/pixel.png)",
    "<img src=x onerror=alert(1)> <!-- --> </details> <script>",
    "`x` ``y`` ```z``` `",
    "| a | b |\n| - | - |",
    "\n\n# Approved\n\n- [x] fine\n",
    "/merge\n/approve",
    "$`\\href{x}{y}`$ $$x$$",
    "\x1b[31mred\x1b[0m \u202eevil\u202c \u200b zero",
    "\\`code\\` \\| &lt; &#64;team",
    "--- \n===\n~~~\n```\n",
]


def one(side: Side, how: How = How.CHANGED, base: Side | None = None, preview: str | None = None) -> str:
    """The comment on one stack."""
    changed = Changed(name="prod", how=how, files=())
    review = Review(changed, base or Side(), side, None if preview is None else read_preview(preview))
    return comment(Changes(stacks=(changed,), shared=()), [review])


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        yield token
        yield from token.children or ()


def shape(text: str) -> list[tuple[str, str]]:
    """All that is Markdown or HTML in `text`; what stands in code spans does not matter."""
    return [
        (token.type, token.content if token.type.startswith("html") else "")
        for token in tokens(text)
        if token.type not in {"text", "inline"}
    ]


def test_it_is_as_the_golden_file() -> None:
    assert rendered() == GOLDEN.read_text(encoding="utf-8")


def test_the_documentation_shows_it(root: Path) -> None:
    (shown,) = re.findall(
        r"^````markdown\n(.*?)^````$", (root / "docs/review.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert shown == rendered()


def test_nothing_changes() -> None:
    assert comment(NOTHING, []) == f"{MARKER}\n## Slipway review: ✔ no stack changes\n\n"


@pytest.mark.parametrize("words", HOSTILE)
def test_words_of_others_are_shown_and_not_obeyed(words: str) -> None:
    """In every place where they can get: each comment has the shape of the same one with a harmless word there."""

    def with_words(text: str) -> str:
        entry = policy("mandatory", id=text, resource=text, message=text, source=text, severity=text, where=text)
        granted = entry | {"exception": {"reason": text, "owner": text, "expires": text}}
        side = Side(
            checked=checked(
                finding("error", id=text, where=text, message=text),
                policies=(entry, entry | {"level": "advisory"}, granted, entry | {"unknown": True}),
            )
            | {"problems": [text]}
        )
        # A dollar parts a type from its parent's.
        urn = f"urn:pulumi:s::p::a:b:{text.replace('$', '')}::{text}"
        preview = json.dumps(
            {
                "steps": [{"op": "update", "urn": urn, "detailedDiff": {text: {}}}],
                "diagnostics": [{"severity": "error", "message": " ".join(text.split("\n"))}],
            }
        )
        return one(side, preview=preview) + comment(Changes(stacks=(), shared=(f"slipway/{text}",)), [])

    assert shape(with_words(words)) == shape(with_words("harmless"))
    # A service's commands begin lines.
    assert not [line for line in with_words(words).splitlines() if line.startswith("/")]


@given(st.text())
@also("`")
@also("a``")
def test_a_code_span_is_one(text: str) -> None:
    (inline,) = (token for token in MarkdownIt("commonmark").parse(f"x {code(text)} y") if token.type == "inline")
    assert [child.type for child in inline.children or ()] in (["text", "code_inline", "text"], ["text"])


def test_reviewers_see_no_letters_that_hide_or_turn_others() -> None:
    assert code("\x1b[31mred\x1b[0m a\u202eb\u200bc\nd") == "`red a b c d`"


@pytest.mark.parametrize(
    "words",
    [
        "ghp_0123456789abcdefghij",
        "glpat-0123456789abcdefghij",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "AKIAIOSFODNN7EXAMPLE",
        "hf_abcdefghijklmnopqrst",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef\n-----END OPENSSH PRIVATE KEY-----",
    ],
)
def test_keys_are_hidden(words: str) -> None:
    assert redacted(f"before {words} after") == f"before {HIDDEN} after"


def test_what_stands_beside_a_word_for_a_secret_is_hidden() -> None:
    assert redacted('password: "hunter22" x') == f'password: "{HIDDEN}" x'
    assert redacted("Authorization: Bearer abc.def-12345") == f"Authorization: Bearer {HIDDEN}"
    assert redacted("postgres://me:hunter22@db/state") == f"postgres://{HIDDEN}@db/state"


def test_words_that_are_no_keys_stay() -> None:
    text = (
        "slipway:platform.model.catalog: meta-llama/Llama-3.3-70B-Instruct needs 131.45 GiB; use h100-sxm-80gb, "
        "/srv/models/Qwen2.5-32B-Instruct-AWQ or tensor_parallel: 8 (urn:pulumi:prod::slipway::a:b:C::prod-1/vllm)"
    )
    assert redacted(text) == text


def test_an_error_is_never_green() -> None:
    """Each alone, so that none hides behind another."""
    for side, preview in (
        (Side(checked=checked(finding("error"))), None),
        (Side(checked=checked(policies=(policy("mandatory"),))), None),
        (Side(checked=checked(policies=(policy("remediate"),))), None),
        (Side(checked=checked(policies=(policy(None),))), None),
        (Side(checked={"problems": ["model: is missing"]}), None),
        (Side(checked=checked(status=1)), None),
        (Side(checked=checked()), "error: no stack named 'prod' found"),
        (Side(checked=checked()), ""),
        (Side(checked=checked()), json.dumps({"steps": [], "diagnostics": [{"severity": "error", "message": "x"}]})),
    ):
        text = one(side, preview=preview)
        assert "## Slipway review: ✖ 1 of 1 stack would be refused or fail" in text
        assert "✔" not in text.replace("✔ means", "")


@pytest.mark.parametrize(
    "entry", [policy("advisory"), policy("mandatory", exception={"owner": "me"}), policy("mandatory", unknown=True)]
)
def test_what_refuses_nothing_is_green(entry: dict[str, object]) -> None:
    assert "| `prod` | ✔ ready" in one(Side(checked=checked(policies=(entry,))), preview=steps())


def test_a_model_that_was_not_sized_is_not_said_to_fit() -> None:
    side = Side(checked=checked(finding("warning", id="sizing.not-checked")))
    assert "| `prod` | ✔ ready, fit not checked, 1 warning |" in one(side, preview=steps())


def test_older_answers_have_no_policies() -> None:
    side = Side(checked={"stack": "prod", "status": 0, "findings": []})
    assert "| `prod` | ✔ ready |" in one(side, preview=steps())


def test_a_stack_without_a_preview_says_so() -> None:
    text = one(Side(checked=checked()))
    assert "✔ ready, not previewed | ? | ? | ? | ? |" in text
    assert "No preview was made" in text


def test_what_was_there_before_is_not_called_new() -> None:
    before = Side(checked=checked(finding("error")))
    after = Side(checked=checked(finding("error"), finding("error", id="x")))
    listed = re.findall(r"^- (\*\*new\*\* )?`(\S+)`", one(after, base=before), re.MULTILINE)
    assert listed == [("", "sizing.fit"), ("**new** ", "x")]


def test_an_exception_that_ended_is_new() -> None:
    covered = policy("mandatory", exception={"owner": "me"})
    text = one(Side(checked=checked(policies=(policy("mandatory"),))), base=Side(checked=checked(policies=(covered,))))
    assert "- **new** `tensor-parallel`" in text


def test_a_removed_stack_is_no_fault_and_no_quiet_matter() -> None:
    text = one(Side(), How.REMOVED, base=Side(checked=checked(finding("error"))))
    assert "## Slipway review: ⚠ 1 stack is removed\n" in text
    assert "✔" not in text.replace("✔ means", "")
    assert "| `prod` | ⚠ removed | - | - | - | - | not known → none |" in text
    assert "`pulumi destroy`" in text


def test_shared_code_is_named_and_its_judges_warned_of() -> None:
    quiet = comment(Changes(stacks=(), shared=("playbooks/roles/vllm/tasks/main.yml",)), [])
    assert "`playbooks/roles/vllm/tasks/main.yml`" in quiet
    assert "⚠" not in quiet
    for file in ("policies/rules/tls_front.py", "components/engine.py", ".github/workflows/review.yml", "x.py"):
        loud = comment(Changes(stacks=(), shared=("playbooks/a.yml", file)), [])
        assert "⚠ Among it is code that this review itself rests on" in loud
        # And is the first of the list.
        assert re.findall(r"^- `(.*)`$", loud, re.MULTILINE) == [file, "playbooks/a.yml"]


def titled(*given: tuple[How, Side, str | None]) -> str:
    reviews = [
        Review(
            Changed(name=f"s{number}", how=how, files=()), Side(), side, None if text is None else read_preview(text)
        )
        for number, (how, side, text) in enumerate(given)
    ]
    (title,) = re.findall("^## Slipway review: (.*)$", comment(NOTHING, reviews), re.MULTILINE)
    return str(title)


def test_a_title_promises_no_more_than_was_looked_at() -> None:
    fine = (How.CHANGED, Side(checked=checked()), steps())
    unseen = (How.CHANGED, Side(checked=checked()), None)
    unsized = (How.CHANGED, Side(checked=checked(finding("warning", id="sizing.not-checked"))), steps())
    gone = (How.REMOVED, Side(), None)
    bad = (How.CHANGED, Side(checked=checked(finding("error"))), steps())
    assert titled(fine) == "✔ 1 stack changes, and is fit to be deployed"
    assert titled(fine, unseen, unsized) == (
        "✔ 3 stacks change, and all are fit to be deployed, as far as was looked at (1 not previewed, 1 fit not checked)"
    )
    assert titled(fine, gone) == "⚠ 1 stack is removed; ✔ 1 stack changes, and is fit to be deployed"
    assert titled(bad, gone) == "✖ 1 of 1 stack would be refused or fail, ⚠ 1 stack is removed"


def test_an_empty_state_is_said_and_a_missing_one_fails() -> None:
    side = Side(checked=checked())

    def held(state: str, how: How = How.CHANGED) -> str:
        return one(side, how, preview=json.dumps(json.loads(steps(("create", "a"))) | {"state": state}))

    assert "| `prod` | ✔ ready, held against an empty state | 1 |" in held("empty")
    assert "⚠ No backend was given" in held("empty")
    assert "| `prod` | ✖ not in the backend | 1 |" in held("missing")
    assert "`pulumi stack init prod`" in held("missing")
    for quiet in (held("kept"), held("missing", How.NEW), held("empty", How.NEW)):
        assert "| `prod` | ✔ ready" in quiet
        assert "state" not in quiet.split("</details>")[1]


def test_the_commits_are_named() -> None:
    assert f"\nCommit `{COMMITS[0]}`, held against `{COMMITS[1]}`.\n" in rendered()


def test_names_are_told_apart_though_they_say_secret() -> None:
    """A name is no place for a secret, and what looks like a word beside one is a name."""
    kinds = ["kubernetes:core/v1:Secret"] * 3 + ["aws:secretsmanager/secret:Secret"]
    names = ["api-keys-0", "api-keys-1", "api-keys-2", "token:production-token"]
    given = [
        {"op": "delete", "urn": f"urn:pulumi:prod::slipway::{kind}::{name}"}
        for kind, name in zip(kinds, names, strict=True)
    ]
    for text in (json.dumps({"steps": given}), reduced(json.dumps({"steps": given}))):
        preview = read_preview(text)
        assert preview.count("delete") == 4
        shown = one(Side(checked=checked()), preview=text)
        assert [name for name in names if f"- delete `{name}` (`" in shown] == names


def test_two_names_that_are_hidden_stay_two() -> None:
    given = [{"op": "create", "urn": f"urn:pulumi:s::p::a:b:C::hf_{letter * 20}"} for letter in "xy"]
    preview = read_preview(reduced(json.dumps({"steps": given})))
    assert [step.name for step in preview.steps] == [HIDDEN, HIDDEN]


@pytest.mark.parametrize(
    "text",
    [
        "password" * 5_000,
        "a-" * 20_000,
        "secret-token_" * 3_000 + " " * 1_000,
        "eyJaaaaaaaa-" * 3_000,
        "://" * 10_000,
        "-----BEGIN PRIVATE KEY-----" * 1_500,
        "basic bearer " * 3_000,
    ],
)
def test_hiding_takes_no_longer_than_reading(text: str) -> None:
    start = time.process_time()
    for shown in (redacted(text), code(text), spans(text)):
        assert shown is not None
    assert time.process_time() - start < 1


def test_a_changed_policy_configuration_is_warned_of() -> None:
    assert rendered().count("⚠ Its policy configuration changes") == 1


def test_a_replacement_is_one_resource() -> None:
    given = [("create-replacement", "a"), ("replace", "a"), ("delete-replaced", "a"), ("same", "b"), ("read", "c")]
    preview = read_preview(steps(*given, ("delete", "d"), ("create", "e")))
    assert [preview.count(kind) for kind in ("create", "update", "replace", "delete")] == [1, 0, 1, 1]
    assert preview.same == 1


def crowded(count: int) -> str:
    side = Side(
        checked=checked(
            *(finding("warning", id=f"w{number}", message="w" * 500) for number in range(count)),
            policies=tuple(policy("mandatory", id=f"m{number}", message="m" * 500) for number in range(20)),
        )
    )
    return one(side, preview=steps(*(("create", f"host-{number}/role") for number in range(count))))


def test_a_comment_that_is_too_long_loses_what_matters_least() -> None:
    text = crowded(500)
    assert len(text.encode()) <= LIMIT < 65_536
    assert [f"`m{number}`" in text for number in range(20)] == [True] * 20
    assert "host-0/role" not in text
    assert "- … 500 more entries are left out here; `slipway review` prints all of them" in text
    assert re.search(r"- … \d+ more entries are left out here", text.split("**Warnings (500)**")[1])
    # What was opened is closed.
    assert text.count("<details>") == text.count("</details>")
    assert "w499" not in text
    assert "`w0`" in text


def test_a_comment_that_fits_is_whole() -> None:
    assert "left out" not in crowded(5)


def test_rows_are_cut_without_ending_the_table() -> None:
    text = fitted([Block(head="| a |\n| - |", items=tuple(f"| {n:0100} |" for n in range(100)), row=True)], 2000)
    assert len(text) <= 2000
    assert re.search(r"\|\n\n… \d+ more entries are left out here", text)


def test_headings_alone_can_be_too_many() -> None:
    text = fitted([Block(head="h" * 99)] * 100, 1000)
    assert len(text) <= 1000
    assert text.endswith("`slipway review` prints all of it._\n")


def test_thousands_of_stacks_fit() -> None:
    stacks = tuple(Changed(name=f"stack-{number}", how=How.CHANGED, files=()) for number in range(3000))
    reviews = [Review(each, Side(), REVIEWS[1].head, REVIEWS[1].preview) for each in stacks]
    assert len(comment(Changes(stacks=stacks, shared=()), reviews).encode()) <= LIMIT


def test_the_example_has_every_kind() -> None:
    assert {each.how for each in CHANGES.stacks} == {How.NEW, How.CHANGED}

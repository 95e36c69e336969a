# ruff: noqa: RUF001 -- full-width characters are meant
"""Filters over texts and streams: what is planted never passes, however it is split, and nothing else is touched."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.settings.filters import KINDS as SETTINGS_KINDS
from tests.unit.gateways.planted import KINDS, clean, planted
from tests.unit.roles.gateway_part import part

file, text, streams, recognizer = (part(f"filters.{name}") for name in ("file", "text", "streams", "recognizer"))

EACH = 200
"""Planted strings of each kind: 1,000 in all."""
CLEAN = 1_000
SECONDS = 600.0
MOBILE, CARD = "13800138000", "4111 1111 1111 1111"
IDENTITY = "11010119900307100"


def rules(direction: str = "out", patterns: Mapping[str, Any] | None = None, **actions: str) -> Any:
    """The rules of a team with these actions; by default it has every kind masked."""
    wanted = actions or dict.fromkeys(SETTINGS_KINDS, "mask")
    data = {"patterns": patterns or {}, "teams": {"t": {direction: wanted}}}
    return file.parse(json.dumps(data)).of("t", direction)


EVERY = rules()


def judge(of: Any = EVERY, seconds: float = SECONDS) -> Any:
    return text.Judge(of, recognizer.Deadline(seconds))


def told(pieces: Sequence[str], of: Any = EVERY) -> str:
    """What passes of a text that is told in these pieces."""
    channel = streams.Channel(judge(of), json=False)
    return "".join([*(channel.feed(piece) for piece in pieces), channel.end()])


def test_the_kinds_are_those_of_the_settings() -> None:
    assert sorted(file.KINDS) == sorted(SETTINGS_KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nothing_planted_passes_a_stream_wherever_it_is_split(kind: str) -> None:
    dice = Random(f"planted {kind}")  # noqa: S311 -- a test's
    for _ in range(EACH):
        says, expected = planted(kind, dice)
        assert judge().whole(says) == expected, says
        assert told(list(says)) == expected, says
        for place in range(1, len(says)):
            assert told([says[:place], says[place:]]) == expected, (says, place)


def test_clean_texts_pass_unchanged() -> None:
    dice = Random("clean")  # noqa: S311
    for _ in range(CLEAN):
        says = clean(dice)
        assert judge().whole(says) == says
        assert told(list(says)) == says


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_a_stream_says_what_the_whole_text_would(seed: int, kinds: list[str], cuts: list[int]) -> None:
    dice = Random(seed)  # noqa: S311
    says = "；".join(planted(kind, dice)[0] for kind in kinds)
    bounds = [0, *sorted(min(cut, len(says)) for cut in cuts), len(says)]
    assert told([says[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]) == judge().whole(says)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789 -.xXEPAN<@a中１", max_size=120), st.integers(1, 5))
def test_any_text_comes_to_the_same_in_pieces(says: str, size: int) -> None:
    assert told([says[place : place + size] for place in range(0, len(says), size)]) == judge().whole(says)


@pytest.mark.parametrize("character", ["1", "1 ", "1  ", "a", "A", "<", "E", "@", "中", "a.", "P<"])
def test_what_is_held_back_is_bounded(character: str) -> None:
    """Whatever is said, no more than the longest match waits; text without a beginning of one does not wait at all."""
    channel = streams.Channel(judge(), json=False)
    said = passed = worst = 0
    for _ in range(600):
        said += len(character)
        passed += len(channel.feed(character))
        worst = max(worst, said - passed)
    assert worst <= 258
    assert worst <= 57 or character in {"a", "A", "a.", "E", "1"}
    if character == "中":
        assert worst == 0


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (f"+86 {MOBILE}", "+[chinese_mobile]"),
        (f"+86-138-0013-8000 or {CARD}", "+[chinese_mobile] or [bank_card]"),
        (f"0086{MOBILE};", "[chinese_mobile];"),
        (f"{MOBILE}-13900139000", "[chinese_mobile]-[chinese_mobile]"),
        (f"{MOBILE} {CARD}", "[chinese_mobile] [bank_card]"),
        (f"{IDENTITY}6", "[chinese_id]"),
        (f"{IDENTITY}5", f"{IDENTITY}5"),
        (f"1{IDENTITY}6", f"1{IDENTITY}6"),
        (f"{IDENTITY}61", f"{IDENTITY}61"),
        (f"3.{MOBILE}", f"3.{MOBILE}"),
        (f"{MOBILE}.5", f"{MOBILE}.5"),
        (f"{MOBILE}. 5", "[chinese_mobile]. 5"),
        (f"{MOBILE}²", "[chinese_mobile]²"),
        ("1980-01-02 123", "1980-01-02 123"),
        ("ann@example.com.", "[email]."),
        ("联系ann@example.com谢谢", "联系[email]谢谢"),
        ("E12345678/EA1234567/eB1234567", "[passport]/[passport]/[passport]"),
        ("AE12345678 E123456789 EI1234567", "AE12345678 E123456789 EI1234567"),
        ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "[passport]"),
        ("L898902C36UTO7408122F1204159ZE184226B<<<<<10", "[passport]"),
        ("L898902C37UTO7408122F1204159ZE184226B<<<<<10", "L898902C37UTO7408122F1204159ZE184226B<<<<<10"),
        ("١٣٨٠٠١٣٨٠٠٠", "[chinese_mobile]"),
    ],
)
def test_what_is_a_number_and_what_is_none(says: str, expected: str) -> None:
    assert judge().whole(says) == expected
    assert told(list(says)) == expected


def test_a_block_ends_a_text_before_what_it_found() -> None:
    of = rules(chinese_mobile="block", email="mask")
    with pytest.raises(text.Blocked) as blocked:
        judge(of).whole(f"call {MOBILE}")
    assert blocked.value.kind == "chinese_mobile"
    channel = streams.Channel(judge(of), json=False)
    said = "".join(channel.feed(letter) for letter in f"a@b.cn, call {MOBILE}, now")
    assert said == "[email], call "
    assert channel.blocked.kind == "chinese_mobile"


def test_where_matches_overlap_the_strongest_action_counts() -> None:
    patterns = {"staff": {"pattern": "staff [0-9]{11}"}}
    assert (
        judge(rules(patterns=patterns, staff="log", chinese_mobile="mask")).whole(f"staff {MOBILE}!")
        == "[chinese_mobile]!"
    )
    with pytest.raises(text.Blocked):
        judge(rules(patterns=patterns, staff="mask", chinese_mobile="block")).whole(f"staff {MOBILE}!")


def test_the_journal_says_how_many_and_never_what(caplog: pytest.LogCaptureFixture) -> None:
    judging = judge(rules("in", chinese_mobile="log", email="mask"))
    says = f"{MOBILE} {MOBILE} ann@example.com"
    with caplog.at_level(logging.WARNING):
        assert judging.whole(says) == f"{MOBILE} {MOBILE} [email]"
        judging.tell()
        judging.tell()
    assert [record.getMessage() for record in caplog.records] == [
        "filter: team t, in, chinese_mobile: 2, action log",
        "filter: team t, in, email: 1, action mask",
    ]


# A site's own


def test_a_sites_pattern_has_its_label_and_its_check() -> None:
    patterns = {
        "staff": {"pattern": r"\bEMP-\d{6}\b", "label": "(staff)"},
        "member": {"pattern": r"M\d{8}", "check": "luhn"},
    }
    of = rules(patterns=patterns, staff="mask", member="mask")
    says = "EMP-123456 and EMP-1234567, M17893729974, M12345674, M12345675"
    expected = "(staff) and EMP-1234567, M17893729974, [member], M12345675"
    assert judge(of).whole(says) == expected
    assert told(list(says), of) == expected


def test_a_pattern_that_runs_away_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    says = "a" * 5_000 + "!"
    of = rules(patterns={"bad": {"pattern": "(a+)+b"}}, bad="mask")
    began = time.monotonic()
    with pytest.raises(text.Blocked) as blocked:
        judge(of, seconds=0.2).whole(says)
    assert blocked.value.late
    assert time.monotonic() - began < 20
    assert "bad" in caplog.text
    assert "aaa" not in caplog.text


def test_a_pattern_that_runs_away_and_only_counts_stops_nothing() -> None:
    says = "a" * 5_000 + "!"
    assert judge(rules(patterns={"bad": {"pattern": "(a+)+b"}}, bad="log"), seconds=0.2).whole(says) == says


@pytest.mark.parametrize(
    "data",
    [
        *([], {"patterns": []}, {"teams": []}, {"teams": {"t": []}}, {"teams": {"t": {"out": []}}}),
        {"teams": {"t": {"sideways": {"email": "mask"}}}},
        {"teams": {"t": {"out": {"e-mail": "mask"}}}},
        {"teams": {"t": {"out": {"email": "delete"}}}},
        {"patterns": {"email": {"pattern": "a"}}},
        {"patterns": {"own": {"pattern": "("}}},
        {"patterns": {"own": {"pattern": 3}}},
        {"patterns": {"own": {"pattern": "a", "check": "crc"}}},
        {"patterns": {"own": {"pattern": "a", "longest": 0}}},
        {"patterns": {"own": {"pattern": "a", "label": 3}}},
    ],
)
def test_a_file_that_is_wrong_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        file.parse(json.dumps(data))


def test_as_long_as_no_file_was_read_nobody_is_served() -> None:
    with pytest.raises(part("answers").Refusal) as refusal:
        file.UNREAD.of("t", "in")
    assert refusal.value.status == 503


# Events


def sent(events: Sequence[Any], of: Any = EVERY, size: int = 1_000_000) -> tuple[list[Any], Any]:
    """The events that pass, and the stream, which comes in pieces of so many bytes."""
    names = [f"event: {event['type']}\n" if "type" in event else "" for event in events]
    raw = "".join(f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, events, strict=True)).encode()
    stream = streams.FilteredStream(of)
    passed = b"".join(stream.feed(raw[place : place + size]) for place in range(0, len(raw), size)) + stream.end()
    for event in passed.decode().split("\n\n")[:-1]:
        assert ("event: " in event) == ('"type": "' in event and "choices" not in event), event
    return [json.loads(line[6:]) for line in passed.decode().splitlines() if line.startswith("data: ")], stream


def chat(field: str, says: str, index: int = 0) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": {field: says}, "finish_reason": None}]}


def finish(index: int = 0, **delta: str) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": "stop"}]}


def deltas(events: Sequence[Any], field: str, index: int = 0) -> str:
    choices = [choice for event in events for choice in event["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get(field) or "" for choice in choices)


SAYS = f"I am {MOBILE}"
MASKED = "I am [chinese_mobile]"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_choices_and_what_they_tell_are_kept_apart(size: int) -> None:
    """Two choices with content and reasoning, told letter by letter in turns: no number of one hides behind another's."""
    events: list[Any] = []
    for letter in SAYS:
        events += [
            chat(field, letter, index) for index in (0, 1) for field in ("content", "reasoning", "reasoning_content")
        ]
    passed, _ = sent([*events, finish(0), finish(1)], size=size)
    for index in (0, 1):
        for field in ("content", "reasoning", "reasoning_content"):
            assert deltas(passed, field, index) == MASKED
    finishes = [number for number, event in enumerate(passed) if event["choices"][0]["finish_reason"]]
    assert finishes[-1] == len(passed) - 1
    assert all(deltas(passed[finishes[0] + 1 :], field, 0) == "" for field in ("content", "reasoning"))


def test_the_last_delta_may_come_with_the_end() -> None:
    passed, _ = sent([chat("content", SAYS[:-1]), finish(content=SAYS[-1])])
    assert deltas(passed, "content") == MASKED
    assert len(passed) == 2


def test_a_stream_that_ends_without_a_word_lets_the_rest_out() -> None:
    passed, _ = sent([chat("content", SAYS[:-3])])
    assert deltas(passed, "content") == SAYS[:-3]
    assert all(event["id"] == "c" for event in passed)


def arguments(says: str) -> Iterator[dict[str, Any]]:
    for letter in says:
        call = {"index": 1, "function": {"arguments": letter}}
        yield {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}


def test_arguments_of_a_tool_call_stay_json() -> None:
    says = json.dumps({"phone": int(MOBILE), "more": [f'"{MOBILE}', {"a": MOBILE}], "n": 5})
    passed, _ = sent([*arguments(says), finish()])
    calls = [call for event in passed for call in event["choices"][0]["delta"].get("tool_calls", [])]
    assert {call["index"] for call in calls} == {1}
    found = json.loads("".join(call["function"]["arguments"] for call in calls))
    mask = "[chinese_mobile]"
    assert found == {"phone": mask, "more": [f'"{mask}', {"a": mask}], "n": 5}


def test_completions_are_filtered_and_tell_no_token_apart() -> None:
    apart = {"tokens": [MOBILE], "top_logprobs": [{MOBILE: -1.0}]}
    events = [{"id": "c", "choices": [{"index": 0, "text": letter, "logprobs": apart}]} for letter in SAYS]
    events += [{"id": "c", "choices": [{"index": 0, "text": "", "finish_reason": "length"}]}]
    passed, _ = sent(events)
    assert "".join(event["choices"][0]["text"] for event in passed) == MASKED
    assert MOBILE not in json.dumps(passed)


def block(letter: str, kind: str = "text_delta", field: str = "text") -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: letter}}


def test_messages_are_filtered_block_by_block() -> None:
    stop, over = {"type": "content_block_stop", "index": 0}, {"type": "message_stop"}
    thinking = [block(letter, "thinking_delta", "thinking") for letter in SAYS]
    passed, _ = sent([*thinking, stop, *(block(letter) for letter in SAYS), stop, over])
    assert "".join(event["delta"].get("thinking", "") for event in passed if "delta" in event) == MASKED
    assert "".join(event["delta"].get("text", "") for event in passed if "delta" in event) == MASKED
    types = [event["type"] for event in passed]
    assert types[-2:] == ["content_block_stop", "message_stop"]
    assert {event["delta"]["type"] for event in passed if "delta" in event} == {"thinking_delta", "text_delta"}
    says = json.dumps({"phone": int(MOBILE)})
    passed, _ = sent([*(block(letter, "input_json_delta", "partial_json") for letter in says), stop, over])
    told_json = "".join(event["delta"]["partial_json"] for event in passed if "delta" in event)
    assert json.loads(told_json) == {"phone": "[chinese_mobile]"}


def test_responses_are_filtered_in_their_deltas_and_where_they_are_told_whole() -> None:
    place = {"output_index": 0, "content_index": 0, "item_id": "i"}
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", "delta": letter, "sequence_number": number, "logprobs": [1], **place}
        for number, letter in enumerate(SAYS)
    ]
    whole = [{"type": "message", "content": [{"type": "output_text", "text": SAYS, "logprobs": [SAYS]}]}]
    number = len(events)
    events += [
        {"type": "response.output_text.done", "text": SAYS, "sequence_number": number, **place},
        {"type": "response.completed", "response": {"output": whole}, "sequence_number": number + 1},
    ]
    passed, _ = sent(events)
    assert "".join(event.get("delta", "") for event in passed) == MASKED
    assert passed[-2]["text"] == MASKED
    assert passed[-1]["response"]["output"][0]["content"][0]["text"] == MASKED
    assert MOBILE not in json.dumps(passed)
    numbers = [event["sequence_number"] for event in passed]
    assert numbers == list(range(len(passed)))


@pytest.mark.parametrize("delta", [{"audio": {"transcript": SAYS}}, {"details": [{"type": "x", "words": SAYS}]}])
def test_a_field_that_nobody_thought_of_is_filtered(delta: dict[str, Any]) -> None:
    pieces = [{"id": "c", "choices": [{"index": 0, "delta": delta}]}, {"type": "news", "text": SAYS}, {"odd": [SAYS]}]
    passed, _ = sent(pieces)
    assert MOBILE not in json.dumps(passed)
    assert json.dumps(passed).count("[chinese_mobile]") == 3


def test_an_event_that_is_no_json_is_filtered() -> None:
    stream = streams.FilteredStream(EVERY)
    assert stream.feed(f": ping\n\ndata: {SAYS}\n\n".encode()) == f": ping\n\ndata: {MASKED}\n\n".encode()


@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_a_blocked_stream_says_no_more(size: int) -> None:
    of = rules(chinese_mobile="block")
    events = [*(chat("content", letter) for letter in SAYS + ", and more"), finish()]
    passed, stream = sent(events, of, size)
    assert deltas(passed, "content") == "I am "
    assert stream.blocked.kind == "chinese_mobile"
    assert not any(choice["finish_reason"] for event in passed for choice in event["choices"])
    passed, stream = sent([chat("content", SAYS), finish()], of, size)
    assert stream.blocked
    assert not any(choice["finish_reason"] for event in passed for choice in event["choices"])


def test_what_only_counts_passes_byte_by_byte(caplog: pytest.LogCaptureFixture) -> None:
    stream = streams.FilteredStream(rules(chinese_mobile="log"))
    raw = (
        b"".join(b"data: " + json.dumps(chat("content", letter)).encode() + b"\n\n" for letter in SAYS)
        + b"data: [DONE]\n\n"
    )
    with caplog.at_level(logging.WARNING):
        pieces = [raw[place : place + 5] for place in range(0, len(raw), 5)]
        assert [stream.feed(piece) for piece in pieces] == pieces
        assert stream.end() == b""
    assert caplog.messages == ["filter: team t, out, chinese_mobile: 1, action log"]


def test_events_without_a_number_pass_as_they_are() -> None:
    raw = b'event: x\r\ndata: {"type":"x", "n": 1}\r\n\r\n'
    raw += b'data:{"choices":[{"index":0,"delta":{"content":"hi "}}]}\n\ndata: [DONE]\n\n'
    stream = streams.FilteredStream(EVERY)
    assert stream.feed(raw) + stream.end() == raw

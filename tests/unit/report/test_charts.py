"""Charts are drawn to scale, and their text is text."""

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.report.axes import even
from slipway.report.bars import Bar, Part, bar_chart
from slipway.report.lines import Dot, Labels, Level, Line, line_chart, spread
from slipway.report.svg import tag

NASTY = '"><script>alert(1)</script><!--'


def drawn(svg: str) -> ET.Element:
    """The chart as a tree; text that became an element would not be well-formed or would show."""
    return ET.fromstring(svg)  # noqa: S314 - our own


def marks(chart: ET.Element, kind: str) -> list[ET.Element]:
    return [element for element in chart.iter() if {"mark", kind} <= set(element.get("class", "").split())]


def points(element: ET.Element) -> list[tuple[float, float]]:
    pairs = element.attrib["d"].strip("MZ").split("L")
    return [(float(x), float(y)) for x, y in (pair.split() for pair in pairs)]


def chart(*lines: Line, levels: tuple[Level, ...] = ()) -> ET.Element:
    axis = even("x", [10], str)
    return drawn(line_chart("k", "Title", "Description", x=axis, y=axis, lines=lines, levels=levels))


def test_a_line_and_its_band_are_to_scale() -> None:
    rising = Line(style="a", label="A", points=[(0, 0), (5, 5), (10, 10)], band=[(0, 0), (2, 8), (5, 10)])
    root = chart(rising, levels=(Level(y=5, label="wanted"),))
    (line,), (band,), (level,) = marks(root, "line"), marks(root, "band"), marks(root, "level")
    start, middle, end = points(line)
    assert middle == pytest.approx(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    assert start[1] > end[1], "up is more"
    outline = points(band)
    forth, back = [x for x, _ in outline[:3]], [x for x, _ in outline[3:]]
    assert forth == [start[0], middle[0], end[0]] == back[::-1]
    assert outline[1][1] < middle[1] < outline[4][1]
    assert float(level.attrib["y1"]) == pytest.approx(middle[1])


def test_a_dot_lies_where_it_says() -> None:
    line = Line(style="a", label="A", points=[(0, 0), (10, 10)], dots=[Dot(x=10, y=10, meaning="the end")])
    root = chart(line)
    (dot,) = marks(root, "dot")
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == pytest.approx(points(marks(root, "line")[0])[-1])
    assert [title.text for title in dot] == ["the end"]


def test_bars_are_to_scale() -> None:
    parts = [
        Part(style="weights", name="w", value=6),
        Part(style="none", name="n", value=0),
        Part(style="kv", name="k", value=2),
    ]
    root = drawn(
        bar_chart(
            "k",
            "T",
            "D",
            x=even("GiB", [10], str),
            bars=[Bar(label=label, total="8 GiB", parts=parts) for label in "AB"],
        )
    )
    bars = marks(root, "part")
    assert [float(bar.attrib["width"]) for bar in bars] == pytest.approx(
        [3 * float(bars[1].attrib["width"]), float(bars[1].attrib["width"])] * 2, abs=0.02
    )
    first, second = bars[:2]
    assert float(second.attrib["x"]) == pytest.approx(float(first.attrib["x"]) + float(first.attrib["width"]), abs=0.02)


def test_charts_have_a_name_and_a_description() -> None:
    root = chart(Line(style="a", label="A", points=[(0, 0), (10, 10)]))
    ids = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    assert root.get("role") == "img"
    assert ids[root.attrib["aria-labelledby"]] == "Title"
    assert ids[root.attrib["aria-describedby"]] == "Description"


def test_text_stays_text() -> None:
    axis = even(NASTY, [10], str)
    line = Line(style=NASTY, label=NASTY, points=[(0, 0), (10, 10)], dots=[Dot(x=1, y=1, meaning=NASTY)])
    bars = [Bar(label=NASTY, total=NASTY, parts=[Part(style=NASTY, name=NASTY, value=5)])]
    for svg in (
        line_chart("k", NASTY, NASTY, x=axis, y=axis, lines=[line], levels=[Level(y=3, label=NASTY)]),
        bar_chart("k", NASTY, NASTY, x=axis, bars=bars),
    ):
        root = drawn(svg)
        assert not [element for element in root.iter() if element.tag == "script"]
        assert any(element.text == NASTY for element in root.iter())


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20))
def test_any_text_can_be_an_attribute_and_a_child(text: str) -> None:
    root = drawn(tag("text", text, class_=text, aria_label=text))
    assert (root.text or "", root.get("class"), root.get("aria-label")) == (text, text, text)


@pytest.mark.parametrize(("value", "text"), [(1, "1"), (1.5, "1.5"), (1 / 3, "0.33"), (100, "100"), (1e6, "1000000")])
def test_lengths(value: float, text: str) -> None:
    assert tag("line", x1=value) == f'<line x1="{text}"/>'


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 250)), min_size=1, max_size=8))
def test_labels_keep_out_of_each_others_way(wanted: list[tuple[float, float]]) -> None:
    labels = Labels(top=0, bottom=250, right=460)
    for x, y in wanted:
        labels.place(x, y, "API")
    for index, one in enumerate(labels.taken):
        assert one[1] >= 0
        assert one[3] <= 250
        assert one[2] <= 460
        for other in labels.taken[:index]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart
    assert len(labels.taken) == len(wanted)


@settings(deadline=None)
@given(st.lists(st.floats(0, 250), max_size=6).map(sorted))
def test_labels_at_the_margin_keep_the_order_of_their_lines(wanted: list[float]) -> None:
    places = spread(wanted, 16, 8, 242)
    assert len(places) == len(wanted)
    assert all(8 <= place <= 242 for place in places)
    assert all(later - earlier >= 16 - 1e-9 for earlier, later in pairwise(places))


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([], []),
        ([50, 100], [50, 100]),
        ([50, 52], [50, 66]),
        ([0, 2], [8, 24]),
        ([240, 250], [226, 242]),
        ([20, 238, 240, 250], [20, 210, 226, 242]),
    ],
)
def test_labels_move_no_farther_than_they_must(wanted: list[float], places: list[float]) -> None:
    assert spread(wanted, 16, 8, 242) == places

"""Where a setting stands in its file."""

from pathlib import Path

import pytest

from slipway.settings.lines import Line, keys_of, line_of

TEXT = """\
# A stack.
config:
  slipway:platform:
    hosts:
      - name: a
        address: 10.0.0.1
      - name: b
    engine: {key: {env: X}, max_num_seqs: 8}
"""


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("hosts[1].name", ("hosts", 1, "name")),
        ("engine", ("engine",)),
        ("", ()),
        ('labels["app.kubernetes.io/name"].x', ("labels", "app.kubernetes.io/name", "x")),
    ],
)
def test_paths(path: str, keys: tuple[str | int, ...]) -> None:
    assert keys_of(path) == keys


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", Line(3, 3)),
        ("hosts", Line(4, 5)),
        ("hosts[0].address", Line(6, 9)),
        ("hosts[1]", Line(7, 9)),
        ("hosts[1].port", Line(7, 9)),
        ("hosts[7].port", Line(4, 5)),
        ("engine.max_num_seqs", Line(8, 29)),
        ("gateway.keys", Line(3, 3)),
    ],
)
def test_lines(tmp_path: Path, path: str, line: Line) -> None:
    file = tmp_path / "Pulumi.a.yaml"
    file.write_text(TEXT)
    assert line_of(file, ("config", "slipway:platform", *keys_of(path))) == line


@pytest.mark.parametrize("text", ["", "a: [", "- x\n"])
def test_what_has_no_such_key_is_the_first_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "Pulumi.a.yaml"
    file.write_text(text)
    assert line_of(file, ("config",)) == Line(1, 1)
    assert line_of(tmp_path / "none.yaml", ("config",)) == Line(1, 1)

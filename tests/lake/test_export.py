"""`lake.export`: an answer as text or file, whole or not at all, and harmless to a spreadsheet."""

import csv
import io
import os
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import export
from lake.errors import QueryError
from tests.lake.lakes import new_lake

FRAME = pl.DataFrame(
    {
        "text": ["plain", 'a,"b"\r\nc', "", None],
        "number": [-1.5, 1e-9, None, 3.0],
        "list": [["a", "é\u2028b\nc"], [], None, ["="]],
        "time": [datetime(2026, 3, 2, 10, tzinfo=UTC)] * 4,
        "day": [date(2026, 3, 2)] * 4,
        "bytes": [b"\x00\xff", b"", None, b"x"],
        "flag": [True, False, None, True],
    }
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


def parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_csv_holds_every_cell():
    """Lists as JSON, times as RFC 3339, bytes as hex, null as nothing; lines end as RFC 4180 says."""
    text = export.write(FRAME, "csv")
    assert text is not None
    header, *lines = parsed(text)
    assert header == FRAME.columns
    noon = ["2026-03-02T10:00:00.000000Z", "2026-03-02"]
    assert lines == [
        ["plain", "-1.5", '["a","é\u2028b\\nc"]', *noon, "00ff", "true"],
        ['a,"b"\r\nc', "1e-9", "[]", *noon, "", "false"],
        ["", "", "", *noon, "", ""],
        ["", "3.0", '["="]', *noon, "78", "true"],
    ]
    assert text.endswith("\r\n")
    assert '\r\n"",' in text  # an empty text is no null


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", '=HYPERLINK("http://x")', "=1\r\n+2"])
def test_a_formula_in_text_is_made_harmless(cell):
    """A title that begins like a formula gets an apostrophe; so does such a column name."""
    frame = pl.DataFrame({"title": [cell], cell: ["ok"]})
    header, line = parsed(export.csv(frame))
    assert header == ["title", "'" + cell]
    assert line == ["'" + cell, "ok"]


def test_numbers_stay_numbers():
    """A negative number begins with a sign and is no formula."""
    frame = pl.DataFrame({"a": [-1, 1], "b": [-0.5, float("inf")]})
    assert parsed(export.csv(frame))[1:] == [["-1", "-0.5"], ["1", "inf"]]


@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_any_text_survives_csv(cells):
    """What is read back is what was written, but for the apostrophe in front of what begins like a formula."""
    frame = pl.DataFrame(cells, schema={"a": pl.String, "b": pl.String}, orient="row")
    found = parsed(export.csv(frame))[1:]
    assert found == [["'" * cell.startswith(tuple("=+-@\t\r")) + cell for cell in pair] for pair in cells]


def test_a_table_is_whole_and_harmless():
    """Every row and column; what acts on a terminal is not among them."""
    frame = pl.DataFrame({f"column_{n}": ["\x1b[31mred\u202e" + "x" * 60, *map(str, range(99))] for n in range(12)})
    text = export.write(frame, "table")
    assert text is not None
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("x" * 60) == 12
    assert "column_11" in text
    assert all(f" {number} " in text for number in range(99))
    assert text.endswith("\n")


@pytest.mark.parametrize("format", ["csv", "table"])
@pytest.mark.parametrize("frame", [pl.DataFrame(), FRAME.clear()], ids=["no columns", "no rows"])
def test_nothing_can_be_written(format, frame):
    """An empty answer is an answer."""
    assert isinstance(export.write(frame, format), str)


@pytest.mark.parametrize("format", export.FORMATS)
def test_a_file_holds_what_was_asked(tmp_path, format):
    """Each format writes its file and returns nothing; text is the same as without a file."""
    out = tmp_path / "answer"
    assert export.write(FRAME, format, out) is None
    if format == "parquet":
        assert pl.read_parquet(out).equals(FRAME)
    else:
        assert out.read_bytes().decode() == export.write(FRAME, format)
    assert [path.name for path in tmp_path.iterdir()] == ["answer"]


def test_a_file_is_not_overwritten_unless_forced(tmp_path):
    """The first stays, byte for byte, until it is said otherwise."""
    out = tmp_path / "answer.csv"
    out.write_text("mine")
    with pytest.raises(QueryError, match=r"answer\.csv: is there already.*--force"):
        export.write(FRAME, "csv", out)
    assert out.read_text() == "mine"
    export.write(FRAME, "csv", out, force=True)
    assert out.read_text() != "mine"


@pytest.mark.parametrize("format", export.FORMATS)
def test_nothing_half_written_is_left(tmp_path, monkeypatch, format):
    """When the disk is full the old file stays, and no other is there."""
    out = tmp_path / "answer"
    out.write_text("mine")

    def fail(self, place, *_):
        place.write_text("half") if isinstance(self, pl.DataFrame) else None
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(out), "write_bytes", fail)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(QueryError, match="no space left.*nothing was written"):
        export.write(FRAME, format, out, force=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("answer", "mine")]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    """A folder that is not there, a folder in the place of the file, and anything in a lake."""
    lake = new_lake(tmp_path)
    (lake.root / "quotes").mkdir()
    (tmp_path / "link").symlink_to(lake.root / "quotes", target_is_directory=True)
    for out, why in (
        (tmp_path / "no" / "x.csv", "there is no folder"),
        (tmp_path, "is a folder"),
        (lake.root / "x.csv", "within a lake"),
        (tmp_path / "link" / "x.csv", "within a lake"),
    ):
        with pytest.raises(QueryError, match=why) as caught:
            export.write(FRAME, "csv", out, force=True)
        assert str(out) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in lake.root.rglob("*")) == ["_lake.json", "quotes"]


def test_formats_are_named():
    """An unknown one names those that there are; Parquet is no text."""
    with pytest.raises(QueryError, match="format 'xml': use one of table, csv, parquet"):
        export.write(FRAME, "xml")
    with pytest.raises(QueryError, match="--out"):
        export.write(FRAME, "parquet")


@pytest.mark.parametrize(
    ("name", "given", "format"),
    [
        ("x.csv", None, "csv"), ("x.CSV", None, "csv"), ("x.parquet", None, "parquet"), ("x.txt", None, "table"),
        ("x.txt", "CSV", "csv"), ("x", "Parquet", "parquet"), ("x.csv", "Csv", "csv"), ("x.tsv", "table", "table"),
    ],
)  # fmt: skip
def test_the_name_says_the_format(tmp_path, name, given, format):
    """In any case; a format that is given goes before a suffix that means nothing."""
    out = tmp_path / name
    export.write(FRAME, given, out)
    if format == "parquet":
        assert pl.read_parquet(out).equals(FRAME)
    else:
        assert out.read_bytes().decode() == export.write(FRAME, format)


def test_without_a_file_an_answer_is_a_table():
    """Neither format nor file."""
    assert export.write(FRAME, None) == export.table(FRAME)


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        ("x", None, "give --format"), ("x.xlsx", None, "give --format"), ("x.csv", "parquet", "format is parquet"),
        ("x.parquet", "table", "format is table"), ("x.Parquet", "csv", "format is csv"),
    ],
)  # fmt: skip
def test_a_name_that_says_something_else_is_refused(tmp_path, name, given, why):
    """Nothing is written under a name that would mislead."""
    with pytest.raises(QueryError, match=why):
        export.write(FRAME, given, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_nothing_but_a_file(tmp_path):
    """A pipe, a device, a link and what it points to stay as they are."""
    mine, link, lost, pipe = (tmp_path / name for name in ("mine", "link", "lost", "pipe"))
    mine.write_text("mine")
    link.symlink_to(mine)
    lost.symlink_to(tmp_path / "nowhere")
    os.mkfifo(pipe)
    for out in (link, lost, pipe):
        with pytest.raises(QueryError, match="no regular file"):
            export.write(FRAME, "csv", out, force=True)
    assert mine.read_text() == "mine"
    assert link.is_symlink() and lost.is_symlink() and pipe.is_fifo()

"""Recordings of every format, found, ordered and refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from flows.collector.recordings import Item, find
from flows.venues.base import Wire
from lake.errors import RecordingError
from tests.flows.feed import START, TICKER, frame, value
from tests.frames import make_session

SOCKET = Wire.POLYMARKET_SOCKET
MS = START // 1000


def lines(path: Path, *rows: Any) -> Path:
    """A file with a row a line, gzipped by its name."""
    text = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


def payload_lines(path: Path, *names: str, step: int = 1_000) -> Path:
    rows = ({"receive_wall_ms": MS + n * step, "payload": frame(name).decode()} for n, name in enumerate(names))
    return lines(path, *rows)


def items(path: Path) -> list[Item]:
    recordings, _ = find(path)
    assert len(recordings) == 1
    return list(recordings[0].items())


POLY = ("polymarket/new_market", "polymarket/book_dump", "polymarket/pong", "polymarket/best_bid_ask")


@pytest.mark.parametrize("name", ["day.jsonl", "day.jsonl.gz"])
def test_payload_lines(tmp_path, name):
    """Frames as text with the time of their receipt come back as they were, at that time, gzipped or not."""
    found = items(payload_lines(tmp_path / name, *POLY))
    assert [item.payload for item in found] == [frame(name) for name in POLY]
    assert [item.received for item in found] == [START + n * 1_000_000 for n in range(4)]
    assert {item.wire for item in found} == {SOCKET}


def test_wire_is_read_off_the_frames(tmp_path):
    """A session that begins with heartbeats is known by its first frame that shows whose it is."""
    found = items(payload_lines(tmp_path / "k.jsonl", "kalshi/ticker", "kalshi/trade"))
    assert {item.wire for item in found} == {Wire.KALSHI_SOCKET}


def test_raw_frames(tmp_path):
    """Bare frames, a line each, in a list, or one alone, take the venue's own times."""
    names = ["best_bid_ask", "last_trade_price"]
    bodies = [value(f"polymarket/{name}") for name in names]
    (tmp_path / "list.json").write_text(json.dumps(bodies))
    (tmp_path / "one.json").write_text(json.dumps(bodies[0], indent=2))
    for path in (lines(tmp_path / "lines.jsonl", *bodies), tmp_path / "list.json"):
        assert [item.received for item in items(path)] == [START + 2_000_000, START + 3_000_000]
    assert [json.loads(item.payload) for item in items(tmp_path / "one.json")] == bodies[:1]


def test_envelopes(tmp_path):
    """Frames in envelopes anywhere in a document come in the order of their receipt."""
    rows = [
        {"received_ms": MS + 5, "frame": value("kalshi/delta")},
        {"received_ms": MS, "frame": value("kalshi/snapshot")},
    ]
    (tmp_path / "capture.json").write_text(json.dumps({"note": "x", "deep": {"frames": rows}}))
    found = items(tmp_path / "capture.json")
    assert [json.loads(item.payload)["type"] for item in found] == ["orderbook_snapshot", "orderbook_delta"]
    assert {item.wire for item in found} == {Wire.KALSHI_SOCKET}


def test_session_in_parts(tmp_path):
    """A folder with a file a kind of event is one session: merged by time, the envelope rebuilt, openings first."""
    folder = tmp_path / "session"

    def row(kind: str, at: int, number: int | None, payload: Any) -> dict[str, Any]:
        return {
            "event_type": kind,
            "local_recv_ns": (START + at) * 1000,
            "sequence_number": number,
            "payload_json": payload,
        }

    msg = {name: value(f"kalshi/{name}")["msg"] for name in ("snapshot", "delta", "ticker")}
    lines(
        folder / "orderbook_delta.ndjson.gz",
        row("orderbook_delta", 3, 2, msg["delta"]),
        row("orderbook_delta", 9, 3, msg["delta"]),
    )
    lines(folder / "orderbook_snapshot.ndjson", row("orderbook_snapshot", 3, 1, msg["snapshot"]))
    lines(folder / "ticker.ndjson", row("ticker", 5, None, msg["ticker"]))
    lines(folder / "ws_connected.ndjson", row("ws_connected", 3, None, {}))
    lines(folder / "watch_market.ndjson", row("watch_market", 0, None, {"note": "the recorder's own"}))
    found = items(folder)
    kinds = [json.loads(item.payload)["type"] if item.payload else None for item in found]
    assert kinds == [None, "orderbook_snapshot", "orderbook_delta", "ticker", "orderbook_delta"]
    assert json.loads(found[2].payload)["seq"] == 2
    assert find(folder)[0][0].name == "session"


def test_polls_of_rest(tmp_path):
    """Answers a line or a file, their time beside them or in the file's name."""
    page = value("kalshi/rest_markets")
    lines(tmp_path / "a" / "event.jsonl.gz", {"capture": "20260921T141320Z", "payload": page})
    assert items(tmp_path / "a")[0][:1] == (START,)
    lines(tmp_path / "b" / "20260921T141320Z_event.json.gz", page)
    lines(tmp_path / "b" / "20260921T141420Z_event.json.gz", page)
    survey = find(tmp_path / "b")[0][0].survey()
    assert (survey.frames, survey.first, survey.poll_every) == (2, START, {"rest": 60_000_000})
    (tmp_path / "c.json").write_text(
        json.dumps({"_metadata": {"recorded_at": "2026-09-21T14:13:20Z"}, "response": page})
    )
    assert json.loads(items(tmp_path / "c.json")[0].payload) == page
    book = value("kalshi/rest_orderbook")["orderbook_fp"]
    lines(tmp_path / "d.jsonl", {"captured_at": "2026-09-21T14:13:20Z", "ticker": TICKER, "raw_orderbook": book})
    assert items(tmp_path / "d.jsonl")[0].wire is Wire.KALSHI_REST


def test_tape_of_several_pollers(tmp_path):
    """Polls that were not written in order come in order, so none of them seems to be late."""
    book = value("kalshi/rest_orderbook")["orderbook_fp"]
    minutes = [10, 12, 11, 13]
    rows = [{"captured_at": f"2026-09-21T14:{m}:00Z", "ticker": TICKER, "raw_orderbook": book} for m in minutes]
    received = [item.received for item in items(lines(tmp_path / "tape.jsonl", *rows))]
    assert received == sorted(received)


def test_folder_of_recordings(tmp_path):
    """Every recording below a folder is found, in the order of its path; other files are named and left alone."""
    payload_lines(tmp_path / "b.jsonl", *POLY)
    payload_lines(tmp_path / "deep" / "a.jsonl.gz", *POLY)
    for name, text in (("README.md", "# notes"), ("data.json", '{"captured_ms": "soon"}'), ("odd.json", "[" * 100_000)):
        (tmp_path / name).write_text(text)
    (tmp_path / "times.json").write_text('{"captured_at": "yesterday", "markets": []}')
    recordings, strangers = find(tmp_path)
    assert [recording.name for recording in recordings] == ["b", "a"]
    assert [path.name for path in strangers] == ["README.md", "data.json", "odd.json", "times.json"]


def test_copy_is_the_same_recording(tmp_path):
    """The digest is of what was recorded: a copy under another name, or unpacked, has the same."""
    surveys = [
        find(payload_lines(tmp_path / name, *names))[0][0].survey()
        for name, names in (("a.jsonl", POLY), ("b.jsonl.gz", POLY), ("c.jsonl", POLY[:-1]))
    ]
    assert surveys[0] == surveys[1]
    assert surveys[0].digest != surveys[2].digest


def test_absent_path(tmp_path):
    """A path at which there is nothing is refused by its name."""
    with pytest.raises(RecordingError, match="nowhere"):
        find(tmp_path / "nowhere")


def test_folder_without_a_recording(tmp_path):
    """An empty folder is refused, and says what to read."""
    with pytest.raises(RecordingError, match="holds no recording"):
        find(tmp_path)


@pytest.mark.parametrize("text", [b"", b"hello", b"\x00\xff" * 50, b"{}", b"[]", b'{"name": "package"}', b"17"])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.csv"])
def test_unknown_file(tmp_path, name, text):
    """A single file that is no recording is refused by its name."""
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(RecordingError, match=name):
        find(path)


def refused(path: Path) -> str:
    """The one line with which a recording is refused before anything of it is used."""
    with pytest.raises(RecordingError) as error:
        find(path)[0][0].survey()
    text = str(error.value)
    assert path.name in text
    assert "\n" not in text
    return text


def test_broken_line_is_named(tmp_path):
    """A damaged line is refused with its number, blank lines counted."""
    path = payload_lines(tmp_path / "day.jsonl", *POLY)
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], "", rows[1], rows[2][:-20], rows[3]]))
    assert "line 4" in refused(path)
    path.write_text("\n".join([rows[0], '{"receive_wall_ms": "soon", "payload": "x"}']))
    assert "line 2" in refused(path)


def test_cut_off_gzip(tmp_path):
    """A gzip file that was cut off, or whose bytes were damaged, is refused with a next step."""
    path = payload_lines(tmp_path / "day.jsonl.gz", *POLY * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[:-12])
    assert "copy the recording again" in refused(path)
    path.write_bytes(whole[:60] + bytes(40) + whole[100:])
    refused(path)
    path.write_bytes(b"no gzip at all")
    refused(path)


@pytest.mark.parametrize("ms", [-1, 10**15, 10**30])
def test_times_outside_the_calendar(tmp_path, ms):
    """A time of receipt that is no date is refused."""
    refused(
        lines(
            tmp_path / "day.jsonl",
            {"receive_wall_ms": MS, "payload": "PONG"},
            {"receive_wall_ms": ms, "payload": "PONG"},
        )
    )


def test_unreadable_file(tmp_path):
    """A file that vanishes after it was found is refused, not a traceback."""
    path = payload_lines(tmp_path / "day.jsonl", *POLY)
    recording = find(path)[0][0]
    path.unlink()
    with pytest.raises(RecordingError, match="cannot be read"):
        recording.survey()


@pytest.mark.parametrize("name", list(make_session.SESSIONS))
def test_session_is_its_generators(name):
    """The committed session is what its generator makes, line by line, and small."""
    path = make_session.FOLDER / f"{name}.jsonl.gz"
    assert gzip.decompress(path.read_bytes()) == make_session.text(
        [*make_session.SESSIONS[name](), (make_session.END, make_session.LAST[name])]
    )
    assert path.stat().st_size < 200_000

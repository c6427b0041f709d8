"""Bars, brought up to date as recordings come in, are those that a computation from scratch gives."""

import json
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flows.collector.recordings import find
from flows.collector.replay import replay
from flows.jobs.refresh import refresh_bars
from lake.schema import BARS
from lake.store import Store
from lake.vocab import Mode
from tests.flows.collector.test_recordings import lines
from tests.flows.feed import START
from tests.flows.venues.test_kalshi import body

MS = START // 1000


def session(path: Path, start: int, script: list[tuple[int, str, dict]]) -> Path:
    """A recording: seconds after `start`, frame, changed fields."""
    rows = []
    for seq, (at, name, msg) in enumerate(script, 1):
        time = MS + 1000 * (start + at)
        frame = body(name, seq=seq, **({} if name == "snapshot" else {"ts_ms": time}) | msg)
        rows.append({"receive_wall_ms": time, "payload": json.dumps(frame)})
    return lines(path, *rows)


DAY = 86_400
PARTS = {
    "a": (
        0,
        [
            (0, "snapshot", {}),
            (30, "trade", {"trade_id": "1"}),
            (90, "delta", {"delta_fp": "-75.50"}),
            (4_000, "trade", {"trade_id": "2"}),
        ],
    ),
    "b": (
        7_000,
        [
            (0, "snapshot", {}),
            (60, "delta", {"delta_fp": "-75.50"}),
            (61, "trade", {"trade_id": "3", "yes_price_dollars": "0.44"}),
        ],
    ),
    "c": (DAY, [(0, "trade", {"trade_id": "4"}), (5, "snapshot", {"market_ticker": "KXNEW"}), (600, "snapshot", {})]),
}


def bars(lake: Store) -> pl.DataFrame:
    return lake.scan(BARS).collect().sort("interval", "market_key", "bar_start")


@pytest.mark.parametrize("order", list(permutations(PARTS)), ids="".join)
def test_bars_as_recordings_come_in(tmp_path, order):
    """After each recording, in any order of their times, the bars equal those computed anew from all that is there."""
    lake, anew = (Store.create(tmp_path / name, Mode.REPLAY) for name in ("lake", "anew"))
    for name in order:
        path = session(tmp_path / f"{name}.jsonl", *PARTS[name])
        for each in (lake, anew):
            replay(find(path)[0][0], each)
        report = refresh_bars(lake)
        assert report.segments > 0
        refresh_bars(anew, anew=True)
        assert_frame_equal(bars(lake), bars(anew))
    assert bars(lake).height > 10


@pytest.mark.parametrize("second", range(1_000, 1_100, 7))
def test_bars_do_not_depend_on_company(tmp_path, second):
    """A market's bars are the same to the last bit whether they are computed alone or beside another market's."""
    script = [(0, "snapshot", {}), (second, "snapshot", {}), (second + 3_000, "trade", {})]
    other = [(0, "snapshot", {"market_ticker": "KXNEW"}), (3_700, "trade", {"market_ticker": "KXNEW", "trade_id": "9"})]
    alone, beside = (Store.create(tmp_path / name, Mode.REPLAY) for name in ("alone", "beside"))
    for lake, parts in ((alone, [script]), (beside, [script, other])):
        for number, part in enumerate(parts):
            replay(find(session(tmp_path / f"{number}.jsonl", 17 * second, part))[0][0], lake)
        refresh_bars(lake)
    mine = bars(beside).filter(pl.col("market_key").is_in(bars(alone)["market_key"].unique().implode()))
    assert_frame_equal(bars(alone), mine, check_exact=True)


def test_recording_that_goes_on(tmp_path, monkeypatch):
    """Bars of a replay that was broken off, and of its rest once it was repeated, are those of the whole."""
    lake, whole = (Store.create(tmp_path / name, Mode.REPLAY) for name in ("lake", "whole"))
    recording = find(session(tmp_path / "a.jsonl", *PARTS["a"]))[0][0]
    replay(recording, whole)
    refresh_bars(whole)
    publish, done = Store.publish_segment, []

    def killed(self, *segment, **more):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(segment)
        return publish(self, *segment, **more)

    monkeypatch.setattr(Store, "publish_segment", killed)
    with pytest.raises(KeyboardInterrupt):
        replay(recording, lake)
    monkeypatch.undo()
    assert refresh_bars(lake).segments == 2
    assert bars(lake).height < bars(whole).height
    replay(recording, lake)
    assert refresh_bars(lake).segments == 1
    assert_frame_equal(bars(lake), bars(whole), check_exact=True)


def test_nothing_new(tmp_path):
    """A second refresh without new rows computes nothing and changes no file."""
    lake = Store.create(tmp_path / "lake", Mode.REPLAY)
    replay(find(session(tmp_path / "a.jsonl", *PARTS["a"]))[0][0], lake)
    refresh_bars(lake)
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.parquet")}
    report = refresh_bars(lake)
    assert (report.segments, report.markets) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.parquet")} == before


def test_refresh_that_was_killed(tmp_path, monkeypatch):
    """A refresh that was killed before it noted how far it came is done again, to the same bars."""
    lake = Store.create(tmp_path / "lake", Mode.REPLAY)
    replay(find(session(tmp_path / "a.jsonl", *PARTS["a"]))[0][0], lake)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "set_watermark", killed)
    with pytest.raises(KeyboardInterrupt):
        refresh_bars(lake)
    found = bars(lake)
    monkeypatch.undo()
    assert refresh_bars(lake).segments > 0
    assert_frame_equal(bars(lake), found)

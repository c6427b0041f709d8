"""A capture of both venues over real sockets: to the letter, replayable, with a report; whatever ends it."""

import asyncio
import gzip
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import polars as pl
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.collector.capture import FRAMES, PROBES, REPORT, Wanted, capture
from flows.collector.journal import Kind
from flows.collector.recordings import find
from flows.collector.replay import replay
from flows.collector.segments import Segment
from flows.collector.tape import LEVEL, Tape, lines
from flows.collector.timing import Timing
from flows.simulator.service import simulate
from flows.venues.base import Wire
from lake.errors import RecordingError, SettingError
from lake.schema import DEPTH, MARKETS, QUOTES, TRADES, VENUE_STATS, Table
from lake.settings import Settings, load
from lake.store import Store
from lake.vocab import Mode, Venue
from tests.flows.collector.venues import until
from tests.flows.server import free_port

TIMING = Timing(first_delay=0.05, longest_delay=0.2, connects_a_minute=600, connect_gap=0, poll_every=0.5)
TABLES = (QUOTES, TRADES, DEPTH, MARKETS, VENUE_STATS)


@asynccontextmanager
async def simulated(folder: Path, **given: object) -> AsyncIterator[Settings]:
    """Both simulated venues on free ports, and the settings that lead there."""
    ports = {"simulator_polymarket_port": free_port(), "simulator_kalshi_port": free_port()}
    places = {"simulator_dir": folder / "sim", "lake_uri": str(folder / "lake")}
    config = load(collector_mode="simulated", simulator_rate=400, simulator_markets=60, **ports, **places, **given)
    stop, said = asyncio.Event(), list[str]()
    serving = asyncio.create_task(simulate(config, stop, say=said.append))
    try:
        await until(lambda: any("kalshi" in line for line in said) or serving.done(), 30)
        yield config
    finally:
        stop.set()
        await serving


def rows(segments: list[Segment], table: Table) -> pl.DataFrame:
    """All rows of a table, in any order, without their numbers."""
    frames = [table.frame(found) for one in segments for (of, _), found in one.rows.items() if of is table]
    return pl.concat([table.frame([]), *frames]).drop("seq").sort(pl.all().exclude(pl.List))


def replayed(recording: Path, lake: Path) -> Store:
    store = Store.create(lake, Mode.REPLAY)
    for one in find(recording)[0]:
        replay(one, store)
    return store


@pytest.mark.asyncio
async def test_replay_gives_the_collectors_rows(tmp_path):
    """What is replayed of a capture is what the collector's pipeline made of the same frames, on both venues."""
    segments: list[Segment] = []
    async with simulated(tmp_path) as config:
        wanted, folder = Wanted(4, top=20), tmp_path / "out"
        report = await capture(
            config, folder, wanted, asyncio.Event(), say=lambda line: None, rng=Random(1), timing=TIMING,
            on_segment=segments.append,
        )  # fmt: skip
    store = replayed(folder, tmp_path / "replayed")
    for table in TABLES:
        found = store.scan(table).select(*table.columns).drop("seq").collect()
        wanted_rows = rows(segments, table)
        assert found.sort(pl.all().exclude(pl.List)).equals(wanted_rows), table.name
        assert wanted_rows.height, table.name
    assert store.scan(QUOTES).select("venue").unique().collect().height == 2
    lanes = {lane["name"]: lane for lane in report["connections"]}
    assert {"polymarket-1", "kalshi-1", "polymarket-catalog", "kalshi-catalog"} <= set(lanes)
    assert lanes["polymarket-1"]["asked"] == lanes["polymarket-1"]["books"] == 2 * report["markets"]["polymarket"]
    assert lanes["kalshi-1"]["kinds"]["orderbook_snapshot"]["messages"] == report["markets"]["kalshi"]
    assert lanes["kalshi-1"]["lag_ms"]["p50"] is not None and report["unknown"] == []
    assert report["sequences"] and all(row["holes"] == 0 for row in report["sequences"])
    assert json.loads((folder / REPORT).read_text()) == report
    answers = {row["path"]: row["statuses"] for row in report["rest"]}
    assert answers["/trade-api/v2/exchange/status"] == {"200": 1} and answers["/clob/books"] == {"200": 1}
    seen = {row["question"]: row["seen"] for row in report["questions"]}
    assert seen["what /time answers"] and seen["what `level` of a subscription changes"] is None
    assert abs(report["clock_offset_ms"]["kalshi"]) < 2_000
    probes = [json.loads(line) for line in gzip.decompress((folder / PROBES).read_bytes()).splitlines()]
    assert {"books", "markets", "trades", "status", "time"} <= {line["probe"] for line in probes}
    secret = next((tmp_path / "sim").glob("*.pem")).read_text().split("\n")[1]
    for path in folder.iterdir():
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        assert secret not in text and "KALSHI-ACCESS" not in text.upper()


@pytest.mark.asyncio
async def test_named_markets_one_venue_stopped_early(tmp_path):
    """Ids choose the markets; a stop ends it at once, with the report; a folder with something in it is refused."""
    async with simulated(tmp_path) as config:
        stop, said = asyncio.Event(), list[str]()

        def progress(seconds: float, frames: int) -> None:
            if frames > 20:
                stop.set()

        first = await capture(
            config, tmp_path / "a", Wanted(60, (Venue.KALSHI,), top=3), stop, say=said.append, timing=TIMING,
            progress=progress,
        )  # fmt: skip
        assert first["seconds"] < 30 and first["markets"] == {"kalshi": 3}
        text = gzip.decompress((tmp_path / "a" / FRAMES).read_bytes()).decode()
        ticker = next(
            json.loads(row["frame"])["msg"]["market_ticker"]
            for row in map(json.loads, text.splitlines())
            if "orderbook_snapshot" in row.get("frame", "")
        )
        stop.clear()
        second = await capture(
            config, tmp_path / "b", Wanted(60, (Venue.KALSHI,), ids=frozenset((f"kalshi:{ticker}",))), stop,
            say=said.append, timing=TIMING, progress=lambda seconds, frames: stop.set() if frames > 3 else None,
        )  # fmt: skip
        assert second["markets"] == {"kalshi": 1}
        with pytest.raises(SettingError, match="is not empty; give another --out"):
            await capture(config, tmp_path / "a", Wanted(1), stop, say=said.append)


@pytest.mark.asyncio
async def test_no_key_polls(tmp_path):
    """Live without a key: Kalshi is polled as the collector does, that is said, and its quotes are in a replay."""
    async with simulated(tmp_path) as config:
        there = {name: getattr(config.addresses, name) for name in config.addresses.__dataclass_fields__}
        live, said = load(collector_mode="live", lake_uri=str(tmp_path / "live"), **there), list[str]()
        await capture(
            live, tmp_path / "out", Wanted(2, (Venue.KALSHI,), top=5), asyncio.Event(), say=said.append,
            timing=replace(TIMING, poll_every=0.2),
        )  # fmt: skip
    assert any("no key in KALSHI_API_KEY" in line for line in said)
    quotes = replayed(tmp_path / "out", tmp_path / "replayed").scan(QUOTES).collect()
    assert quotes["market_key"].n_unique() == 5 and set(quotes["source"]) == {"rest"}


@pytest.mark.asyncio
async def test_a_kill_loses_the_last_second_alone(tmp_path):
    """The command, killed in the middle: what it left replays, and reaches to the last second before the kill."""
    async with simulated(tmp_path) as config:
        env = os.environ | {
            "SIMULATOR_POLYMARKET_PORT": str(config.simulator_polymarket_port),
            "SIMULATOR_KALSHI_PORT": str(config.simulator_kalshi_port),
            "SIMULATOR_DIR": str(config.simulator_dir),
            "COLLECTOR_MODE": "simulated",
        }
        command = (sys.executable, "-m", "flows.cli", "capture", "--minutes", "5", "--markets", "10", "--out")
        folders = tmp_path / "killed", tmp_path / "stopped"
        killed, stopped = [
            await asyncio.create_subprocess_exec(
                *command, str(folder), env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            for folder in folders
        ]
        try:
            await until(lambda: all(size(folder / FRAMES) > 30_000 for folder in folders), 25)
            ended = asyncio.get_running_loop().time()
            killed.send_signal(signal.SIGKILL)
            stopped.send_signal(signal.SIGINT)
            out, _ = await asyncio.wait_for(stopped.communicate(), 30)
            assert asyncio.get_running_loop().time() - ended < 30
        finally:
            for process in (killed, stopped):
                if process.returncode is None:
                    process.kill()
            await killed.communicate()
    assert stopped.returncode == 0 and "Open questions" in out.decode()
    assert not (folders[0] / REPORT).exists() and (folders[1] / REPORT).exists()
    for folder in folders:
        assert replayed(folder, tmp_path / f"{folder.name}-lake").scan(QUOTES).select(pl.len()).collect().item() > 5
    last = [one.survey().last for folder in folders for one in find(folder)[0]]
    assert last[1] - last[0] < 3_000_000


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_a_torn_tape_is_read_to_its_tear(tmp_path):
    """Cut anywhere, as by a full disk: whole lines before the cut are read, in order; damage in the middle is told."""
    whole = tmp_path / "whole.jsonl.gz"
    tape = Tape(whole)
    for number in range(300):
        raw = b'{"event_type":"x%d"}' % number if number % 7 else b"\xff\x00"
        tape.append(Kind.FRAME, f"polymarket-1 {Wire.POLYMARKET_SOCKET}", 1_790_000_000_000_000 + number, number, raw)
        if number % 50 == 49:
            tape._write(tape._take())
    tape.close()
    everything = [item.payload for item in find(whole)[0][0].items()]
    assert len(everything) == 300 and everything[0] == b"\xff\x00" and tape.written == whole.stat().st_size
    data = whole.read_bytes()
    cut = tmp_path / "cut.jsonl.gz"
    for length in range(600, len(data), 97):
        cut.write_bytes(data[:length])
        found = [item.payload for item in find(cut)[0][0].items()]
        assert found == everything[: len(found)] and len(found) >= 50 * (data[:length].count(b"\x1f\x8b\x08") - 1)
    for place in range(20, len(data) - 400, 61):
        cut.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with pytest.raises(RecordingError):
            list(find(cut)[0][0].items())


def test_a_part_that_never_ends_is_no_tear(tmp_path):
    """A broken part that swallows the whole ones after it is damage, although it looks as if it were torn off."""
    path, members = tmp_path / "odd.jsonl.gz", (gzip.compress(b"%d\n" % number, LEVEL, mtime=0) for number in range(99))
    first, second = [member for member in members if b"\n" not in member][:2]
    endless = first[:10] + b"\x00\xff\xff\x00\x00"  # it claims to hold more than what follows
    path.write_bytes(first + endless)
    assert len(list(lines(path))) == 1
    path.write_bytes(first + endless + second)
    with pytest.raises(EOFError, match="in the middle"):
        list(lines(path))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--venue", "nowhere"), "--venue nowhere: is no venue; give polymarket or kalshi"),
        (("--markets", "0"), "--markets 0: is neither a number above 0 nor ids"),
        (("--markets", " , "), "--markets  , : is neither a number above 0 nor ids"),
    ],
)
def test_options_that_cannot_be(options, said):
    """Each is one line that says what to give."""
    result = CliRunner().invoke(app, ["capture", *options])
    assert isinstance(result.exception, SettingError) and said in str(result.exception)


def test_help_teaches():
    """What is written, how it ends, and examples."""
    text = " ".join(CliRunner().invoke(app, ["capture", "--help"]).output.split())
    assert all(word in text for word in ("movers replay", "report.json", "Ctrl-C", "movers capture --minutes 10"))


@pytest.mark.asyncio
async def test_a_folder_that_cannot_be(tmp_path):
    """A file in the way is one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot be written"):
        await capture(load(), tmp_path / "file" / "x", Wanted(1), asyncio.Event(), say=print)

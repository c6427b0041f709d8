"""The command line as a user meets it: one clear line for what is wrong, nothing half-written, exit codes."""

import gzip
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import date
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl
import pytest

from lake import layout
from tests.environment import RECORDINGS, forget_settings
from tests.session import SESSION, beginning, run
from tests.waiting import at_most


class Demo(NamedTuple):
    """What `movers demo` said and made in an empty folder."""

    folder: Path
    code: int
    out: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Demo:
    """It replays the project's own session, once for all tests."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.chdir(folder)
        forget_settings(patch)
        patch.delenv(RECORDINGS, raising=False)
        return Demo(folder, run("demo"), out.getvalue())


@pytest.fixture(scope="module")
def lake(demo) -> Path:
    """The lake that it made, to be read."""
    return demo.folder / "data" / "replay"


def test_demo_shows_movers_without_any_setting(demo, lake):
    """A stranger's first command replays the project's own session into data/replay and ends with movers."""
    assert demo.code == 0
    assert "Every message accounted for" in demo.out
    assert "Meridian Strait" in demo.out
    assert "30.0% → 42.0%" in demo.out
    assert (lake / "_lake.json").exists()


def test_second_replay_adds_nothing(movers, lake):
    """The same recording again leaves every file as it was."""
    before = {path: path.stat().st_mtime_ns for path in lake.glob("quotes/**/*.parquet")}
    code, _, _ = movers("replay", str(SESSION), "--lake", str(lake))
    assert code == 0
    assert before == {path: path.stat().st_mtime_ns for path in lake.glob("quotes/**/*.parquet")}


def test_query_formats(movers, lake, tmp_path):
    """A table on the terminal, CSV on standard output, Parquet in a file: the same rows."""
    ask = "SELECT market_id, status FROM markets ORDER BY market_id"
    code, out, _ = movers("query", ask, "--lake", str(lake))
    assert code == 0
    assert "rows" in out
    code, text, _ = movers("query", ask, "--lake", str(lake), "--format", "csv")
    assert code == 0
    file = tmp_path / "markets.parquet"
    code, _, said = movers("query", ask, "--lake", str(lake), "--format", "parquet", "--out", str(file))
    assert code == 0
    assert "markets.parquet" in said
    assert pl.read_parquet(file).rows() == pl.read_csv(text.encode()).rows()


def test_query_without_sql_lists_what_there_is(movers, lake):
    """Tables and the original's views, with what their rows mean."""
    code, out, _ = movers("query", "--lake", str(lake))
    assert code == 0
    assert {"quotes", "markets_history", "ohlc_1m", "movers_cache", "volume_spikes", "watchlist"} <= set(out.split())


def test_lake_reads_alike_without_our_code(lake):
    """Plain Polars, DuckDB and pyarrow over a glob count the same rows in every table."""
    import pyarrow.dataset as dataset

    tables = sorted(path.name for path in lake.iterdir() if path.is_dir() and not path.name.startswith("_"))
    assert {"quotes", "trades", "bars", "movers", "gaps", "feed_health"} <= set(tables)
    for table in tables:
        glob = f"{lake}/{table}/**/*.parquet"
        polars = pl.scan_parquet(glob, hive_partitioning=True).select(pl.len()).collect().item()
        duck = duckdb.sql(f"SELECT count(*) FROM read_parquet('{glob}', hive_partitioning=true)").fetchall()[0][0]
        assert polars == duck == dataset.dataset(str(lake / table), partitioning="hive").count_rows()


def test_top_at_an_instant(movers, lake):
    """Any window at any recorded instant, and an empty list that says so."""
    code, out, _ = movers("top", "--lake", str(lake), "--window", "1h", "--as-of", "2026-09-21T15:54:00Z")
    assert code == 0
    assert "Meridian" in out
    assert "Greywater" not in out  # resolved: its jump is no move
    code, out, _ = movers("top", "--lake", str(lake), "--window", "5m", "--as-of", "2026-09-21T10:00:00Z")
    assert code == 0
    assert "Nothing above the floor" in out


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["replay", "absent.jsonl"], ["absent.jsonl", "give a recording's path"]),
        (["replay", "{session}", "--speed", "fast"], ["--speed fast", "max"]),
        (["replay", "{session}", "--lake", "{file}/lake"], ["lake", "folder that can be written"]),
        (["replay", "{session}", "--lake", "/proc/lake"], ["/proc/lake", "folder that can be written"]),
        (["query", "SELECT 1"], ["data/simulated", "there is none"]),
        (["query", "SELEC 1", "--lake", "{lake}"], ["query:"]),
        (["query", "SELECT * FROM nope", "--lake", "{lake}"], ["nope", "quotes"]),
        (["query", "DROP TABLE quotes", "--lake", "{lake}"], ["DROP", "SELECT"]),
        (["query", "SELECT 1", "--lake", "{lake}", "--format", "xlsx"], ["xlsx", "csv"]),
        (["query", "SELECT 1", "--lake", "{lake}", "--mode", "live"], ["replay", "live"]),
        (["top", "--window", "1y", "--lake", "{lake}"], ["1y", "15m"]),
        (["top", "--score", "best", "--lake", "{lake}"], ["best", "classic"]),
        (["top", "--venue", "nyse", "--lake", "{lake}"], ["nyse", "kalshi"]),
        (["top", "--as-of", "noon", "--lake", "{lake}"], ["noon", "2026-05-15"]),
    ],
)
def test_bad_input_is_one_clear_line(movers, lake, tmp_path, arguments, names):
    """The name, what was found and what to do; exit code 2, no traceback."""
    file = tmp_path / "file"
    file.write_text("x")
    places = {"session": SESSION, "lake": lake, "file": file}
    code, _, said = movers(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
    assert all(name in said for name in names)


def test_unknown_mode_is_refused_by_name(movers, monkeypatch):
    """A wrong setting is named with what it may be."""
    monkeypatch.setenv("COLLECTOR_MODE", "lvie")
    code, _, said = movers("query", "SELECT 1")
    assert code == 2
    assert "COLLECTOR_MODE='lvie'" in said
    assert "'live'" in said
    assert len(said.strip().splitlines()) == 1


def test_damaged_recording_leaves_no_rows(movers, tmp_path):
    """Half a file is refused before a row is written."""
    whole = (SESSION / "kalshi.jsonl.gz").read_bytes()
    half = tmp_path / "half.jsonl.gz"
    half.write_bytes(whole[: len(whole) // 2])
    code, _, said = movers("replay", str(half))
    assert code == 2
    assert "half.jsonl.gz" in said
    assert not list((tmp_path / "data").rglob("*.parquet"))


def test_last_line_cut_off_is_a_damaged_recording(movers, tmp_path):
    """A recorder that died while writing leaves half a line, which is no frame."""
    text = gzip.decompress((SESSION / "kalshi.jsonl.gz").read_bytes())
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(text[:200_000])
    code, _, said = movers("replay", str(cut))
    assert code == 2
    assert "cut.jsonl, line" in said
    assert not list((tmp_path / "data").rglob("*.parquet"))


def test_only_lake_there_is_read(movers, demo, monkeypatch):
    """Whoever replayed and then asks without a mode gets that lake, and is told so; a chosen mode is kept to."""
    monkeypatch.chdir(demo.folder)
    code, _, said = movers("query", "SELECT 1")
    assert code == 0
    assert "data/replay, the only lake here" in said
    code, _, said = movers("query", "SELECT 1", "--mode", "live")
    assert code == 2
    assert "--mode replay" in said
    monkeypatch.setenv("COLLECTOR_MODE", "simulated")
    assert movers("query", "SELECT 1")[0] == 2


def test_one_damaged_recording_does_not_hide_the_others(movers, tmp_path):
    """The good ones are accounted for, with bars and movers; the damaged one is named, and the exit code says it."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    whole = (SESSION / "kalshi.jsonl.gz").read_bytes()
    (folder / "good.jsonl.gz").write_bytes(whole)
    (folder / "half.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    code, out, said = movers("replay", str(folder))
    assert code == 2
    assert "good" in out
    assert "Top movers" in out
    assert "half.jsonl.gz" in said


def test_refused_recording_makes_no_lake(movers, tmp_path):
    """Where nothing could be replayed, nothing is left behind."""
    (tmp_path / "half.jsonl.gz").write_bytes((SESSION / "kalshi.jsonl.gz").read_bytes()[:20_000])
    assert movers("replay", "half.jsonl.gz")[0] == 2
    assert not (tmp_path / "data").exists()


def test_move_across_a_gap_says_so(movers, lake):
    """A window that was not watched whole is not called 100 %, and its gap is named."""
    _, out, _ = movers("top", "--lake", str(lake), "--window", "1h", "--as-of", "2026-09-21T15:54:00Z")
    [row] = [line for line in out.splitlines() if "Aldergate" in line]
    assert "across a gap" in row
    assert "99.8%" in row


def test_settling_markets_are_left_out_and_counted(movers, lake):
    """Their jump is no move; who wants them says so."""
    at = ("top", "--lake", str(lake), "--as-of", "2026-09-21T15:54:00Z")
    _, out, _ = movers(*at)
    assert "settling left out" in out
    _, out, _ = movers(*at, "--all")
    assert "Greywater" in out


def test_empty_board_says_why(movers, lake):
    """Nothing above the floor, for each reason how many."""
    _, out, _ = movers("top", "--lake", str(lake), "--window", "3h")
    assert "Nothing above the floor" in out
    assert "not watched long enough" in out or "with a gap" in out


def test_default_board_is_one(movers, lake):
    """`top` without an instant shows what the replay ended with: both venues, one instant."""
    _, out, _ = movers("top", "--lake", str(lake))
    assert "as of 2026-09-21 15:55:00Z" in out
    assert "Meridian" in out
    assert "Aldergate" in out


def test_suffix_is_the_format(movers, lake, tmp_path):
    """A file named .parquet is one."""
    assert movers("query", "SELECT 1 AS x", "--lake", str(lake), "--out", str(tmp_path / "x.parquet"))[0] == 0
    assert pl.read_parquet(tmp_path / "x.parquet").rows() == [(1,)]


def test_markup_in_names_is_text(movers, tmp_path):
    """A folder may be called anything."""
    folder = tmp_path / "[bold]"
    folder.mkdir()
    beginning(folder).rename(folder / "[red]x.jsonl.gz")
    code, out, _ = movers("replay", str(folder))
    assert code == 0
    assert "[red]x" in out


def test_help_is_quick():
    """Help, and with it every mistyped command, imports nothing that takes long."""
    script = """
import sys
from flows import cli
sys.argv = ["movers", "--help"]
try:
    cli.main()
except SystemExit as stop:
    assert not stop.code
print(sorted({"duckdb", "httpx", "polars", "prefect", "pyarrow", "pydantic", "aiohttp"} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "[]"
    assert all(name in ran.stdout for name in ("up", "simulate", "collect", "jobs", "app", "query", "top", "replay"))


@pytest.mark.parametrize(
    "command", ["up", "simulate", "collect", "jobs", "app", "query", "top", "replay", "demo", "backfill"]
)
def test_each_command_explains_itself(movers, command):
    """A sentence on what it does, and its options with what they mean."""
    code, out, _ = movers(command, "--help")
    assert code == 0
    assert len(out.split("Options")[0].split()) > 8


def test_up_names_a_busy_port(movers, monkeypatch):
    """With its setting and the next step; a lake is not even made."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        monkeypatch.setenv("APP_PORT", str(port))
        monkeypatch.setenv("COLLECTOR_MODE", "live")
        code, _, said = movers("up", "--no-prefect")
    assert code == 2
    assert f"port {port} (APP_PORT) is in use by" in said
    assert len(said.strip().splitlines()) == 1
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["simulate", "--start", "noon"], ["--start noon", "2026-05-15"]),
        (["simulate", "--rate", "0"], ["SIMULATOR_RATE=0"]),
        (["simulate", "--markets", "1"], ["SIMULATOR_MARKETS=1"]),
    ],
)
def test_simulate_refuses_what_cannot_be(movers, arguments, names):
    """Named as the option or the setting that it is, in one line."""
    code, _, said = movers(*arguments)
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    assert all(name in said for name in names)


@pytest.mark.slow
def test_simulate_runs_until_told(tmp_path):
    """It logs that it serves, and SIGTERM ends it with 0."""
    ports = []
    for _ in range(2):
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            ports.append(trial.getsockname()[1])
    environment = {
        "PATH": "/usr/bin:/bin", "SIMULATOR_POLYMARKET_PORT": str(ports[0]), "SIMULATOR_KALSHI_PORT": str(ports[1]),
    }  # fmt: skip
    command = [sys.executable, "-m", "flows.cli", "simulate", "--markets", "50", "--rate", "10"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    with process, at_most(process):
        first = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert " INFO " in first
    assert process.returncode == 0


def test_maintain_merges_and_changes_no_answer(movers, lake, tmp_path):
    """What a pass would do is shown first; then files are fewer, every answer is the same, and a second pass or the
    same recording again changes nothing."""
    lake = Path(shutil.copytree(lake, tmp_path / "lake"))
    options = ("--lake", str(lake))
    questions = [
        ("query", f"SELECT * EXCLUDE (date) FROM {table} ORDER BY ALL", "--format", "csv", *options)
        for table in ("quotes", "trades", "gaps", "markets", "bars", "segments")
    ]
    ask = [*questions, ("top", "--window", "1h", *options)]
    before = [movers(*each) for each in ask]
    files = set(lake.glob("quotes/**/*.parquet"))
    code, out, _ = movers("maintain", "--dry-run", *options)
    assert code == 0 and "merged into hours" in out
    assert set(lake.glob("quotes/**/*.parquet")) == files
    code, out, err = movers("maintain", *options)
    assert code == 0, err
    assert "files merged into" in out
    merged = set(lake.glob("quotes/**/*.parquet"))
    assert {path.stem for path in merged} <= {"day", "month"} and len(merged) < len(files)
    assert [movers(*each) for each in ask] == before
    code, out, _ = movers("maintain", *options)
    assert code == 0 and "0 files merged into 0" in out
    code, _, _ = movers("replay", str(SESSION), *options)
    assert code == 0
    assert set(lake.glob("quotes/**/*.parquet")) == merged
    assert [movers(*each) for each in ask] == before


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--since", "6h"), "give --market ID, once or more, or --all"),
        (("--since", "6h", "--all", "--market", "x"), "give --market ID, once or more, or --all"),
        (("--since", "yesterday", "--all"), "--since yesterday"),
        (("--since", "6h", "--until", "soon", "--all"), "--until soon"),
        (("--since", "6h", "--all", "--venue", "nyse"), "--venue nyse: use one of polymarket, kalshi"),
        (("--since", "2099-01-01T00:00:00Z", "--all"), "2099-01-01T00:00:00Z: is not in the past"),
        (("--since", "6h", "--until", "2026-01-01T00:00:00Z", "--all"), "is not before --until"),
        (("--since", "2020-01-01T00:00:00Z", "--all"), "further back than what can be filled"),
        (("--since", "6h", "--market", "kalshi:KXNONE"), "--market kalshi:KXNONE"),
        (("--since", "6h", "--all", "--mode", "replay"), "replay"),
    ],
)
def test_backfill_refuses_what_cannot_be(movers, tmp_path, arguments, names):
    """One line that names it, exit code 2."""
    from lake.store import Store
    from lake.vocab import Mode

    for mode in (Mode.SIMULATED, Mode.REPLAY):
        Store.create(tmp_path / "data" / mode.lake, mode)
    code, out, said = movers("backfill", *arguments)
    assert (code, out) == (2, "")
    assert names in said and len(said.split("\n")) <= 3 and "Traceback" not in said


def test_backfill_says_what_was_not_filled(movers, monkeypatch, tmp_path):
    """Venues that do not answer are named with the reason, each once, and the exit code is 1."""
    from lake.schema import MARKETS
    from lake.store import Store
    from lake.vocab import Mode, Venue, market_id, market_key

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        for name in ("SIMULATOR_KALSHI_PORT", "SIMULATOR_POLYMARKET_PORT"):
            monkeypatch.setenv(name, port)
        monkeypatch.setenv("WSS_RECONNECT_DELAY", "0.01")
        store = Store.create(tmp_path / "data" / "simulated", Mode.SIMULATED)
        known = market_id(Venue.KALSHI, "KXACME")
        row = dict.fromkeys(MARKETS.columns) | {
            "market_key": market_key(known), "market_id": known, "title": "Acme", "tags": [], "status": "active",
            "as_of": 1_790_000_000_000_000, "seq": 0,
        }  # fmt: skip
        frame = MARKETS.frame([tuple(row[name] for name in MARKETS.columns)])
        part = layout.part(MARKETS, "test-0-0-0", venue="kalshi", date=date(2026, 9, 21))
        (store.root / part.path).parent.mkdir(parents=True)
        frame.write_parquet(store.root / part.path)
        code, out, said = movers("backfill", "--market", "KXACME", "--since", "1h")
    assert code == 1
    assert "not filled: kalshi: broke off" in out and "refused the connection" in out
    assert "0 bars and 0 trades were missing" in out and "Traceback" not in said

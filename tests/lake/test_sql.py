"""`lake.sql`: any engine's question, and nothing but questions."""

import shutil
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from lake import layout, sql
from lake.errors import LakeError, QueryError
from lake.schema import (
    ALERTS,
    BARS,
    EVENTS,
    MARKETS,
    MOVERS,
    QUOTES,
    SPIKES,
    TABLES,
    TRADES,
    VENUE_STATS,
)
from lake.store import Store
from lake.views import VIEWS
from lake.vocab import MarketId, market_key
from tests.builders import TODAY, instant, quote, trade, venue_stat
from tests.lake.lakes import derive, market, new_lake, publish, row, rows

A, B = "kalshi:A", "polymarket:B"
KEY = market_key(MarketId(A))
TOMORROW = TODAY + timedelta(days=1)

_OHLC = ["token_id", "bucket_ts", "open", "high", "low", "close", "volume", "created_at"]
ORIGINAL = {
    "snapshots": ["ts", "token_id", "price", "volume_24h", "spread"],
    "market_tokens": ["token_id", "market_id", "outcome", "symbol", "source_token_id", "created_at"],
    **{f"ohlc_{width}": _OHLC for width in ("1m", "5m", "1h")},
    "movers_cache": [
        "as_of_ts", "window_seconds", "token_id", "price_now", "price_then", "move_pp", "abs_move_pp", "rank",
        "quality_score", "volume_24h", "spike_ratio",
    ],
    "volume_spikes": [
        "spike_id", "created_at", "token_id", "current_volume", "avg_volume", "spike_ratio", "current_price",
        "price_change_1h", "severity", "acknowledged_at",
    ],
    "user_alerts": [
        "alert_id", "session_id", "market_id", "token_id", "condition_type", "threshold", "window_seconds",
        "is_active", "created_at", "last_triggered", "trigger_count", "notify_once",
    ],
    "watchlist": ["user_session_id", "market_id", "added_at"],
}  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Store:
    """A few rows of two venues and two days."""
    made = new_lake(tmp_path_factory.mktemp("template"))
    publish(made, {
        (MARKETS, "kalshi"): [market(A, "09:00", title="old"), market(A, "09:30", title="new", slug="a")],
        (MARKETS, "polymarket"): [market(B, outcomes=["Up", "Down", "Flat"], outcome_token_ids=["u", "d", "f"])],
        (EVENTS, "kalshi"): [
            row(EVENTS, event_id="kalshi:E", title=title, as_of=instant(at), seq=seq)
            for seq, (title, at) in enumerate([("old", "09:00"), ("new", "09:01")])
        ],
        (QUOTES, "kalshi"): [quote(0.40, 0.42, "10:00", KEY), quote(0.40, None, "10:02", KEY)],
        (QUOTES, "polymarket"): [quote(0.20, 0.40, "10:00", 2), quote(0.50, 0.49, "10:01", 2)],
        (VENUE_STATS, "kalshi"): [
            venue_stat("09:59", KEY, volume_24h_usd=100.0), venue_stat("10:01", KEY, volume_24h_usd=200.0),
        ],
    })  # fmt: skip
    publish(made, {(QUOTES, "kalshi"): [quote(0.10, 0.20, "2026-03-03 10:00", KEY)]}, TOMORROW)
    return made


@pytest.fixture
def lake(template, tmp_path) -> Store:
    """A copy of `template` to do with as a test pleases."""
    shutil.copytree(template.root, tmp_path / "lake")
    return Store.open(tmp_path / "lake")


@pytest.mark.parametrize("name", sql.NAMES)
def test_every_table_and_view_can_be_asked_of_an_empty_lake(tmp_path, name):
    """Without a single file each has its columns and their types, and no rows."""
    empty = new_lake(tmp_path)
    found = sql.run(empty, f"SELECT * FROM {name}")
    assert found.is_empty()
    if name in TABLES:
        wanted = TABLES[name].schema
        assert found.schema == {**wanted, **({"date": pl.Date()} if "date" in wanted else {})}
    if name in ORIGINAL:
        assert found.columns[: len(ORIGINAL[name])] == ORIGINAL[name]


def test_every_name_of_the_original_is_there():
    """The views that are promised, and every table, can be asked."""
    assert set(ORIGINAL) <= set(VIEWS)
    assert set(TABLES) <= set(sql.NAMES)
    assert len(sql.NAMES) == len(set(sql.NAMES))


@pytest.mark.parametrize("table", [QUOTES, TRADES, MARKETS], ids=lambda table: table.name)
def test_sql_finds_the_rows_of_a_scan(lake, table):
    """The same rows with the same types as `Store.scan`, partitions and all."""
    publish(lake, {(TRADES, "kalshi"): [trade(market=KEY), trade(market=2)]})
    name = "markets_history" if table is MARKETS else table.name
    found = sql.run(lake, f"SELECT * FROM {name} ORDER BY {', '.join(table.key)}, venue, date")
    assert found.equals(lake.scan(table).sort(*table.key, "venue", "date").collect())


def test_markets_and_events_are_the_newest_versions(lake):
    """One row each; all versions under the other name; the words are those of `Store.scan`."""
    assert sql.run(lake, "SELECT title FROM markets ORDER BY venue")["title"].to_list()[0] == "new"
    assert sql.run(lake, "SELECT count(*) FROM markets").item() == 2
    assert sql.run(lake, "SELECT count(*) FROM markets_history").item() == 3
    assert sql.run(lake, "SELECT title FROM events")["title"].to_list() == ["new"]
    assert sql.run(lake, "SELECT count(*) FROM events_history").item() == 2


def test_snapshots_have_no_one_sided_price(lake):
    """A price only where the book is two-sided and at most 10 cents wide; volume is what was known at that moment."""
    found = sql.run(lake, "SELECT ts, token_id, price, volume_24h, spread FROM snapshots ORDER BY ts, token_id")
    by_moment = {(moment, key): rest for moment, key, *rest in found.rows()}
    near = pytest.approx
    assert by_moment == {
        (instant("10:00"), 2): [None, None, near(0.20)],
        (instant("10:00"), KEY): [near(0.41), 100.0, near(0.02)],
        (instant("10:01"), 2): [None, None, None],
        (instant("10:02"), KEY): [None, 200.0, None],
        (instant("2026-03-03 10:00"), KEY): [near(0.15), 200.0, near(0.10)],
    }


def test_market_tokens_are_outcomes(lake):
    """One row an outcome; only the first has prices, so only it has a token_id to join them by."""
    found = sql.run(lake, "SELECT token_id, market_id, outcome, source_token_id FROM market_tokens")
    assert set(found.rows()) == {
        (KEY, A, "Yes", "t-yes"), (None, A, "No", "t-no"),
        (market_key(MarketId(B)), B, "Up", "u"), (None, B, "Down", "d"), (None, B, "Flat", "f"),
    }  # fmt: skip
    joined = "SELECT count(*) FROM snapshots JOIN market_tokens USING (token_id) WHERE outcome = 'Yes'"
    assert sql.run(lake, joined).item() == 3


def test_ohlc_is_bars_of_one_interval(lake):
    """Each view has its interval's bars; the volume is dollars."""
    for interval, price in (("1m", 0.1), ("5m", 0.2), ("1h", 0.3), ("1d", 0.4)):
        bar = row(BARS, market_key=KEY, bar_start=instant("10:00"), open=price, close=price, notional_usd=7.0)
        derive(lake, BARS, [bar], interval=interval)
    for interval, price in (("1m", 0.1), ("5m", 0.2), ("1h", 0.3)):
        found = sql.run(lake, f"SELECT token_id, bucket_ts, open, volume FROM ohlc_{interval}")
        assert found.rows() == [(KEY, instant("10:00"), price, 7.0)]


def test_movers_cache_is_what_classic_lists(lake):
    """The window in seconds, the size of the move without its sign, and no row that is not ranked."""
    known = {"market_key": KEY, "as_of": instant("10:00"), "move_pp": -5.0, "classic": 30.0}
    derive(lake, MOVERS, [
        row(MOVERS, window=window, classic_rank=rank, **known)
        for window, rank in (("90s", 1), ("5m", 2), ("24h", 3), ("7d", 4), ("1h", None))
    ])  # fmt: skip
    names = "window_seconds, move_pp, abs_move_pp, rank, quality_score"
    found = sql.run(lake, f"SELECT {names} FROM movers_cache ORDER BY rank")
    assert found.rows() == [(w, -5.0, 5.0, rank, 30.0) for rank, w in enumerate((90, 300, 86_400, 604_800), 1)]


def test_a_word_of_sql_is_hinted_at_only_where_it_may_be_the_fault(lake):
    """Quoted, or as part of another word, it is not."""
    for query in ('SELECT "window" FROM FROM movers', "SELEC window_seconds FROM movers_cache"):
        with pytest.raises(QueryError) as caught:
            sql.run(lake, query)
        assert "is a word of SQL" not in str(caught.value)


def test_movers_latest_is_the_newest_board_of_each_window(lake):
    """A window whose last board is older than another's is there all the same."""
    given = [("1h", "09:00"), ("1h", "10:00"), ("5m", "09:30"), ("5m", "09:29")]
    derive(lake, MOVERS, [row(MOVERS, market_key=KEY, window=window, as_of=instant(at)) for window, at in given])
    found = sql.run(lake, 'SELECT "window", as_of FROM movers_latest ORDER BY ALL')
    assert found.rows() == [("1h", instant("10:00")), ("5m", instant("09:30"))]


def test_volume_spikes_are_spikes(lake):
    """The original's names over our figures."""
    known = {"volume_usd": 500.0, "baseline_usd": 100.0, "ratio": 5.0, "severity": "high", "price": 0.4}
    derive(lake, SPIKES, [row(SPIKES, market_key=KEY, as_of=instant("10:00"), window="10m", **known)])
    found = sql.run(lake, "SELECT token_id, current_volume, avg_volume, spike_ratio, current_price FROM volume_spikes")
    assert found.rows() == [(KEY, 500.0, 100.0, 5.0, 0.4)]


def test_times_are_utc(lake):
    """Whatever zone the machine is in, hours and days are those of UTC."""
    found = sql.run(lake, "SELECT current_setting('TimeZone'), max(event_time), max(hour(event_time)) FROM quotes")
    assert found.row(0) == ("UTC", datetime(2026, 3, 3, 10, tzinfo=UTC), 10)
    found = sql.run(lake, "SELECT count(*) FROM quotes WHERE event_time >= '2026-03-03 10:00:00'")
    assert found.item() == 1


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("venue = 'kalshi' AND date = '2026-03-03'", 1),
        ("venue IN ('kalshi') AND date > '2026-03-02'", 1),
        ("venue <> 'polymarket' AND date BETWEEN '2026-03-03' AND '2026-03-09'", 1),
        ("date >= DATE '2026-03-02' + INTERVAL 1 DAY", 1),
        ("venue = 'nowhere'", 0),
    ],
)
def test_a_condition_on_a_partition_opens_no_other_file(lake, where, count):
    """Files of other venues and days are not even looked at: damaged as they are, the answer is the same."""
    for part in lake.parts(QUOTES, dates=[TODAY]):
        lake.path(part).write_bytes(b"damaged")
    assert sql.run(lake, f"SELECT count(*) FROM quotes WHERE {where}").item() == count
    for ask in (lambda: sql.run(lake, "SELECT count(*) FROM quotes"), lambda: sql.describe(lake)):
        with pytest.raises(LakeError, match=r"quotes.*\.parquet: is damaged \(and 1 more\)") as caught:
            ask()
        assert "\n" not in str(caught.value)
    with pytest.raises(QueryError, match="nope"):
        sql.run(lake, "SELECT nope FROM quotes")


@pytest.mark.parametrize("above", ["plain", "a=b", "venue=wrong/date=2020-01-01", "it's [a] *?", "sp ace/ü"])
def test_folders_above_the_lake_mean_nothing(tmp_path, above):
    """key=value folders, quotes, brackets and stars in the lake's own path change no answer."""
    made = new_lake(tmp_path / above)
    publish(made, {(QUOTES, "kalshi"): [quote()], (QUOTES, "polymarket"): [quote()]})
    found = sql.run(made, "SELECT venue, date, count(*) AS n FROM quotes GROUP BY ALL ORDER BY ALL")
    assert found.rows() == [("kalshi", TODAY, 1), ("polymarket", TODAY, 1)]
    assert sql.run(made, "SELECT * FROM quotes").columns == list(QUOTES.schema)


def test_strangers_are_never_read(lake):
    """A file that the lake does not know is in no table."""
    (lake.root / "quotes" / "stray.parquet").write_bytes(b"damaged")
    assert sql.run(lake, "SELECT count(*) FROM quotes").item() == 5


def test_an_older_file_lacks_a_column(lake):
    """A column that was added later is null in older files, wherever in the list they are."""
    old = rows(QUOTES, [quote(market=9)]).drop("source").with_columns(gone=1)
    old.write_parquet(lake.path(layout.part(QUOTES, "a-0-0-0", venue="kalshi", date=TODAY)))
    assert sql.run(lake, "SELECT source FROM quotes WHERE market_key = 9").rows() == [(None,)]
    assert sql.run(lake, "SELECT count(source), count(*) FROM quotes").row(0) == (5, 6)


def test_a_sum_of_integers_is_an_integer(lake):
    """Not a decimal of 38 digits, unless it needs them."""
    found = sql.run(lake, "SELECT sum(1) AS small, sum(9223372036854775807) AS large FROM quotes")
    assert found.schema["small"] == pl.Int64
    assert int(found["large"].item()) == 5 * (2**63 - 1)


@pytest.mark.parametrize(
    "query",
    [
        "FROM quotes", "from QUOTES", 'SELECT * FROM "quotes"', "FROM main.quotes", "TABLE quotes", "DESCRIBE quotes",
        "SHOW TABLES", "SUMMARIZE quotes", "EXPLAIN SELECT * FROM quotes", "EXPLAIN ANALYZE SELECT * FROM quotes",
        "WITH q AS (FROM quotes) FROM q;", "-- a note\nSELECT 1 /* ; */", "VALUES (1)", "SELECT 1 AS a, 2 AS a",
        "PIVOT quotes ON source USING count(*) GROUP BY venue", "SELECT table_name FROM information_schema.tables",
        "FROM quotes q ASOF JOIN quotes r ON q.market_key = r.market_key AND q.event_time >= r.event_time",
        "SELECT {'a': [1, 2]}, MAP {'k': 1}, '10:00'::TIME, x'ff'::BLOB, 1.5::DECIMAL(5, 2), true, NULL",
    ],
)  # fmt: skip
def test_questions_are_answered(lake, query):
    """Whatever reads, in any spelling, has an answer with rows."""
    assert sql.run(lake, query).height > 0


def test_show_lists_everything(lake):
    """SHOW TABLES and DESCRIBE know all names, also those that the query does not name."""
    assert set(sql.run(lake, "SHOW TABLES")["name"]) == set(sql.NAMES)


OUTSIDE = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM glob('{root}/*')",
    "SELECT * FROM read_text('{root}/_lake.json')",
    "SELECT * FROM read_parquet('{root}/**/*.parquet')",
    "FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT * FROM 'https://example.com/x.parquet'",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "ATTACH '/tmp/other.db'",
    "ATTACH '{root}/other.db' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '/tmp/evil.duckdb_extension'",
    "COPY (SELECT 1) TO '{root}/x.csv'",
    "COPY quotes TO '{root}/quotes/x.parquet'",
    "COPY quotes FROM '{root}/x.parquet'",
    "EXPORT DATABASE '{root}/dump'",
    "WITH t AS (COPY (SELECT 1) TO '{root}/x.csv') FROM t",
    "SELECT * FROM (WITH t AS (COPY (SELECT 1) TO '{root}/x.csv') FROM t)",
    "FROM query('WITH t AS (COPY (SELECT 1) TO ''{root}/x.csv'') FROM t')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/x.csv'",
    "WITH t AS (COPY (SELECT 1) TO '{file}') FROM t",
    "WITH t AS (INSERT INTO quotes SELECT * FROM quotes RETURNING *) FROM t",
    "FROM enable_logging(storage = 'file', storage_path = '{root}/log')",
    "FROM enable_profiling(save_location = '{root}/profile.json')",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET enable_external_access",
    "SET temp_directory = '{root}'",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW quotes AS SELECT 1",
    "CREATE SECRET s (TYPE s3)",
    "INSERT INTO quotes SELECT * FROM quotes",
    "DELETE FROM quotes",
    "UPDATE quotes SET bid = 1",
    "DROP VIEW quotes",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW quotes",
    "SELECT getenv('HOME')",
    "FROM OUTSIDE",
]


@pytest.mark.parametrize("query", OUTSIDE)
def test_nothing_but_the_tables_can_be_reached(lake, query, tmp_path, monkeypatch):
    """No other file is read, none is written, nothing is loaded, and a refusal is one clear line."""
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    text = query.replace("{root}", str(lake.root)).replace("{file}", str(lake.path(lake.parts(QUOTES)[0])))
    with pytest.raises(QueryError) as caught:
        sql.run(lake, text)
    assert str(caught.value).startswith("query: ")
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("query", "gist"),
    [
        ("", "found nothing"),
        ("-- only a note", "found nothing"),
        ("SELEC 1", "Parser Error"),
        ("SELECT 'open", "Parser Error"),
        ("SELECT 1; SELECT 2", "found 2 statements"),
        ("SELECT nope FROM quotes", '"nope" not found'),
        ("SELECT * FROM nosuch", f"no table nosuch; there are {', '.join(sorted(sql.NAMES))}"),
        ("SELECT bid + venue FROM quotes", "Error"),
        ("SELECT 'x'::INTEGER", "Conversion Error"),
        ("DELETE FROM quotes", "DELETE is not allowed"),
        ("SELECT INTERVAL 1 DAY", "VARCHAR"),
        ("SELECT window FROM movers", 'write "window"'),
        ("FROM movers WHERE Window = '1h'", 'write "window"'),
        ("\x00", "query: "),
    ],
)
def test_bad_sql_has_one_clear_line(lake, query, gist):
    """What is wrong, in one line; for an unknown table the known ones."""
    with pytest.raises(QueryError) as caught:
        sql.run(lake, query)
    assert gist in str(caught.value)
    assert "\n" not in str(caught.value)


def test_variables_of_this_process_are_no_tables(lake):
    """A frame that lies around is not found by its name."""
    secret_frame = pl.DataFrame({"a": [1]})
    assert secret_frame.height == 1
    with pytest.raises(QueryError, match="no table secret_frame"):
        sql.run(lake, "SELECT * FROM secret_frame")


def test_the_engine_keeps_to_itself(lake):
    """No file of its own for what does not fit in memory, no extension fetched, no look at this process."""
    names = ("enable_external_access", "python_enable_replacements", "autoinstall_known_extensions", "temp_directory")
    found = sql.run(lake, f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}")
    assert found.row(0) == (False, False, False, "")


def test_describe_counts_and_explains(lake):
    """Every name with its kind, its rows, its typed columns and what it means; of views no rows are counted."""
    found = sql.describe(lake)
    assert found.columns == ["name", "kind", "rows", "columns", "about"]
    assert found["name"].to_list() == list(sql.NAMES)
    counts = {name: count for name, count in found.select("name", "rows").rows() if count}
    assert counts == {
        "quotes": 5, "markets_history": 3, "events_history": 2, "venue_stats": 2, "segments": lake.scan(
            TABLES["segments"]).collect().height,
    }  # fmt: skip
    texts = dict(found.select("name", "columns").rows())
    assert texts["quotes"].startswith("market_key BIGINT, event_time TIMESTAMP WITH TIME ZONE")
    assert "date DATE" in texts["quotes"]
    assert texts["alerts"].count(",") == len(ALERTS.schema) - 1
    assert found["about"].str.len_chars().min() > 10
    assert found.filter(kind="view")["rows"].null_count() == len(VIEWS)


def test_of_many_files_the_few_are_read(tmp_path):
    """A day of a lake with 3,000 files of other days: not one of those is looked at."""
    lake = new_lake(tmp_path)
    publish(lake, {(QUOTES, "kalshi"): [quote()]})
    for number in range(3_000):
        part = layout.part(QUOTES, f"n-0-{number}-{number}", venue="kalshi", date=date(2025, 1, 1 + number % 28))
        lake.path(part).parent.mkdir(parents=True, exist_ok=True)
        lake.path(part).write_bytes(b"damaged")
    assert sql.run(lake, f"SELECT count(*) FROM quotes WHERE date = '{TODAY}'").item() == 1

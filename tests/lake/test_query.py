"""`lake.query`: each question has one answer, filtered before it is cut, and never asks the clock."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from lake.derived.movers import board
from lake.derived.slices import WINDOWS
from lake.errors import LakeError, LakeMismatch, LakeMissing, QueryError
from lake.query import Counts, Lake
from lake.schema import (
    BARS,
    DEAD_LETTERS,
    DEPTH,
    EVENTS,
    FEED_HEALTH,
    GAPS,
    MARKETS,
    MOVERS,
    QUOTES,
    TRADES,
    VENUE_STATS,
)
from lake.vocab import MarketId, Mode, market_key
from tests import builders
from tests.builders import TODAY, gap, instant, quote, trade, venue_stat
from tests.lake.lakes import derive, market, new_lake, publish, row

YESTERDAY = TODAY - timedelta(days=1)
A, B, C = "kalshi:A", "kalshi:B", "polymarket:C"
KEYS = {name: market_key(MarketId(name)) for name in (A, B, C)}
STRANGER = 4_242  # a market without a row in `markets`
FACTS = ["title", "market_id", "category", "close_time", "status"]


@pytest.fixture
def lake(tmp_path) -> Lake:
    """An empty lake."""
    return Lake(new_lake(tmp_path))


@pytest.fixture
def catalogue(lake) -> Lake:
    """Three markets, one of them in three versions, and a stranger with a quote."""
    publish(lake.store, {
        (MARKETS, "kalshi"): [
            market(A, "09:00", title="Old words"),
            market(A, "09:30", title="Rain in 50% of Paris?", slug="rain-paris"),
            market(A, "09:15", title="Words that came in late"),
            market(B, "09:10", title=None, category="sports", status="resolved"),
        ],
        (MARKETS, "polymarket"): [market(C, "09:20", title="Will C (really) win?", tick_size=0.1)],
        (QUOTES, "polymarket"): [quote(market=STRANGER, at="09:00")],
    })  # fmt: skip
    return lake


def test_an_empty_lake_answers_with_nothing(lake):
    """No rows is an answer with the same columns; only "now" cannot be said, in one line."""
    assert lake.counts() == Counts(0, 0, 0, 0, 0, None, None)
    at = instant("10:00")
    empty = [
        lake.status(at), lake.markets(), lake.trades(), lake.gaps(), lake.dead_letters(), lake.events(),
        lake.movers(as_of=at), lake.moves_at("3h", at), lake.categories(as_of=at),
    ]  # fmt: skip
    assert [frame.height for frame in empty] == [0] * len(empty)
    for ask in (lake.latest_time, lake.status, lake.movers):
        with pytest.raises(QueryError, match="holds no quotes") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_lake_is_opened_by_its_folder(lake):
    """What cannot be opened says why."""
    assert Lake.open(lake.store.root, Mode.SIMULATED) == lake
    with pytest.raises(LakeMismatch):
        Lake.open(lake.store.root, Mode.LIVE)
    with pytest.raises(LakeMissing):
        Lake.open(lake.store.root / "nothing")


def test_now_is_the_newest_time_received(lake):
    """Of quotes, trades and figures, over venues and days; what the venue's clock says does not count."""
    publish(lake.store, {(QUOTES, "kalshi"): [quote(at="2026-03-01 23:00")]}, YESTERDAY)
    assert lake.latest_time() == datetime(2026, 3, 1, 23, tzinfo=UTC)
    late = quote(at="11:00", received_time=instant("10:00"))
    publish(lake.store, {(QUOTES, "polymarket"): [late], (TRADES, "kalshi"): [trade(at="10:00:01")]})
    assert lake.latest_time() == instant("10:00:01")
    publish(lake.store, {(VENUE_STATS, "kalshi"): [venue_stat("10:00:02")]})
    assert lake.latest_time() == instant("10:00:02")


def test_counts_count_every_row_and_each_market_once(catalogue):
    """Markets of the catalogue and of the streams are one set."""
    publish(catalogue.store, {
        (QUOTES, "kalshi"): [quote(market=KEYS[A], at="10:00"), quote(market=KEYS[A], at="10:01")],
        (TRADES, "kalshi"): [trade(market=77, at="10:02")],
        (GAPS, "kalshi"): [gap("10:00")],
        (DEAD_LETTERS, "kalshi"): [row(DEAD_LETTERS, received_time=instant("10:00"), frame=b"x", seq=1, element=0)],
    })  # fmt: skip
    assert catalogue.counts() == Counts(5, 3, 1, 1, 1, instant("09:00"), instant("10:02"))


def test_markets_are_the_newest_versions_and_strangers_too(catalogue):
    """The most lately changed first; a market that only has a quote shows its key as title."""
    found = catalogue.markets()
    assert found.columns == [*MARKETS.columns, "venue"]
    assert found.select("market_id", "title", "venue").rows() == [
        (A, "Rain in 50% of Paris?", "kalshi"),
        (C, "Will C (really) win?", "polymarket"),
        (B, None, "kalshi"),
        (None, str(STRANGER), "polymarket"),
    ]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("rain", [A]), ("RAIN", [A]), ("old words", []), ("50%", [A]), ("(really)", [C]), (".*", []), ("rain-p", [A]),
        ("shi:b", [B]), (str(STRANGER), [None]), ("", [A, C, B, None]), ("%", [A]), ("\\", []),
    ],
)  # fmt: skip
def test_a_search_is_text_and_not_a_pattern(catalogue, search, found):
    """Signs that mean something to SQL or a regular expression mean themselves; any case; the newest title only."""
    assert catalogue.markets(search=search)["market_id"].to_list() == found


def test_filters_come_before_the_limit(catalogue):
    """The first market of a venue is found even if others come before it; limit and offset page through the rest."""
    assert catalogue.markets(venue="polymarket", limit=1)["market_id"].to_list() == [C]
    assert catalogue.markets(category="sports", limit=1)["market_id"].to_list() == [B]
    assert catalogue.markets(status="active", limit=1, offset=1)["market_id"].to_list() == [C]
    assert catalogue.markets(limit=2, offset=3)["market_id"].to_list() == [None]
    assert catalogue.markets(limit=0).is_empty()
    assert catalogue.markets(limit=None).height == 4


def test_a_market_is_found_by_id_key_or_digits(catalogue):
    """Each spelling gives the same row; a stranger is found by its key."""
    for which in (A, KEYS[A], str(KEYS[A]), f" {A} "):
        assert catalogue.market(which)["title"].to_list() == ["Rain in 50% of Paris?"]
    assert catalogue.market(STRANGER).select("title", "venue").row(0) == (str(STRANGER), "polymarket")


@pytest.mark.parametrize("which", ["kalshi:NONE", 1, "17", "nonsense", "", 2**63, True, "'; DROP TABLE quotes"])
def test_an_unknown_market_is_said(catalogue, which):
    """Every question about one market names the one that is not there."""
    for ask in (catalogue.market, catalogue.latest, catalogue.quotes, catalogue.trades, catalogue.bars):
        with pytest.raises(QueryError, match="market") as caught:
            ask(which)
        assert repr(which) in str(caught.value)


def test_the_latest_state_has_its_quote_its_price_and_its_age(catalogue):
    """The newest quote at the instant, over days; the reference price and the rule that it follows."""
    publish(catalogue.store, {(QUOTES, "kalshi"): [quote(0.30, 0.32, "2026-03-01 10:00", KEYS[A])]}, YESTERDAY)
    publish(catalogue.store, {
        (QUOTES, "kalshi"): [quote(0.40, 0.44, "10:00", KEYS[A]), quote(0.40, None, "10:05", KEYS[A])],
        (TRADES, "kalshi"): [trade(0.41, at="10:04", market=KEYS[A])],
    })  # fmt: skip
    names = ("event_time", "bid", "ask", "spread", "price", "rule", "last_trade_price")
    early = catalogue.latest(A, instant("09:59")).row(0, named=True)
    assert [early[name] for name in names] == [
        datetime(2026, 3, 1, 10, tzinfo=UTC), 0.30, 0.32, pytest.approx(0.02), pytest.approx(0.31), "mid", None,
    ]  # fmt: skip
    two_sided = catalogue.latest(A, instant("10:04:30")).row(0, named=True)
    assert (two_sided["price"], two_sided["last_trade_price"]) == (pytest.approx(0.42), 0.41)
    assert two_sided["as_of"] == instant("10:04:30")
    one_sided = catalogue.latest(A).row(0, named=True)
    assert (one_sided["bid"], one_sided["ask"], one_sided["price"], one_sided["rule"]) == (0.40, None, None, None)
    assert one_sided["title"] == "Rain in 50% of Paris?"
    assert catalogue.latest(A, instant("2026-03-01 09:00")).is_empty()
    assert catalogue.latest(B).is_empty()


def test_a_quote_before_a_gap_is_shown_and_is_no_price(catalogue):
    """After a gap of the venue the old quote has its age, is not live and makes no price."""
    publish(catalogue.store, {
        (QUOTES, "kalshi"): [quote(0.40, 0.42, "10:00", KEYS[A])],
        (GAPS, "kalshi"): [gap("10:01", market=None)],
    })  # fmt: skip
    found = catalogue.latest(A, instant("10:02")).row(0, named=True)
    assert (found["bid"], found["is_live"], found["price"]) == (0.40, False, None)
    assert catalogue.latest(A, instant("10:00:30"))["is_live"].to_list() == [True]


def test_quotes_are_a_half_open_stretch_in_order(catalogue):
    """start is in, end is not; a limit keeps the newest and the order."""
    times = ["2026-03-01 23:59", "00:00", "10:00", "10:01"]
    publish(catalogue.store, {(QUOTES, "kalshi"): [quote(at=times[0], market=KEYS[A])]}, YESTERDAY)
    given = [quote(at=at, market=key) for at in reversed(times[1:]) for key in (KEYS[A], KEYS[B])]
    publish(catalogue.store, {(QUOTES, "kalshi"): given})
    found = catalogue.quotes(A)
    assert found.columns == [*QUOTES.columns, "venue"]
    assert found["event_time"].to_list() == [instant(at) for at in times]
    assert catalogue.quotes(A, instant("00:00"), instant("10:01"))["event_time"].to_list() == [
        instant("00:00"), instant("10:00"),
    ]  # fmt: skip
    assert catalogue.quotes(A, limit=2)["event_time"].to_list() == [instant("10:00"), instant("10:01")]
    assert catalogue.quotes(A, end=instant("10:01"), limit=1)["event_time"].to_list() == [instant("10:00")]


def test_depth_of_a_market_now_and_over_a_time(catalogue):
    """One market's rows in order of time; the start is included, the end is not, a limit keeps the newest."""
    near = [
        row(DEPTH, market_key=KEYS[name], event_time=instant(at), bid_2c_usd=usd, seq=seq)
        for seq, (name, at, usd) in enumerate(
            [(A, "10:02", 30.0), (A, "10:00", 10.0), (A, "10:01", 20.0), (B, "10:01", 9.0)]
        )
    ]
    publish(catalogue.store, {(DEPTH, "kalshi"): near})
    assert catalogue.depth(A)["bid_2c_usd"].to_list() == [10.0, 20.0, 30.0]
    assert catalogue.depth(A).columns == [*DEPTH.columns, "venue"]
    assert catalogue.depth(A, limit=1)["bid_2c_usd"].to_list() == [30.0]
    assert catalogue.depth(A, instant("10:00"), instant("10:02"))["bid_2c_usd"].to_list() == [10.0, 20.0]
    assert catalogue.depth(A, end=instant("10:02"), limit=1)["bid_2c_usd"].to_list() == [20.0]
    assert catalogue.depth(C).is_empty()


def test_the_tape_is_newest_first_over_markets_and_days(catalogue):
    """Every limit gives a prefix of the whole tape; a trade that was sent twice is there once."""
    old = [trade(at=f"2026-03-01 23:{minute:02}", market=KEYS[A]) for minute in range(57, 60)]
    new = [trade(at=f"00:{minute:02}", market=key) for minute in range(3) for key in (KEYS[C], STRANGER)]
    late = trade(at="2026-03-01 23:58:30", market=KEYS[A], received_time=instant("12:00"))
    publish(catalogue.store, {(TRADES, "kalshi"): old}, YESTERDAY)
    publish(catalogue.store, {(TRADES, "polymarket"): new, (TRADES, "kalshi"): [late, {**old[2], "seq": 10**6}]})
    whole = catalogue.trades(limit=None)
    assert whole.columns == [*TRADES.columns, "venue", *FACTS]
    assert whole.height == len(old) + len(new) + 1
    assert whole["event_time"].is_sorted(descending=True)
    for limit in range(whole.height + 2):
        assert catalogue.trades(limit=limit).equals(whole.head(limit))
    assert catalogue.trades(STRANGER)["title"].unique().to_list() == [str(STRANGER)]
    assert catalogue.trades(venue="kalshi", limit=1)["event_time"].to_list() == [instant("2026-03-01 23:59")]
    assert catalogue.trades(A, venue="polymarket").is_empty()
    stretch = catalogue.trades(A, instant("2026-03-01 23:58"), instant("2026-03-01 23:59"))
    assert stretch["event_time"].to_list() == [instant("2026-03-01 23:58:30"), instant("2026-03-01 23:58")]


def test_bars_are_those_of_the_interval(catalogue):
    """Of one market, interval and stretch, in order."""
    times = ["2026-03-01 23:59", "00:00", "10:00"]
    for interval, count in (("1m", 3), ("1h", 1)):
        for at in times[-count:]:
            bar = row(BARS, market_key=KEYS[A], bar_start=instant(at), close=0.4)
            other = row(BARS, market_key=KEYS[B], bar_start=instant(at), close=0.9)
            derive(catalogue.store, BARS, [bar, other], interval=interval, date=instant(at).date())
    derive(catalogue.store, BARS, [
        row(BARS, market_key=key, bar_start=instant(at), close=0.4) for at in times[1:] for key in (KEYS[A], KEYS[B])
    ], interval="1m")  # fmt: skip
    found = catalogue.bars(A, "1m")
    assert found.columns == [*BARS.columns, "interval", "venue"]
    assert found["bar_start"].to_list() == [instant(at) for at in times]
    assert catalogue.bars(A, "1m", instant("00:00"), instant("10:00"))["bar_start"].to_list() == [instant("00:00")]
    assert catalogue.bars(A, "1h")["bar_start"].to_list() == [instant("10:00")]
    assert catalogue.bars(A, "1d").is_empty()


def mover(market_id: str | int, rank: int | None, move: float | None, at: str = "10:00", **columns) -> dict:
    key = KEYS.get(market_id, market_id)
    known = {"market_key": key, "window": "1h", "as_of": instant(at), "verdict": "ok", "move_pp": move}
    return row(MOVERS, **known | {"classic_rank": rank, "biggest_rank": rank, "volume_24h_usd": 500.0} | columns)


@pytest.fixture
def boards(catalogue) -> Lake:
    """Two published boards of 1h, one of 5m."""
    derive(catalogue.store, MOVERS, [
        mover(A, 1, 5.0, "09:59"),
        mover(A, 2, -4.0), mover(B, 3, 3.0, biggest_rank=1), mover(STRANGER, None, None, verdict="gap_in_slice"),
        mover(B, 1, 1.0, "10:01", window="5m"),
    ])  # fmt: skip
    derive(catalogue.store, MOVERS, [mover(C, 1, 9.0, volume_24h_usd=None)], venue="polymarket")
    publish(catalogue.store, {(QUOTES, "kalshi"): [quote(at="10:02", market=KEYS[A])]})
    return catalogue


def test_movers_come_from_the_newest_board_of_their_window(boards):
    """Not from an older board, nor from one of another window, nor from one after `as_of`."""
    found = boards.movers("1h", "classic")
    assert found.columns == [*MOVERS.columns, "venue", *FACTS]
    assert found.select("market_id", "as_of").rows() == [(name, instant("10:00")) for name in (C, A, B)]
    assert boards.movers("1h", as_of=instant("09:59"))["market_id"].to_list() == [A]
    assert boards.movers("5m")["market_id"].to_list() == [B]


def test_movers_are_ranked_by_the_score_that_is_asked(boards):
    """Each score has its own order; a row that it does not list is not there."""
    assert boards.movers(score="classic")["classic_rank"].to_list() == [1, 2, 3]
    assert boards.movers().equals(boards.movers(score="biggest"))
    assert boards.movers(score="biggest")["market_id"].to_list()[:2] in ([B, C], [C, B])


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"venue": "kalshi"}, [A, B]),
        ({"category": "sports"}, [B]),
        ({"direction": "up"}, [C, B]),
        ({"direction": "down"}, [A]),
        ({"min_move_pp": 4.0}, [C, A]),
        ({"min_volume_usd": 500.0}, [A, B]),
        ({"status_not": "resolved"}, [C, A]),
        ({"status_not": ["resolved", "active"]}, []),
        ({"limit": 1, "direction": "down"}, [A]),
        ({"limit": 0}, []),
    ],
)
def test_movers_are_filtered_before_they_are_cut(boards, filters, found):
    """Each filter keeps the rank of the whole board, and a limit of one finds the best of what is left."""
    assert boards.movers("1h", "classic", **filters)["market_id"].to_list() == found


def test_a_market_of_unknown_status_is_not_hidden(boards):
    """Only what is known to have a status can be left out for it."""
    derive(boards.store, MOVERS, [mover(STRANGER, 1, 2.0), mover(B, 2, 2.0)])
    assert boards.movers("1h", venue="kalshi", status_not="resolved")["market_key"].to_list() == [STRANGER]


def test_an_old_board_does_not_answer_for_now(boards):
    """Two minutes after a board the answer is computed: nothing was quoted, so nothing moved."""
    assert boards.movers("1h").height == 3
    publish(boards.store, {(TRADES, "kalshi"): [trade(at="10:02:01", market=KEYS[A])]})
    assert boards.movers("1h").is_empty()


@pytest.mark.parametrize(("at", "count"), [("09:59", 1), ("10:00", 3), ("10:00:01", 0), ("09:59:59", 0)])
def test_an_instant_has_its_own_board(boards, at, count):
    """A board of another instant, however near, does not answer for the one that is asked."""
    assert boards.movers("1h", as_of=instant(at)).height == count
    assert boards.categories("1h", instant(at))["markets"].sum() == count


def test_a_board_may_be_newer_than_the_newest_row(boards):
    """A refresh on the wall's clock, of a feed that is quiet, is the newest board."""
    derive(boards.store, MOVERS, [mover(A, 1, 7.0, "10:09")], date=TODAY)
    assert boards.movers("1h").select("market_id", "as_of").rows() == [(A, instant("10:09"))]


def test_a_board_knows_what_was_known(catalogue):
    """What became of a market after an instant changes no answer as of it; its names do not come and go."""
    busy_session(catalogue)
    at = instant("10:39:30")
    ask = {"window": "30m", "as_of": at, "status_not": ["closed"], "limit": None}
    before, moved = catalogue.movers(**ask), catalogue.moves_at("30m", at)
    title = catalogue.latest(B, at)["title"].item()
    assert B in before["market_id"]
    publish(catalogue.store, {(MARKETS, "kalshi"): [
        market(B, "11:00", title="Later words", category="other", status="closed", tick_size=0.5),
        market("kalshi:D", "11:00"),
    ]})  # fmt: skip
    assert catalogue.movers(**ask).equals(before)
    assert catalogue.moves_at("30m", at).equals(moved)
    assert catalogue.latest(B, at)["title"].item() == title
    assert catalogue.latest(B, instant("11:00"))["title"].item() == "Later words"
    assert B not in catalogue.movers(**ask | {"as_of": instant("11:00")})["market_id"]


def test_a_name_that_came_late_is_a_name(lake):
    """Of a market that no catalogue told of yet, the title and id are shown, and nothing else."""
    publish(
        lake.store, {(QUOTES, "kalshi"): [quote(at="10:00", market=KEYS[A])], (MARKETS, "kalshi"): [market(A, "11:00")]}
    )
    assert lake.moves_at("1h", instant("10:30")).select(FACTS).row(0) == (f"Will {A} happen?", A, None, None, None)


def test_a_placeholder_takes_nothing_back(lake):
    """A market's rows are folded by column; a title made up from the id counts only where there is no other."""
    stub = {"category": None, "tags": [], "outcomes": None, "outcome_token_ids": None, "tick_size": None}
    publish(lake.store, {(MARKETS, "kalshi"): [
        market(A, "09:00", title="Rain?", tags=["a"], result=None),
        market(A, "10:00", title="A", status="initialized", **stub),
        market(B, "09:00", title="B", status="initialized", **stub),
        market("kalshi:E", "09:00", title="E", status="initialized", **stub),
        market("kalshi:E", "10:00", title=None, status="closed", **stub),
    ]})  # fmt: skip
    names = ("title", "status", "category", "tags", "outcomes", "tick_size", "as_of")
    row = lake.market(A).select(names).row(0)
    assert row == ("Rain?", "active", "politics", ["a"], ["Yes", "No"], 0.01, instant("10:00"))
    assert lake.market(B).select("title", "status", "tags").row(0) == ("B", "initialized", [])
    assert lake.market("kalshi:E").select("title", "status").row(0) == ("E", "closed")
    order = "SELECT * EXCLUDE (date) FROM markets ORDER BY market_id"
    assert lake.sql(order).equals(lake.markets().sort("market_id"))


def test_a_column_that_is_left_out_is_kept(lake):
    """Events too; the same in SQL."""
    known = {"event_id": "kalshi:E", "mutually_exclusive": True}
    publish(lake.store, {(EVENTS, "kalshi"): [
        row(EVENTS, title="Old", category="a", tags=["t"], as_of=instant("09:00"), seq=2, **known),
        row(EVENTS, title="New", tags=[], as_of=instant("09:01"), seq=1, **known),
    ]})  # fmt: skip
    assert lake.events().select("title", "category", "tags", "seq").row(0) == ("New", "a", ["t"], 1)
    assert lake.sql("SELECT * EXCLUDE (date) FROM events").equals(lake.events())


def test_instants_may_be_texts(boards):
    """As texts in RFC 3339, and the lake's folder too."""
    assert boards.movers("1h", as_of="2026-03-02T10:00:00Z").equals(boards.movers("1h", as_of=instant("10:00")))
    assert boards.quotes(A, "2026-03-02T10:02:00Z", "2026-03-02T12:02:01+02:00").height == 1
    assert Lake.open(str(boards.store.root)) == boards


def test_a_row_that_came_days_late_is_found(lake):
    """The collector takes a venue's clock up to seven days back; the newest quote is that of the venue's clock."""
    late = [
        quote(0.30, 0.32, "2026-02-24 10:00", KEYS[A]),
        quote(0.50, 0.52, "2026-03-01 09:00", KEYS[A], received_time=instant("10:00")),
    ]
    publish(lake.store, {(QUOTES, "kalshi"): late})
    publish(lake.store, {(QUOTES, "kalshi"): [quote(0.40, 0.42, "2026-03-01 10:00", KEYS[A])]}, YESTERDAY)
    publish(lake.store, {(MARKETS, "kalshi"): [market(A)]})
    assert lake.quotes(A, end=instant("2026-02-25 00:00"))["bid"].to_list() == [0.30]
    assert lake.latest(A, instant("2026-02-25 00:00"))["bid"].to_list() == [0.30]
    assert lake.latest(A)["bid"].to_list() == [0.40]


def test_a_damaged_file_is_named(boards):
    """Each question that would read it says which file it is and what to do, in one line."""
    [part] = boards.store.parts(QUOTES, venues=["kalshi"])
    path = boards.store.path(part)
    path.write_bytes(path.read_bytes()[:-7])
    questions = (
        boards.markets, boards.counts, lambda: boards.quotes(A), lambda: boards.moves_at("1h"),
        lambda: boards.sql("SELECT max(bid) FROM quotes"),
    )  # fmt: skip
    for ask in questions:
        with pytest.raises(LakeError, match=r"is damaged.*move it away") as caught:
            ask()
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_categories_sum_the_same_board(boards):
    """Mean and extreme of |move|, and how many rose and fell; a market without a category has its own row."""
    found = boards.categories("1h")
    assert found.drop("notional_usd", "as_of").rows() == [
        ("politics", 2, 6.5, 9.0, 1, 1), ("sports", 1, 3.0, 3.0, 1, 0), (None, 0, None, None, 0, 0),
    ]  # fmt: skip


def busy_session(lake: Lake) -> list[pl.LazyFrame]:
    """Two days of three markets, in several segments: a quiet one, one that rises, one across a gap."""
    old = [quote(0.20, 0.22, "2026-02-20 10:00", KEYS[A]), quote(0.50, 0.52, "2026-03-01 08:00", KEYS[B])]
    for each in old:
        publish(lake.store, {(QUOTES, "kalshi"): [each]}, each["event_time"].date())
    rising = [quote(0.30 + step / 100, 0.32 + step / 100, f"10:{step:02}", KEYS[B]) for step in range(40)]
    other = [quote(0.60, 0.62, "09:00", KEYS[C]), quote(0.70, 0.72, "10:30", KEYS[C])]
    fills = [trade(0.4, 100.0, f"10:{step:02}:30", KEYS[B]) for step in range(40)]
    holes = [gap("10:05", "10:06", KEYS[C], connection="p1")]
    publish(lake.store, {(QUOTES, "kalshi"): rising[:20], (TRADES, "kalshi"): fills})
    publish(lake.store, {(QUOTES, "kalshi"): rising[20:], (QUOTES, "polymarket"): other, (GAPS, "polymarket"): holes})
    kalshi, polymarket = [*old, *rising], other
    quotes = pl.concat([builders.quotes(*kalshi, venue="kalshi"), builders.quotes(*polymarket, venue="polymarket")])
    return [quotes, builders.trades(*fills, venue="kalshi"), builders.gaps(*holes, venue="polymarket")]


@pytest.mark.parametrize("window", ["5m", "30m", "1h", "4h", "7d"])
@pytest.mark.parametrize("at", ["10:39:30", "10:20", "12:00"])
def test_moves_on_demand_are_those_of_all_rows(catalogue, window, at):
    """What is loaded for any window and instant gives the same board as every row that there is."""
    everything = busy_session(catalogue)
    widths = {**WINDOWS, "30m": timedelta(minutes=30), "4h": timedelta(hours=4), "7d": timedelta(days=7)}
    known = catalogue.markets(limit=None).lazy()
    wanted = board(*everything, None, known, as_of=instant(at), windows={window: widths[window]})
    found = catalogue.moves_at(window, instant(at))
    assert found.columns == [*MOVERS.columns, "venue", *FACTS]
    both = [frame.filter(pl.col("market_key") != STRANGER).sort("market_key") for frame in (found, wanted)]
    assert both[0].select(wanted.columns).drop("venue").equals(both[1].drop("venue"))


def test_movers_without_a_board_are_computed(catalogue):
    """A window that nobody published is answered from raw rows, at the lake's own now."""
    busy_session(catalogue)
    found = catalogue.movers("30m", "biggest")
    assert found["market_id"].to_list()[0] == B
    assert found["as_of"].unique().to_list() == [catalogue.latest_time()]
    assert found.equals(catalogue.moves_at("30m").drop_nulls("biggest_rank").sort("biggest_rank"))


def health(minute: str, connection: str = "k1", **columns) -> dict:
    counted = {"messages": 4, "applied": 3, "ignored": 1, "duplicate": 0, "dead": 0, "reconnects": 0, "seq": 1}
    return row(FEED_HEALTH, connection=connection, minute=instant(minute), **counted | columns)


def test_status_is_the_last_minute_of_each_connection(lake):
    """Rows of one minute are added up, older minutes only count reconnects, later ones not at all."""
    publish(lake.store, {(FEED_HEALTH, "kalshi"): [
        health("09:00", reconnects=2), health("10:00", lag_p99_ms=5.0, subscribed=1), health("08:00", "k2"),
        health("10:00", seq=2, lag_p99_ms=9.0, subscribed=2, reconnects=1), health("10:01", seq=3),
    ]})  # fmt: skip
    before = [health("2026-03-01 09:00", reconnects=8), health("2026-03-01 23:00", reconnects=4)]
    publish(lake.store, {(FEED_HEALTH, "kalshi"): before}, YESTERDAY)
    publish(lake.store, {(FEED_HEALTH, "polymarket"): [health("2026-02-20 10:00", "p1")]}, datetime(2026, 2, 20).date())
    publish(lake.store, {
        (GAPS, "kalshi"): [
            gap("09:00", "09:30", connection="k1"), gap("09:59", connection="k1", market=None),
            gap("09:50", connection="k1", market=1), gap("10:30", connection="k1"),
        ],
        (QUOTES, "kalshi"): [quote(at="09:55", market=1)],
    })  # fmt: skip
    found = lake.status(instant("10:00:30"))
    counts = ["messages", "applied", "ignored"]
    assert found.select("venue", "connection", "minute", *counts, "reconnects", "lag_p99_ms", "subscribed").rows() == [
        ("kalshi", "k1", instant("10:00"), 8, 6, 2, 7, 9.0, 2),
        ("kalshi", "k2", instant("08:00"), 4, 3, 1, 0, None, None),
        ("polymarket", "p1", instant("2026-02-20 10:00"), 4, 3, 1, 0, None, None),
    ]
    assert found["open_gaps"].to_list() == [1, 0, 0]
    sums = pl.sum_horizontal("applied", "ignored", "duplicate", "dead")
    assert found.filter(pl.col("messages") != sums).is_empty()


def test_status_of_a_stream_whose_connection_was_replaced(lake):
    """While a connection takes the place of another both tell of themselves, and are one stream."""
    publish(lake.store, {(FEED_HEALTH, "kalshi"): [
        health("10:00", "k1", subscribed=7, seen=0), health("10:00", "k1~", seq=2, subscribed=7, seen=7),
        health("10:01", "k1~", seq=3, subscribed=7, seen=7),
    ]})  # fmt: skip
    for at, messages in (("10:00:30", 8), ("10:01:30", 4)):
        found = lake.status(instant(at))
        assert found.select("connection", "messages", "subscribed", "seen").rows() == [("k1", messages, 7, 7)]


def test_gaps_that_touch_a_stretch(catalogue):
    """Newest first, each once; an end that came later replaces its absence; one of the whole venue has no title."""
    known = gap("09:00", "09:30", market=KEYS[A])
    publish(catalogue.store, {
        (GAPS, "kalshi"): [{**known, "end_time": None, "seq": 0}, known, gap("09:45", market=None)],
        (GAPS, "polymarket"): [gap("10:00", "10:01", market=STRANGER)],
    })  # fmt: skip
    found = catalogue.gaps()
    assert found.columns == [*GAPS.columns, "venue", "title"]
    assert found.select("start_time", "end_time", "title").rows() == [
        (instant("10:00"), instant("10:01"), str(STRANGER)),
        (instant("09:45"), None, None),
        (instant("09:00"), instant("09:30"), "Rain in 50% of Paris?"),
    ]
    assert catalogue.gaps(instant("09:30"), instant("10:00"))["start_time"].to_list() == [instant("09:45")]
    assert catalogue.gaps(venue="kalshi", limit=1)["start_time"].to_list() == [instant("09:45")]
    assert catalogue.gaps(market=KEYS[A])["start_time"].to_list() == [instant("09:45"), instant("09:00")]


def test_coverage_of_a_window(catalogue):
    """The least watched first, by the gaps of a market and its venue, with how long each reason took."""
    publish(catalogue.store, {
        (QUOTES, "kalshi"): [
            quote(at=at, market=KEYS[name]) for name, at in ((A, "08:00"), (A, "09:50"), (B, "09:15"), (A, "10:00"))
        ],
        (GAPS, "kalshi"): [
            gap("09:40", market=KEYS[A], reason="feed_ended"),
            gap("09:45", "09:46", market=None),
            gap("09:58", market=None, reason="collector_down"),
        ],
        (QUOTES, "polymarket"): [quote(at="08:30", market=STRANGER)],
    })  # fmt: skip
    found = catalogue.coverage()
    assert found.columns == [
        "market_key", "venue", *FACTS, "start_time", "end_time", "coverage", "unseen_seconds", "reasons",
    ]  # fmt: skip
    assert found.select("market_key", "coverage", "unseen_seconds", "reasons").rows() == [
        (KEYS[B], 0.7, 1080.0, '{"not_followed_yet": 900.0, "collector_down": 120.0, "disconnected": 60.0}'),
        (KEYS[A], 0.8, 720.0, '{"feed_ended": 600.0, "collector_down": 120.0, "disconnected": 60.0}'),
        (STRANGER, 1.0, 0.0, None),
    ]
    assert found["end_time"].unique().to_list() == [instant("10:00")]
    one = catalogue.coverage(start=instant("09:30"), end=instant("09:45"), markets=[A])
    assert one.select("title", "coverage").rows() == [("Rain in 50% of Paris?", pytest.approx(2 / 3))]
    assert catalogue.coverage("5m", markets=[C])["reasons"].to_list() == ['{"not_followed_yet": 300.0}']
    assert catalogue.coverage(markets=[]).is_empty()


def test_coverage_of_a_gap_that_began_long_before(catalogue):
    """One without an end is over at the first quote after it, whether that comes in the window or came before it."""
    publish(catalogue.store, {
        (QUOTES, "kalshi"): [
            quote(at=at, market=KEYS[name])
            for name, at in ((A, "2026-03-01 10:00"), (B, "2026-03-01 10:00"), (A, "06:00"), (B, "09:45"), (A, "10:00"))
        ],
        (GAPS, "kalshi"): [gap("2026-03-01 11:00", market=None)],
    })  # fmt: skip
    found = catalogue.coverage(markets=[A, B]).sort("coverage")
    assert found.select("market_key", "coverage").rows() == [(KEYS[B], 0.25), (KEYS[A], 1.0)]
    assert catalogue.coverage(markets=[B], as_of=instant("09:30"))["coverage"].to_list() == [0.0]


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"window": "1h", "start": "2026-03-02T09:00:00Z"}, "without it"),
        ({"start": "2026-03-02T11:00:00Z"}, "is not before"),
        ({"markets": ["kalshi:NOBODY"]}, "is not in the lake"),
    ],
)
def test_coverage_that_cannot_be_told(catalogue, asked, word):
    """A window and a start, a start after all there is, and a market that is not there, in a line each."""
    with pytest.raises(QueryError, match=word):
        catalogue.coverage(**asked)


def test_dead_letters_keep_their_bytes(lake):
    """Newest first, with the frame as it came and its size."""
    letters = [
        row(DEAD_LETTERS, connection="k1", received_time=instant(at), reason="bad", frame=frame, seq=seq, element=0)
        for seq, (at, frame) in enumerate([("10:00", b"\xff"), ("10:01", b"two")])
    ]
    publish(lake.store, {(DEAD_LETTERS, "kalshi"): letters})
    assert lake.dead_letters(limit=1).rows() == [("kalshi", "k1", instant("10:01"), "bad", 3, b"two")]
    assert lake.dead_letters(venue="polymarket").is_empty()


def test_events_are_the_newest_versions(lake):
    """Searched as text, filtered before they are cut."""
    known = {"mutually_exclusive": True, "tags": []}
    publish(lake.store, {(EVENTS, "kalshi"): [
        row(EVENTS, event_id="kalshi:E", title="Old", category="a", as_of=instant("09:00"), seq=1, **known),
        row(EVENTS, event_id="kalshi:E", title="A+B", category="b", as_of=instant("09:01"), seq=2, **known),
        row(EVENTS, event_id="kalshi:F", title=None, category="a", as_of=instant("09:02"), seq=3, **known),
    ]})  # fmt: skip
    assert lake.events().columns == [*EVENTS.columns, "venue"]
    assert lake.events()["event_id"].to_list() == ["kalshi:F", "kalshi:E"]
    assert lake.events("a+b")["title"].to_list() == ["A+B"]
    assert lake.events(category="b", limit=1)["event_id"].to_list() == ["kalshi:E"]
    assert lake.events("old").is_empty()


@pytest.mark.parametrize(
    ("ask", "field", "valid"),
    [
        (lambda lake: lake.bars(A, "2m"), "interval '2m'", "1m, 5m, 1h, 1d"),
        (lambda lake: lake.movers("1w"), "window '1w'", "15m"),
        (lambda lake: lake.movers("0h"), "window '0h'", "15m"),
        (lambda lake: lake.movers("99999999999d"), "window '99999999999d'", ""),
        (lambda lake: lake.moves_at("400000d"), "window '400000d'", "1970"),
        (lambda lake: lake.categories(""), "window ''", "15m"),
        (lambda lake: lake.movers(score="best"), "score 'best'", "classic, biggest"),
        (lambda lake: lake.movers(direction="sideways"), "direction 'sideways'", "up, down"),
        (lambda lake: lake.movers(venue="nyse"), "venue 'nyse'", "polymarket, kalshi"),
        (lambda lake: lake.movers(status_not="gone"), "status_not 'gone'", "resolved"),
        (lambda lake: lake.movers(limit=-1), "limit -1", "from 0 on"),
        (lambda lake: lake.markets(venue="Kalshi"), "venue 'Kalshi'", "kalshi"),
        (lambda lake: lake.markets(status="open"), "status 'open'", "active"),
        (lambda lake: lake.markets(limit=True), "limit True", "from 0 on"),
        (lambda lake: lake.markets(offset=-1), "offset -1", "from 0 on"),
        (lambda lake: lake.trades(limit=1.5), "limit 1.5", "from 0 on"),
        (lambda lake: lake.trades(venue=""), "venue ''", "polymarket, kalshi"),
        (lambda lake: lake.gaps(venue="x"), "venue 'x'", "polymarket, kalshi"),
        (lambda lake: lake.dead_letters(limit="all"), "limit 'all'", "None for all"),
        (lambda lake: lake.events(limit=-5), "limit -5", "from 0 on"),
        (lambda lake: lake.quotes(A, start=datetime(2026, 3, 2)), "start 2026-03-02", "UTC"),
        (lambda lake: lake.trades(end=datetime(2026, 3, 2)), "end 2026-03-02", "UTC"),
        (lambda lake: lake.latest(A, datetime(2026, 3, 2)), "as_of 2026-03-02", "UTC"),
        (lambda lake: lake.movers(as_of="noon"), "as_of 'noon'", "2026-05-15T19:14:00Z"),
        (lambda lake: lake.quotes(A, start=""), "start ''", "2026-05-15T19:14:00Z"),
        (lambda lake: lake.gaps(instant("10:00"), instant("09:00")), "start", "after end"),
    ],
)
def test_what_cannot_be_asked_is_named(boards, ask, field, valid):
    """The message names the field, what was found, and what would do, in one line."""
    with pytest.raises(QueryError) as caught:
        ask(boards)
    assert str(caught.value).startswith(field)
    assert valid in str(caught.value)
    assert "\n" not in str(caught.value)

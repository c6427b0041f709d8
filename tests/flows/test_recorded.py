"""Real recordings against rebuilds that know nothing of the project: raw files in, dicts, the truth out."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flows.collector.formats import own_time
from flows.collector.pipeline import Pipeline
from flows.collector.recordings import find
from flows.collector.replay import adapters, replay
from flows.collector.segments import Segment
from flows.jobs.refresh import refresh_bars
from flows.venues.base import Frame, MarketUpdate, Opened, Outcome, Reset, Stats, Top, Trade, Wire
from lake.schema import BARS, DEAD_LETTERS, FEED_HEALTH, GAPS, QUOTES, TRADES
from lake.store import Store
from lake.vocab import Gap, Mode
from tests.flows.feed import START, Feed, kal, parse_kalshi, parse_polymarket, poly

SESSIONS = ("ws_btc15m_20260511T0537", "ws_btc15m_20260515T1907", "ws_btc15m_20260515T2131_reconnects")

Top4 = tuple[float | None, float | None, float | None, float | None]


def text(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def json_lines(path: Path) -> Iterator[Any]:
    return (json.loads(line) for line in text(path).splitlines() if line.strip())


class Run:
    """A recording through the whole pipeline, its rows in memory."""

    def __init__(self, path: Path) -> None:
        self.segments: list[Segment] = []
        recording = find(path)[0][0]
        self.pipeline = Pipeline(adapters(), self.segments.append, recording.survey().poll_every)
        self.frames = 0
        now = 0
        for item in recording.items():
            now = item.received
            if item.payload is None:
                self.pipeline.opened(Opened(item.connection, now, item.wire))
            else:
                self.pipeline.feed(Frame(self.frames, item.connection, now, item.payload, item.wire))
                self.frames += 1
        self.pipeline.finish(now)

    def rows(self, table: Any) -> pl.DataFrame:
        made = [rows for segment in self.segments for (of, _), rows in segment.rows.items() if of is table]
        return pl.concat([table.frame([]), *map(table.frame, made)])

    def quotes(self, source: str | None = None) -> list[tuple[Any, ...]]:
        """Frame number, market and top of each quote row, in order of frames."""
        found = self.rows(QUOTES).sort("seq")
        found = found if source is None else found.filter(pl.col("source") == source)
        return found.select("seq", "market_key", "bid", "ask", "bid_size", "ask_size").rows()

    def require_sound(self) -> None:
        counts, quotes = self.pipeline.counts, self.rows(QUOTES)
        assert counts.frames == self.frames
        assert counts.messages == self.rows(FEED_HEALTH)["messages"].sum() == sum(counts.outcomes.values())
        assert (quotes["bid"] < quotes["ask"]).drop_nulls().all()
        assert pl.concat([quotes["bid"], quotes["ask"]]).drop_nulls().is_between(0, 1).all()
        assert not quotes.select("market_key", "seq").is_duplicated().any()
        assert counts.outcomes[Outcome.DEAD] == 0


def ladder(levels: dict[int, int], mirrored: bool) -> tuple[float | None, float | None]:
    """Best price and its size of one leg, in ten-thousandths and hundredths."""
    best = max((at for at, size in levels.items() if size > 0), default=None)
    if best is None:
        return None, None
    return (10_000 - best if mirrored else best) / 10_000, levels[best] / 100


def rebuilt(folder: Path) -> tuple[list[tuple[int, int, Top4]], dict[str, Top4], int]:
    """Rows, final tops and deltas of a recorded Kalshi session, from its raw files alone.

    A row is written where the top differs from the last written one, or after the book was lost: at a reconnect, a
    missing number, or a level below zero. Crossed tops wait.
    """
    rank = {"ws_connected": -2, "ws_subscribed": -1}
    events = []
    for path in sorted(folder.iterdir()):
        for row in json_lines(path):
            if row["event_type"] in (*rank, "ticker", "orderbook_snapshot", "orderbook_delta"):
                order = rank.get(row["event_type"], row["sequence_number"] or 0)
                events.append((row["local_recv_ns"] // 1000, order, row))
    events.sort(key=lambda event: event[:2])
    books: dict[str, dict[str, dict[int, int]]] = {}
    written: dict[str, Top4] = {}
    lost: set[str] = set()
    rows, last, frame, deltas = [], None, -1, 0
    for _, _, row in events:
        kind, msg = row["event_type"], row["payload_json"]
        if kind == "ws_connected":
            lost |= set(written)
            books, last = {}, None
            continue
        frame += 1
        if not kind.startswith("orderbook"):
            continue
        number, ticker = row["sequence_number"], msg["market_ticker"]
        if last is not None and number <= last:
            continue
        if last is not None and number != last + 1:
            lost |= set(books)
            books = {}
        last = number
        if kind == "orderbook_snapshot":
            books[ticker] = {
                side: {round(float(p) * 10_000): round(float(n) * 100) for p, n in msg.get(f"{side}_dollars_fp", [])}
                for side in ("yes", "no")
            }
        elif ticker in books:
            deltas += 1
            level, side = round(float(msg["price_dollars"]) * 10_000), books[ticker][msg["side"]]
            side[level] = side.get(level, 0) + round(float(msg["delta_fp"]) * 100)
            assert side[level] >= 0
        if ticker not in books:
            continue
        bid, ask = ladder(books[ticker]["yes"], False), ladder(books[ticker]["no"], True)
        top = (bid[0], ask[0], bid[1], ask[1])
        if top[0] is not None and top[1] is not None and top[0] >= top[1]:
            continue
        if ticker in lost or written.get(ticker) != top:
            lost.discard(ticker)
            written[ticker] = top
            rows.append((frame, kal(ticker), top))
    return rows, {ticker: written[ticker] for ticker in books}, deltas


@pytest.fixture(scope="module")
def runs(recordings: Path) -> dict[str, Run]:
    return {name: Run(recordings / "kalshi" / name) for name in SESSIONS}


@pytest.mark.parametrize("name", SESSIONS)
def test_book_sessions_equal_their_rebuild(recordings, runs, name):
    """Every quote row of a recorded session, from first to last, is the rebuild's top at that very frame."""
    rows, finals, deltas = rebuilt(recordings / "kalshi" / name)
    found = [(seq, market, tuple(top)) for seq, market, *top in runs[name].quotes("book")]
    assert deltas > 50_000
    assert found == rows
    last = {market: tuple(top) for _, market, *top in runs[name].quotes("book")}
    assert {kal(ticker): top for ticker, top in finals.items()}.items() <= last.items()


@pytest.mark.parametrize("name", SESSIONS)
def test_book_sessions_add_up(recordings, runs, name):
    """Messages add up, nothing is dead, no quote is crossed; frames are the raw files' lines."""
    run = runs[name]
    run.require_sound()
    kinds = ("ws_subscribed", "ticker", "orderbook_snapshot", "orderbook_delta")
    lines = [path for path in (recordings / "kalshi" / name).iterdir() if path.name.startswith(kinds)]
    assert run.frames == sum(sum(1 for _ in json_lines(path)) for path in lines)


def test_reconnects_are_gaps(recordings, runs):
    """In the session with reconnects each is a gap of the market it hit, that ends with a snapshot's row."""
    run = runs[SESSIONS[2]]
    folder = recordings / "kalshi" / SESSIONS[2]
    openings = sum(1 for path in folder.glob("ws_connected*") for _ in json_lines(path))
    gaps = run.rows(GAPS).filter(pl.col("reason") == Gap.DISCONNECTED)
    assert 0 < gaps.height < openings
    ended = gaps.filter(pl.col("end_time").is_not_null())
    assert (ended["end_time"] >= ended["start_time"]).all()
    assert run.rows(FEED_HEALTH)["reconnects"].sum() == openings - 1


def test_ticker_session_equals_its_fields(recordings):
    """A session of tickers alone: each row is its ticker's fields, one whenever they changed."""
    path = recordings / "kalshi/ws_frames/prod_20260511T15_ticker_btc15m_1h.ndjson.gz"
    run, expected, last = Run(path), [], {}
    for number, row in enumerate(sorted(json_lines(path), key=lambda row: row["local_recv_ns"] // 1000)):
        msg = row["payload_json"]
        bid, ask = float(msg["yes_bid_dollars"]), float(msg["yes_ask_dollars"])
        top = (
            bid if 0 < bid < 1 else None,
            ask if 0 < ask < 1 else None,
            float(msg["yes_bid_size_fp"]) if 0 < bid < 1 else None,
            float(msg["yes_ask_size_fp"]) if 0 < ask < 1 else None,
        )
        if top[0] is not None and top[1] is not None and top[0] >= top[1]:
            continue
        if last.get(msg["market_ticker"]) != top:
            last[msg["market_ticker"]] = top
            expected.append((number, kal(msg["market_ticker"]), *top))
    assert run.quotes("ticker") == expected
    assert len(expected) > 2_000
    run.require_sound()


def test_orderbook_of_twelve_markets(recordings):
    """Twelve books on one sid, with acknowledgements in the sequence: each final top is the rebuild's."""
    path = recordings / "kalshi/ws_frames/prod_20260807_orderbook_12markets_add_markets.json"
    frames = [row["frame"] for row in json.loads(text(path))["frames"]]
    numbers = [frame["seq"] for frame in frames if "seq" in frame]
    assert numbers == list(range(1, len(numbers) + 1))
    books: dict[str, dict[str, dict[int, int]]] = {}
    for frame in frames:
        msg = frame["msg"]
        if frame["type"] == "orderbook_snapshot":
            books[msg["market_ticker"]] = {
                side: {round(float(p) * 10_000): round(float(n) * 100) for p, n in msg.get(f"{side}_dollars_fp", [])}
                for side in ("yes", "no")
            }
        elif frame["type"] == "orderbook_delta":
            side, level = books[msg["market_ticker"]][msg["side"]], round(float(msg["price_dollars"]) * 10_000)
            side[level] = side.get(level, 0) + round(float(msg["delta_fp"]) * 100)
    expected = {}
    for ticker, book in books.items():
        bid, ask = ladder(book["yes"], False), ladder(book["no"], True)
        expected[kal(ticker)] = (bid[0], ask[0], bid[1], ask[1])
    run = Run(path)
    run.require_sound()
    assert {market: tuple(top) for _, market, *top in run.quotes()} == expected
    assert len(expected) == 12
    assert run.rows(GAPS)["reason"].unique().to_list() == [Gap.FEED_ENDED]


# --- yes scale -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["prod_20260820_12markets_600s_capture", "demo_20260817_wire_60markets_120s"])
def test_yes_scale_is_seen(recordings, name):
    """Books subscribed with `use_yes_price`: their scale is read off the frames as if it had been told."""
    samples = json.loads(text(recordings / f"kalshi/ws_evidence/{name}.json"))["wire"]["frame_samples_by_type"]
    ordered = sorted(samples["orderbook_snapshot"], key=lambda row: row["ordinal"])
    payloads = [json.dumps(row["frame"]).encode() for row in ordered]
    guessed, told = parse_kalshi(*payloads), parse_kalshi(*payloads, use_yes_price=True)
    resets = [
        [action for message in found for action in message.actions if isinstance(action, Reset)]
        for found in (guessed, told)
    ]
    assert len(resets[1]) == len(ordered)
    if name.startswith("prod"):
        assert resets[0] == resets[1]
    for reset in resets[1]:
        if reset.bids and reset.asks and name.startswith("prod"):
            assert max(reset.bids)[0] < min(reset.asks)[0]


def test_yes_scale_equals_the_tickers(recordings):
    """The books' tops of the yes-scale capture are those that its tickers tell a second later."""
    path = recordings / "kalshi/ws_evidence/prod_20260820_12markets_600s_capture.json"
    samples = json.loads(text(path))["wire"]["frame_samples_by_type"]
    tops = {}
    for row in samples["orderbook_snapshot"]:
        msg = row["frame"]["msg"]
        best = [msg.get(side, [[None]])[-1][0] for side in ("yes_dollars_fp", "no_dollars_fp")]
        tops[msg["market_ticker"]] = best
    run = Feed(Wire.KALSHI_SOCKET).send(*(row["frame"] for row in samples["orderbook_snapshot"]))
    for ticker, (bid, ask) in tops.items():
        assert run.tops(QUOTES, kal(ticker))[-1][:2] == (bid and float(bid), ask and float(ask))
    agreed = 0
    for row in samples["ticker"]:
        msg = row["frame"]["msg"]
        if msg["market_ticker"] in tops:
            top = run.tops(QUOTES, kal(msg["market_ticker"]))[-1]
            agreed += top[:2] == (float(msg["yes_bid_dollars"]), float(msg["yes_ask_dollars"]))
    assert agreed >= len(samples["ticker"]) - 1  # one market's bid came in between


def test_transition_and_quoted_frames(recordings):
    """Frames of the months between cents and dollars, and those quoted from elsewhere, all parse."""
    for name in ("prod_20260212_ticker_transition_shape", "quoted_frames_legacy_and_lifecycle"):
        for line in text(recordings / f"kalshi/ws_frames/{name}.jsonl").splitlines():
            message = parse_kalshi(line, at=own_time(line) or START)[0]
            assert message.outcome is not Outcome.DEAD, message.reason
    for line in text(recordings / "kalshi/ws_frames/prod_20260212_ticker_transition_shape.jsonl").splitlines():
        msg = json.loads(line)["msg"]
        top = next(action for action in parse_kalshi(line)[0].actions if isinstance(action, Top))
        assert (top.bid or 0) == msg["yes_bid"] * 10_000
        assert (top.ask or 1_000_000) == msg["yes_ask"] * 10_000


# --- Polymarket ----------------------------------------------------------------------------------


def test_embedded_best_is_the_quote(recordings):
    """Live frames without a dump: each row is the message's own best prices; a size is null where no level is known."""
    path = recordings / "polymarket/exactarb_ws_frames_20260924_80_110.jsonl"
    run, first, levels, last, expected = Run(path), {}, {}, {}, []
    for number, row in enumerate(json_lines(path)):
        frame = json.loads(row["payload"])
        market = frame["market"]
        elements = frame.get("price_changes", [frame])
        top = None
        for element in elements:
            token = element["asset_id"]
            is_first = first.setdefault(market, token) == token
            bid, ask = (round(float(element[side]) * 1_000) for side in ("best_bid", "best_ask"))
            top = (bid, ask) if is_first else (1_000 - ask, 1_000 - bid)
            if "side" in element:
                price = round(float(element["price"]) * 1_000)
                key = (market, (element["side"] == "BUY") is is_first, price if is_first else 1_000 - price)
                levels[key] = float(element["size"])
        sizes = (levels.get((market, True, top[0])) or None, levels.get((market, False, top[1])) or None)
        whole = (top[0] / 1_000, top[1] / 1_000, *sizes)
        if last.get(market) != whole:
            last[market] = whole
            expected.append((number, poly(market), *whole))
    assert run.quotes() == expected
    assert run.frames == 31
    assert any(None in row for row in expected)
    run.require_sound()


def test_pairs_of_rest_books_fold(recordings):
    """Five markets' books for both tokens: the second token's, folded, is the first token's, level by level."""
    found = parse_polymarket(text(recordings / "polymarket/trebuchet_clob_books_batch.json"), wire=Wire.CLOB_BOOKS)
    resets = [message.actions[-1] for message in found]
    pairs: dict[int, list[Reset]] = {}
    for reset in resets:
        pairs.setdefault(reset.market, []).append(reset)
    assert [len(pair) for pair in pairs.values()] == [2] * 5
    for first, second in pairs.values():
        assert sorted(first.bids) == sorted(second.bids)
        assert sorted(first.asks) == sorted(second.asks)
        assert max(first.bids)[0] < min(first.asks)[0]


def test_captured_dump(recordings):
    """A captured dump: the rebuilt book holds the recorded levels, and its quote is the best of them."""
    raw = text(recordings / "polymarket/nautilus_ws_book_snapshot_captured.json")
    frame = json.loads(raw)
    reset = next(action for action in parse_polymarket(raw)[0].actions if isinstance(action, Reset))
    for side, levels in (("bids", reset.bids), ("asks", reset.asks)):
        assert [(at / 1e6, size / 1e6) for at, size in levels] == [
            (float(o["price"]), float(o["size"])) for o in frame[side]
        ]
    run = Feed(Wire.POLYMARKET_SOCKET).send(raw)
    bid = max(frame["bids"], key=lambda level: float(level["price"]))
    ask = min(frame["asks"], key=lambda level: float(level["price"]))
    assert run.tops(QUOTES) == [(float(bid["price"]), float(ask["price"]), float(bid["size"]), float(ask["size"]))]


def test_frames_of_others_tests(recordings):
    """Frames of every kind and age from other projects parse; only those without a kind are ignored."""
    for path in sorted((recordings / "polymarket").glob("nautilus*ws_*.json")):
        kinds = {
            message.kind if message.outcome is Outcome.IGNORED else message.outcome
            for message in parse_polymarket(text(path), at=own_time(text(path)) or START)
        }
        assert kinds <= {Outcome.APPLIED, "no_event_type"}, path.name
    frames = json.loads(text(recordings / "polymarket/tardis_clob_ws_messages.json"))
    payloads = [json.dumps(frame).encode() for frame in frames]
    found = parse_polymarket(*payloads, at=max(own_time(raw) or 0 for raw in payloads))
    assert Counter(message.outcome.value for message in found)["dead"] == 0
    resolved = parse_polymarket(text(recordings / "polymarket/rsclob_pr212_ws_market_resolved_real.json"))[0]
    assert resolved.actions[-1].fields["result"] == "Up"


GAMMA = (
    "perryboer_gamma_markets_active", "trebuchet_gamma_event_fed_june", "nautilus_gamma_event", "nautilus_gamma_market",
    "nautilus_gamma_market_closed_binary_accepting_false", "nautilus_gamma_market_closed_nonbinary_legacy",
    "nautilus_gamma_market_sports_market_money_line", "nautilus_search_response",
)  # fmt: skip


def gamma_markets(value: Any) -> Iterator[dict[str, Any]]:
    """Every market of an answer, wherever it stands, as its raw object."""
    if isinstance(value, dict):
        if "conditionId" in value:
            yield value
        for inner in value.values():
            yield from gamma_markets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from gamma_markets(inner)


def require_gamma(body: Any) -> int:
    """Nothing is dead, and every binary market's names, tokens, quote and figures are those of the raw object."""
    messages = parse_polymarket(json.dumps(body).encode(), wire=Wire.GAMMA)
    assert [message.reason for message in messages if message.outcome is Outcome.DEAD] == []
    actions = [action for message in messages for action in message.actions]
    fields = {action.market: action.fields for action in actions if isinstance(action, MarketUpdate)}
    tops = {action.market: action for action in actions if isinstance(action, Top)}
    stats = {action.market: action for action in actions if isinstance(action, Stats)}
    checked = 0
    for raw in gamma_markets(body):
        outcomes = json.loads(raw.get("outcomes") or "[]")
        if len(outcomes) != 2:
            continue
        key, checked = poly(raw["conditionId"]), checked + 1
        assert fields[key]["outcomes"] == outcomes
        if raw.get("clobTokenIds"):
            assert fields[key]["outcome_token_ids"] == json.loads(raw["clobTokenIds"])
        if raw.get("closed"):
            assert key not in tops
            assert fields[key]["status"] in ("closed", "resolved")
            prices = json.loads(raw["outcomePrices"])
            if sorted(prices) == ["0", "1"]:
                assert fields[key]["result"] == outcomes[prices.index("1")]
            continue
        if "bestAsk" in raw:
            bid, ask = raw.get("bestBid"), raw["bestAsk"]
            assert (tops[key].bid or 0) == round((bid or 0) * 1e6)
            assert (tops[key].ask or 1_000_000) == round(ask * 1e6) or ask in (0, 1)
        if "volume24hr" in raw:
            assert stats[key].volume_24h_usd == raw["volume24hr"]
    return checked


@pytest.mark.parametrize("name", GAMMA)
def test_gamma(recordings, name):
    """Catalogue answers, open and closed, parse with nothing dead and everything in its place."""
    assert require_gamma(json.loads(text(recordings / f"polymarket/{name}.json"))) >= 1


def test_gamma_of_a_resolved_series(recordings):
    """195 resolved up/down markets: the series follows "Up", and each has its winner."""
    rows = list(json_lines(recordings / "polymarket/ligengxin_gamma_btc5m_markets_20260724_part1.jsonl"))
    assert require_gamma([row["raw"] for row in rows]) == len(rows) == 195
    found = parse_polymarket(json.dumps([row["raw"] for row in rows]).encode(), wire=Wire.GAMMA)
    for row, message in zip(rows, found, strict=True):
        fields = next(action.fields for action in message.actions if isinstance(action, MarketUpdate))
        assert fields["outcomes"] == ["Up", "Down"]
        assert fields["outcome_token_ids"] == row["token_ids"]
        assert fields["status"] == "resolved"
        assert fields["result"] == ["Up", "Down"][row["outcome_prices"].index("1")]


def test_gamma_wrapped(recordings):
    """A live 15-minute market: the first outcome is "Up"."""
    raw = json.loads(text(recordings / "polymarket/vinayak_gamma_market_btc15m_wrapped.json"))
    assert require_gamma(raw["raw_market"]) == 1


# --- Kalshi REST ---------------------------------------------------------------------------------

UNUSED = {"rest:unknown_answer", "rest:candlesticks", "rest:book_of_unnamed_market"}


def test_dual_answers(recordings):
    """Every answer of January 2026 is taken or is of a kind that no rule uses; none is dead."""
    taken = Counter()
    for path in sorted((recordings / "kalshi/rest_2026_01_dual").glob("*.json")):
        body = json.loads(text(path))["response"]
        for message in parse_kalshi(json.dumps(body).encode(), wire=Wire.KALSHI_REST):
            assert message.outcome is not Outcome.DEAD, (path.name, message.reason)
            assert message.outcome is Outcome.APPLIED or message.kind in UNUSED
            taken.update(type(action).__name__ for action in message.actions)
            for action in message.actions:
                if isinstance(action, Trade):
                    raw = next(trade for trade in body["trades"] if trade["trade_id"] == action.trade_id)
                    assert action.price == raw["yes_price"] * 10_000
                    assert action.size == raw["count"] * 1_000_000
    assert taken["Trade"] == 5
    assert taken["MarketUpdate"] > 10


@pytest.mark.parametrize(
    "name", ["events_sports_nested", "events_nfl_preseason", "combo_orderbooks", "combo_collections"]
)
def test_answers_of_2026(recordings, name):
    """Answers of August 2026 hold nothing dead; nested markets carry their own quotes."""
    body = json.loads(text(recordings / f"kalshi/rest_2026/{name}.json"))
    messages = parse_kalshi(json.dumps(body).encode(), wire=Wire.KALSHI_REST)
    assert [message.reason for message in messages if message.outcome is Outcome.DEAD] == []
    tops = {action.market: action for message in messages for action in message.actions if isinstance(action, Top)}
    events = body if isinstance(body, list) else body.get("events", [])
    for raw in (market for event in events for market in event.get("markets", [])):
        top = tops[kal(raw["ticker"])]
        assert (top.bid or 0) == round(float(raw["yes_bid_dollars"]) * 1e6)
        assert (top.ask or 1_000_000) == round(float(raw["yes_ask_dollars"]) * 1e6) or float(
            raw["yes_ask_dollars"]
        ) == 0


@pytest.mark.parametrize("name", ["rest_polls_20260710_crypto", "rest_sports_events_20260710"])
def test_polls(recordings, name):
    """Recorded polls: messages add up, nothing is dead, the last quote of a market is that of its last poll."""
    run = Run(recordings / "kalshi" / name)
    run.require_sound()
    assert run.rows(QUOTES).height > 100
    assert run.rows(DEAD_LETTERS).is_empty()


def test_bars_of_recordings(recordings, tmp_path):
    """Recordings that come in one by one: after each, the bars are those of computing everything anew."""
    lake, anew = (Store.create(tmp_path / name, Mode.REPLAY) for name in ("lake", "anew"))
    folders = ("kalshi/ws_frames", "polymarket")
    for folder in folders:
        for each in find(recordings / folder)[0][:3]:
            replay(each, lake)
        refresh_bars(lake)
    for folder in reversed(folders):
        for each in find(recordings / folder)[0][:3]:
            replay(each, anew)
    refresh_bars(anew, anew=True)
    found, expected = (s.scan(BARS).collect().sort("interval", "market_key", "bar_start") for s in (lake, anew))
    assert_frame_equal(found, expected, check_exact=True)
    assert found.height > 100
    assert not lake.scan(TRADES).collect().select(TRADES.key).is_duplicated().any()

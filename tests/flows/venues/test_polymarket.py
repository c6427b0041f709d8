"""Polymarket's market channel, from frames to actions and rows."""

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.venues.base import Change, Forget, Hole, MarketUpdate, Outcome, Reset, Top, Trade, Wire
from lake.schema import DEAD_LETTERS, GAPS, MARKETS, QUOTES, TRADES
from lake.vocab import Gap, Source, TakerSide
from tests.flows.feed import MARKET, NO, OTHER, OVER, UNDER, YES, Feed, frame, parse_polymarket, poly, value

SOCKET = Wire.POLYMARKET_SOCKET


def feed(*names: str) -> Feed:
    """A feed that knows the market's tokens, then takes these frames."""
    return Feed(SOCKET).named("polymarket/new_market", *(f"polymarket/{name}" for name in names))


def actions(*names: str, of: type) -> list:
    """Actions of one type that the last frame makes."""
    payloads = [frame(f"polymarket/{name}") for name in names]
    return [action for action in parse_polymarket(*payloads)[-1].actions if isinstance(action, of)]


def changed(*changes: dict, at: str = "1790000001000", market: str = MARKET) -> dict:
    return {"event_type": "price_change", "market": market, "timestamp": at, "price_changes": list(changes)}


def level(price: str, size: str, side: str, *best: str, token: str = YES, hash: str = "") -> dict:
    said = {"best_bid": best[0], "best_ask": best[1]} if best else {}
    return {"asset_id": token, "price": price, "size": size, "side": side, "hash": hash or f"h{price}{size}"} | said


def traded(token: str = YES, price: str = "0.52", side: str = "BUY", size: str = "10", **other: str) -> dict:
    said = {"event_type": "last_trade_price", "market": MARKET, "asset_id": token, "price": price, "size": size}
    return said | {"side": side, "timestamp": "1790000003000", "transaction_hash": "0xabc"} | other


# --- prices are prices ---------------------------------------------------------------------------


def test_far_bid_is_no_price():
    """A bid for 5 shares placed at 0.01 in a 0.50/0.52 book changes no price and writes no row."""
    run = feed("book_dump")
    before = run.tops(QUOTES)
    run.named("polymarket/price_change")
    assert before == run.tops(QUOTES) == [(0.50, 0.52, 100.0, 120.0)]


def test_best_bid_ask_is_flat():
    """The best prices of the flat `best_bid_ask` become a quote, sizes null where the level is not in the book."""
    assert feed("book_dump", "best_bid_ask").tops(QUOTES)[-1] == (0.51, 0.53, None, None)


def test_best_is_the_best_level_wherever_it_stands():
    """A 0.50/0.52 book whose best levels come last does not read 0.01/0.99; nor does one in any other order."""
    body = value("polymarket/book_dump")
    for order in (1, -1):
        body["bids"], body["asks"], body["hash"] = body["bids"][::order], body["asks"][::order], str(order)
        assert Feed(SOCKET).send(body).tops(QUOTES) == [(0.50, 0.52, 100.0, 120.0)]


def test_a_trade_moves_no_quote():
    """A trade is written as a trade; the quote beside it stands, spread and all."""
    run = feed("book_dump", "last_trade_price")
    assert len(run.rows(QUOTES)) == 1
    row = run.rows(TRADES)[0]
    assert (row["price"], row["size"], row["taker_side"]) == (0.52, 25.5, "buy")


def test_missing_price_is_null_and_never_a_half():
    """Empty sides, marked by 0 or an empty text, are null."""
    assert feed("best_bid_ask_empty").tops(QUOTES) == [(None, None, None, None)]
    assert feed("book_one_side").tops(QUOTES) == [(0.50, None, 100.0, None)]


@pytest.mark.parametrize("listing", ["new_market_over_under", "new_market_teams"])
def test_series_follows_the_first_outcome(listing):
    """Over/Under and team names are two outcomes of one series, in the direction of the first, whoever speaks."""
    best = {"event_type": "best_bid_ask", "market": OTHER, "timestamp": "1790000002000", "spread": "0.02"}
    run = Feed(SOCKET).named(f"polymarket/{listing}")
    run.send(best | {"asset_id": UNDER, "best_bid": "0.30", "best_ask": "0.33"})
    run.send(best | {"asset_id": OVER, "best_bid": "0.66", "best_ask": "0.69"})
    assert [top[:2] for top in run.tops(QUOTES)] == [(0.67, 0.70), (0.66, 0.69)]
    assert {row["market_key"] for row in run.rows(QUOTES)} == {poly(OTHER)}
    assert run.rows(MARKETS)[-1]["outcomes"] == value(f"polymarket/{listing}")["outcomes"]


def test_time_of_the_event_is_the_venues():
    """Rows carry the frame's own time beside that of receipt; a dump is as of its receipt."""
    run = feed("book_dump", "best_bid_ask", "book_refresh")
    dump, best, refresh = run.rows(QUOTES)
    assert dump["event_time"] == dump["received_time"]
    assert best["event_time"].timestamp() == 1_790_000_002
    assert best["received_time"].timestamp() == 1_790_000_003
    assert refresh["event_time"].timestamp() == 1_790_000_005


# --- both tokens, one series ---------------------------------------------------------------------


def test_second_tokens_book_is_the_firsts_mirror():
    """Folding the second token's book gives the levels of the first token's."""
    first, second = (
        actions("new_market", "book_dump", of=Reset),
        actions("new_market", "book_dump_second_token", of=Reset),
    )
    assert sorted(first[0].bids) == sorted(second[0].bids)
    assert sorted(first[0].asks) == sorted(second[0].asks)


def test_mirror_writes_nothing_new():
    """A market seen in both tokens' streams makes the rows of one."""
    one = feed("book_dump", "best_bid_ask", "last_trade_price")
    both = feed("book_dump", "book_dump_second_token", "best_bid_ask", "best_bid_ask_second_token")
    both.named("polymarket/last_trade_price", "polymarket/last_trade_price_second_token")
    assert one.tops(QUOTES) == both.tops(QUOTES)
    assert len(both.rows(TRADES)) == len(one.rows(TRADES)) == 1


prices = st.integers(1, 99).map(lambda cent: f"{cent / 100:.2f}")
sizes = st.sampled_from(["0", "5", "12.5", "300"])
changes_ = st.lists(st.tuples(prices, sizes, st.sampled_from(["BUY", "SELL"]), prices, prices), min_size=1, max_size=4)


@given(changes_, st.booleans())
def test_complement_folds_to_its_mirror(changes, has_best):
    """A change told of the second token at 1 - p, the other side, equals that change told of the first."""
    other = {"BUY": "SELL", "SELL": "BUY"}

    def flip(price):
        return f"{1 - float(price):.2f}"

    firsts = [level(p, s, side, *((bid, ask) if has_best else ())) for p, s, side, bid, ask in changes]
    seconds = [
        level(flip(p), s, other[side], *((flip(ask), flip(bid)) if has_best else ()), token=NO)
        for p, s, side, bid, ask in changes
    ]
    known = frame("polymarket/new_market")
    first, second = (
        parse_polymarket(known, json.dumps(changed(*some)).encode())[-1].actions for some in (firsts, seconds)
    )
    assert first == second


@pytest.mark.parametrize("tokens", ["ABAB", "AABB", "ABBA", "BBAA", "BABA", "AAABBB"])
def test_fill_printed_on_both_tokens_counts_once(tokens):
    """Equal fills of one transaction, each printed on both tokens in any order, are half as many trades as prints."""
    run = feed("book_dump")
    for token in tokens:
        run.send(traded() if token == "A" else traded(NO, "0.48", "SELL"))
    rows = run.rows(TRADES)
    assert len(rows) == len(tokens) // 2
    assert {(row["price"], row["taker_side"]) for row in rows} == {(0.52, "buy")}
    assert len({row["trade_id"] for row in rows}) == len(rows)


def test_trade_on_the_second_token_alone():
    """A trade that is printed on the second token only is folded: price 1 - p, the taker's side turned."""
    run = feed("book_dump", "last_trade_price_second_token")
    row = run.rows(TRADES)[0]
    assert (row["price"], row["size"], row["taker_side"]) == (0.52, 25.5, "buy")


def test_fill_ordinal():
    """Equal fills of one transaction on one token are as many trades, each with its own id."""
    run = feed("book_dump").send(*[traded()] * 3)
    ids = [row["trade_id"] for row in run.rows(TRADES)]
    assert len(set(ids)) == 3


def test_second_connection_repeats_no_trade():
    """What another connection prints again is a duplicate, each fill counted alike; a third fill there is new."""
    run = feed("book_dump").send(*[traded()] * 2).send(*[traded()] * 3, connection="d")
    assert len(run.rows(TRADES)) == 3
    run.finish()
    assert run.pipeline.counts.outcomes[Outcome.DUPLICATE] == 2


def test_trades_without_a_hash():
    """Without a transaction's hash the fill's own figures and its ordinal name it, the same after a reconnect."""
    print_ = {key: text for key, text in traded().items() if key != "transaction_hash"}
    run = feed("book_dump").send(print_, print_ | {"size": "11"}, print_)
    run.opened().send(print_, print_)
    ids = [row["trade_id"] for row in run.rows(TRADES)]
    assert len(set(ids)) == len(ids) == 3


@pytest.mark.parametrize(("side", "size"), [("HOLD", "10"), ("", "10"), ("BUY", "0"), ("BUY", "-1")])
def test_trade_out_of_its_domain(side, size):
    """A trade of no size, or of no known side, is dead: never a buy by default, never 0."""
    assert parse_polymarket(json.dumps(traded(side=side, size=size)).encode())[0].outcome is Outcome.DEAD


# --- books ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["price_change_changes", "price_change_flat"])
def test_old_shapes_read_the_book(name):
    """The shapes of before September 2025 change levels of a known book."""
    tops = feed("book_dump", name).tops(QUOTES)
    expected = {"price_change_changes": (0.51, 0.52, 30.0, 120.0), "price_change_flat": (0.50, 0.514, 100.0, 21.08)}
    assert tops[-1] == expected[name]


@pytest.mark.parametrize("name", ["price_change_changes", "price_change_flat"])
def test_single_levels_are_no_top(name):
    """Level changes without a whole book and without the venue's own best prices tell no price."""
    run = feed(name).finish()
    assert run.tops(QUOTES) == []
    assert run.pipeline.counts.ignored == {"change:no_book": 1}


def test_levels_after_a_reconnect_wait_for_the_book():
    """After a reconnect single levels tell no price until the new book has come."""
    run = feed("book_dump").opened().named("polymarket/price_change_changes")
    assert len(run.tops(QUOTES)) == 1
    run.named("polymarket/book_dump")
    assert run.tops(QUOTES)[-1] == (0.50, 0.52, 100.0, 120.0)


def test_books_of_2023():
    """Sides called `buys` and `sells` are read."""
    assert feed("book_of_2023").tops(QUOTES) == [(0.50, 0.52, 100.0, 120.0)]


def test_best_of_the_message_itself():
    """One match in several messages with one hash: each says the final best, so no row is crossed, or of a level."""
    run = feed("book_dump")
    match = {"hash": "m-1"}
    run.send(changed(level("0.53", "7", "BUY", "0.53", "0.55", **match)), step=0.001)
    run.send(changed(level("0.52", "0", "SELL", "0.53", "0.55", **match)), step=0.001)
    assert run.tops(QUOTES)[1:] == [(0.53, 0.55, 7.0, 80.0)]


def test_new_grid_leaves_no_artefact():
    """Tick size 0.01 -> 0.001 at 0.96 voids the levels, writes no row, and the next book is taken."""
    run = feed()
    book = {"event_type": "book", "market": MARKET, "asset_id": YES, "timestamp": "1790000000500", "hash": "g"}
    sides = {"bids": [{"price": "0.95", "size": "10"}], "asks": [{"price": "0.97", "size": "10"}]}
    run.send(book | sides, frame("polymarket/tick_size_change"))
    assert len(run.tops(QUOTES)) == 1
    run.send(changed(level("0.9650", "3", "BUY", "0.965", "0.969"), at="1790000004500"))
    assert run.tops(QUOTES)[1:] == [(0.965, 0.969, 3.0, None)]
    finer = {"bids": [{"price": "0.965", "size": "3"}], "asks": [{"price": "0.969", "size": "9"}]}
    run.send(book | finer | {"hash": "k", "timestamp": "1790000005000"})
    assert run.tops(QUOTES)[2:] == [(0.965, 0.969, 3.0, 9.0)]
    assert run.rows(MARKETS)[-1]["tick_size"] == 0.001
    assert run.rows(GAPS) == []


def test_same_book_after_a_new_grid():
    """The very book of before is no repeat after a new grid: it is what the levels are rebuilt from."""
    run = feed("book_dump", "tick_size_change", "book_dump", "price_change_changes")
    assert run.tops(QUOTES)[-1] == (0.51, 0.52, 30.0, 120.0)


def test_tokens_of_two_markets_in_one_change():
    """A change that names tokens of two markets is dead and touches neither book."""
    known = [frame("polymarket/new_market"), frame("polymarket/new_market_over_under")]
    odd = changed(level("0.4", "5", "BUY", "0.4", "0.5"), level("0.4", "5", "BUY", "0.4", "0.5", token=OVER))
    assert parse_polymarket(*known, json.dumps(odd).encode())[-1].outcome is Outcome.DEAD


# --- repeats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["book_dump", "book_refresh", "price_change", "price_change_changes"])
def test_same_frame_again_is_a_duplicate(name):
    """A frame that is sent twice counts as a duplicate and writes nothing."""
    payloads = [frame("polymarket/new_market"), frame("polymarket/book_refresh"), *[frame(f"polymarket/{name}")] * 2]
    assert parse_polymarket(*payloads)[-1].outcome is Outcome.DUPLICATE


def test_equal_hash_alone_is_no_duplicate():
    """Several changes of one match share timestamp and hash: only what was said last of a level is a repeat."""
    first, second = changed(level("0.49", "5", "BUY", hash="m")), changed(level("0.49", "6", "BUY", hash="m"))
    payloads = [json.dumps(body).encode() for body in (first, second, first, first)]
    found = parse_polymarket(frame("polymarket/new_market"), frame("polymarket/book_dump"), *payloads)
    assert [message.outcome.value for message in found[2:]] == ["applied", "applied", "applied", "duplicate"]


def test_book_comes_again_after_a_reconnect():
    """A new connection starts with the book it had: that is a book, not a duplicate."""
    run = feed("book_dump").opened().named("polymarket/book_dump")
    assert len(run.tops(QUOTES)) == 2
    assert [row["reason"] for row in run.rows(GAPS)] == [Gap.DISCONNECTED]


# --- frames that are not as they should be -------------------------------------------------------


def test_one_bad_element_loses_no_other():
    """Of an array's four elements the broken one is dead, the unknown one ignored, both books are taken."""
    found = parse_polymarket(frame("polymarket/array"))
    assert [message.outcome.value for message in found] == ["applied", "dead", "ignored", "applied"]
    assert json.loads(found[1].raw) == value("polymarket/array")[1]


@pytest.mark.parametrize("bad", [b'{"event_type":"book","market":"\xff"}', b"null", b"17", b'"PONG"', b"[[]]"])
def test_any_bad_element_loses_no_other(bad):
    """Whatever one element is, its neighbours are taken."""
    book = frame("polymarket/book_dump")
    found = parse_polymarket(b"[" + bad + b"," + book + b"]")
    assert [message.outcome.value for message in found] == ["dead", "applied"]
    assert found[0].raw == bad


def test_empty_array_holds_no_message():
    """`[]` is a frame without a message."""
    assert parse_polymarket(frame("polymarket/array_empty")) == []


def test_glued_documents():
    """Documents in one text frame count one by one; an unreadable rest is dead and loses none before it."""
    glued = frame("polymarket/glued")
    assert [m.outcome.value for m in parse_polymarket(glued)] == ["applied", "applied"]
    for rest in (b'{"event_type":"bo', b"[NaN]", b"\xff", b'{"n":' + b"9" * 5000 + b"}"):
        found = parse_polymarket(glued + rest)
        assert [m.outcome.value for m in found[:2]] == ["applied", "applied"]
        assert [m.outcome for m in found[2:]] in ([Outcome.DEAD], [Outcome.IGNORED])


def test_heartbeat_and_sports():
    """`PONG` and frames without `event_type` are ignored by kind."""
    found = parse_polymarket(frame("polymarket/pong"), frame("polymarket/sports"))
    assert [(m.outcome.value, m.kind) for m in found] == [("ignored", "pong"), ("ignored", "no_event_type")]


def test_unknown_kind_is_ignored_and_counted():
    """A kind that no rule knows is counted by its name; nothing is dead."""
    run = feed().send({"event_type": "whale_alert", "market": MARKET}, {"event_type": "whale_alert"}).finish()
    assert run.pipeline.counts.ignored == {"unknown:whale_alert": 2}
    assert run.rows(DEAD_LETTERS) == []


def test_new_field_is_no_trouble():
    """Fields that no one knows change nothing."""
    body = value("polymarket/best_bid_ask") | {"novelty": {"deep": [1, 2, {"x": None}]}}
    assert parse_polymarket(json.dumps(body).encode())[0].outcome is Outcome.APPLIED


HOSTILE = [
    b"", b" ", b"{", b"}", b"nul", b"INVALID OPERATION", b"\xff\xfe", b'{"event_type":"book"', b"[", b"\x00",
    b'{"event_type":"book","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"event_type":"best_bid_ask","market":"\xff","asset_id":"1","best_bid":"0.1","best_ask":"0.2","timestamp":"1"}',
    b'{"event_type":"best_bid_ask","market":"\\ud800","asset_id":"1","best_bid":"0.1","best_ask":"0.2","timestamp":"1"}',
]  # fmt: skip


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: payload[:20].hex())
def test_unreadable_frame_is_dead_and_kept(payload):
    """Bytes that are no frame make one dead message that keeps them, and no error."""
    run = Feed(SOCKET).send(payload).finish()
    letter = run.rows(DEAD_LETTERS)[0]
    assert run.pipeline.counts.messages == 1
    assert letter["frame"] == payload
    assert letter["reason"]


BAD_VALUES = ["-0.1", "1.2", "55", "NaN", "1e400", "1e9999999999", "x", "9" * 5000, None, 0.5, True, [], {}]


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: repr(bad)[:12])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("best_bid_ask", "best_bid"),
        ("last_trade_price", "price"),
        ("book_refresh", "bids.0.price"),
        ("price_change", "price_changes.0.price"),
        ("last_trade_price", "timestamp"),
    ],
)
def test_value_outside_its_domain(name, path, bad):
    """A required field that is missing, of another type or outside its domain makes the message dead, clamped never."""
    body = deepcopy(value(f"polymarket/{name}"))
    *way, last = path.split(".")
    holder = body
    for step in way:
        holder = holder[int(step) if step.isdecimal() else step]
    holder[last] = bad
    if path == "timestamp" and bad == "55":
        return
    found = parse_polymarket(frame("polymarket/new_market"), json.dumps(body).encode())[-1]
    assert found.outcome is Outcome.DEAD
    del holder[last]
    assert parse_polymarket(json.dumps(body).encode())[-1].outcome is Outcome.DEAD


# --- metadata ------------------------------------------------------------------------------------


def test_listing():
    """A listing becomes the market's metadata: names, tokens, topic, grid."""
    row = feed().rows(MARKETS)[0]
    assert row["market_id"] == f"polymarket:{MARKET}"
    assert row["title"] == "Will the Halcyon Bridge reopen before June?"
    assert (row["outcomes"], row["outcome_token_ids"]) == (["Yes", "No"], [YES, NO])
    assert (row["status"], row["tick_size"], row["category"]) == ("active", 0.01, "Politics")
    assert row["event_id"] == "polymarket:77001"


def test_listing_on_every_connection_is_one_version():
    """The same announcement again makes no new row."""
    assert len(feed("new_market").rows(MARKETS)) == 1


def test_result():
    """A result names the winning outcome and closes the market's life; the tokens stay as they were."""
    row = feed("market_resolved").rows(MARKETS)[-1]
    assert (row["status"], row["result"], row["outcome_token_ids"]) == ("resolved", "No", [YES, NO])


def test_winner_of_another_market():
    """A winner that is none of the market's tokens is dead."""
    body = value("polymarket/market_resolved") | {"winning_asset_id": OVER}
    found = parse_polymarket(frame("polymarket/new_market"), json.dumps(body).encode())
    assert found[-1].outcome is Outcome.DEAD


def test_placeholder_that_stood_the_other_way_round():
    """A market first heard of by its second token is turned when the listing comes: a hole, then the true direction."""
    found = parse_polymarket(frame("polymarket/book_dump_second_token"), frame("polymarket/new_market"))
    assert [type(action) for action in found[1].actions] == [Hole, Forget, MarketUpdate]
    run = Feed(SOCKET).named("polymarket/book_dump_second_token", "polymarket/new_market", "polymarket/book_dump")
    assert run.tops(QUOTES) == [(0.48, 0.50, 120.0, 100.0), (0.50, 0.52, 100.0, 120.0)]
    assert [row["reason"] for row in run.rows(GAPS)] == [Gap.DIRECTION_CHANGED]


def test_one_version_a_frame():
    """However much one frame says of a market, it makes at most one version of it."""
    run = Feed(SOCKET).named("polymarket/array")
    assert len(run.rows(MARKETS)) == 1
    assert run.rows(MARKETS)[0]["outcome_token_ids"] == [YES, NO]


def test_third_token():
    """A token that is none of a market's two is dead."""
    body = value("polymarket/best_bid_ask") | {"asset_id": OVER}
    assert parse_polymarket(frame("polymarket/new_market"), json.dumps(body).encode())[-1].outcome is Outcome.DEAD


def test_actions_are_typed():
    """Each kind becomes its action, in integers and in the direction of the first outcome."""
    best = actions("new_market", "best_bid_ask_second_token", of=Top)[0]
    assert (best.bid, best.ask, best.source) == (510_000, 530_000, Source.BOOK)
    change = actions("new_market", "price_change", of=Change)[0]
    assert change.levels == [(True, 10_000, 5_000_000), (True, 10_000, 5_000_000)]
    assert change.best == (500_000, 520_000)
    trade = actions("new_market", "last_trade_price", of=Trade)[0]
    assert (trade.price, trade.size, trade.taker_side) == (520_000, 25_500_000, TakerSide.BUY)


# --- the tape of past trades ---------------------------------------------------------------------


TAPE = Wire.POLYMARKET_TRADES


def told(token: str = YES, price: float = 0.52, side: str = "BUY", **other: object) -> dict:
    said = {"proxyWallet": "0x1", "asset": token, "conditionId": MARKET, "size": 10, "price": price, "side": side}
    return said | {"timestamp": 1_790_000_003, "transactionHash": "0xabc", "title": "$x$"} | other


def test_the_tape_tells_trades_as_the_socket_does():
    """Price, size, side and id are those of the socket's print, on either token; the time is cut to the second."""
    for token, price, side in ((YES, "0.52", "BUY"), (NO, "0.48", "SELL"), (NO, "0.37", "BUY")):
        [live] = feed().send(traded(token, price, side)).rows(TRADES)
        [past] = feed().send([told(token, float(price), side)], wire=TAPE).rows(TRADES)
        same = ("market_key", "trade_id", "price", "size", "taker_side")
        assert [live[name] for name in same] == [past[name] for name in same]


def test_fills_of_one_transaction_are_counted_from_the_oldest():
    """A page is newest first: its last row is the transaction's first fill; both sides of a market are told apart."""
    page = [told(size=3), told(size=2), told(NO, 0.48, "SELL", size=4), told(size=1)]
    rows = feed().send(page, wire=TAPE).rows(TRADES)
    found = {row["size"]: row["trade_id"].partition("-")[2] for row in rows}
    assert found == {1: f"{YES[-6:]}-1", 2: f"{YES[-6:]}-2", 3: f"{YES[-6:]}-3", 4: f"{NO[-6:]}-1"}


def test_many_decimals_of_an_average():
    """A price that is the mean of several is taken to the sixth decimal."""
    [row] = feed().send([told(price=0.2972581967)], wire=TAPE).rows(TRADES)
    assert row["price"] == 0.297258


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"price": 1.2}, "outside 0..1"),
        ({"price": "NaN"}, "out of range"),
        ({"size": 0}, "size 0"),
        ({"size": -1}, "negative"),
        ({"side": "HOLD"}, "neither BUY nor SELL"),
        ({"transactionHash": ""}, "transactionHash"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"timestamp": 10**14}, "outside the years"),
        ({"asset": "9" * 20}, "none of the two"),
    ],
)
def test_bad_rows_of_the_tape_are_dead(changed, reason):
    """One bad row is a dead letter with its reason; the rows beside it are taken."""
    run = feed().send([told() | changed, told(size=7)], wire=TAPE)
    assert [row["size"] for row in run.rows(TRADES)] == [7]
    [letter] = run.rows(DEAD_LETTERS)
    assert reason in letter["reason"]

"""Ways in which recorders wrap frames: whether a file is of one, and what it holds.

A format's `sniff` looks at a file's first value, its `read` yields the file's items. Trouble with a file's bytes, or
with a line that is not as its format wants, is one clear `RecordingError`.
"""

import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from flows.collector import tape
from flows.venues.base import Wire
from flows.venues.fields import LAST_US
from lake.clock import parse_time, to_us
from lake.errors import RecordingError

SUFFIXES: Final = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")


class Item(NamedTuple):
    """A recorded frame, or, with payload None, the opening of a connection."""

    received: int  # microseconds
    order: int  # among items of one instant
    connection: str
    wire: Wire
    payload: bytes | None


class Format(NamedTuple):
    """A way to wrap frames: `sniff` looks at a file's first value, `read` yields its items."""

    name: str
    is_in_parts: bool
    sniff: Callable[[Path, Any], bool]
    read: Callable[[Path], Iterator[Item]]
    is_ours: bool = False  # connections are named and subscribed as the collector does


class _EventLine(msgspec.Struct, gc=False):
    event_type: str
    local_recv_ns: int
    payload_json: msgspec.Raw
    sequence_number: int | None = None


class _PayloadLine(msgspec.Struct, gc=False):
    receive_wall_ms: int
    payload: str


class _CaptureLine(msgspec.Struct, gc=False):
    capture: str
    payload: msgspec.Raw


_EVENT_LINE: Final = msgspec.json.Decoder(_EventLine)
_PAYLOAD_LINE: Final = msgspec.json.Decoder(_PayloadLine)
_CAPTURE_LINE: Final = msgspec.json.Decoder(_CaptureLine)

_KALSHI: Final = Wire.KALSHI_SOCKET
_SIDS: Final = {"ticker": 1, "orderbook_delta": 2}
_CHANNELS: Final = {"orderbook_snapshot": "orderbook_delta", "orderbook_delta": "orderbook_delta", "ticker": "ticker"}


def _read_tape(path: Path) -> Iterator[Item]:
    """Our own captures. One that was killed ends within its last second."""
    lines = tape.lines(path) if path.suffix == ".gz" else _texts(path)
    found = tape.told(_values(path, lines, tape.LINE.decode))
    for place, (received, connection, wire, payload) in enumerate(found):
        yield Item(received, place, connection, wire, payload)


def _read_event_lines(path: Path) -> Iterator[Item]:
    """Kalshi sessions with a file a kind of event: `payload_json` is the frame's `msg`, the envelope is split off.

    The recorder's own rows (rotations, what it watched) are no frames of the venue.
    """
    for row in _lines(path, _EVENT_LINE.decode):
        received, number, payload = row.local_recv_ns // 1000, row.sequence_number, bytes(row.payload_json)
        if row.event_type == "ws_connected":
            yield Item(received, -2, _KALSHI.value, _KALSHI, None)
        elif row.event_type == "ws_subscribed":
            yield Item(received, -1, _KALSHI.value, _KALSHI, payload)
        elif row.event_type in _CHANNELS:
            sid = _SIDS[_CHANNELS[row.event_type]]
            seq = b"" if number is None else b'"seq":%d,' % number
            frame = b'{"type":"%s","sid":%d,%s"msg":%s}' % (row.event_type.encode(), sid, seq, payload)
            yield Item(received, number or 0, _KALSHI.value, _KALSHI, frame)


def _read_payload_lines(path: Path) -> Iterator[Item]:
    """Frames as text under `payload`, with `receive_wall_ms`."""
    wire = None
    for place, row in enumerate(_lines(path, _PAYLOAD_LINE.decode)):
        payload = row.payload.encode()
        wire = wire or _wire([payload])
        yield Item(row.receive_wall_ms * 1000, place, wire.value, wire, payload)


def _read_envelopes(path: Path) -> Iterator[Item]:
    """Frames under `frame` beside `received_ms` or `at`, anywhere in a document."""
    found = [
        (_when(row), int(row.get("ordinal", place)), json.dumps(row["frame"], separators=(",", ":")).encode())
        for place, row in enumerate(_envelopes(_document(path)))
    ]
    wire = _wire(payload for _, _, payload in found)
    for place, (received, _, payload) in enumerate(sorted(found, key=lambda row: row[:2])):
        yield Item(received, place, wire.value, wire, payload)


def _read_raw_frames(path: Path) -> Iterator[Item]:
    """Bare frames, one a line, or one document that is a frame or a list of them."""
    frames = list(_raw_frames(path))
    times = [own_time(frame) for frame in frames]
    received = next((time for time in times if time is not None), None)
    if received is None:
        raise RecordingError(f"{path}: its frames carry no time; record when each was received")
    wire = _wire(frames)
    for place, (payload, time) in enumerate(zip(frames, times, strict=True)):
        received = received if time is None else time
        yield Item(received, place, wire.value, wire, payload)


def _read_capture_lines(path: Path) -> Iterator[Item]:
    """REST answers of one event, one poll a line."""
    for place, row in enumerate(_lines(path, _CAPTURE_LINE.decode)):
        payload = bytes(row.payload)
        feed = _feed(_first_ticker(payload).rpartition("-")[0])  # each event is polled at its own pace
        yield Item(_capture_time(path, row.capture), place, feed, Wire.KALSHI_REST, payload)


def _read_capture_file(path: Path) -> Iterator[Item]:
    """One REST answer, its time in the file's name; the events of a series are polled at one pace."""
    payload = _bytes(path)
    feed = _feed(_first_ticker(payload).partition("-")[0])
    yield Item(_capture_time(path, path.name.partition("_")[0]), 0, feed, Wire.KALSHI_REST, payload)


def _read_book_polls(path: Path) -> Iterator[Item]:
    """REST order books, one poll a line."""
    for place, row in enumerate(_by_time(path)):
        answer = {"ticker": row["ticker"], "orderbook_fp": row["raw_orderbook"]}
        payload = json.dumps(answer, separators=(",", ":")).encode()
        yield Item(to_us(parse_time(row["captured_at"])), place, f"rest:{row['ticker']}", Wire.KALSHI_REST, payload)


def _read_pairs(path: Path) -> Iterator[Item]:
    """Best prices of the same question on both venues, one poll a line."""
    for place, row in enumerate(_by_time(path)):
        received, ours, theirs = to_us(parse_time(row["captured_at"])), row["kalshi"], row["polymarket"]
        title = f"{row.get('round', '')}: {row.get('team', '')}"
        kalshi = {
            "ticker": ours["ticker"],
            "title": title,
            "yes_bid_dollars": _dollars(ours["yes_bid"], "0"),
            "yes_ask_dollars": _dollars(ours["yes_ask"], "1"),
        }
        gamma = {"id": theirs["market_id"], "question": title, "events": [{"id": theirs["event_id"]}]}
        gamma |= {"bestBid": theirs["best_bid"], "bestAsk": theirs["best_ask"], "active": True}
        yield Item(received, 2 * place, "rest", Wire.KALSHI_REST, json.dumps(kalshi).encode())
        yield Item(received, 2 * place + 1, "gamma", Wire.GAMMA, json.dumps(gamma).encode())


def _read_answers(path: Path) -> Iterator[Item]:
    """A REST answer under `response`, or with its own keys, beside the time of its capture."""
    document = _document(path)
    body = document.get("response", document)
    yield Item(_answer_time(document), 0, "catalogue", Wire.KALSHI_REST, json.dumps(body).encode())


def _has(*keys: str) -> Callable[[Path, Any], bool]:
    return lambda _, value: isinstance(value, dict) and all(key in value for key in keys)


def _is_capture_file(path: Path, value: Any) -> bool:
    stamp = path.name.partition("_")[0]
    return isinstance(value, dict) and len(stamp) == 16 and stamp.endswith("Z") and stamp[8] == "T"


def _is_answer(_: Path, value: Any) -> bool:
    if not isinstance(value, dict) or _answer_time(value) == 0:
        return False
    body = value.get("response")
    if isinstance(body, dict):
        return bool(_ANSWERS & set(body))
    return any(isinstance(value.get(key), list) for key in _ANSWERS)


def _is_raw(_: Path, value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    first = first[0] if isinstance(first, list) and first else first
    return isinstance(first, dict) and ("event_type" in first or {"type", "msg"} <= set(first))


_ANSWERS: Final = frozenset(
    ("markets", "market", "events", "event", "series", "trades", "orderbook", "orderbook_fp", "orderbooks")
)

FORMATS: Final[Sequence[Format]] = (
    Format("tapes", True, _has("received_us", "connection"), _read_tape, is_ours=True),
    Format("event lines", True, _has("event_type", "local_recv_ns", "payload_json"), _read_event_lines),
    Format("payload lines", False, _has("receive_wall_ms", "payload"), _read_payload_lines),
    Format("capture lines", True, _has("capture", "payload"), _read_capture_lines),
    Format("capture files", True, _is_capture_file, _read_capture_file),
    Format("book polls", False, _has("captured_at", "ticker", "raw_orderbook"), _read_book_polls),
    Format("pairs", False, _has("captured_at", "kalshi", "polymarket"), _read_pairs),
    Format("raw frames", False, _is_raw, _read_raw_frames),
    Format("answers", False, _is_answer, _read_answers),
    Format("envelopes", False, lambda _, value: any(True for _ in _envelopes(value)), _read_envelopes),
)
"""In the order in which a file is tried."""


def format_of(path: Path) -> Format | None:
    """The format of a file; None for any other file. Raises `RecordingError` if a file cannot be read."""
    if not path.name.endswith(SUFFIXES):
        return None
    first = _first_value(path)
    return next((form for form in FORMATS if _fits(form, path, first)), None)


def _fits(form: Format, path: Path, first: Any) -> bool:
    """Whether the file is of that format; a value that the format does not know is none of it."""
    try:
        return form.sniff(path, first)
    except _ODD:
        return False


def _first_value(path: Path) -> Any:
    """The first line's value, or the whole document's where the first line is no value; None if neither is."""
    with _Errors(path):
        with _open(path) as file:
            line = file.readline()
        for read in (lambda: line, lambda: _bytes(path)):
            try:
                return json.loads(read())
            except (ValueError, RecursionError):
                continue
    return None


def guarded(path: Path, read: Callable[[Path], Iterator[Item]]) -> Iterator[Item]:
    """What `read` yields of the file. Raises `RecordingError`, naming the line, where it cannot go on."""
    with _Errors(path):
        for item in read(path):
            if not 0 <= item.received <= LAST_US:
                raise ValueError("a time is outside the years 1970 to 9999")
            yield item


# --- bytes -----------------------------------------------------------------------------------------


_ODD: Final = (
    ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError, msgspec.DecodeError
)  # fmt: skip
"""What a value of an unexpected form raises while it is read."""


class _Errors:
    """Trouble with a recording's bytes as one clear `RecordingError`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "_Errors":
        return self

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        where = getattr(exc, "__notes__", [f"{self.path}"])[0]
        if isinstance(exc, EOFError | gzip.BadGzipFile) or "decompress" in str(exc):
            raise RecordingError(f"{where}: is cut off or no gzip file ({exc}); copy the recording again") from exc
        if isinstance(exc, OSError):
            raise RecordingError(f"{where}: cannot be read: {exc.strerror or exc}; check the path") from exc
        if isinstance(exc, _ODD):
            reason = " ".join(str(exc).split())[:160]
            raise RecordingError(f"{where}: is not as its format wants ({reason}); is it whole?") from exc


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _bytes(path: Path) -> bytes:
    with _open(path) as file:
        return bytes(file.read())


def _lines(path: Path, decode: Callable[[bytes], Any]) -> Iterator[Any]:
    """The value of each line; an error carries the place of its line."""
    return _values(path, _texts(path), decode)


def _texts(path: Path) -> Iterator[bytes]:
    with _open(path) as file:
        yield from file


def _values(path: Path, lines: Iterable[bytes], decode: Callable[[bytes], Any]) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                value = decode(line)
            except (ValueError, RecursionError, msgspec.DecodeError) as exc:
                exc.add_note(f"{path}, line {number}")
                raise
            yield value


def _by_time(path: Path) -> list[Any]:
    """The lines of a tape of polls in order of receipt: several pollers may have written to it."""
    return sorted(_lines(path, json.loads), key=lambda row: parse_time(row["captured_at"]))


def _document(path: Path) -> Any:
    return json.loads(_bytes(path))


def _raw_frames(path: Path) -> Iterable[bytes]:
    text = _bytes(path)
    try:
        document = json.loads(text)
    except ValueError:
        return [line.strip() for line in text.splitlines() if line.strip()]
    frames = document if isinstance(document, list) else [document]
    return [json.dumps(frame, separators=(",", ":")).encode() for frame in frames]


def _envelopes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("frame"), dict) and ("received_ms" in value or "at" in value):
            yield value
        else:
            for item in value.values():
                yield from _envelopes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _envelopes(item)


def _when(row: dict[str, Any]) -> int:
    return int(row["received_ms"]) * 1000 if "received_ms" in row else to_us(parse_time(row["at"]))


class _Keys(msgspec.Struct, gc=False):
    event_type: object = None
    asset_id: object = None
    type: object = None
    msg: msgspec.Raw = msgspec.Raw()


_KEYS: Final = msgspec.json.Decoder(_Keys | list[_Keys])


def _wire(frames: Iterable[bytes]) -> Wire:
    """Whose socket these frames came off, by the first that shows it."""
    for frame in frames:
        try:
            found = _KEYS.decode(frame)
        except msgspec.DecodeError:
            continue
        for keys in found if isinstance(found, list) else [found]:
            if keys.event_type is not None or keys.asset_id is not None:
                return Wire.POLYMARKET_SOCKET
            if keys.type is not None and bytes(keys.msg):
                return Wire.KALSHI_SOCKET
    return Wire.POLYMARKET_SOCKET


def own_time(payload: bytes) -> int | None:
    """The venue's own time in a bare frame: milliseconds, or seconds."""
    try:
        value = json.loads(payload)
    except ValueError:
        return None
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return None
    inner = first.get("msg")
    body = inner if isinstance(inner, dict) else first
    for key, scale in (("timestamp", 1_000), ("ts_ms", 1_000), ("ts", 1_000_000)):
        text = str(body.get(key, ""))
        if text.isdecimal():
            return int(text) * scale
    return None


_FIRST_KEY: Final = re.compile(rb'\s*\{\s*"([A-Z0-9.-]{1,100})"')


def _feed(name: str) -> str:
    return f"rest:{name}" if name else "rest"


def _first_ticker(payload: bytes) -> str:
    """The first key of an answer by ticker; "" if it is none."""
    found = _FIRST_KEY.match(payload)
    return found[1].decode() if found else ""


def _capture_time(path: Path, stamp: str) -> int:
    try:
        return to_us(parse_time(stamp))
    except ValueError:
        raise RecordingError(f"{path}: {stamp!r} is no time of a capture, as in 20260710T092343Z") from None


def _answer_time(document: dict[str, Any]) -> int:
    """When an answer was captured; 0 if it does not say."""
    metadata = document.get("_metadata")
    text = metadata.get("recorded_at") if isinstance(metadata, dict) else document.get("captured_at")
    return to_us(parse_time(text)) if isinstance(text, str) else int(document.get("captured_ms", 0)) * 1000


def _dollars(value: float | None, empty: str) -> str:
    return empty if value is None else f"{value:.4f}"

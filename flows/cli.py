"""`movers`: the command line, and with `app` the one place where settings and the clock are read.

Errors that a person can act on are one line on standard error and exit code 2; anything else is a
fault of ours and shows its traceback. A command imports what it needs when it runs, so that help comes at once.
"""

from __future__ import annotations

import os
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from lake.errors import LakeMissing, MoversError, SettingError
from lake.text import safe_text

if TYPE_CHECKING:
    import asyncio

    from lake.settings import Settings
    from lake.store import Store

app = typer.Typer(
    name="movers",
    help="What just moved on Polymarket and Kalshi, is it real, and what was not seen.",
    epilog="Settings come from the environment and .env; .env.example explains each of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out = Console()
err = Console(stderr=True)

RUN, ASK, RECORDED = "Run", "Ask", "Recorded sessions"

LakeOption = Annotated[
    str | None, typer.Option("--lake", help="The lake: a folder, or s3://bucket/prefix. Default: that of the mode.")
]
ModeOption = Annotated[
    str | None, typer.Option("--mode", help="Whose lake to read: replay, live ... Default: COLLECTOR_MODE.")
]


@app.command(rich_help_panel=RUN)
def up(
    prefect: Annotated[bool, typer.Option(help="Run a Prefect server too; without it all goes on the same.")] = True,
) -> None:
    """Run everything until Ctrl-C: simulated venues (in that mode), collector, jobs, pages and a Prefect server.

    What falls is started again; what each process says is in data/logs. Ctrl-C drains, another one kills.

        movers up
        COLLECTOR_MODE=live movers up
    """
    from flows.up.run import run

    raise typer.Exit(run(_settings(), err, with_prefect=prefect))


@app.command(rich_help_panel=RUN)
def simulate(
    start: Annotated[str | None, typer.Option(help="UTC instant where its clock begins. Default: now.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and start give the same frames.")] = None,
    rate: Annotated[float | None, typer.Option(help="Messages a second, on average over a day.")] = None,
    markets: Annotated[int | None, typer.Option(help="Markets of both venues together.")] = None,
) -> None:
    """Be Polymarket and Kalshi on loopback, with an invented market world. Needs no key and no network.

    movers simulate --rate 2000
    movers simulate --seed 1 --start 2026-11-03T00:00:00Z
    """
    given: dict[str, Any] = {"simulator_seed": seed, "simulator_rate": rate, "simulator_markets": markets}
    config = _service_settings(**{name: value for name, value in given.items() if value is not None})
    begin = _instant(start, "--start") if start else None
    import asyncio

    from flows.simulator.service import simulate

    async def serve() -> None:
        await simulate(config, _stop_event(), start=begin, say=_log)

    asyncio.run(serve())


@app.command(rich_help_panel=RUN)
def fault(
    venue: Annotated[str, typer.Argument(help="polymarket or kalshi.")],
    kind: Annotated[str, typer.Argument(help="One of the kinds below; or list, or end.")],
    seconds: Annotated[float | None, typer.Option(help="How long. Default: until it is ended.")] = None,
    share: Annotated[float, typer.Option(help="Of the frames, names, handshakes or requests: 0 to 1.")] = 1.0,
    market: Annotated[str, typer.Option(help="A condition id or ticker. Default: every one.")] = "",
    connection: Annotated[int, typer.Option(help="Its number in /simulator/report. Default: every one.")] = 0,
    value: Annotated[float | None, typer.Option(help="Close code, status, seconds or MiB, as the kind has it.")] = None,
    retry_after: Annotated[float | None, typer.Option(help="Seconds of a Retry-After header.")] = None,
    dated: Annotated[bool, typer.Option("--dated", help="Write that header as an HTTP date.")] = False,
    path: Annotated[str, typer.Option(help="REST: only paths that begin so, as in /clob/books.")] = "",
    number: Annotated[int | None, typer.Option(help="With end: only the fault of that number.")] = None,
) -> None:
    """Tell a running simulated venue to misbehave. What each kind does: `movers fault polymarket list`.

    Connections: silence freeze close abort accept-then-close refuse lost-subscribe no-result terminate huge

    Messages: malformed bad-utf8 unknown-kind unknown-field missing-field wrong-type duplicate reorder hole clock

    REST: status html empty truncated bomb cut-json slow redirect

    News: pause close-date fee-update metadata tick-size

        movers fault polymarket silence --connection 1 --seconds 30
        movers fault kalshi freeze --market KXGAMEAA-26NOV270000-X0
        movers fault polymarket status --value 429 --retry-after 5 --path /gamma --share 0.2
        movers fault kalshi end
    """
    from flows.simulator import fault_client
    from lake.vocab import Venue

    if venue not in [each.value for each in Venue]:
        raise SettingError(f"venue {safe_text(venue)[:20]!r}: is neither polymarket nor kalshi")
    config, where = _settings(), Venue(venue)
    if kind == "list":
        found = fault_client.lasting(config, where)
        for name, about in found["kinds"].items():
            say(f"{name:18} {about}")
        word, faults = "lasts", found["faults"]
    elif kind == "end":
        word, faults = "ended", fault_client.end(config, where, number)["ended"]
    else:
        said = {
            "kind": kind, "seconds": seconds, "share": share, "market": market, "connection": connection,
            "value": value, "retry_after": retry_after, "is_dated": dated, "path": path,
        }  # fmt: skip
        word, faults = "begun", [fault_client.begin(config, where, said)]
    for each in faults:
        say(f"{word}: fault {each['number']}, {each['kind']}, {each['hits']} hits, since {each['start']}")


@app.command(rich_help_panel=RUN)
def collect() -> NoReturn:
    """Collect from the venues of COLLECTOR_MODE into the lake until stopped; what was received is written first."""
    config = _service_settings(with_prefect=True)
    from flows.collect import main

    raise typer.Exit(main(config))


@app.command(rich_help_panel=RUN)
def jobs() -> NoReturn:
    """Keep bars and boards up to date, each minute, and run what prefect.yaml schedules, until stopped."""
    config = _service_settings(with_prefect=True)
    from flows.serve import main

    raise typer.Exit(main(config))


@app.command(rich_help_panel=RUN)
def catalog() -> None:
    """Read what is due of the venues' catalogues into the lake: everything the first time, then what changed.

    A running collector does this by itself, and is left to it.
    """
    import asyncio

    from flows import show
    from flows.jobs.catalog import sync_catalog
    from lake.store import Store

    config = _settings()
    store = Store.create(config.lake_root, config.collector_mode)
    with show.catalogues(err) as progress:
        report = asyncio.run(sync_catalog(config, store, progress=progress, say=_log))
    say(str(report))
    if report.faults:
        raise typer.Exit(1)


@app.command(rich_help_panel=RUN)
def maintain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    confirm_deletions: Annotated[
        bool, typer.Option("--confirm-deletions", help="Delete even twice what the dates foretell.")
    ] = False,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Merge closed hours, days and months into one file each, and remove what is older than it is kept.

    `movers jobs` does it each hour. What is removed waits in _trash for TRASH_RETENTION_HOURS.

        movers maintain --dry-run
        movers maintain --mode live
    """
    from datetime import UTC, timedelta

    from flows import show
    from flows.jobs import maintenance
    from lake import retain

    config, store, now = _settings(mode=mode, lake=lake), _lake(mode, lake), datetime.now(UTC)
    keep = retain.kept(config.retention_days, config.raw_retention_hours)
    if dry_run:
        merges, report = maintenance.look_ahead(store, now, keep)
        out.print(show.upkeep(merges, report))
        return
    with show.progress(err) as bar:
        task = bar.add_task("merging", total=None)
        report = maintenance.maintain(
            store,
            now,
            keep,
            trash_age=timedelta(hours=config.trash_retention_hours),
            reserve=config.disk_reserve_bytes,
            confirmed=confirm_deletions,
            progress=lambda done, total, what: bar.update(task, completed=done, total=total, description=what),
        )
    out.print(Text(safe_text(str(report), 2_000)))
    if report.refused or report.faults:
        raise typer.Exit(1)


@app.command(rich_help_panel=RUN)
def backfill(
    since: Annotated[str, typer.Option(help="From when on: a UTC instant, or a look-back such as 6h.")],
    until: Annotated[str | None, typer.Option(help="Until when: a UTC instant. Default: now.")] = None,
    market: Annotated[
        list[str] | None, typer.Option(help="A market id, with or without its venue; may be given several times.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All markets that are followed, or were in that time.")
    ] = False,
    venue: Annotated[str | None, typer.Option(help="polymarket or kalshi. Default: both.")] = None,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Fill what the lake missed with the venues' own history and trades: the gaps on record first, then the rest.

    What is there already is not asked for, and nothing is stored twice: break it off and start it again at will.
    `movers jobs` does it each hour for the last day. Exit code 0: filled. 1: something could not be filled, it is said
    what and why. 2: it cannot be asked for.

        movers backfill --all --since 6h
        movers backfill --venue kalshi --all --since 2026-11-26T00:00:00Z --until 2026-11-26T12:00:00Z
        movers backfill --market kalshi:KXFED-26DEC-T3.75 --since 2d
    """
    import asyncio

    from flows import show
    from flows.jobs import backfill as job
    from lake.store import Store
    from lake.vocab import Venue

    if everything == bool(market):
        raise SettingError("backfill: give --market ID, once or more, or --all")
    if venue is not None and venue.lower() not in list(Venue):
        raise SettingError(f"--venue {venue}: use one of {', '.join(Venue)}")
    config = _settings(mode=mode, lake=lake)
    wanted = job.Wanted(
        since=_past(since),
        until=None if until is None else _instant(until, "--until"),
        venues=tuple(Venue) if venue is None else (Venue(venue.lower()),),
        markets=market or None,
    )
    store = Store.open(config.lake_root, config.collector_mode)
    with show.progress(err) as bar:
        tasks = {name: bar.add_task(name.value, total=None, visible=False) for name in Venue}
        try:
            report = asyncio.run(
                job.backfill(
                    config,
                    store,
                    wanted,
                    progress=lambda done, total, of: bar.update(tasks[of], completed=done, total=total, visible=True),
                )
            )
        except KeyboardInterrupt:
            say("broken off; what came in stays, and the same command goes on from there")
            raise typer.Exit(130) from None
    out.print(show.backfill(report), soft_wrap=True)
    if report.faults:
        raise typer.Exit(1)


@app.command("app", rich_help_panel=RUN)
def pages() -> None:
    """Serve the pages on 127.0.0.1, port APP_PORT, until stopped."""
    _settings()  # a wrong one is told here, in one line
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "app.main"])


@app.command(rich_help_panel=ASK)
def query(
    statement: Annotated[
        str, typer.Argument(metavar="[SQL]", help="One SELECT. Without it, the tables are listed.")
    ] = "",
    format: Annotated[
        str | None, typer.Option(help="table, csv or parquet. Default: by the suffix of --out, else table.")
    ] = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="Write to this file instead.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite that file.")] = False,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Ask the lake in SQL: its tables, and the original's views (snapshots, ohlc_1m, movers_cache and the rest).

    movers query "SELECT venue, count(*) FROM quotes GROUP BY venue"
    movers query "SELECT * FROM markets" --format csv --out markets.csv
    """
    from flows import show
    from lake import export, sql

    store = _lake(mode, lake)
    frame = sql.run(store, statement) if statement.strip() else sql.describe(store).drop("columns")
    if out_path is None and format in (None, "table"):
        out.print(show.frame(frame, out.width) if statement.strip() else show.names(frame))
        return
    text = export.write(frame, format, out_path, force=force)
    if text is None:
        say(f"{frame.height:,} rows written to {out_path}")
    else:
        sys.stdout.write(show.harmless(text) if sys.stdout.isatty() else text)


@app.command(rich_help_panel=ASK)
def top(
    window: Annotated[str, typer.Option(help="Look-back, as in 15m, 1h or 7d.")] = "1h",
    score: Annotated[str, typer.Option(help="classic or biggest.")] = "biggest",
    as_of: Annotated[str | None, typer.Option(help="UTC instant. Default: the newest in the lake.")] = None,
    venue: Annotated[str | None, typer.Option(help="polymarket or kalshi.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Rows to show.")] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="Markets that are settling too: their jump is no move.")
    ] = False,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Show the top movers of a window, now or at any instant of the lake.

    movers top --window 15m --as-of 2026-05-15T19:14:00Z
    """
    import polars as pl

    from flows import show
    from lake.query import Lake
    from lake.vocab import OVER

    reader = Lake(_lake(mode, lake))
    moment = _instant(as_of, "--as-of") if as_of else None
    found = reader.movers(window, score, moment, venue, limit=None)
    shown = found if everything else found.filter(~pl.col("status").is_in(OVER).fill_null(False))
    at = found["as_of"][0] if found.height else moment or reader.latest_time()
    notes = (
        [f"{found.height - shown.height} settling left out; --all shows them"] if found.height > shown.height else []
    )
    if shown.is_empty():
        verdicts = reader.moves_at(window, moment)["verdict"].value_counts(sort=True)
        notes += [
            ", ".join(f"{count} {show.VERDICTS[verdict]}" for verdict, count in verdicts.iter_rows()) or "no market"
        ]
    out.print(show.board(shown.head(limit), window, score, at, notes))


@app.command(rich_help_panel=ASK)
def verify(
    full: Annotated[bool, typer.Option("--full", help="Read every file to its last byte, compare every key.")] = False,
    seed: Annotated[int, typer.Option(help="Chooses which files are read if not all are.")] = 0,
    repair: Annotated[bool, typer.Option("--repair", help="Do what can be done about it; see docs/verify.md.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --repair: only say what it would do.")] = False,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Check the lake: every file, the ledger, what is missing and not on record. Changes nothing without --repair.

    Exit code 0: sound. 1: errors were found. 2: it could not be looked at.

        movers verify
        movers verify --full --lake data/live
        movers verify --repair --dry-run
    """
    from flows.verify import run

    if dry_run and not repair:
        raise SettingError("--dry-run: says what --repair would do; give both")
    store, config = _lake(mode, lake), _settings()
    raise typer.Exit(run(store, config, out, err, full=full, seed=seed, repair=repair, dry_run=dry_run))


@app.command(rich_help_panel=RECORDED)
def replay(
    path: Annotated[Path | None, typer.Argument(help="A recording, or a folder of recordings.")] = None,
    day: Annotated[str | None, typer.Option("--date", help="A day of a lake's own raw frames, YYYY-MM-DD.")] = None,
    into: Annotated[str | None, typer.Option(help="With --date: the lake to fill. Default: the replay lake.")] = None,
    speed: Annotated[str, typer.Option(help="Times the recorded pace, or max.")] = "max",
    lake: LakeOption = None,
    derive: Annotated[bool, typer.Option(help="Compute bars and movers afterwards.")] = True,
) -> None:
    """Take recorded venue frames through the collector's own parsers, books and writer into the replay lake.

    The same recording twice adds nothing. A damaged one is refused before anything is written. With --date, --lake is
    the lake whose day is replayed, from the raw frames that it keeps for RAW_RETENTION_HOURS.

        movers replay recordings/monday.jsonl.gz
        movers replay recordings/ --speed 60
        movers replay --lake data/live --date 2026-11-26
    """
    from flows import demo, show
    from flows.collector.recordings import find

    if (path is None) == (day is None):
        raise SettingError("replay: give a recording's PATH, or --lake and --date for a day of a lake's own frames")
    if path is None or day is not None:
        _replay_day(lake, _day(day or ""), into, derive=derive)
        return
    pace, config = _speed(speed), _settings(mode="replay", lake=lake)
    recordings, strangers = find(path)
    try:
        store, reports, faults = demo.replay_all(recordings, config.lake_root, pace, err)
    except KeyboardInterrupt:
        say("broken off; what was published stays, and the same command goes on from there")
        raise typer.Exit(130) from None
    if store is not None and reports:
        out.print(show.accounting(reports))
        if derive:
            demo.derive(store, reports, out, err)
    if strangers:
        say(f"{len(strangers)} other files below {path} are no recordings and were left alone")
    for fault in faults[1:]:
        say(str(fault), "red")
    if faults:
        raise faults[0]


def _replay_day(lake: str | None, day: date, into: str | None, *, derive: bool) -> None:
    from functools import partial

    from flows import demo, show
    from flows.collector.again import replay_day
    from flows.collector.making import live_pipeline
    from lake.store import Store
    from lake.vocab import Mode

    config = _settings(mode="replay", lake=into)
    source = _lake(None, lake)
    target = Store.create(config.lake_root, Mode.REPLAY)
    make = partial(live_pipeline, poll_every=config.collector_interval_seconds)
    with show.steps(err, f"replaying {day}") as progress:
        reports = replay_day(source, target, day, make, progress)
    out.print(show.accounting(reports))
    if derive:
        demo.derive(target, reports, out, err)


@app.command(rich_help_panel=RECORDED)
def capture(
    minutes: Annotated[float, typer.Option(min=0.01, max=1440, help="For how long.")] = 10,
    venue: Annotated[str | None, typer.Option(help="polymarket or kalshi. Default: both.")] = None,
    markets: Annotated[
        str, typer.Option(help="How many of each venue, the most traded; or ids with commas between: 0x…, KX….")
    ] = "100",
    out_path: Annotated[
        Path | None, typer.Option("--out", help="An empty or new folder. Default: data/captures/ and the time.")
    ] = None,
) -> None:
    """Record the venues of COLLECTOR_MODE to the letter for some minutes, with REST probes beside, and report.

    frames.jsonl.gz is what the collector would have seen: `movers replay FOLDER` makes the same rows of it.
    probes.jsonl.gz has what was asked over REST. report.json, and the tables at the end, tell rates, sizes, lag, kinds
    and fields that nothing here knows, and what was seen of the venues' open questions. Ctrl-C ends it early, with the
    report. No key is ever written.

        movers capture --minutes 10 --out first-day
        movers capture --venue kalshi --markets 500
        movers replay first-day
    """
    import asyncio
    from datetime import UTC

    from flows import show
    from flows.collector.capture import Wanted, capture
    from lake.vocab import Venue

    config = _settings()
    named = {each.value: each for each in Venue}
    if venue is not None and venue not in named:
        raise SettingError(f"--venue {venue}: is no venue; give {' or '.join(named)}")
    top, ids = _markets(markets)
    wanted = Wanted(minutes * 60, tuple(Venue) if venue is None else (named[venue],), top, ids)
    folder = out_path or Path("data/captures") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"

    async def run() -> dict[str, Any]:
        with show.progress(err) as bar:
            task = bar.add_task("capturing", total=round(wanted.seconds))

            def tell(seconds: float, frames: int) -> None:
                bar.update(task, completed=round(seconds), description=f"{frames:,} frames, seconds:")

            return await capture(config, folder, wanted, _stop_event(), say=say, progress=tell)

    out.print(show.captured(asyncio.run(run())))
    say(f"captured into {folder}; movers replay {folder} makes rows of it")


def _markets(text: str) -> tuple[int, frozenset[str]]:
    """How many markets of each venue, or which."""
    if text.strip().isdecimal() and int(text) > 0:
        return int(text), frozenset()
    ids = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not ids or text.strip().lstrip("-").isdecimal():
        raise SettingError(f"--markets {text}: is neither a number above 0 nor ids with commas between")
    return len(ids), ids


@app.command(rich_help_panel=RECORDED)
def reparse(
    day: Annotated[str, typer.Option("--date", help="The day, YYYY-MM-DD; it has to be over.")],
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Rebuild a day's quotes and trades in place from the raw frames that the lake keeps, as after a mended parser.

    Rows of segments whose frames are gone (RAW_RETENTION_HOURS) stay as they are. Stop `movers jobs` first; the bars of
    that day are computed again.

        movers reparse --date 2026-11-26
    """
    from datetime import UTC
    from functools import partial

    from flows import show
    from flows.collector.making import live_pipeline
    from flows.jobs import reparse as job

    config, wanted = _settings(mode=mode), _day(day)
    store = _lake(mode, lake)
    make = partial(live_pipeline, poll_every=config.collector_interval_seconds)
    with show.steps(err, f"telling {wanted} again") as progress:
        report = job.reparse(store, wanted, make, datetime.now(UTC), progress)
    say(str(report))


@app.command(rich_help_panel=RECORDED)
def demo() -> None:
    """Replay a recording and show its top movers: REPLAY_PATH, MOVERS_RECORDINGS, or the project's own frames."""
    from flows.demo import recording
    from lake.place import absolute

    config = _settings(mode="replay")
    path = recording(config)
    out.print(Text(safe_text(f"Replaying {path} into {absolute(config.lake_root)}")))
    replay(path, speed="max", lake=str(config.lake_root))
    out.print(Text("\nAsk on: .venv/bin/movers top --help, and .venv/bin/movers query"))


def main() -> None:
    """The console script."""
    try:
        app()
    except MoversError as exc:
        say(str(exc), "red")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as exc:
        say(f"{exc.filename or 'output'}: {(exc.strerror or str(exc)).lower()}", "red")
        sys.exit(2)


def say(text: str, style: str = "") -> None:
    """One line for a person, on standard error."""
    err.print(Text(f"movers: {safe_text(text, 2_000)}", style=style), soft_wrap=True)


def _settings(*, mode: str | None = None, lake: str | None = None, **given: Any) -> Settings:
    from lake import settings

    if mode is not None:
        given["collector_mode"] = mode.lower()
    if lake is not None:
        given["lake_uri"] = lake
    return settings.load(**given)


def _service_settings(*, with_prefect: bool = False, **given: Any) -> Settings:
    """The settings of a process that runs on and logs; its environment is set up before anything imports Prefect."""
    from flows.up import log

    config = _settings(**given)
    if with_prefect:
        from flows import orchestrator

        orchestrator.adopt(config)
    log.set_up(config)
    return config


def _log(text: str) -> None:
    import logging

    logging.getLogger("movers").info("%s", text)


def _stop_event() -> asyncio.Event:
    """Set by SIGTERM and by Ctrl-C."""
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _lake(mode: str | None, place: str | None) -> Store:
    """The lake to read. Where nobody chose a mode and its lake is not there, the only other one is."""
    from lake.settings import default_root
    from lake.store import Store
    from lake.vocab import Mode

    config = _settings(mode=mode, lake=place)
    is_chosen = mode is not None or "collector_mode" in config.model_fields_set
    wanted = None if place is not None and not mode else config.collector_mode
    try:
        return Store.open(config.lake_root, wanted)
    except LakeMissing as exc:
        others = [] if config.lake_uri else [name for name in Mode if default_root(name).is_dir()]
        if len(others) == 1 and not is_chosen:
            say(f"reading {default_root(others[0])}, the only lake here")
            return Store.open(default_root(others[0]), others[0])
        hint = ", ".join(f"--mode {name}" for name in others)
        raise LakeMissing(f"{exc}; or read one that is there: {hint}" if hint else str(exc)) from exc


def _speed(text: str) -> float | None:
    try:
        pace = None if text == "max" else float(text)
    except ValueError:
        pace = 0.0
    if pace is not None and not 0 < pace < 1e9:
        raise SettingError(f"--speed {text}: is neither max nor a number above 0")
    return pace


def _past(text: str) -> datetime:
    """An instant, or as long ago as a text such as 6h says."""
    from datetime import UTC

    from lake.clock import parse_span

    try:
        return datetime.now(UTC) - parse_span(text)
    except (ValueError, OverflowError, IndexError):
        return _instant(text, "--since")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingError(f"--date {text}: is no day; write it as 2026-05-15") from None


def _instant(text: str, option: str) -> datetime:
    from datetime import UTC

    from lake.clock import parse_time

    try:
        return parse_time(text).astimezone(UTC)
    except ValueError:
        raise SettingError(f"{option} {text}: is no instant; write it as 2026-05-15T19:14:00Z") from None


if __name__ == "__main__":
    main()

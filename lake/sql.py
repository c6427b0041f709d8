"""The lake in SQL: DuckDB over exactly the files that `lake.parts` lists.

The engine itself may open no file and no address: it is handed each table as an Arrow dataset, whose partition
values are facts about its files, so a condition on venue, date, market or time still skips files and row groups.
That is the sandbox. To look at the kind of statement alone would not do, since DuckDB 2 takes COPY and INSERT
within a WITH, and runs what EXPLAIN ANALYZE explains; and a list of allowed paths can be written to as well.
"""

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

import duckdb
import polars as pl
import pyarrow.dataset as arrow

from lake import layout
from lake.errors import QueryError
from lake.schema import TABLES, Table
from lake.store import Store
from lake.views import HISTORIES, VIEWS

BASES: Final = {HISTORIES.get(name, name): table for name, table in TABLES.items()}
"""Name in SQL to the table whose files it reads."""

NAMES: Final = (*BASES, *VIEWS)
"""Everything that a query can read from."""

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",  # else FROM finds variables of this process
    "temp_directory": "",  # else it writes into the current folder
}

_READING: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)
"""DESCRIBE, SHOW and SUMMARIZE are of the type SELECT; a PIVOT without IN is MULTI."""

_CATALOG: Final = ("show", "information_schema", "duckdb_", "sqlite_master")
"""Words of a query that asks for all tables."""

_WORDS: Final = re.compile(r"[a-z_][a-z0-9_]*")
_BARE_WINDOW: Final = re.compile(r"""(?<!["'\w])window(?!["'\w])""", re.IGNORECASE)
_UNKNOWN: Final = re.compile(r"Table with name (.+?) does not exist")


def run(store: Store, query: str) -> pl.DataFrame:
    """The rows of one SELECT (or DESCRIBE, SHOW, SUMMARIZE, EXPLAIN) over `NAMES`; times are in UTC.

    Of columns with the same name the later get a number. Raises `QueryError` on anything else, `LakeError` on a damaged
    file, in one line.
    """
    return store.again(lambda: _run(store, query))


def _run(store: Store, query: str) -> pl.DataFrame:
    engine = duckdb.connect(":memory:", config=_CONFIG)
    try:
        _require_reading(engine, query)
        _prepare(engine, store, _named(query))
        return _plain(engine.sql(query).pl())
    except duckdb.Error as exc:
        if layout.SUFFIX in str(exc):
            store.require_whole(exc)
        raise QueryError(_gist(exc, query)) from exc
    except pl.exceptions.PolarsError as exc:
        raise QueryError(
            f"query: a column cannot be shown, cast it to VARCHAR ({str(exc).split('. Hint')[0]})"
        ) from exc
    finally:
        engine.close()


def describe(store: Store) -> pl.DataFrame:
    """Every name that a query can read from: name, kind (table or view), rows (null for a view), columns, about.

    `columns` is text, each with its type in SQL.
    """
    engine = duckdb.connect(":memory:", config=_CONFIG)
    try:
        _prepare(engine, store, NAMES)
        columns = {name: _columns(engine, name) for name in NAMES}
    finally:
        engine.close()
    with store.reading():
        counts = store.again(lambda: pl.collect_all([store.scan(table).select(pl.len()) for table in BASES.values()]))
    rows = {name: count.item() for name, count in zip(BASES, counts, strict=True)}
    abouts = {name: table.about for name, table in BASES.items()} | {name: view.about for name, view in VIEWS.items()}
    return pl.DataFrame(
        [(name, "view" if name in VIEWS else "table", rows.get(name), columns[name], abouts[name]) for name in NAMES],
        schema={"name": pl.String, "kind": pl.String, "rows": pl.Int64, "columns": pl.String, "about": pl.String},
        orient="row",
    )


def _require_reading(engine: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = engine.extract_statements(query)
    if len(statements) != 1:
        found = f"{len(statements)} statements" if statements else "nothing"
        raise QueryError(f"query: found {found}; write one SELECT, as in SELECT * FROM markets LIMIT 10")
    kind = statements[0].type
    if kind not in _READING:
        raise QueryError(f"query: {kind.name} is not allowed, as a query only reads; write a SELECT")


def _named(query: str) -> list[str]:
    """The names that the query may read from, with those that they read from, each after what it needs."""
    text = query.lower()
    if any(word in text for word in _CATALOG):
        return list(NAMES)
    found: list[str] = []
    todo = [text]
    while todo:
        words = set(_WORDS.findall(todo.pop()))
        for name in words.intersection(NAMES).difference(found):
            found.append(name)
            todo += [VIEWS[name].select.lower()] if name in VIEWS else []
    return [name for name in NAMES if name in found]


def _prepare(engine: duckdb.DuckDBPyConnection, store: Store, names: Iterable[str]) -> None:
    """Make these tables and views, in the order of `NAMES`, and lock the door."""
    engine.execute("SET TimeZone = 'UTC'")
    for name in names:
        if name in BASES:
            engine.register(name, _dataset(store, BASES[name]))
        else:
            engine.execute(f"CREATE VIEW {name} AS {VIEWS[name].select}")
    engine.execute("SET lock_configuration = true")


def _dataset(store: Store, table: Table) -> arrow.Dataset:
    """The table's files as one dataset, its columns those of a scan; what an older file lacks is null.

    With the rows that are in no file yet, where there are some.
    """
    fresh = store.fresh(table)  # before the files are listed
    parts, (system, root) = store.parts(table), store.arrow()
    truths = {values: _truth(table, values) for values in {part.values for part in parts}}
    schema = pl.DataFrame(schema=table.schema).to_arrow().schema
    sealed = arrow.FileSystemDataset.from_paths(
        [f"{root}/{part.path}" for part in parts],
        schema=schema,
        format=arrow.ParquetFileFormat(),
        filesystem=system,
        partitions=[truths[part.values] for part in parts],
    )
    rows = store.with_hot(table.empty(), fresh, parts).collect() if fresh else table.empty().collect()
    return sealed if rows.is_empty() else arrow.dataset([sealed, arrow.dataset(rows.to_arrow().cast(schema))])


def _truth(table: Table, values: tuple[str, ...]) -> arrow.Expression:
    """What holds for every row of a file with these partition values."""
    expression = arrow.scalar(True)
    for key, value in zip(table.partitions, values, strict=True):
        expression &= arrow.field(key) == (date.fromisoformat(value) if key == "date" else value)
    return expression


def _columns(engine: duckdb.DuckDBPyConnection, name: str) -> str:
    return ", ".join(f"{column} {dtype}" for column, dtype, *_ in engine.execute(f"DESCRIBE {name}").fetchall())


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with whole numbers of 128 bits, as sums of integers are, in 64 bits where they fit."""
    wide = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Decimal) and dtype.scale == 0]
    narrow = frame.select(pl.col(wide).cast(pl.Int64, strict=False))
    fitting = [name for name in wide if narrow[name].null_count() == frame[name].null_count()]
    return frame.with_columns(narrow.select(fitting))


def _gist(exc: duckdb.Error, query: str) -> str:
    """What is wrong, in one line; for an unknown table the known ones."""
    text = str(exc)
    unknown = _UNKNOWN.search(text)
    if unknown:
        return f"query: there is no table {unknown[1]}; there are {', '.join(sorted(NAMES))}"
    hint = ""
    if isinstance(exc, duckdb.PermissionException):
        hint = "; a query reaches nothing but the lake's tables"
    elif isinstance(exc, duckdb.ParserException) and _BARE_WINDOW.search(query):
        hint = '; window is a word of SQL: as a column, write "window"'
    return "query: " + " ".join(text.split("\n\n")[0].split()) + hint

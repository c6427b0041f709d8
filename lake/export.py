"""An answer as text or as a file: a table to read, CSV for a spreadsheet, Parquet for other engines.

CSV follows RFC 4180. Titles come from venues, and a spreadsheet runs a cell that begins like a formula, so such
text gets an apostrophe in front; numbers are never touched.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from lake import layout
from lake.errors import QueryError
from lake.text import safe_text

FORMATS: Final = ("table", "csv", "parquet")
SUFFIXES: Final[Mapping[str, str]] = {".csv": "csv", ".parquet": "parquet", ".txt": "table"}
"""End of a file's name to the format that it asks for."""

_FORMULA: Final = r"^[=+\-@\t\r]"
_INSTANT: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"


def write(frame: pl.DataFrame, format: str | None, out: Path | None = None, *, force: bool = False) -> str | None:
    """Write `frame` to `out` whole or not at all; without `out` return it as text. `force` overwrites a file.

    Without `format` the suffix of `out` says it; without either it is a table. Raises `QueryError` for an unknown
    format or one that the suffix contradicts, parquet without `out`, and a place that cannot be written: a file that
    is there, a folder that is not, anything within a lake.
    """
    wanted = _require_format(format, out)
    if out is None:
        if wanted == "parquet":
            raise QueryError("format parquet: is no text; give a file with --out")
        return _TEXTS[wanted](frame)
    _require_place(out, force=force)
    if wanted == "parquet":
        _replace(out, frame.write_parquet)
    else:
        data = _TEXTS[wanted](frame).encode()
        _replace(out, lambda temp: temp.write_bytes(data))
    return None


def csv(frame: pl.DataFrame) -> str:
    """RFC 4180 with a header; lists and structs as JSON, bytes as hex, times as RFC 3339 in UTC, null as nothing."""
    cells = pl.DataFrame([_cell(column) for column in frame])
    guarded = cells.with_columns(pl.col(pl.String).str.replace(f"({_FORMULA})", "'$1"))
    names = {name: f"'{name}" if name[:1] in tuple("=+-@\t\r") else name for name in frame.columns}
    return guarded.rename(names).write_csv(line_terminator="\r\n")


def table(frame: pl.DataFrame) -> str:
    """All rows and columns in a frame of lines; of text only what a terminal may show."""
    shown = pl.DataFrame([_cell(column) for column in frame])
    safe = shown.with_columns(pl.col(pl.String).map_elements(safe_text, return_dtype=pl.String))
    named = safe.rename({name: safe_text(name) for name in safe.columns})
    with pl.Config(
        tbl_rows=-1, tbl_cols=-1, tbl_width_chars=-1, fmt_str_lengths=1_000, tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
    ):  # fmt: skip
        return f"{named}\n"


_TEXTS: Final[Mapping[str, Callable[[pl.DataFrame], str]]] = {"csv": csv, "table": table}


def _cell(column: pl.Series) -> pl.Series:
    """`column` as numbers, booleans, days or text."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return (column if dtype.time_zone is None else column.dt.convert_time_zone("UTC")).dt.strftime(_INSTANT)
    if isinstance(dtype, pl.Binary):
        return column.bin.encode("hex")
    if isinstance(dtype, (pl.List, pl.Array, pl.Struct)):
        return _json(column)
    if isinstance(dtype, pl.Duration):
        return column.dt.to_string()
    return column.cast(pl.String) if isinstance(dtype, (pl.Categorical, pl.Enum)) else column


def _json(column: pl.Series) -> pl.Series:
    """Each value as JSON text, null as null."""
    lines = column.alias("").to_frame().write_ndjson().split("\n")[:-1]
    texts = pl.Series(column.name, lines, dtype=pl.String).str.slice(len('{"":')).str.head(-1)
    return texts.set(column.is_null(), None)


def _require_format(format: str | None, out: Path | None) -> str:
    suffix = "" if out is None else out.suffix.lower()
    meant = SUFFIXES.get(suffix)
    if format is None:
        if out is not None and meant is None:
            raise QueryError(f"--out {out}: its name says no format; give --format, one of {', '.join(FORMATS)}")
        return meant or "table"
    wanted = format.lower()
    if wanted not in FORMATS:
        raise QueryError(f"format {format!r}: use one of {', '.join(FORMATS)}")
    if suffix in (".csv", ".parquet") and wanted != meant:
        raise QueryError(f"--out {out}: is named {suffix}, and the format is {wanted}; give another name or format")
    return wanted


def _require_place(out: Path, *, force: bool) -> None:
    place = out.absolute()
    if not place.parent.is_dir():
        raise QueryError(f"--out {out}: there is no folder {place.parent}")
    if any((folder / layout.MARKER).exists() for folder in place.resolve().parents):
        raise QueryError(f"--out {out}: is within a lake, where only its own files belong; give another folder")
    if place.is_dir():
        raise QueryError(f"--out {out}: is a folder; give a file in it")
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise QueryError(f"--out {out}: is there and is no regular file; give another name")
    if place.exists() and not force:
        raise QueryError(f"--out {out}: is there already; give another name or --force")


def _replace(out: Path, write_to: Callable[[Path], object]) -> None:
    """Let `write_to` fill a file beside `out`, then put it in place in one step."""
    temp = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        write_to(temp)
        temp.replace(out)
    except OSError as exc:
        raise QueryError(f"--out {out}: {(exc.strerror or str(exc)).lower()}; nothing was written") from exc
    finally:
        temp.unlink(missing_ok=True)

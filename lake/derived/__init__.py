"""Pure Polars: frames in, frames out; nothing is read or written here."""

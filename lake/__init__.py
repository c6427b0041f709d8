"""Data at rest: the lake's tables, where they lie, and what is derived from them."""

"""Rows of a segment become frames."""

from flows.collector import sealing
from flows.collector.pipeline import Segment
from lake.schema import QUOTES, Table


def test_many_rows_become_a_frame_in_steps(monkeypatch):
    """However many rows there are, no more than `STEP` are made a frame at once; the frame is the same."""
    rows = [(n % 3, 100 - n, n, 0.4, 0.5, 1.0, 2.0, n, "book") for n in range(20)]

    def made():
        segment = Segment(0, 0, 9, 0)
        segment.rows[QUOTES, "kalshi"] = list(rows)
        return sealing.frames_of(segment)[QUOTES, "kalshi"]

    whole, sizes, frame = made(), [], Table.frame

    def counted(self, rows):
        sizes.append(len(rows))
        return frame(self, rows)

    monkeypatch.setattr(Table, "frame", counted)
    monkeypatch.setattr(sealing, "STEP", 7)
    assert made().equals(whole)
    assert sizes == [7, 7, 6]

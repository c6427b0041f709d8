"""Killed at any instant, the collector loses nothing that it has accepted, doubles nothing and invents nothing."""

from random import Random

import pytest

from tests.soak import kills


@pytest.mark.asyncio
async def test_two_kills(tmp_path):
    """The short form: two lives killed under load, a third ends well."""
    verdict = await kills.run(tmp_path, 2, rate=500, rng=Random(1), longest=1.0)
    assert verdict.faults == (0, 0, 0)
    assert verdict.accepted > 200
    assert not list((tmp_path / "lake" / "wal").glob("*.wal"))


@pytest.mark.soak
@pytest.mark.asyncio
async def test_two_hundred_kills(tmp_path, capsys):
    """Two hundred lives under 2,000 messages a second, each collecting within ten seconds; beside it a naive writer."""
    with capsys.disabled():
        verdict = await kills.run(tmp_path / "a", 200, rate=2_000, rng=Random(2))
        print(f"\nthis collector: {verdict}")
        naive = await kills.run(tmp_path / "b", 20, rate=2_000, rng=Random(3), what="naive")
        print(f"a file a minute: {naive}")
    assert verdict.faults == (0, 0, 0)
    assert verdict.quantile(0.95) <= 10
    assert naive.lost > 0

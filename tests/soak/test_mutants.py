"""The checker is checked: each deliberate breakage of the code is noticed by an ordinary test."""

import pytest

from tests.soak.mutants import MUTANTS, ROOT, Mutant, survives


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_place_is_there(mutant: Mutant):
    """A breakage speaks of a place that is there, once, and of a test that is there; else it would show nothing."""
    assert (ROOT / mutant.path).read_text().count(mutant.old) == 1
    file, _, name = mutant.test.partition("::")
    assert f"def {name or 'test_'}" in (ROOT / file).read_text()


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_noticed(mutant: Mutant):
    """The test that is named fails."""
    assert survives(mutant) is None

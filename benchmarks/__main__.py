"""`make bench`: every benchmark, one after the other."""

from benchmarks import bars, parsing

parsing.main()
bars.main()

"""`make bench`: every benchmark, one after the other."""

from benchmarks import bars, parsing, refresh

parsing.main()
bars.main()
refresh.main()

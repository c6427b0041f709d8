"""`make bench`: every benchmark, one after the other."""

from benchmarks import bars, encoding, one_market, parsing, refresh

parsing.main()
bars.main()
refresh.main()
encoding.main()
one_market.main(5_000_000)

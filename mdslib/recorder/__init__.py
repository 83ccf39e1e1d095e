"""The recorder: market data of several venues to tapes, for months; `mds record`."""

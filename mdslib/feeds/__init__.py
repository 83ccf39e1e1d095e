"""Market data from outside: each venue's decoder, its socket and its history."""

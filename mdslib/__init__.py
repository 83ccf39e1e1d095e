"""Research to live: one strategy function from a notebook to paper trades."""

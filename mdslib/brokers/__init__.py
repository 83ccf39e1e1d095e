"""Order venues: each broker's calls and its stream of order updates."""

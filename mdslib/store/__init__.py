"""Shells to the disk: the Parquet store, its importers, and tape files."""

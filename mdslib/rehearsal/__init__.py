"""Rehearsals: a live session against the local exchange under fault scripts, and a verdict on what both left."""

from mdslib.rehearsal.case import Case
from mdslib.rehearsal.judge import Row, judge
from mdslib.rehearsal.play import play
from mdslib.rehearsal.stage import rehearse
from mdslib.rehearsal.table import Table

__all__ = ["Case", "Row", "Table", "judge", "play", "rehearse"]

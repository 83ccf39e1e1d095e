"""Fault scripts: what one may say, a strict reader, and the catalogue. `mdslib.sim.throw` throws them."""

from mdslib.sim.faults.kinds import CALLS, KINDS, Fault, what
from mdslib.sim.faults.must import SEEN, Must
from mdslib.sim.faults.script import Script, catalogue, load_script, parse_script
from mdslib.sim.faults.when import Duration, TimeOfDay

__all__ = [
    "CALLS",
    "KINDS",
    "SEEN",
    "Duration",
    "Fault",
    "Must",
    "Script",
    "TimeOfDay",
    "catalogue",
    "load_script",
    "parse_script",
    "what",
]

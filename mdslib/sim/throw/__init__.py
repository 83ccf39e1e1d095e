"""Throws what a fault script says: at calls, connections, messages, orders and the market of the local exchange."""

from mdslib.sim.throw.calls import FaultyApp
from mdslib.sim.throw.lines import Frame, Line, update_frame
from mdslib.sim.throw.thrower import Thrower

__all__ = ["FaultyApp", "Frame", "Line", "Thrower", "update_frame"]

"""A local exchange that speaks Alpaca's real protocols over real sockets: data, orders, order updates, history."""

from mdslib.sim.exchange import Exchange
from mdslib.sim.log import read_orders, read_sent
from mdslib.sim.options import Mode, SimOptions

__all__ = ["Exchange", "Mode", "SimOptions", "read_orders", "read_sent"]

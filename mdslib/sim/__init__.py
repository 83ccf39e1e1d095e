"""A local exchange that speaks Alpaca's real protocols over real sockets: data, orders, order updates, history."""

from mdslib.sim.exchange import Exchange, warm_core
from mdslib.sim.faults import Script, catalogue, load_script, parse_script
from mdslib.sim.log import read_faults, read_orders, read_played, read_sent
from mdslib.sim.options import Mode, SimOptions

__all__ = [
    "Exchange",
    "Mode",
    "Script",
    "SimOptions",
    "catalogue",
    "load_script",
    "parse_script",
    "read_faults",
    "read_orders",
    "read_played",
    "read_sent",
    "warm_core",
]

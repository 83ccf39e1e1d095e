"""The reference rule on bars: sell when a bar's volume is a multiple of 17, else buy when it is one of 31."""

from typing import NamedTuple

from mdslib import Bar, buy, hold, sell, strategy


class Params(NamedTuple):
    sell_modulus: int = 17
    buy_modulus: int = 31
    shares: float = 5.0


@strategy(on=Bar, params=Params)
def volume_modulo_bars(bar, state, account, p):
    if bar.volume % p.sell_modulus == 0:
        return sell(p.shares)
    if bar.volume % p.buy_modulus == 0:
        return buy(p.shares)
    return hold()

"""The reference model: sell when a trade's size is a multiple of 17, else buy when it is one of 31."""

from typing import NamedTuple

from mdslib import Trade, buy, hold, sell, strategy


class Params(NamedTuple):
    sell_modulus: int = 17
    buy_modulus: int = 31
    shares: float = 5.0


@strategy(on=Trade, params=Params)
def volume_modulo(trade, state, account, p):
    if trade.size % p.sell_modulus == 0:
        return sell(p.shares)
    if trade.size % p.buy_modulus == 0:
        return buy(p.shares)
    return hold()

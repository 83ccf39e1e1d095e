"""For tests: buys one share of the first instrument on every tenth trade of the second."""

from mdslib import Trade, cancel_leg, hold, leg, pair, records, strategy


def new_state(p):
    return records(1, [("seen", "<i8")])


@strategy(on=Trade, state=new_state, instruments=2)
def follows(trade, state, account, p):
    if trade.instrument == 1:
        state[0].seen += 1
        if state[0].seen % 10 == 0:
            return pair(leg(0, 1.0), cancel_leg(1))
    return hold()

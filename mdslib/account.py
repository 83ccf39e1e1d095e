"""The account: one record an instrument, kept by the same kernels in research, live and in the local exchange."""

from __future__ import annotations

import math

import numpy as np

from mdslib.jit import jit, jit_hot, records
from mdslib.protocols import Records

# Units; half of the smallest lot. What floats leave over (0.1 + 0.2 - 0.3) is below it, and counts as nothing: else a
# target would be ordered again for 5e-17 shares, and an account would never be flat.
DUST = 5e-10

# position, open_qty in units, signed. open_qty: decided but not yet filled, our own orders, parked parts included.
# avg_px: average entry price. cash: flow of this instrument's trading; the opening cash lies in record 0.
# last_px: last price seen; nan before the first. realized: profit of closed quantity, before fees.
# buys, sells: unsigned quantities that work at the venue.
# parked: the part of a flip that waits for the close before it.
# flatten: 1 once the position is being closed for good.
# halted: 1 while the venue has halted trading in the instrument.
# long_only: 1 where nobody lends the instrument: it can't be sold short.
# tick, subtick, lot, fraction: the grid of orders, see `mdslib.instruments.Steps`; 0 where none is asked for.
ACCOUNT = np.dtype(
    [
        ("position", "<f8"),
        ("open_qty", "<f8"),
        ("avg_px", "<f8"),
        ("cash", "<f8"),
        ("last_px", "<f8"),
        ("realized", "<f8"),
        ("fees", "<f8"),
        ("fills", "<i8"),
        ("buys", "<f8"),
        ("sells", "<f8"),
        ("parked", "<f8"),
        ("flatten", "<i8"),
        ("halted", "<i8"),
        ("long_only", "<i8"),
        ("tick", "<f8"),
        ("subtick", "<f8"),
        ("lot", "<f8"),
        ("fraction", "<f8"),
    ]
)


def new_account(instruments: int, cash: float = 0.0) -> Records:
    """Return an account without positions.

    Parameters
    ----------
    instruments : int
        How many instruments the session has.
    cash : float
        Opening cash, in the account's currency.

    Returns
    -------
    numpy.ndarray of ACCOUNT, shape (instruments,)

    Examples
    --------
    >>> account = new_account(2, cash=1000.0)
    >>> apply_fill(account, 1, 5.0, 100.0, 0.5)
    >>> float(account[1]["position"]), total_cash(account)
    (5.0, 499.5)
    """
    account = records(instruments, ACCOUNT)
    account["last_px"] = math.nan
    account[0]["cash"] = cash
    return account


@jit_hot
def apply_fill(account: Records, k: int, qty: float, px: float, fee: float) -> None:
    """Book one fill of `qty` units (signed) of instrument `k` at `px`, with a fee in currency."""
    a = account[k]
    before = a.position
    after = before + qty
    if abs(after) < DUST:
        after = 0.0
    if before * qty >= 0.0:
        a.avg_px = (abs(before) * a.avg_px + abs(qty) * px) / abs(after) if after != 0.0 else 0.0
    else:
        closed = abs(before) if abs(before) < abs(qty) else abs(qty)
        a.realized += closed * (px - a.avg_px) if before > 0.0 else closed * (a.avg_px - px)
        if after == 0.0:
            a.avg_px = 0.0
        elif after * before < 0.0:
            a.avg_px = px
    a.position = after
    a.cash -= qty * px + fee
    a.fees += fee
    a.fills += 1


@jit
def total_cash(account: Records) -> float:
    """Return the account's cash over all instruments, in currency."""
    cash = 0.0
    for k in range(len(account)):
        cash += account[k].cash
    return cash


@jit
def equity(account: Records) -> float:
    """Return cash plus positions at their last prices; an instrument without a price counts at its average."""
    value = 0.0
    for k in range(len(account)):
        a = account[k]
        value += a.cash
        if a.position != 0.0:
            value += a.position * (a.last_px if a.last_px == a.last_px else a.avg_px)
    return value


@jit
def gross_exposure(account: Records, k: int, qty: float, price: float) -> float:
    """Return the largest sum of absolute positions x price that may come, with `qty` more of instrument `k` at `price`.

    Of what works, everything on one side may fill and nothing on the other: it is not set off.
    """
    gross = 0.0
    for j in range(len(account)):
        a = account[j]
        more = qty if j == k else 0.0
        highest = a.position + a.buys + max(a.parked, 0.0) + max(more, 0.0)
        lowest = a.position - a.sells + min(a.parked, 0.0) + min(more, 0.0)
        units = max(abs(highest), abs(lowest))
        px = a.last_px if a.last_px == a.last_px else a.avg_px
        if j == k:
            px = price
        if units != 0.0:
            gross += units * px
    return gross

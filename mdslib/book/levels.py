"""The order book's kernels: levels of both sides in arrays, the best price known after every change.

A side is a ring of sizes by price tick around its best price, and a sorted list of the levels that lie farther off.
Both sides are the same code: a level's *key* is its tick for a bid and minus its tick for an ask, so that the best
level is the one with the largest key. Bids have the even side numbers, asks the odd ones: 0 and 1 are one book, and the
same arrays may hold further ones, 2 and 3, and so on.

In the ring a change costs one look-up. The ring follows the best price: levels that it leaves behind go to the list,
and come back when the best price returns to them.

Kernels trust what they are given; `mdslib.book.OrderBook` checks it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mdslib.jit import jit, jit_hot, jit_quiet

Array = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

NONE = -(2**62)  # the best key of an empty side
BID, ASK = 0, 1
# Columns of `Levels.state`, one row a side.
BASE = 0  # lowest key that the ring holds
BEST = 1  # largest key of the side, or NONE
LOW = 2  # no level of the ring lies below this key
COUNT = 3  # levels in the ring
HEAD, TAIL = 4, 5  # the far levels are far_key[side, HEAD:TAIL], ascending
STATE = 6

# What a kernel answers.
DONE = 0
FULL = 1  # the list of far levels has no room: `make_room`, then call again


class Levels(NamedTuple):
    """The arrays of one book or of several; even sides are bids, odd ones asks.

    Attributes
    ----------
    ring : array of int64, shape (sides, window)
        Size in lots at ``key & (window - 1)``; `window` is a power of two.
    state : array of int64, shape (sides, STATE)
        See the column names above.
    far_key, far_size : array of int64, shape (sides, capacity)
        Levels below the ring, by ascending key.
    """

    ring: Array
    state: Array
    far_key: Array
    far_size: Array


def empty_levels(window: int, capacity: int, books: int = 1) -> Levels:
    """Return the arrays of empty books; `window` must be a power of two."""
    sides = 2 * books
    state = np.zeros((sides, STATE), np.int64)
    state[:, BEST] = NONE
    far = (sides, capacity)
    return Levels(np.zeros((sides, window), np.int64), state, np.zeros(far, np.int64), np.zeros(far, np.int64))


def make_room(book: Levels) -> Levels:
    """Return the same book with twice the room for far levels; ring and state are shared."""
    room = np.zeros_like(book.far_key)
    far_key, far_size = (np.concatenate([part, room], axis=1) for part in (book.far_key, book.far_size))
    return Levels(book.ring, book.state, far_key, far_size)


@jit_hot
def set_level(book: Levels, side: int, tick: int, size: int) -> int:
    """Give the level at `tick` of `side` the absolute `size` (0 deletes it); return DONE or FULL."""
    ring = book.ring
    state = book.state
    key = -tick if side & 1 else tick
    base = state[side, BASE]
    offset = key - base
    best = state[side, BEST]
    if offset < 0 or offset >= ring.shape[1] or best == NONE:
        return _set_outside(book, side, key, size)
    place = key & (ring.shape[1] - 1)
    before = ring[side, place]
    ring[side, place] = size
    if size > 0:
        if before == 0:
            state[side, COUNT] += 1
            if key > best:
                state[side, BEST] = key
            elif key < state[side, LOW]:
                state[side, LOW] = key
    elif before > 0:
        state[side, COUNT] -= 1
        if key == best:
            if state[side, COUNT] == 0:
                _best_from_far(book, side)
            else:
                key -= 1
                while ring[side, key & (ring.shape[1] - 1)] == 0:
                    key -= 1
                state[side, BEST] = key
                # Near the ring's lower end, what lies just below the best would go to the slow list.
                if key - base < ring.shape[1] // 8 and state[side, TAIL] > state[side, HEAD]:
                    _move_down(book, side, key - ring.shape[1] // 4 * 3)
    return DONE


@jit_hot
def best_bid(book: Levels) -> int:
    """Return the best bid in ticks, or NONE."""
    return int(book.state[0, BEST])


@jit_hot
def best_ask(book: Levels) -> int:
    """Return the best ask in ticks, or -NONE."""
    return int(-book.state[1, BEST])


@jit_quiet
def _best_from_far(book: Levels, side: int) -> None:
    """Find the best level of a side whose ring has become empty."""
    state = book.state
    if state[side, TAIL] == state[side, HEAD]:
        state[side, BEST] = NONE
        return
    key = book.far_key[side, state[side, TAIL] - 1]
    state[side, BEST] = key
    state[side, LOW] = key
    _move_down(book, side, key - book.ring.shape[1] // 4 * 3)


@jit_quiet
def _move_down(book: Levels, side: int, base: int) -> None:
    """Let the ring begin at `base`, lower than now, and take in the far levels that it then covers."""
    state = book.state
    mask = book.ring.shape[1] - 1
    tail = state[side, TAIL]
    while tail > state[side, HEAD] and book.far_key[side, tail - 1] >= base:
        tail -= 1
        key = book.far_key[side, tail]
        book.ring[side, key & mask] = book.far_size[side, tail]
        state[side, COUNT] += 1
        if key < state[side, LOW]:
            state[side, LOW] = key
    state[side, TAIL] = tail
    state[side, BASE] = base


@jit_quiet
def _move_up(book: Levels, side: int, base: int) -> int:
    """Let the ring begin at `base`, higher than now; the levels that it leaves go to the far list."""
    state = book.state
    ring = book.ring
    mask = ring.shape[1] - 1
    if not _has_room(book, side, state[side, COUNT]):
        return FULL
    tail = state[side, TAIL]
    key = state[side, LOW]
    stop = min(base - 1, state[side, BEST])
    while key <= stop and state[side, COUNT] > 0:
        size = ring[side, key & mask]
        if size > 0:
            book.far_key[side, tail] = key
            book.far_size[side, tail] = size
            ring[side, key & mask] = 0
            state[side, COUNT] -= 1
            tail += 1
        key += 1
    state[side, LOW] = max(key, base)
    state[side, TAIL] = tail
    state[side, BASE] = base
    return DONE


@jit_quiet
def _has_room(book: Levels, side: int, count: int) -> bool:
    """Tell whether `count` more far levels fit; free the places before HEAD if that helps."""
    state = book.state
    head = state[side, HEAD]
    tail = state[side, TAIL]
    if tail + count <= book.far_key.shape[1]:
        return True
    if tail - head + count > book.far_key.shape[1]:
        return False
    for i in range(head, tail):
        book.far_key[side, i - head] = book.far_key[side, i]
        book.far_size[side, i - head] = book.far_size[side, i]
    state[side, HEAD] = 0
    state[side, TAIL] = tail - head
    return True


@jit_quiet
def _set_outside(book: Levels, side: int, key: int, size: int) -> int:
    """Set a level that the ring does not cover, or the first of an empty side."""
    state = book.state
    window = book.ring.shape[1]
    if state[side, BEST] == NONE:
        if size > 0:
            state[side, BASE] = key - window // 4 * 3
            state[side, BEST] = key
            state[side, LOW] = key
            state[side, COUNT] = 1
            book.ring[side, key & (window - 1)] = size
        return DONE
    if key < state[side, BASE]:
        return _set_far(book, side, key, size)
    if size > 0:  # above the ring: a new best
        if _move_up(book, side, key - window // 4 * 3) == FULL:
            return FULL
        book.ring[side, key & (window - 1)] = size
        state[side, COUNT] += 1
        state[side, BEST] = key
        state[side, LOW] = min(key, state[side, LOW])
    return DONE


@jit_quiet
def _set_far(book: Levels, side: int, key: int, size: int) -> int:
    keys = book.far_key
    sizes = book.far_size
    state = book.state
    low = state[side, HEAD]
    high = state[side, TAIL]
    while low < high:
        middle = (low + high) // 2
        if keys[side, middle] < key:
            low = middle + 1
        else:
            high = middle
    tail = state[side, TAIL]
    if low < tail and keys[side, low] == key:
        if size > 0:
            sizes[side, low] = size
            return DONE
        for i in range(low, tail - 1):
            keys[side, i] = keys[side, i + 1]
            sizes[side, i] = sizes[side, i + 1]
        state[side, TAIL] = tail - 1
        return DONE
    if size == 0:
        return DONE
    head = state[side, HEAD]
    if tail - head == keys.shape[1]:
        return FULL
    # The levels that are fewer make way: an image that comes best level first inserts every one at the front.
    if (head == 0 and low < tail // 2) or tail == keys.shape[1]:
        low += _to_the_middle(book, side)
        head = state[side, HEAD]
        tail = state[side, TAIL]
    if head > 0 and low - head < (tail - head) // 2:
        low -= 1
        state[side, HEAD] = head - 1
        for i in range(head, low + 1):
            keys[side, i - 1] = keys[side, i]
            sizes[side, i - 1] = sizes[side, i]
    else:
        state[side, TAIL] = tail + 1
        for i in range(tail, low, -1):
            keys[side, i] = keys[side, i - 1]
            sizes[side, i] = sizes[side, i - 1]
    keys[side, low] = key
    sizes[side, low] = size
    return DONE


@jit_quiet
def _to_the_middle(book: Levels, side: int) -> int:
    """Move the far levels to the middle of their arrays; return by how many places."""
    state = book.state
    head = state[side, HEAD]
    count = state[side, TAIL] - head
    begin = (book.far_key.shape[1] - count) // 2
    for back in range(count):
        i = back if begin < head else count - 1 - back
        book.far_key[side, begin + i] = book.far_key[side, head + i]
        book.far_size[side, begin + i] = book.far_size[side, head + i]
    state[side, HEAD] = begin
    state[side, TAIL] = begin + count
    return int(begin - head)


@jit
def size_at(book: Levels, side: int, tick: int) -> int:
    """Return the size of the level at `tick` of `side` in lots; 0 where there is none."""
    state = book.state
    key = tick if side == 0 else -tick
    if state[side, BEST] == NONE or key > state[side, BEST]:
        return 0
    if key >= state[side, BASE]:
        return int(book.ring[side, key & (book.ring.shape[1] - 1)])
    low = state[side, HEAD]
    high = state[side, TAIL]
    while low < high:
        middle = (low + high) // 2
        if book.far_key[side, middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < state[side, TAIL] and book.far_key[side, low] == key:
        return int(book.far_size[side, low])
    return 0


@jit
def clear_side(book: Levels, side: int) -> None:
    """Empty one side."""
    state = book.state
    if state[side, COUNT] > 0:
        for key in range(state[side, LOW], state[side, BEST] + 1):
            book.ring[side, key & (book.ring.shape[1] - 1)] = 0
    state[side, :] = 0
    state[side, BEST] = NONE


@jit
def count_levels(book: Levels, side: int) -> int:
    """Return the number of levels of one side."""
    return int(book.state[side, COUNT] + book.state[side, TAIL] - book.state[side, HEAD])


@jit
def truncate_side(book: Levels, side: int, depth: int) -> None:
    """Drop the worst levels of one side beyond `depth`."""
    state = book.state
    excess = count_levels(book, side) - depth
    if excess <= 0:
        return
    from_list = min(excess, state[side, TAIL] - state[side, HEAD])
    state[side, HEAD] += from_list
    if depth == 0:
        clear_side(book, side)
        return
    excess -= from_list
    key = state[side, LOW]
    mask = book.ring.shape[1] - 1
    while excess > 0:
        if book.ring[side, key & mask] > 0:
            book.ring[side, key & mask] = 0
            state[side, COUNT] -= 1
            excess -= 1
        key += 1
    state[side, LOW] = key


@jit
def top_levels(book: Levels, side: int, up: float, down: float, price: Floats, size: Array) -> int:
    """Write the best levels, best first, into `price` and `size`; return how many there were.

    A tick is ``up / down``, both whole: so divided once, a price is the float nearest to its decimal form.
    """
    state = book.state
    wanted = min(len(price), count_levels(book, side))
    if side & 1:
        up = -up
    found = 0
    key = state[side, BEST]
    mask = book.ring.shape[1] - 1
    in_ring = min(wanted, state[side, COUNT])
    while found < in_ring:
        lots = book.ring[side, key & mask]
        if lots > 0:
            price[found] = key * up / down
            size[found] = lots
            found += 1
        key -= 1
    at = state[side, TAIL]
    while found < wanted:
        at -= 1
        price[found] = book.far_key[side, at] * up / down
        size[found] = book.far_size[side, at]
        found += 1
    return found

"""Damaged input: whole messages, bent in the ways in which wires, disks and venues bend them."""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# A short run by default; `make fuzz` asks for a million in all.
EXAMPLES = int(os.environ.get("MDSLIB_FUZZ", "150"))
TOKENS = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"-1",
    b"1e999",
    b"NaN",
    b"9223372036854775808",
    b"-0.0",
    b"\xff",
    b"\x00",
    b"\\u0000",
    b'"\\ud800"',
    b"[" * 300,
    b"1" * 400,
]

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="MDSLIB_FUZZ" not in os.environ,
)


def bent(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy of inputs: a seed with up to four damages, or no seed at all."""
    return st.one_of(
        st.tuples(st.sampled_from(seeds), st.integers(0, 2**32 - 1)).map(lambda drawn: bend(*drawn)),
        st.tuples(st.sampled_from(seeds), st.integers(0, 2**32 - 1)).map(lambda drawn: bend(*drawn)),
        st.binary(max_size=64),
    )


def bend(seed: bytes, number: int) -> bytes:
    """Damage a message; the same number gives the same damage."""
    drawn = random.Random(number)
    data = bytearray(seed)
    for _ in range(drawn.randint(0, 4)):
        start = drawn.randrange(len(data) + 1)
        end = min(len(data), start + drawn.choice((1, 1, 2, 8, 96)))
        match drawn.randrange(7):
            case 0:  # a bit flips
                if start < len(data):
                    data[start] ^= 1 << drawn.randrange(8)
            case 1:  # a piece is lost
                del data[start:end]
            case 2:  # a piece comes twice
                data[start:start] = data[start:end]
            case 3:  # the rest is lost
                del data[start:]
            case 4:  # something else stands there
                data[start:end] = drawn.choice(TOKENS)
            case 5:  # two pieces are exchanged
                other = drawn.randrange(len(data) + 1)
                data[start:end], data[other : other + end - start] = data[other : other + end - start], data[start:end]
            case 6:  # zeros, as blocks that never reached the disk
                data[start:end] = bytes(end - start)
    return bytes(data)

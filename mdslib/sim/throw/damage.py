"""What a damaged frame looks like on the wire."""

from __future__ import annotations

import random
from typing import Any, Protocol

_PRICES = ("p", "bp", "o", "op", "u", "sc", "b")  # of trade, quote, bar, correction, band, status, book


class _Codec(Protocol):
    def join(self, messages: list[Any]) -> str | bytes: ...
    def message(self, fields: dict[str, Any]) -> Any: ...
    def fields(self, message: Any) -> dict[str, Any]: ...


def damaged(messages: list[Any], how: str, codec: _Codec, chance: random.Random) -> str | bytes:
    """Return the frame of some messages, damaged.

    Parameters
    ----------
    messages : list
        As the codec writes them.
    how : str
        As in `mdslib.sim.faults.kinds.Corrupt`.
    codec : codec
        Of the connection.
    chance : random.Random
        Where garbage comes from.
    """
    if how in ("wrong-type", "missing-field", "unknown-type"):
        first = codec.message(_changed(codec.fields(messages[0]), how))
        return codec.join([first, *messages[1:]])
    frame = codec.join(messages)
    if how == "truncated":
        return frame[: len(frame) // 2]
    if how == "empty":
        return frame[:0]
    if how == "binary":
        return frame.encode() if isinstance(frame, str) else frame.decode("latin-1")
    garbage = bytes(chance.randrange(33, 127) for _ in range(min(len(frame), 4096)))
    return garbage if isinstance(frame, bytes) else garbage.decode("ascii")


def _changed(told: dict[str, Any], how: str) -> dict[str, Any]:
    """Return a message with something wrong: of market data, or (with ``data``) of `trade_updates`."""
    inner = told.get("data")
    if how == "wrong-type":
        if inner is not None:
            return told | {"data": inner | {"order": inner["order"] | {"qty": "nonsense", "filled_qty": "nonsense"}}}
        return {name: "nonsense" if name in _PRICES else value for name, value in told.items()}
    if how == "missing-field":
        if inner is not None:
            return told | {"data": {name: value for name, value in inner.items() if name != "order"}}
        return {name: value for name, value in told.items() if name != "t"}
    if inner is not None:
        order = inner["order"] | {"status": "levitating"}
        return told | {"data": inner | {"event": "levitated", "order": order}}
    return told | {"T": "zz"}

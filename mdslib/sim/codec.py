"""How a data connection writes: JSON in text frames, or msgpack in binary ones, as its ``Content-Type`` asks.

alpaca-py's and Alpaca's Go client ask for msgpack. Times are then msgpack's own timestamps. Source: Alpaca, "WebSocket
Stream".
"""

from __future__ import annotations

import json
import struct
from typing import Any, Protocol

import msgspec

from mdslib.sim.market import Market
from mdslib.sim.wire import stamp
from mdslib.sim.wire_msgpack import TIMESTAMP, pack_stamp

_TIMES = ("t",)


class Codec(Protocol):
    """A way to write."""

    def messages(self, market: Market, lo: int, hi: int) -> list[Any]:
        """Return market events ``lo:hi``, each written."""

    def either(self, texts: list[str], packed: list[bytes]) -> list[Any]:
        """Return the messages that are written in this way."""

    def join(self, messages: list[Any]) -> str | bytes:
        """Return the frame of some messages."""

    def message(self, fields: dict[str, Any]) -> Any:
        """Return one message; a time ``t`` is ns UTC."""

    def fields(self, message: Any) -> dict[str, Any]:
        """Return what one message says, to be changed and written again."""

    def control(self, text: str) -> str | bytes:
        """Return the frame of a control message that is JSON."""

    def read(self, frame: str | bytes) -> Any:
        """Return what a client says.

        Raises
        ------
        ValueError
            It can't be read.
        """


class JsonCodec:
    """Text frames of JSON."""

    def messages(self, market: Market, lo: int, hi: int) -> list[str]:
        """Return market events ``lo:hi``, each written."""
        return market.messages(lo, hi)

    def either(self, texts: list[str], packed: list[bytes]) -> list[Any]:
        """Return the texts."""
        return texts

    def join(self, messages: list[Any]) -> str:
        """Return the frame of some messages."""
        return "[" + ",".join(messages) + "]"

    def message(self, fields: dict[str, Any]) -> str:
        """Return one message."""
        told = {
            name: stamp(value) if name in _TIMES and isinstance(value, int) else value for name, value in fields.items()
        }
        return json.dumps(told, separators=(",", ":"))

    def fields(self, message: Any) -> dict[str, Any]:
        """Return what one message says."""
        told: dict[str, Any] = json.loads(message)
        return told

    def control(self, text: str) -> str:
        """Return a control message's frame."""
        return text

    def read(self, frame: str | bytes) -> Any:
        """Return what a client says."""
        return json.loads(frame)


class MsgpackCodec:
    """Binary frames of msgpack."""

    def messages(self, market: Market, lo: int, hi: int) -> list[bytes]:
        """Return market events ``lo:hi``, each written."""
        return market.packed(lo, hi)

    def either(self, texts: list[str], packed: list[bytes]) -> list[Any]:
        """Return what is packed."""
        return packed

    def join(self, messages: list[Any]) -> bytes:
        """Return the frame of some messages."""
        return struct.pack(">BI", 0xDD, len(messages)) + b"".join(messages)

    def message(self, fields: dict[str, Any]) -> bytes:
        """Return one message."""
        told = {
            name: msgspec.msgpack.Ext(TIMESTAMP, pack_stamp(value))
            if name in _TIMES and isinstance(value, int)
            else value
            for name, value in fields.items()
        }
        return msgspec.msgpack.encode(told)

    def fields(self, message: Any) -> dict[str, Any]:
        """Return what one message says."""
        told: dict[str, Any] = msgspec.msgpack.decode(message)
        return told

    def control(self, text: str) -> bytes:
        """Return a control message's frame."""
        return msgspec.msgpack.encode(json.loads(text))

    def read(self, frame: str | bytes) -> Any:
        """Return what a client says; text is JSON, whatever was asked for."""
        return json.loads(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)


def choose_codec(content_type: str) -> Codec:
    """Return the codec that a connection's ``Content-Type`` header asks for.

    Examples
    --------
    >>> type(choose_codec("application/msgpack")).__name__, type(choose_codec("")).__name__
    ('MsgpackCodec', 'JsonCodec')
    """
    return MsgpackCodec() if "msgpack" in content_type.lower() else JsonCodec()

"""The kinds of fault: what each is called in a script, which fields it takes, and what they mean.

This is the script's whole schema. The parser reads it, and so do the reference page and ``mds sim --list-faults``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from mdslib.sim.faults.when import Duration, TimeOfDay

# The calls that a fault on REST can name.
CALLS = (
    "POST /v2/orders",
    "GET /v2/orders",
    "DELETE /v2/orders",
    "GET /v2/orders:by_client_order_id",
    "GET /v2/orders/{id}",
    "PATCH /v2/orders/{id}",
    "DELETE /v2/orders/{id}",
    "GET /v2/account",
    "GET /v2/positions",
    "DELETE /v2/positions",
    "GET /v2/positions/{symbol}",
    "DELETE /v2/positions/{symbol}",
    "GET /v2/clock",
    "GET /v2/calendar",
    "GET /v2/assets",
    "GET /v2/assets/{symbol}",
    "GET /v2/stocks/trades",
    "GET /v2/stocks/quotes",
    "GET /v2/stocks/bars",
    "GET /v2/stocks/{symbol}/trades",
    "GET /v2/stocks/{symbol}/quotes",
    "GET /v2/stocks/{symbol}/bars",
)
ANY = "any"
DATA, UPDATES = "data", "updates"
Count = Annotated[int, Meta(ge=1)]
Socket = Literal["data", "updates"]


def _says(text: str) -> Meta:
    return Meta(description=text)


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="what", rename={"lasts": "for"}):
    """A fault of a script: when it comes.

    At most one of `at`, `after`, `after_events` and `after_orders`; without one it is there from the start, before the
    first connection.
    """

    group: ClassVar[str] = ""

    at: Annotated[TimeOfDay | None, _says("time of day at the exchange")] = None
    after: Annotated[Duration | None, _says("time after the session's open")] = None
    after_events: Annotated[Count | None, _says("once so many market events have come to pass")] = None
    after_orders: Annotated[Count | None, _says("once the exchange has accepted so many orders")] = None
    every: Annotated[Duration | None, _says("with `at` or `after`: it comes again, so much later each time")] = None


class Lasting(Fault, frozen=True, kw_only=True):
    """A fault that may last."""

    lasts: Annotated[Duration | None, _says("how long it lasts")] = None


class Hitting(Lasting, frozen=True, kw_only=True):
    """A fault that hits single things: calls, frames, messages, orders.

    Without `for` and `times` it hits once; with `for` alone, everything that comes in that time.
    """

    nth: Annotated[Count, _says("the first thing that can be hit, counted from when the fault came")] = 1
    times: Annotated[Count | None, _says("how many things are hit at most")] = None
    chance: Annotated[float, Meta(gt=0, le=1, description="how likely each thing is hit, by the script's seed")] = 1.0


# -- REST calls ------------------------------------------------------------


class OnCalls(Hitting, frozen=True, kw_only=True):
    """A fault on REST calls; a call suffers the first one of the script that hits it."""

    group: ClassVar[str] = "calls"

    call: Annotated[str | list[str], _says("`METHOD /path`, or a list of them")] = ANY


class HttpError(OnCalls, frozen=True, kw_only=True, tag="http-error"):
    """The call is answered with an error."""

    status: Annotated[int, Meta(ge=400, le=599, description="HTTP status")]
    taken: Annotated[
        Literal["never", "first"], _says("whether the call is carried out all the same: `first`, before the error")
    ] = "never"
    code: Annotated[int | None, _says("the body's `code`; by default the usual one of the status")] = None
    message: Annotated[str | None, _says("the body's `message`; by default the usual one of the status")] = None
    body: Annotated[Literal["json", "html", "empty"], _says("`html` is a proxy's page")] = "json"
    retry_after: Annotated[int | None, _says("seconds in a header `Retry-After`")] = None


class HttpCut(OnCalls, frozen=True, kw_only=True, tag="http-cut"):
    """The connection is cut instead of an answer."""

    taken: Annotated[
        Literal["never", "first", "late"],
        _says("whether the call is carried out: `first`, before the cut; `late`, `delay` after it"),
    ] = "never"
    delay: Annotated[Duration, _says("with `late`; real time")] = Duration(1_000_000_000, real=True)
    half: Annotated[bool, _says("with `first`: half of the answer is sent before the cut")] = False


class HttpHang(OnCalls, frozen=True, kw_only=True, tag="http-hang"):
    """The call gets no answer; the connection stays open until the client gives up."""

    taken: Annotated[
        Literal["never", "first", "late"],
        _says("whether the call is carried out: `first`, at once; `late`, after `delay`, or when the client gives up"),
    ] = "never"
    delay: Annotated[Duration, _says("with `late`; real time")] = Duration(1_000_000_000, real=True)


class HttpSlow(OnCalls, frozen=True, kw_only=True, tag="http-slow"):
    """The call is answered late, and rightly."""

    delay: Annotated[Duration, _says("how late; real time")]
    taken: Annotated[
        Literal["first", "late"],
        _says("whether the call is carried out at once, so that updates overtake the answer, or after the delay"),
    ] = "first"


class HttpGarbage(OnCalls, frozen=True, kw_only=True, tag="http-garbage"):
    """The call is carried out and answered with status 200, but its body can't be read."""

    how: Annotated[
        Literal["truncated", "text", "empty", "wrong-shape"], _says("`wrong-shape` is JSON, but not what is documented")
    ] = "truncated"


# -- messages on the sockets ------------------------------------------------------------


class OnMessages(Hitting, frozen=True, kw_only=True):
    """A fault on what a socket sends."""

    group: ClassVar[str] = "messages"

    socket: Annotated[Socket, _says("market data, or `trade_updates`")] = "data"
    only: Annotated[
        list[str], _says("only these: channels of the data (`trades`), events of the updates (`fill`)")
    ] = []
    symbol: Annotated[str | None, _says("only of this one")] = None


class Mute(OnMessages, frozen=True, kw_only=True, tag="mute"):
    """The socket is open and says nothing; what it would have said is lost. Pings and requests are answered."""


class Drop(OnMessages, frozen=True, kw_only=True, tag="drop"):
    """Messages are lost without a sign; of a data frame, each by itself."""


class Slow(OnMessages, frozen=True, kw_only=True, tag="slow"):
    """Frames come late, and in order."""

    delay: Annotated[Duration, _says("how late")]


class Duplicate(OnMessages, frozen=True, kw_only=True, tag="duplicate"):
    """Messages come more than once."""

    copies: Annotated[Count, _says("how many more")] = 1
    unit: Annotated[Literal["message", "frame"], _says("what is repeated")] = "message"


class Reorder(OnMessages, frozen=True, kw_only=True, tag="reorder"):
    """Messages come out of order."""

    how: Annotated[
        Literal["swap", "shuffle"], _says("`swap` sends a frame after the one that follows it; `shuffle` mixes a frame")
    ] = "swap"


class Burst(OnMessages, frozen=True, kw_only=True, tag="burst"):
    """All that is to be sent in a time is held back, and sent at once at its end. Needs `for`."""

    size: Annotated[Count | None, _says("messages in a frame at most; as ever by default")] = None


class Corrupt(OnMessages, frozen=True, kw_only=True, tag="corrupt"):
    """A frame is damaged; what can't be read of it is lost."""

    how: Annotated[
        Literal["truncated", "garbage", "empty", "binary", "wrong-type", "missing-field", "unknown-type"],
        _says(
            "`binary` swaps text and bytes; the last three change the first message: its price or quantity is no "
            "number, its time or its order is missing, nobody knows its type"
        ),
    ] = "truncated"


# -- connections ------------------------------------------------------------


class Disconnect(Lasting, frozen=True, kw_only=True, tag="disconnect"):
    """Sockets end; with `for`, new connections are refused that long."""

    group: ClassVar[str] = "connections"

    socket: Annotated[Literal["data", "updates", "both"], _says("which")] = "data"
    how: Annotated[Literal["cut", "close"], _says("without a word, or with a close frame")] = "cut"
    code: Annotated[int, Meta(ge=1000, le=4999, description="of the close frame")] = 1001
    status: Annotated[int, Meta(ge=400, le=599, description="HTTP status of the refusals")] = 503


class SocketError(Hitting, frozen=True, kw_only=True, tag="socket-error"):
    """A socket says an error."""

    group: ClassVar[str] = "connections"

    code: Annotated[int, Meta(ge=400, le=599, description="the error's code; on connecting, the HTTP status")]
    socket: Annotated[Socket, _says("which; `updates` knows only its own words, so the code does not show")] = "data"
    on: Annotated[
        Literal["connect", "login", "subscribe", "stream"],
        _says("in place of what; `stream`: before a frame"),
    ] = "login"
    close: Annotated[bool, _says("the socket ends after it")] = False


class Restart(Lasting, frozen=True, kw_only=True, tag="restart"):
    """The exchange goes down and comes back. Sockets and unanswered calls die; orders and positions are kept.

    With `for`, it takes no connection that long, the market goes on, and updates are lost.
    """

    group: ClassVar[str] = "connections"


# -- the exchange's own doings ------------------------------------------------------------


class Reject(Hitting, frozen=True, kw_only=True, tag="reject"):
    """An order that was accepted is rejected afterwards, by the stream."""

    group: ClassVar[str] = "orders"

    reason: Annotated[str, _says("told in the update")] = "rejected by the venue"
    delay: Annotated[Duration, _says("how long it works before")] = Duration(0)


class CancelIgnored(Hitting, frozen=True, kw_only=True, tag="cancel-ignored"):
    """A cancel is taken in, yet the order goes on working: it loses to a fill, or to the close."""

    group: ClassVar[str] = "orders"


class PartialFills(Lasting, frozen=True, kw_only=True, tag="partial-fills"):
    """Fills are partial at random, also with rules `permissive`."""

    group: ClassVar[str] = "orders"

    chance: Annotated[float, Meta(gt=0, le=1, description="how many of the fills; Alpaca's paper account: 0.1")] = 0.1


class Latency(Lasting, frozen=True, kw_only=True, tag="latency"):
    """Orders take longer until they can fill."""

    group: ClassVar[str] = "orders"

    by: Annotated[Duration, _says("time from an order to its first possible fill")]


class ForeignOrder(Fault, frozen=True, kw_only=True, tag="foreign-order"):
    """Somebody else trades on the same account, as by hand on the venue's page."""

    group: ClassVar[str] = "orders"

    qty: Annotated[float, Meta(gt=0, description="how much")] = 1.0
    side: Annotated[Literal["buy", "sell"], _says("which way")] = "buy"
    symbol: Annotated[str | None, _says("of what; the first symbol by default")] = None


class Halt(Lasting, frozen=True, kw_only=True, tag="halt"):
    """A symbol is halted: status messages, no events, no fills; its orders go on working after it."""

    group: ClassVar[str] = "market"

    symbol: Annotated[str | None, _says("which; the first by default")] = None
    reason: Annotated[str, _says("reason code of the status; `LUDP` and `M` say the LULD band first")] = "LUDP"
    band: Annotated[float, Meta(gt=0, lt=1, description="half width of the LULD band, as a part of the price")] = 0.05


class Correction(Fault, frozen=True, kw_only=True, tag="correction"):
    """The venue corrects a trade that it has sent."""

    group: ClassVar[str] = "market"

    symbol: Annotated[str | None, _says("of which; the first by default")] = None
    back: Annotated[Count, _says("which trade: 1 is the last one")] = 1
    shift: Annotated[float, _says("added to its price")] = 0.01


class TradeCancel(Fault, frozen=True, kw_only=True, tag="trade-cancel"):
    """The venue cancels a trade that it has sent."""

    group: ClassVar[str] = "market"

    symbol: Annotated[str | None, _says("of which; the first by default")] = None
    back: Annotated[Count, _says("which trade: 1 is the last one")] = 1
    action: Annotated[Literal["C", "E"], _says("canceled, or an error")] = "C"


class ClockSkew(Lasting, frozen=True, kw_only=True, tag="clock-skew"):
    """The venue's clock (`/v2/clock`) goes wrong."""

    group: ClassVar[str] = "market"

    by: Annotated[Duration, _says("how far ahead; behind with a minus")]


KINDS: dict[str, type[Fault]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        HttpError, HttpCut, HttpHang, HttpSlow, HttpGarbage, Mute, Drop, Slow, Duplicate, Reorder, Burst, Corrupt,
        Disconnect, SocketError, Restart, Reject, CancelIgnored, PartialFills, Latency, ForeignOrder, Halt, Correction,
        TradeCancel, ClockSkew,
    )
}  # fmt: skip
TRIGGERS = ("at", "after", "after_events", "after_orders")


def what(fault: Fault) -> str:
    """Return what a script calls a fault."""
    return str(fault.__struct_config__.tag)


def fields_of(kind: type[Struct]) -> dict[str, tuple[str, Any]]:
    """Return the fields of a fault, or of a table ``[must]``, as a script names them: attribute and type."""
    from typing import get_type_hints

    hints = get_type_hints(kind, include_extras=True)
    names = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
    return {said: (name, hints[name]) for said, name in names}

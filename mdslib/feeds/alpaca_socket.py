"""Alpaca's live market data through cpquant's own `AlpacaRealtimeClient`, with its traps made safe.

cpquant's ``subscribe_*`` and ``listen`` run unchanged. What they leave out is done here: any feed and address, replies
that are checked, exceptions that are kept, a disconnect that says why, and a clock reading for every frame.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mdslib.clock import Clock, WallClock, monotonic_ns
from mdslib.errors import ConfigError, FeedError, FeedRefused, did_you_mean
from mdslib.feeds.alpaca_address import FEEDS, HOST, stream_address
from mdslib.feeds.alpaca_decode import AlpacaDecoder
from mdslib.feeds.alpaca_messages import Control, Refusal, Subscription, Success
from mdslib.feeds.connect import open_direct, why_closed
from mdslib.feeds.cpquant_client import ClientSocket, cpquant_data, make_client
from mdslib.feeds.quiet import caught_prints
from mdslib.instruments import Instrument, parse_instrument
from mdslib.protocols import Records

if TYPE_CHECKING:
    from mdslib.config import Credentials

_LOG = logging.getLogger("mdslib.feeds")
VARIABLES = "ALPACA_DATA_PUBLIC_KEY and ALPACA_DATA_SECRET_KEY"
# Our names of the channels that can be asked for, and Alpaca's.
CHANNELS = {
    "trades": "trades", "quotes": "quotes", "bars": "bars", "updated_bars": "updatedBars", "daily_bars": "dailyBars",
    "statuses": "statuses", "lulds": "lulds", "orderbooks": "orderbooks",
}  # fmt: skip
# Codes after which another try can't help. Source: Alpaca, "WebSocket Stream", table of errors.
_FATAL = frozenset({400, 402, 405, 409, 410, 411})
_NO_SUCH = frozenset({400, 405, 409, 410})  # what refuses a channel, and nothing else
_REMEDIES = {
    402: f"the venue refused the key pair in the environment variables {VARIABLES}",
    404: "the key came later than the venue waits; check the machine's load and the network",
    405: "the plan allows fewer symbols (30 on the free one); ask for fewer",
    406: "another session holds the only connection of this account; stop it, or wait until the venue drops it",
    407: "frames were read too slowly, and the venue drops such a client",
    410: "this feed has no such channel; leave it out of `kinds`",
    411: "the token does not cover market data; use a key pair",
    500: "the venue has a fault; try again later",
}


class CpquantFeed:
    """Live trades, quotes, bars and order books from Alpaca, or from anything that speaks its protocol.

    Parameters
    ----------
    instruments : sequence of Instrument or str
        What to subscribe to; a record's ``instrument`` is the place in it.
    feed : str
        ``iex`` (free), ``sip``, ``delayed_sip`` or ``test``; the last part of the address. For pairs ``us``.
    url : str, optional
        ``wss://host``; Alpaca's by default. A path after the host is kept and the feed not added.
    kinds : sequence of str
        Channels, keys of `CHANNELS`.
    credentials : Credentials, optional
        From cpquant's environment variables by default.
    clock : Clock, optional
        Stamps ``ts_init``; the machine's by default.
    connect_timeout : float
        Longest time of `open` for each step, s.
    besides : sequence of str
        Channels to ask for without waiting for an answer, last of all: a feed that has none of them serves as well.

    Attributes
    ----------
    frames, messages, bytes : int
        What was received since the feed was made, reconnections included.
    errors : list of Refusal
        Errors that the venue sent while the stream ran.
    decoder : AlpacaDecoder
        Its counters name what was not read.
    on_unreadable : callable, optional
        Takes the error of a frame that can't be read, and tells whether to read on; without it, `run` ends with it.

    Raises
    ------
    CredentialError
        If a variable is missing; it names which.
    ConfigError
        If a kind, the feed or the address can't be.

    Notes
    -----
    One thread runs `open` and `run`; `close` may come from any other. After a `FeedError`, `open` connects anew;
    waiting between two tries is the session's part. There is no replay: what was sent in between is missed.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument | str],
        feed: str = "iex",
        url: str | None = None,
        kinds: Sequence[str] = ("trades",),
        credentials: Credentials | None = None,
        clock: Clock | None = None,
        connect_timeout: float = 10.0,
        besides: Sequence[str] = (),
    ) -> None:
        from mdslib.config import credentials as from_environment

        self.instruments = tuple(parse_instrument(instrument) for instrument in instruments)
        self.symbols = [instrument.symbol for instrument in self.instruments]
        self.feed, self.kinds, self.besides = feed, tuple(kinds), tuple(besides)
        self.url = stream_address(url or HOST, feed)
        self.connect_timeout = connect_timeout
        self.decoder = AlpacaDecoder(self.symbols, [instrument.lot for instrument in self.instruments], once=True)
        self.frames = self.messages = self.bytes = 0
        self.errors: list[Refusal] = []
        self._unanswered: list[str] = []  # channels of `besides` of which the venue has not spoken
        self.on_unreadable: Callable[[FeedError], bool] | None = None
        self.last_frame = 0
        self._heard = 0
        self._credentials = credentials or from_environment("data")
        self._clock: Clock = clock or WallClock()
        self._client: Any = None
        self._early: list[Records] = []
        self._failure: BaseException | None = None
        self._dropped = ""
        self._closing = threading.Event()
        self._check()

    def _check(self) -> None:
        if not self.symbols or not self.kinds:
            raise ConfigError("CpquantFeed needs at least one instrument and one kind; received none")
        for kind in (*self.kinds, *self.besides):
            if kind not in CHANNELS:
                raise ConfigError(f"CpquantFeed.kinds: {kind!r} is no channel. {did_you_mean(kind, CHANNELS)}")

    def __repr__(self) -> str:
        return f"CpquantFeed({', '.join(self.symbols)}; {', '.join(self.kinds)} from {self.url})"

    @property
    def silence(self) -> float:
        """Seconds since the last frame of market data, or since `open`; a socket can be open and yet mute."""
        return (monotonic_ns() - self._heard) / 1e9 if self._heard else 0.0

    def counts(self) -> dict[str, int]:
        """Return what is worth a person's look, by name; reconnections included."""
        return {
            "events that came twice, left out": self.decoder.doubles,
            "messages that were not understood": self.decoder.unread.total(),
            "events of symbols that are not ours": self.decoder.unsubscribed.total(),
            "errors told by the stream": len(self.errors),
        }

    @property
    def books(self) -> int:
        """How many order books it has; a new connection sends each one's image, so what was missed is whole again."""
        return len(self.symbols) if "orderbooks" in self.kinds else 0

    def open(self) -> None:
        """Connect, authenticate, subscribe and check every reply.

        Raises
        ------
        FeedRefused
            For good: wrong key (402), feed not in the plan (409), too many symbols (405), a symbol not confirmed.
        FeedError
            For now: connection limit (406), no answer in time, a fault of the venue.
        """
        self._drop()
        connection = open_direct(self.url, self.connect_timeout, "Alpaca data stream")
        socket = ClientSocket(connection, self._clock)
        self._client = make_client(socket, self.url, self._credentials)
        self._failure, self._early, self._dropped = None, [], ""
        self.decoder.begin()
        try:
            self._expect_success("connected")
            key = {"action": "auth", "key": self._credentials.key, "secret": self._credentials.secret}
            socket.send(json.dumps(key))
            self._expect_success("authenticated")
            self._subscribe()
        except BaseException:
            self._drop()  # a half-open socket would hold the account's only connection
            raise
        self._heard = monotonic_ns()
        if self._closing.is_set():
            self._drop()

    def run(self, sink: Callable[[Records], None]) -> None:
        """Read frames until `close`, and hand each frame's records to `sink`.

        Raises
        ------
        FeedError
            On a disconnect, with the reason; or for a frame that can't be read.
        Exception
            Whatever `sink` raised, unchanged.
        """
        self._run(lambda records, _frames: sink(records), together=False)

    def run_together(self, sink: Callable[[Records, int], None]) -> None:
        """Do as `run` does, but hand over at once what was received at once: ``sink(records, frames)``.

        In a burst a read of the socket brings hundreds of frames; reading, recording and deciding on all of them costs
        little more than on one.
        """
        self._run(sink, together=True)

    def _run(self, sink: Callable[[Records, int], None], *, together: bool) -> None:
        client = self._client
        if client is None:
            if self._closing.is_set():
                return
            raise FeedError("CpquantFeed.run needs an open connection; call open() first")
        for records in self._early:
            sink(records, 1)
        self._early = []
        with caught_prints(cpquant_data()):
            client.listen(self._handler(client.socket, sink, together))
        self._drop()
        if self._failure is not None:
            raise self._failure
        if self._closing.is_set():
            return
        self._raise_disconnect(client.socket.ended)

    def ask_again(self, kind: str, symbol: str) -> None:
        """Leave a channel of a symbol and come back to it, from any thread; of a book a new image follows.

        Raises
        ------
        FeedError
            The connection has ended.
        """
        client = self._client
        if client is None:
            raise FeedError("CpquantFeed.ask_again needs an open connection; call open() first")
        for action in ("unsubscribe", "subscribe"):
            client.socket.send(json.dumps({"action": action, CHANNELS[kind]: [symbol]}))

    def drop(self, why: str) -> None:
        """Cut the connection from another thread: `run` raises a `FeedError` that says why, and `open` may follow."""
        self._dropped = why
        client = self._client
        if client is not None:
            client.close()

    def close(self) -> None:
        """End `run`, from any thread; safe to call twice."""
        self._closing.set()
        client = self._client
        if client is not None:
            client.close()

    def _handler(
        self, socket: ClientSocket, sink: Callable[[Records, int], None], together: bool
    ) -> Callable[[str | bytes], None]:
        """Return what cpquant's `listen` calls for each frame.

        `listen` swallows exceptions, Ctrl-C included, and returns; so they are kept here and raised by `run`.
        """
        decoder, waiting = self.decoder, socket.waiting if together else deque()
        held: list[Any] = []  # bytes received with frames that `listen` has not handed on yet

        def handle(frame: str | bytes) -> None:
            try:
                if waiting:
                    held.append(frame)
                elif held:
                    held.append(frame)
                    take_held()
                else:
                    take(frame)
            except BaseException as error:
                self._failure = error
                raise

        def take(frame: str | bytes) -> None:
            try:
                records = decoder.receive(frame, socket.received)
            except FeedError as error:
                if self.on_unreadable is None or not self.on_unreadable(error):
                    raise
                return
            self._count(1, len(frame), socket.received, len(records))
            if decoder.controls:
                self._note(decoder.controls)
            if len(records) or not decoder.controls:  # of doubles alone: a frame all the same, for who counts them
                sink(records, 1)

        def take_held() -> None:
            frames = held.copy()
            held.clear()
            records = decoder.receive_together(frames, socket.received)
            if records is None:
                for frame in frames:
                    take(frame)
                return
            self._count(len(frames), sum(map(len, frames)), socket.received, len(records))
            sink(records, len(frames))

        return handle

    def _count(self, frames: int, length: int, received: int, messages: int) -> None:
        self.frames += frames
        self.messages += messages
        self.bytes += length
        if messages:
            self.last_frame = received
            self._heard = monotonic_ns()

    def _note(self, controls: Sequence[Control]) -> None:
        """Keep an error that came while the stream runs: a closing usually follows, and then it is the reason."""
        for control in controls:
            if self._unanswered and isinstance(control, Refusal | Subscription):
                kind = self._unanswered.pop(0)
                if isinstance(control, Refusal) and control.code in _NO_SUCH:
                    _LOG.info("Alpaca data stream has no %s: error %d %s", kind, control.code, control.msg)
                    continue
            if isinstance(control, Refusal):
                self.errors.append(control)
                _LOG.warning("Alpaca data stream: error %d %s", control.code, control.msg)

    def _raise_disconnect(self, ended: BaseException | None) -> None:
        if isinstance(ended, KeyboardInterrupt | SystemExit):
            raise ended
        why = why_closed(ended) if ended is not None else "cpquant's listen returned without a reason"
        why = self._dropped or why
        if not self.errors:
            raise FeedError(f"Alpaca data stream ended: {why}") from None
        last = self.errors[-1]
        remedy = _REMEDIES.get(last.code, "")
        raise FeedError(
            f"Alpaca data stream ended: {why}, after error {last.code} {last.msg!r}: {remedy}", code=last.code
        ) from None

    def _expect_success(self, word: str) -> None:
        control = self._next_control(f"{word!r}")
        if control != Success(word):
            raise FeedError(
                f"Alpaca data stream must answer {word!r}, received {control!r}; is {self.url} such a stream?"
            )

    def _next_control(self, awaited: str) -> Control:
        """Return the next control message; market data that comes before it is kept for `run`."""
        socket = self._client.socket
        deadline = monotonic_ns() + int(self.connect_timeout * 1e9)
        while (left := (deadline - monotonic_ns()) / 1e9) > 0:
            try:
                frame = socket.recv(left)
            except TimeoutError:
                break
            except Exception as error:
                raise FeedError(f"Alpaca data stream ended while {awaited} was awaited: {why_closed(error)}") from None
            records = self.decoder.receive(frame, socket.received)
            self._count(1, len(frame), socket.received, len(records))
            if len(records):
                self._early.append(records)
            for control in self.decoder.controls:
                if isinstance(control, Refusal):
                    raise self._refused(control)
                return control
        raise FeedError(
            f"Alpaca data stream did not answer {awaited} within {self.connect_timeout:g} s; check {self.url}"
        )

    def _refused(self, error: Refusal) -> FeedError:
        """Return the one clear error for a code of the venue."""
        remedy = _REMEDIES.get(error.code, "see Alpaca's table of stream errors")
        if error.code == 409:
            remedy = f"the feed {self.feed!r} is not in this account's plan; feed='iex' is in every plan"
        if error.code == 400:
            remedy = (
                f"the venue does not take one of the symbols {', '.join(self.symbols)}; write each as the venue does"
            )
        kind = FeedRefused if error.code in _FATAL else FeedError
        return kind(f"Alpaca data stream: error {error.code} {error.msg!r}: {remedy}", code=error.code)

    def _subscribe(self) -> None:
        """Subscribe one channel after the other, since a reply does not say what it answers."""
        for kind in self.kinds:
            self._ask_for(kind)
            reply = self._next_control(f"the subscription to {kind}")
            if not isinstance(reply, Subscription):
                raise FeedError(f"Alpaca data stream must answer with the subscription, received {reply!r}")
            confirmed = set(getattr(reply, kind))
            missing = [symbol for symbol in self.symbols if symbol not in confirmed and "*" not in confirmed]
            if missing:
                raise FeedRefused(
                    f"Alpaca data stream: {kind} of {', '.join(missing)} were not confirmed; "
                    f"check how the symbols are written and what the feed {self.feed!r} carries"
                )
        self._unanswered = list(self.besides)
        for kind in self.besides:
            self._ask_for(kind)

    def _ask_for(self, kind: str) -> None:
        client = self._client
        if kind == "bars":
            client.subscribe_bars(self.symbols, "1Min")
        elif kind in ("trades", "quotes"):
            getattr(client, f"subscribe_{kind}")(self.symbols)
        else:  # cpquant has no call for it
            client.socket.send(json.dumps({"action": "subscribe", CHANNELS[kind]: self.symbols}))

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


__all__ = ["CHANNELS", "FEEDS", "CpquantFeed"]

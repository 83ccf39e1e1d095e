"""Alpaca's historical trades and bars through cpquant's own `AlpacaDataClient`, complete or with one clear error.

cpquant's ``get_trades`` and ``get_bars`` build the requests and parse the rows. Their single request is replaced, since
it has no time limit and hands error bodies to a parser that fails on them: ours checks the answer first, keeps the page
token that ``get_bars`` drops, and tells an empty day from a failure.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mdslib.clock import Clock, WallClock
from mdslib.errors import ConfigError, CredentialError, DataError, FeedError, FeedRefused, MdsError
from mdslib.events import Kind
from mdslib.feeds.alpaca_frames import bar_length, bars_of, trades_of, wrong_price
from mdslib.feeds.connect import check_encrypted
from mdslib.feeds.quiet import caught_prints
from mdslib.feeds.rfc3339 import from_ns
from mdslib.instruments import Instrument, parse_instrument
from mdslib.table import Table, empty

if TYPE_CHECKING:
    import pandas as pd
    import requests

    from mdslib.protocols import Store

VARIABLES = "ALPACA_DATA_PUBLIC_KEY and ALPACA_DATA_SECRET_KEY"
PAGE = 10_000  # rows, the most that Alpaca gives at once
_SECOND = 1_000_000_000
_TRIES = 5  # of one request that the rate limit refuses
_LONGEST_WAIT = 65.0  # s; the limit is counted by the minute
_WAITED_AT_ONCE = 5 * _SECOND  # ns


class Fetched(NamedTuple):
    """One stored part: how many rows, and how many trades the venue had taken back."""

    symbol: str
    kind: Kind
    rows: int
    dropped: int


class _EmptyPage(Exception):
    """The answer holds no rows of the symbol; cpquant's parser must not see it."""


class CpquantHistory:
    """Historical data of one feed.

    Parameters
    ----------
    url : str, optional
        ``https://host`` of the data API; cpquant's own by default.
    feed : str
        ``iex`` or ``sip``. One series must come from one feed: iex is about 2.5 % of the volume.
    timeout : float
        Longest wait for the connection and between two pieces of an answer, s.
    clock : Clock, optional
        For waits at the rate limit.

    Attributes
    ----------
    dropped : int
        Trades left out because the venue flags them canceled or incorrect, in all calls.
    requests : int
        Requests sent.
    progress : callable
        Called at every answer, and every few seconds while the rate limit is waited out; for a heartbeat.

    Raises
    ------
    CredentialError
        If a variable is in neither the environment nor a ``.env`` file in the working folder.

    Notes
    -----
    Times are ns UTC or RFC 3339; a range is half open, ``start <= t < end``. ``ts_init`` is ``ts_event``, as nobody
    received the rows when they happened.
    """

    def __init__(
        self, url: str | None = None, feed: str = "iex", timeout: float = 30.0, clock: Clock | None = None
    ) -> None:
        self.feed = feed
        self.dropped = self.requests = 0
        self.progress: Callable[[], None] = lambda: None
        self._timeout, self._clock = timeout, clock or WallClock()
        self._token: str | None = None
        import requests

        self._session = requests.Session()
        self._client = _make_client(self._get)
        if url is not None:
            self._client.alpaca_data_url = url.rstrip("/") + "/v2/"
        check_encrypted(self._client.alpaca_data_url, "CpquantHistory")

    def __repr__(self) -> str:
        return f"CpquantHistory({self._client.alpaca_data_url}, feed={self.feed!r})"

    def trades(self, symbol: Instrument | str, start: int | str, end: int | str) -> Table:
        """Return every trade of a range, in the venue's order.

        Returns
        -------
        Table of Kind.TRADE
            Empty where there were none. Trades that the venue flags ``canceled`` or ``incorrect`` are left out and
            counted in `dropped`.

        Raises
        ------
        CredentialError, FeedRefused, FeedError, DataError
            Each names the symbol and the range.
        """
        instrument = parse_instrument(symbol)
        first, last = _ns(start), _ns(end)

        def page(token: str | None) -> Any:
            frames, _, _ = self._client.get_trades(
                instrument.symbol, from_ns(first), from_ns(last - 1), limit=PAGE, feed=self.feed, page_token=token
            )
            return frames[instrument.symbol]

        frame = self._pages(page, instrument, first, last)
        if frame is None:
            return empty(Kind.TRADE)
        frame = self._without_canceled(frame)
        return self._read(lambda: trades_of(frame, instrument))

    def bars(self, symbol: Instrument | str, timeframe: str, start: int | str, end: int | str) -> Table:
        """Return every bar that **starts** in a range, stamped at its close.

        Parameters
        ----------
        timeframe : str
            ``1Min`` to ``59Min``, ``1Hour`` to ``23Hour``, or ``1Day`` (stamped at the session's close).

        Raises
        ------
        ConfigError
            If the timeframe is another.
        CredentialError, FeedRefused, FeedError, DataError
            Each names the symbol and the range.
        """
        instrument = parse_instrument(symbol)
        first, last = _ns(start), _ns(end)
        length = bar_length(timeframe)

        def page(token: str | None) -> Any:
            frames = self._client.get_bars(
                [instrument.symbol], timeframe, from_ns(first), from_ns(last - 1), limit=PAGE, feed=self.feed,
                page_token=token,
            )  # fmt: skip
            return frames[instrument.symbol]

        frame = self._pages(page, instrument, first, last)
        return empty(Kind.BAR) if frame is None else self._read(lambda: bars_of(frame, instrument, length))

    def fetch(
        self,
        symbols: Sequence[Instrument | str],
        date: datetime.date,
        store: Store,
        kinds: Sequence[Kind] = (Kind.TRADE,),
    ) -> list[Fetched]:
        """Save one day, extended hours included, into a store; a day without rows is saved empty.

        Raises
        ------
        DataError
            If the exchange is closed on that date.
        """
        from mdslib.calendar import session

        done = []
        for instrument in map(parse_instrument, symbols):
            day = session(date, instrument.session)
            if day is None:
                raise DataError(
                    f"{instrument.session} is closed on {date}, so there is nothing to fetch; choose a session"
                )
            for kind in kinds:
                before = self.dropped
                if kind == Kind.TRADE:
                    table = self.trades(instrument, day.pre_open, day.post_close)
                elif kind == Kind.BAR:
                    table = self.bars(instrument, "1Min", day.pre_open, day.post_close)
                else:
                    raise ConfigError(f"CpquantHistory.fetch: kind must be TRADE or BAR, received {kind!r}")
                store.write(table, instrument, date)
                done.append(Fetched(instrument.symbol, kind, len(table), self.dropped - before))
        return done

    def _pages(self, page: Callable[[str | None], Any], instrument: Instrument, first: int, last: int) -> Any:
        """Return all pages as one frame, or None where there are no rows."""
        import pandas as pd

        where = f"{instrument.symbol} from {from_ns(first)} to {from_ns(last)} (feed {self.feed})"
        if last <= first:
            raise DataError(f"Alpaca history of {where}: the end must come after the start")
        frames: list[pd.DataFrame] = []
        tokens: set[str] = set()
        token: str | None = None
        while True:
            self._where, self._symbol = where, instrument.symbol
            try:
                with caught_prints(_cpquant()):
                    frame = page(token)
                # The index is naive UTC, and its unit varies with the digits that came.
                frame.index = frame.index.as_unit("ns")
                frames.append(frame)
            except _EmptyPage:
                pass  # a page may be empty and yet have a successor
            except MdsError:
                raise
            except Exception as error:  # cpquant's parser fails in many ways, on rows that break Alpaca's format
                kind = type(error).__name__
                raise DataError(f"Alpaca history of {where}: cpquant can't read the answer: {kind}: {error}") from error
            token = self._token
            if not token:
                break
            if token in tokens:
                raise DataError(f"Alpaca history of {where}: the venue gave the same page twice; try again later")
            tokens.add(token)
        return pd.concat(frames) if frames else None

    def _read(self, make: Callable[[], Table]) -> Table:
        """Return the rows as a table; a field that is not what the venue documents fails the whole range."""
        try:
            table = make()
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DataError(f"Alpaca history of {self._where}: a row can't be read: {error}; try again") from error
        wrong = wrong_price(table)
        if wrong:
            raise DataError(f"Alpaca history of {self._where}: {wrong}; try again, and tell the venue if it stays")
        return table

    def _without_canceled(self, frame: pd.DataFrame) -> pd.DataFrame:
        if "u" not in frame:
            return frame
        taken_back = frame["u"].isin(["canceled", "incorrect"])
        self.dropped += int(taken_back.sum())
        return frame[~taken_back]

    def close(self) -> None:
        """Free the connections."""
        self._session.close()

    def _get(self, url: str, headers: dict[str, str], params: dict[str, Any]) -> Any:
        """Send cpquant's request; return the answer only if it holds rows of the symbol."""
        answer = self._answer(url, headers, params)
        key = url.rsplit("/", 1)[1]
        try:
            body = answer.json()
            rows = (body[key] or {}).get(self._symbol)
            self._token = body.get("next_page_token")
        except (ValueError, KeyError, AttributeError, TypeError):
            text = answer.text[:100]
            raise DataError(
                f"Alpaca history of {self._where}: the answer must be JSON with {key!r}, received {text!r}; "
                f"check that {url} is Alpaca's data API"
            ) from None
        if not rows:
            raise _EmptyPage
        return answer

    def _answer(self, url: str, headers: dict[str, str], params: dict[str, Any]) -> Any:
        import requests

        for _ in range(_TRIES):
            self.requests += 1
            try:
                answer = self._session.get(url, headers=headers, params=params, timeout=self._timeout)
            except requests.Timeout:
                raise FeedError(
                    f"Alpaca history of {self._where}: no answer within {self._timeout:g} s; "
                    "try again, or raise the timeout"
                ) from None
            except requests.RequestException as error:
                why = type(error).__name__
                raise FeedError(f"Alpaca history of {self._where}: {url} can't be reached ({why})") from None
            self.progress()
            if answer.status_code != 429:
                break
            self._wait_for_reset(answer)
        if answer.status_code != 200:
            raise self._refused(answer)
        return answer

    def _wait_for_reset(self, answer: requests.Response) -> None:
        """Wait until the rate limit is lifted, as the answer's header says, but not for ever."""
        now = self._clock.now()
        reset = answer.headers.get("X-RateLimit-Reset", "")
        until = int(reset) * _SECOND if reset.isdigit() else now + 3 * _SECOND
        until = min(max(until, now + _SECOND // 10), now + int(_LONGEST_WAIT * _SECOND))
        for begin in range(now, until, _WAITED_AT_ONCE):
            self._clock.wait(threading.Event(), min(until, begin + _WAITED_AT_ONCE))
            self.progress()

    def _refused(self, answer: requests.Response) -> MdsError:
        """Return the one clear error for an HTTP status; 403 has two meanings, told apart by the venue's words."""
        status, said = answer.status_code, _message(answer)
        begin = f"Alpaca history of {self._where}: HTTP {status} {said!r}: "
        if status == 403 and ("subscription" in said or "permit" in said):
            return FeedRefused(
                f"{begin}the plan does not cover these data; use feed='iex', or an end more than 15 minutes ago", status
            )
        if status in (401, 403):
            return CredentialError(f"{begin}the venue refused the key pair in {VARIABLES}")
        if status == 429:
            return FeedError(f"{begin}the rate limit did not lift after {_TRIES} tries; try again in a minute", status)
        if status >= 500:
            return FeedError(f"{begin}the venue has a fault; try again later", status)
        return DataError(f"{begin}check the symbol, the range and the feed")


def _cpquant() -> Any:
    import cpquant.data

    return cpquant.data


def _make_client(get: Callable[..., Any]) -> Any:
    """Return cpquant's client with our request; its constructor, its calls and its parser are its own."""

    class Client(_cpquant().AlpacaDataClient):  # type: ignore[misc]
        def do_get(self, url: str, params: dict[str, Any]) -> Any:
            return get(url, self.headers, params)

    # Always a whole path: without one, dotenv looks beside cpquant's code and finds a file that is not the user's.
    env_file = str(Path.cwd() / ".env")
    try:
        return Client(env_file=env_file)
    except Exception:
        raise CredentialError(
            f"Alpaca history: {VARIABLES} must be set, in the environment or in a .env file in the working folder"
        ) from None


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.text[:100]


def _ns(moment: int | str) -> int:
    from mdslib.feeds.rfc3339 import to_ns

    try:
        return to_ns(moment) if isinstance(moment, str) else int(moment)
    except ValueError as error:
        raise DataError(f"Alpaca history: {error}") from None


__all__ = ["CpquantHistory", "Fetched"]

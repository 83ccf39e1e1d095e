"""Orders at Alpaca: cpquant's credentials and address, alpaca-py's calls, time limits and answers of our own."""

from __future__ import annotations

import datetime
import json
import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mdslib.brokers.allowance import Allowance
from mdslib.brokers.alpaca_orders import STATUSES, chained, number, order_body, order_state, pair_symbol
from mdslib.brokers.alpaca_stream import VARIABLES, TradeUpdates
from mdslib.errors import BrokerError, ConfigError, CredentialError, OrderRejected, OutcomeUnknown
from mdslib.feeds.connect import check_encrypted, is_loopback
from mdslib.feeds.rfc3339 import to_ns
from mdslib.protocols import BrokerAccount, NewOrder, OrderState, Position, Update, VenueClock

if TYPE_CHECKING:
    from mdslib.brokers.alpaca_session import HttpRefused

T = TypeVar("T")
PAPER_HOST = "paper-api.alpaca.markets"
_LOG = logging.getLogger("mdslib.brokers")
_PAGE = 500  # orders, the most that Alpaca lists at once
_CHAIN = 100  # changes of one order that are followed
_TIMED_OUT = 408  # the one status below 500 after which an order may still have landed


class AlpacaBroker:
    """Alpaca's paper account, or anything that speaks its protocol.

    Parameters
    ----------
    url : str, optional
        ``https://host`` of the trading API; the one that cpquant's `AlpacaTradeClient` holds by default.
    timeout : float
        Longest wait for a connection, and for an answer, s.
    allow_live : bool
        An address that is neither Alpaca's paper host nor on this machine is refused unless this is true.
    allowance : Allowance, optional
        How many requests a minute the venue takes; Alpaca's 200 by default. Every call waits for its turn, cancels
        first, and for the pause that a 429 asks for.

    Attributes
    ----------
    updates : TradeUpdates
        The order stream, with its counters.
    unknown_statuses : Counter of str
        Status texts in answers that we don't know; they read as `Status.UNKNOWN`.

    Raises
    ------
    CredentialError
        If a variable is missing; it names which.
    ConfigError
        If the address is a live one, or not encrypted.

    Notes
    -----
    Calls may come from several threads; each keeps a connection. Nothing is ever sent twice: what becomes of an order
    whose answer did not come is asked for by its client order id.
    """

    def __init__(
        self,
        url: str | None = None,
        timeout: float = 5.0,
        allow_live: bool = False,
        allowance: Allowance | None = None,
    ) -> None:
        from mdslib.brokers.alpaca_session import BoundedSession
        from mdslib.config import credentials

        credentials("trade")  # names the missing variable, which cpquant does not
        account = _cpquant_client()
        self.url = (url or account.alpaca_trade_url).rstrip("/")
        check_address(self.url, allow_live)
        self.allowance = allowance if allowance is not None else Allowance()
        self._client = _trading_client()(
            account.alpaca_trade_public, account.alpaca_trade_secret, raw_data=True, url_override=self.url
        )
        if not (hasattr(self._client, "_session") and hasattr(self._client, "_get_default_headers")):
            raise BrokerError(
                "alpaca-py keeps its session or headers elsewhere now; install a version that mdslib was tested with"
            )
        self._session = BoundedSession(self.url, timeout, self.allowance)
        self._client._session.close()
        self._client._session = self._session
        self._orders_url = f"{self.url}/v2/orders"
        self._headers = {**self._client._get_default_headers(), "Content-Type": "application/json"}
        self._timeout = timeout
        self.unknown_statuses: Counter[str] = Counter()
        self.updates = TradeUpdates(self.url, account.alpaca_trade_public, account.alpaca_trade_secret, timeout)

    def __repr__(self) -> str:
        return f"AlpacaBroker({self.url})"

    def account(self) -> BrokerAccount:
        """Return the account; `blocked` if the venue lets it place no orders."""
        found = self._ask("account", self._client.get_account)
        flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
        return self._read(
            "account",
            lambda: BrokerAccount(
                account_id=str(found.get("account_number") or found["id"]),
                cash=number(found["cash"]),
                equity=number(found["equity"]),
                buying_power=number(found["buying_power"]),
                currency=str(found.get("currency") or "USD"),
                blocked=found["status"] != "ACTIVE" or any(found.get(flag) for flag in flags),
            ),
        )

    def positions(self) -> dict[str, Position]:
        """Return the open positions by symbol."""
        found = self._ask("positions", self._client.get_all_positions)
        return self._read("positions", lambda: {held.symbol: held for held in map(_position, found)})

    def clock(self) -> VenueClock:
        """Return the venue's clock and its next open and close."""
        found = self._ask("clock", self._client.get_clock)
        return self._read(
            "clock",
            lambda: VenueClock(
                to_ns(found["timestamp"]), bool(found["is_open"]), to_ns(found["next_open"]), to_ns(found["next_close"])
            ),
        )

    def submit(self, order: NewOrder) -> OrderState:
        """Place an order, once.

        Returns
        -------
        OrderState
            As the venue answered. If it says that the client order id is taken, an earlier try landed: then its state.

        Raises
        ------
        OrderRejected
            The venue refused it (``status`` is the HTTP status, 429 included): nothing was placed.
        OutcomeUnknown
            No answer that could be read: it may have landed. Ask with `order`.
        CredentialError
            The venue refused the key pair: nothing was placed.
        BrokerError
            It never left this machine.
        """
        from mdslib.brokers.alpaca_session import HttpRefused, NoAnswer

        if not order.client_order_id or not math.isfinite(order.qty) or order.qty == 0:
            where = _where(order)
            raise BrokerError(f"{where} was not sent: it needs a client order id and a quantity other than 0")
        try:
            answer = self._session.post_straight(self._orders_url, order_body(order), self._headers)
            return self._state(json.loads(answer))
        except HttpRefused as refused:
            return self._refused(order, refused, _where(order))
        except NoAnswer as error:
            where = _where(order)
            if not error.sent:
                raise BrokerError(f"{where} was not sent: {self.url} can't be reached ({error})") from None
            raise OutcomeUnknown(
                f"{where}: no answer from {self.url} within {self._timeout:g} s ({error}); "
                "it may have landed: look it up by its client order id"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise OutcomeUnknown(f"{_where(order)}: the answer can't be read ({why}); look it up") from None

    def cancel(self, venue_order_id: str) -> None:
        """Ask to cancel one order; the outcome comes by the stream.

        Raises
        ------
        BrokerError
            If the venue says no: ``status`` 404 for an unknown order, 422 for one that is finished.
        """
        self._ask(f"cancel of {venue_order_id}", lambda: self._client.delete(f"/orders/{venue_order_id}"))

    def cancel_all(self) -> int:
        """Ask to cancel every open order; return how many the venue took on. The others are logged."""
        answers = self._ask("cancel of all orders", self._client.cancel_orders) or []
        refused = [answer.get("id") for answer in answers if answer.get("status") != 200]
        if refused:
            _LOG.warning("Alpaca did not cancel %d of %d orders: %s", len(refused), len(answers), refused)
        return len(answers) - len(refused)

    def order(self, client_order_id: str) -> OrderState | None:
        """Look an order up by our own id, with those that took its place; None where the venue knows of none."""
        what = f"order {client_order_id}"
        try:
            found = self._ask(what, lambda: self._client.get_order_by_client_id(client_order_id))
        except BrokerError as error:
            if error.status == 404:
                return None
            raise
        state = self._read(what, lambda: self._state(found))
        for _ in range(_CHAIN):
            if not state.replaced_by:
                break
            state = self._with_next(what, state)
        return state

    def _with_next(self, what: str, state: OrderState) -> OrderState:
        later = self._ask(what, lambda: self._client.get(f"/orders/{state.replaced_by}"))
        return self._read(what, lambda: chained(state, self._state(later)))

    def poll(self, client_order_ids: Sequence[str]) -> dict[str, OrderState | None]:
        """Look several orders up, for when the stream is silent; None for one that the venue doesn't know."""
        return {client_order_id: self.order(client_order_id) for client_order_id in client_order_ids}

    def open_orders(self) -> list[OrderState]:
        """Return the working orders, oldest first, all pages."""
        return self._orders("open", None)

    def orders_since(self, ts: int) -> list[OrderState]:
        """Return every order that was submitted after `ts` (ns UTC), whatever became of it; for reconciling."""
        return self._orders("all", ts)

    def _orders(self, status: str, after: int | None) -> list[OrderState]:
        found: dict[str, OrderState] = {}
        while True:
            query: dict[str, Any] = {"status": status, "limit": _PAGE, "direction": "asc"}
            if after is not None:
                query["after"] = _microseconds(after)
            # Not alpaca-py's get_orders: its request model drops what it does not know and costs a millisecond.
            rows = self._ask("orders", lambda query=query: self._client.get("/orders", query))  # type: ignore[misc]
            page = self._read("orders", lambda rows=rows: [self._state(row) for row in rows])  # type: ignore[misc]
            new = [state for state in page if state.venue_order_id not in found]
            found |= {state.venue_order_id: state for state in new}
            if len(page) < _PAGE or not new:
                return list(found.values())
            # The bound is exclusive and two orders may share a time: ask again from just before the last one.
            after = to_ns(rows[-1]["submitted_at"]) - 1_000

    def stream(self, sink: Callable[[Update], None], ready: Callable[[], None] | None = None) -> None:
        """Block and hand order updates to `sink`; `ready` is called once listening.

        Raises
        ------
        FeedRefused
            If the key pair is refused.
        FeedError
            On a disconnect, with the reason.
        """
        self.updates.run(sink, ready)

    def warm_up(self, connections: int = 1) -> None:
        """Open that many connections before the first order needs one, each with a look at the account."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(lambda _: self.account(), range(connections)))

    def close(self) -> None:
        """End `stream` and free the connections."""
        self.updates.close()
        self.allowance.close()
        self._session.close()

    def _state(self, order: Any) -> OrderState:
        if order["status"] not in STATUSES:
            self.unknown_statuses[str(order["status"])] += 1
        return order_state(order)

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        """Make a call that places nothing, and turn every failure into one clear error."""
        import requests

        from mdslib.brokers.alpaca_session import HttpRefused

        try:
            return call()
        except HttpRefused as refused:
            if _is_about_credentials(refused):
                raise _credential_error(what, refused) from None
            raise BrokerError(f"Alpaca {what}: {refused}", refused.status) from None
        except requests.Timeout:
            raise BrokerError(f"Alpaca {what}: no answer from {self.url} within {self._timeout:g} s") from None
        except requests.RequestException as error:
            raise BrokerError(f"Alpaca {what}: {self.url} can't be reached ({type(error).__name__})") from None

    def _read(self, what: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise BrokerError(
                f"Alpaca {what}: the answer is not as documented ({why}); is {self.url} Alpaca?"
            ) from None

    def _refused(self, order: NewOrder, refused: HttpRefused, where: str) -> OrderState:
        """Tell what an answer of 300 or more means for an order."""
        if refused.status >= 500 or refused.status == _TIMED_OUT:
            raise OutcomeUnknown(f"{where}: {refused}; it may have landed: look it up", refused.status) from None
        if _is_about_credentials(refused):
            raise _credential_error(where, refused) from None
        if refused.status == 422 and "client_order_id must be unique" in refused.said:
            return self._landed(order, where)
        remedy = "; wait for the next minute" if refused.status == 429 else ""
        raise OrderRejected(f"{where} was rejected: {refused}{remedy}", refused.status) from None

    def _landed(self, order: NewOrder, where: str) -> OrderState:
        """Return the state of the order that already has this id."""
        try:
            state = self.order(order.client_order_id)
        except BrokerError as error:
            raise OutcomeUnknown(f"{where}: its id is taken, and looking it up failed: {error}", 422) from None
        if state is None:
            raise OutcomeUnknown(f"{where}: its id is taken, yet the venue knows no such order; ask again", 422)
        if (state.symbol, state.qty) != (order.symbol, order.qty):
            raise OrderRejected(
                f"{where} was rejected: its id belongs to another order ({state.qty:+g} {state.symbol}, "
                f"{state.status.name}); use an id that was never used on this account",
                422,
            )
        return state


def _cpquant_client() -> Any:
    from cpquant.trade import AlpacaTradeClient

    return AlpacaTradeClient()


def _trading_client() -> Any:
    """Return alpaca-py's class; its own stream client, which we don't use, imports something deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="websockets.legacy is deprecated", category=DeprecationWarning)
        from alpaca.trading.client import TradingClient
    return TradingClient


def check_address(url: str, allow_live: bool) -> None:
    """Refuse a trading address that is neither Alpaca's paper host nor on this machine, unless real money is meant.

    Raises
    ------
    ConfigError
        If it is refused, or would send the keys in the clear.
    """
    check_encrypted(url, "AlpacaBroker")
    host = urlsplit(url).hostname
    if host != PAPER_HOST and not is_loopback(url) and not allow_live:
        raise ConfigError(
            f"AlpacaBroker.url must be Alpaca's paper host or on this machine, received {host!r}; "
            f"use https://{PAPER_HOST}, or set allow_live_trading if you mean real money"
        )


def _where(order: NewOrder) -> str:
    return f"order {order.client_order_id} ({order.qty:+g} {order.symbol})"


def _position(row: dict[str, Any]) -> Position:
    qty, symbol = number(row["qty"]), row["symbol"]
    symbol = pair_symbol(symbol) if row.get("asset_class") == "crypto" else symbol
    return Position(symbol, -abs(qty) if row.get("side") == "short" else qty, number(row["avg_entry_price"]))


def _is_about_credentials(refused: HttpRefused) -> bool:
    # A 403 with a code is about the order: buying power, held shares, a wash trade.
    return refused.status == 401 or (refused.status == 403 and refused.code is None)


def _credential_error(what: str, refused: HttpRefused) -> CredentialError:
    return CredentialError(f"Alpaca {what}: {refused}; the venue refused the key pair in {VARIABLES}")


def _microseconds(ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(ns // 1_000_000_000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000 // 1_000:06d}Z"


__all__ = ["AlpacaBroker"]

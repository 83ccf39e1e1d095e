"""cpquant's real-time client behind our feed: every trap of it, against a real socket."""

from __future__ import annotations

import ast
import http
import importlib.metadata
import inspect
import logging
import textwrap
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosedError

from mdslib.clock import SteppedClock
from mdslib.config import Credentials
from mdslib.errors import ConfigError, CredentialError, FeedError, FeedRefused
from mdslib.feeds.alpaca_socket import CpquantFeed
from mdslib.feeds.cpquant_client import ClientSocket, make_client

KEY, SECRET = "AKtestkey0000000000", "secret-that-must-never-be-seen"
TRADE = {"T": "t", "S": "SPY", "i": 1, "x": "V", "p": 145.5, "s": 17, "c": ["@"], "z": "B", "t": "2026-01-05T14:31:00Z"}


def feed(url, **options) -> CpquantFeed:
    return CpquantFeed(["SPY"], url=url, connect_timeout=20.0, **options)


def collect(stream: CpquantFeed):
    """Run until the stream ends; return the records and the error."""
    got = []
    try:
        stream.run(got.append)
    except Exception as error:
        return got, error
    return got, None


def two_trades_then_close(venue):
    venue.welcome()
    venue.confirm()
    venue.say(TRADE, {**TRADE, "i": 2})
    venue.connection.close(1001, "bye")


def test_cpquant_is_the_version_whose_constructor_ours_replaces():
    import cpquant.data

    assert importlib.metadata.version("cpquant") == "0.1.8"
    source = textwrap.dedent(inspect.getsource(cpquant.data.AlpacaRealtimeClient.__init__))
    theirs = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert theirs == set(vars(make_client(None, "ws://x", Credentials(KEY, SECRET))))


def test_cpquant_s_own_subscribe_and_listen_run():
    import cpquant.data

    client = make_client(None, "ws://x", Credentials(KEY, SECRET))
    for name in ("subscribe_trades", "subscribe_quotes", "subscribe_bars", "listen", "close"):
        assert getattr(type(client), name) is getattr(cpquant.data.AlpacaRealtimeClient, name)


def test_trades_reach_the_sink_stamped_by_the_clock_at_receipt(venue):
    url, heard = venue(two_trades_then_close)
    stream = feed(url, clock=SteppedClock(77))
    stream.open()
    (records,), error = collect(stream)
    assert records["i1"].tolist() == [1, 2]
    assert records["ts_init"].tolist() == [77, 77]
    assert heard[0] == {"action": "auth", "key": KEY, "secret": SECRET}
    assert heard[1] == {"action": "subscribe", "trades": ["SPY"]}
    assert str(error) == "Alpaca data stream ended: the venue closed the connection with code 1001 (bye)"
    assert (stream.messages, stream.last_frame) == (2, 77)
    assert 0 <= stream.silence < 5


@pytest.mark.parametrize("name", ["iex", "sip", "delayed_sip", "test"])
def test_any_feed_is_the_last_part_of_the_address(venue, name):
    paths = []

    def script(server):
        paths.append(server.connection.request.path)
        two_trades_then_close(server)

    url, _ = venue(script)
    stream = feed(url, feed=name)
    stream.open()
    stream.close()
    assert paths == [f"/v2/{name}"]


def test_several_kinds_are_subscribed_one_after_the_other(venue):
    def script(server):
        server.welcome()
        confirmed = {}
        for _ in range(4):
            asked = server.hear()
            confirmed |= {key: value for key, value in asked.items() if isinstance(value, list)}
            server.say({"T": "subscription", **confirmed})
        server.connection.recv()

    url, heard = venue(script)
    stream = feed(url, kinds=("trades", "quotes", "bars", "updated_bars"))
    stream.open()
    stream.close()
    assert [next(key for key, value in message.items() if isinstance(value, list)) for message in heard[1:]] == [
        "trades",
        "quotes",
        "bars",
        "updatedBars",
    ]


def test_market_data_that_comes_before_the_last_confirmation_is_not_lost(venue):
    def script(server):
        server.welcome()
        asked = server.hear()
        server.say({**TRADE, "i": 99})
        server.say({"T": "subscription", "trades": asked["trades"]})
        server.say(TRADE)
        server.connection.close()

    url, _ = venue(script)
    stream = feed(url)
    stream.open()
    got, _ = collect(stream)
    assert [int(records["i1"][0]) for records in got] == [99, 1]


REFUSALS = [
    (
        402,
        "auth failed",
        FeedRefused,
        "the venue refused the key pair in the environment variables ALPACA_DATA_PUBLIC_KEY and ALPACA_DATA_SECRET_KEY",
    ),
    (404, "auth timeout", FeedError, "the key came later than the venue waits"),
    (406, "connection limit exceeded", FeedError, "another session holds the only connection of this account"),
    (
        409,
        "insufficient subscription",
        FeedRefused,
        "the feed 'sip' is not in this account's plan; feed='iex' is in every plan",
    ),
    (500, "internal error", FeedError, "the venue has a fault; try again later"),
]


@pytest.mark.parametrize(("code", "msg", "kind", "remedy"), REFUSALS)
def test_each_error_reply_to_authentication_is_one_clear_error(venue, code, msg, kind, remedy):
    def script(server):
        server.say({"T": "success", "msg": "connected"})
        server.hear()
        server.say({"T": "error", "code": code, "msg": msg})
        server.connection.recv()

    url, _ = venue(script)
    with pytest.raises(FeedError) as caught:
        feed(url, feed="sip").open()
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert str(caught.value).startswith(f"Alpaca data stream: error {code} {msg!r}: {remedy}")
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_symbol_limit_refuses_for_good(venue):
    def script(server):
        server.welcome()
        server.hear()
        server.say({"T": "error", "code": 405, "msg": "symbol limit exceeded"})
        server.connection.recv()

    url, _ = venue(script)
    with pytest.raises(
        FeedRefused, match=r"405 'symbol limit exceeded': the plan allows fewer symbols \(30 on the free"
    ):
        feed(url).open()


def test_symbols_that_the_venue_did_not_confirm_are_named(venue):
    def script(server):
        server.welcome()
        server.hear()
        server.say({"T": "subscription", "trades": ["SPY"]})
        server.connection.recv()

    url, _ = venue(script)
    with pytest.raises(FeedRefused, match="trades of AAPL, MSFT were not confirmed"):
        CpquantFeed(["AAPL", "SPY", "MSFT"], url=url).open()


@pytest.mark.parametrize(
    ("status", "kind"), [(404, FeedRefused), (403, FeedRefused), (429, FeedError), (503, FeedError)]
)
def test_http_status_of_the_upgrade_is_told(venue, status, kind):
    def refuse(connection, request):
        return connection.respond(http.HTTPStatus(status), "no\n")

    url, _ = venue(two_trades_then_close, process_request=refuse)
    with pytest.raises(FeedError, match=f"answered HTTP {status} to the upgrade") as caught:
        feed(url).open()
    assert (type(caught.value), caught.value.code) == (kind, status)


def test_silent_venue_is_given_up_in_bounded_time(venue):
    url, _ = venue(lambda server: server.connection.recv())
    begin = time.monotonic()
    with pytest.raises(FeedError, match=r"did not answer 'connected' within 0.3 s"):
        CpquantFeed(["SPY"], url=url, connect_timeout=0.3).open()
    assert time.monotonic() - begin < 20


def test_nobody_listening_is_one_clear_error():
    with pytest.raises(FeedError, match=r"can't be reached: .*refused"):
        feed("ws://127.0.0.1:1").open()


def test_disconnect_during_open_says_what_was_awaited(venue):
    url, _ = venue(lambda server: server.connection.close(1011, "maintenance"))
    with pytest.raises(FeedError, match=r"ended while 'connected' was awaited: .* code 1011 \(maintenance\)"):
        feed(url).open()


def test_slow_client_is_the_reason_of_the_disconnect(venue):
    def script(server):
        server.welcome()
        server.confirm()
        server.say({"T": "error", "code": 407, "msg": "slow client"})
        server.connection.close()

    url, _ = venue(script)
    stream = feed(url)
    stream.open()
    _, error = collect(stream)
    assert error.code == 407
    assert "after error 407 'slow client': frames were read too slowly" in str(error)
    assert [refusal.code for refusal in stream.errors] == [407]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_the_sink_raises_comes_out_of_run_though_listen_swallows_it(venue, kind, capsys):
    url, _ = venue(two_trades_then_close)
    stream = feed(url)
    stream.open()

    def sink(records):
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        stream.run(sink)
    assert capsys.readouterr().out == ""


def test_line_that_cpquant_prints_is_caught_and_other_threads_print_as_ever(venue, capsys):
    import cpquant.data

    url, _ = venue(two_trades_then_close)
    stream = feed(url)
    stream.open()
    other = threading.Thread(target=lambda: vars(cpquant.data).get("print", print)("from another thread"))

    def sink(records):
        other.start()
        other.join()

    with pytest.raises(FeedError):
        stream.run(sink)
    assert capsys.readouterr().out == "from another thread\n"


def test_frame_that_can_not_be_read_ends_the_run_with_its_place(venue):
    def script(server):
        server.welcome()
        server.confirm()
        server.say({**TRADE, "p": None})
        server.connection.recv()

    url, _ = venue(script)
    stream = feed(url)
    stream.open()
    with pytest.raises(FeedError, match="message 0 of 1: Expected `float`, got `null`"):
        stream.run(lambda records: None)


def test_frames_that_were_received_at_once_are_handed_over_at_once_with_their_number(venue):
    def script(server):
        server.welcome()
        server.confirm()
        server.connection.recv()  # until the test has all the others on their way
        server.say_at_once(*({**TRADE, "i": frame} for frame in range(5)))
        server.connection.recv()
        server.say_at_once({"T": "success", "msg": "hello"}, {**TRADE, "i": 8}, {**TRADE, "i": 9})
        server.connection.recv()

    url, _ = venue(script)
    stream = feed(url)
    stream.open()
    got = []

    def sink(records, frames):
        got.append((records["i1"].tolist(), frames))
        if len(got) == 1:
            stream._client.socket.send("on")
        if len(got) == 3:
            threading.Thread(target=stream.close).start()

    stream._client.socket.send("on")
    stream.run_together(sink)
    assert got == [([0, 1, 2, 3, 4], 5), ([8], 1), ([9], 1)], "a frame without market data among them: one by one"
    assert (stream.frames - 3, stream.messages) == (8, 7)


def test_a_bad_frame_among_those_received_at_once_costs_none_that_came_before_it(venue):
    def script(server):
        server.welcome()
        server.confirm()
        server.connection.recv()
        server.say_at_once(TRADE, {**TRADE, "i": 2}, {**TRADE, "p": None}, TRADE)
        server.connection.recv()

    url, _ = venue(script)
    stream = feed(url)
    stream.open()
    stream._client.socket.send("on")
    got = []
    with pytest.raises(FeedError, match="message 0 of 1: Expected `float`, got `null`"):
        stream.run_together(lambda records, frames: got.append((records["i1"].tolist(), frames)))
    assert got == [([1], 1), ([2], 1)]


def test_close_from_another_thread_ends_run_without_an_error(venue):
    def script(server):
        server.welcome()
        server.confirm()
        server.say(TRADE)
        server.connection.recv()

    url, _ = venue(script)
    stream = feed(url)
    stream.open()
    closer = threading.Thread(target=stream.close)
    stream.run(lambda records: closer.start())
    closer.join(120)
    assert not closer.is_alive()


def test_a_cut_before_a_request_is_a_loss_like_any_other():
    class Cut:
        def recv(self, _timeout=None):
            raise AssertionError("nothing is awaited of a connection that has ended")

        def send(self, _text):
            raise ConnectionClosedError(None, None)

    socket = ClientSocket(Cut(), SteppedClock(0))
    said = "Alpaca data stream ended before a request: the connection was cut without a closing frame"
    with pytest.raises(FeedError, match=said):
        socket.send("{}")
    client = make_client(socket, "ws://127.0.0.1", Credentials("AK", "secret"))
    with pytest.raises(FeedError, match=said):
        client.subscribe_trades(["SPY"])


def test_after_a_disconnect_open_connects_anew_and_counters_go_on(venue):
    url, heard = venue(two_trades_then_close)
    stream = feed(url)
    for _ in range(2):
        stream.open()
        collect(stream)
    assert (stream.messages, stream.decoder.doubles) == (2, 2), "the second time they are doubles"
    assert [message["action"] for message in heard] == ["auth", "subscribe"] * 2


def test_missing_credentials_are_named(monkeypatch):
    monkeypatch.delenv("ALPACA_DATA_SECRET_KEY")
    with pytest.raises(CredentialError, match="ALPACA_DATA_SECRET_KEY must be set"):
        feed("ws://127.0.0.1:1")


def test_key_is_never_sent_in_the_clear_to_another_machine():
    with pytest.raises(ConfigError, match=r"must be encrypted or on this machine, received 'ws://example.com/v2/iex'"):
        feed("ws://example.com").open()


def test_unknown_kind_is_named():
    with pytest.raises(ConfigError, match=r"'trade' is no channel. Did you mean 'trades'"):
        feed("ws://127.0.0.1:1", kinds=("trade",))


def test_no_log_level_shows_the_key(venue, caplog):
    caplog.set_level(logging.DEBUG)
    url, heard = venue(two_trades_then_close)
    stream = feed(url)
    stream.open()
    collect(stream)
    assert heard[0]["secret"] == SECRET
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("mdslib")]
    client = [record.getMessage() for record in caplog.records if record.name.startswith("websockets.client")]
    assert SECRET not in " ".join(ours + client)
    assert SECRET not in repr(stream) + repr(vars(stream))

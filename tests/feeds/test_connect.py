"""Each way that a connection can fail or end has its own words."""

from __future__ import annotations

import socket

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from mdslib.errors import ConfigError, FeedError
from mdslib.feeds.connect import open_websocket, why_closed


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionClosedError(Close(1011, "oops"), None), "the venue closed the connection with code 1011 (oops)"),
        (ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), "no answer to a ping within 20 s"),
        (ConnectionClosedError(None, None), "the connection was cut without a closing frame"),
        (OSError("gone"), "OSError: gone"),
    ],
)
def test_reason_of_an_end_is_told(error, says):
    assert why_closed(error) == says


def test_server_that_takes_the_connection_and_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(FeedError, match=r"did not open within 0.2 s"):
        open_websocket(f"ws://127.0.0.1:{mute.getsockname()[1]}", 0.2, "test")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://example.com"])
def test_address_of_another_kind_is_named(url):
    with pytest.raises(ConfigError, match="the address must be a websocket URL, received"):
        open_websocket(url, 0.2, "test")


def test_connection_cut_in_the_middle_is_told(venue):
    def script(server):
        server.connection.socket.shutdown(socket.SHUT_RDWR)

    url, _ = venue(script)
    connection = open_websocket(url, 2.0, "test")
    with pytest.raises(ConnectionClosedError) as caught:
        connection.recv(2)
    assert why_closed(caught.value) == "the connection was cut without a closing frame"

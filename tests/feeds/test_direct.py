"""The connection that is read where `recv` is called: messages, silence, pings and both ways of closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from mdslib.feeds.connect import why_closed
from mdslib.feeds.direct import DirectConnection


@contextmanager
def connected(script: Callable[[ServerConnection], None], **options: Any) -> Iterator[Any]:
    with serve(script, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        make: Any = partial(DirectConnection)
        connection = connect(url, compression=None, proxy=None, create_connection=make, **options)
        try:
            yield connection
        finally:
            connection.close()
            server.shutdown()
            thread.join()


def waits(server: ServerConnection) -> None:
    with pytest.raises(ConnectionClosed):
        server.recv()


def test_a_message_in_fragments_arrives_whole_and_text_as_its_bytes():
    def send(server: ServerConnection) -> None:
        server.send(["[1,", "2,", "3]"])
        server.send("é")
        waits(server)

    with connected(send) as connection:
        assert connection.recv(2) == b"[1,2,3]"
        assert connection.recv(2) == "é".encode()


def test_silence_is_a_timeout_and_the_connection_goes_on():
    def send(server: ServerConnection) -> None:
        server.recv()
        server.send("late")
        waits(server)

    with connected(send) as connection:
        with pytest.raises(TimeoutError, match=r"no message within 0\.05 s"):
            connection.recv(0.05)
        connection.send("now")
        assert connection.recv(2) == b"late"


def test_a_ping_of_the_venue_is_answered_while_we_read():
    answered = threading.Event()

    def ping(server: ServerConnection) -> None:
        if server.ping().wait(2):
            answered.set()
        server.send("done")
        waits(server)

    with connected(ping) as connection:
        assert connection.recv(3) == b"done"
    assert answered.is_set()


def test_a_venue_that_is_silent_and_does_not_answer_a_ping_is_given_up(monkeypatch):
    monkeypatch.setattr("mdslib.feeds.direct._SLICE", 0.02)

    def deaf(server: ServerConnection) -> None:
        server.recv_flow_control.acquire()  # websockets reads no more
        time.sleep(0.5)
        server.recv_flow_control.release()

    with connected(deaf, ping_interval=0.05, ping_timeout=0.1, close_timeout=0.2) as connection:
        time.sleep(0.05)
        connection.send("a frame to take it past its last read")
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv()
    assert why_closed(caught.value) == "no answer to a ping within 20 s"


def test_closing_from_another_thread_ends_the_read_with_both_closing_frames():
    with connected(waits) as connection:
        threading.Timer(0.1, connection.close).start()
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv()
    assert caught.value.rcvd is not None
    assert caught.value.sent is not None
    assert caught.value.rcvd.code == 1000


def test_what_came_before_the_end_is_read_before_the_end_is_told():
    def send(server: ServerConnection) -> None:
        server.send("last")
        server.close(1001, "bye")

    with connected(send) as connection:
        time.sleep(0.1)
        assert connection.recv(2) == b"last"
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(2)
        assert why_closed(caught.value) == "the venue closed the connection with code 1001 (bye)"
        with pytest.raises(ConnectionClosed):
            connection.send("too late")


def test_closing_twice_and_a_venue_that_never_answers_takes_no_longer_than_allowed():
    def ignore(server: ServerConnection) -> None:
        server.recv_flow_control.acquire()
        time.sleep(0.6)
        server.recv_flow_control.release()

    with connected(ignore, close_timeout=0.2) as connection:
        connection.send("past its last read")
        began = time.monotonic()
        connection.close()
        connection.close()
        assert time.monotonic() - began < 0.5

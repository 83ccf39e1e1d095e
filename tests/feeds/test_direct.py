"""The connection that is read where `recv` is called: messages, silence, pings and both ways of closing."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from websockets.uri import parse_uri

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
        time.sleep(4.0)
        server.recv_flow_control.release()

    with connected(ignore, close_timeout=0.2) as connection:
        connection.send("past its last read")
        began = time.monotonic()
        connection.close()
        connection.close()
        assert time.monotonic() - began < 3.0


def text(data: bytes) -> bytes:
    return Frame(Opcode.TEXT, data).serialize(mask=False)


@contextmanager
def piped() -> Iterator[tuple[DirectConnection, socket.socket]]:
    """Give an open connection and the venue's end of its wire, for bytes of our own choice."""
    ours, venue = socket.socketpair()
    connection = DirectConnection(ours, ClientProtocol(parse_uri("ws://venue/"), state=OPEN), close_timeout=0.1)
    with venue:
        try:
            yield connection, venue
        finally:
            connection.close_socket()


# What a venue may send, and the messages that it is: lengths of one, three and nine bytes, fragments, control frames.
FRAMES: list[tuple[bytes, list[bytes]]] = [
    (text(b""), [b""]),
    (text(b"short"), [b"short"]),
    (text(b"x" * 125), [b"x" * 125]),
    (text(b"y" * 126), [b"y" * 126]),
    (text(b"z" * 65_535), [b"z" * 65_535]),
    (text(b"l" * 65_536), [b"l" * 65_536]),
    (text(b"h" * 300_000), [b"h" * 300_000]),
    (Frame(Opcode.BINARY, b"\x81\x7e").serialize(mask=False), [b"\x81\x7e"]),
    (Frame(Opcode.PING, b"are you there").serialize(mask=False), []),
    (Frame(Opcode.PONG, b"").serialize(mask=False), []),
    (
        Frame(Opcode.TEXT, b"in ", fin=False).serialize(mask=False)
        + Frame(Opcode.PING, b"between").serialize(mask=False)
        + Frame(Opcode.CONT, b"two").serialize(mask=False),
        [b"in two"],
    ),
]


@pytest.mark.parametrize("seed", range(8))
def test_every_kind_of_frame_cut_anywhere_comes_out_as_it_was_sent(seed):
    draw = random.Random(seed)
    sent = [draw.choice(FRAMES) for _ in range(60)]
    stream, expected = b"".join(raw for raw, _ in sent), [message for _, messages in sent for message in messages]

    def send(venue: socket.socket) -> None:
        at = 0
        while at < len(stream):
            size = draw.choice([1, 2, 3, 5, 100, 5_000, 70_000, 200_000])
            venue.sendall(stream[at : at + size])
            at += size
        venue.sendall(text(b"the last"))

    with piped() as (connection, venue):
        writer = threading.Thread(target=send, args=(venue,))
        writer.start()
        assert [connection.recv(5) for _ in expected] == expected
        assert connection.recv(5) == b"the last"
        writer.join()


def test_plain_frames_do_not_go_through_the_protocol_class_and_those_read_together_wait_together(monkeypatch):
    with piped() as (connection, venue):
        venue.sendall(Frame(Opcode.PING, b"").serialize(mask=False) + text(b"first"))
        assert connection.recv(2) == b"first"
        monkeypatch.setattr(connection.protocol, "receive_data", None)  # whoever calls it fails
        venue.sendall(text(b"[1]") + text(b"[2]") + text(b"[3]" * 100) + text(b"half")[:3])
        assert connection.recv(2) == b"[1]"
        assert list(connection.waiting) == [b"[2]", b"[3]" * 100]
        venue.sendall(text(b"half")[3:])
        assert [connection.recv(2) for _ in range(3)] == [b"[2]", b"[3]" * 100, b"half"]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\xc1\x01x", "reserved bits must be 0"),
        (b"\x81\x81maskx", "incorrect masking"),
        (b"\x83\x01x", "invalid opcode"),
        (b"\x80\x01x", "unexpected continuation frame"),
    ],
)
def test_a_frame_that_breaks_the_protocol_ends_the_connection_after_what_came_before_it(raw, why):
    with piped() as (connection, venue):
        venue.sendall(Frame(Opcode.PONG, b"").serialize(mask=False) + text(b"whole"))
        assert connection.recv(2) == b"whole"
        venue.sendall(text(b"good") + raw)
        assert connection.recv(2) == b"good"
        venue.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(2)
        assert caught.value.sent is not None
        assert (caught.value.sent.code, caught.value.sent.reason) == (1002, why)

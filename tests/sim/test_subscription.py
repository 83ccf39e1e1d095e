"""The data websocket's handshake, by Alpaca's table of errors; pure, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mdslib.sim.keys import Keys
from mdslib.sim.subscription import DataProtocol

AUTH = {"action": "auth", "key": "K", "secret": "S"}
SUBSCRIBE = {"action": "subscribe", "trades": ["SPY"]}


def protocol(
    feed: str = "iex", plan: tuple[str, ...] = ("iex",), limit: int = 0, slots: set[tuple[str, str]] | None = None
) -> DataProtocol:
    return DataProtocol(feed, Keys("K", "S"), plan, ["SPY", "BAC", "BRK.B"], limit, set() if slots is None else slots)


def converse(peer: DataProtocol, *messages: Any) -> dict[str, Any]:
    """Say messages one after another; return the last reply, which must come alone in its array."""
    reply: list[dict[str, Any]] = []
    for message in messages:
        reply = json.loads(peer.receive(message if isinstance(message, str | bytes) else json.dumps(message)))
        assert len(reply) == 1
    return reply[0]


@pytest.mark.parametrize(
    ("messages", "code", "words"),
    [
        (["{not json"], 400, "invalid syntax"),
        (["[]"], 400, "invalid syntax"),
        ([{"action": "dance"}], 400, "invalid syntax"),
        ([AUTH, {"action": "subscribe"}], 400, "invalid syntax"),
        ([AUTH, {"action": "subscribe", "trades": ["spy!"]}], 400, "invalid syntax"),
        ([AUTH, {"action": "subscribe", "trades": ["ZZZZ"]}], 400, "invalid syntax"),
        ([AUTH, {"action": "subscribe", "trades": [7]}], 400, "invalid syntax"),
        ([SUBSCRIBE], 401, "not authenticated"),
        ([AUTH | {"secret": "wrong"}], 402, "auth failed"),
        ([{"action": "auth"}], 402, "auth failed"),
        ([AUTH, AUTH], 403, "already authenticated"),
        ([AUTH, {"action": "subscribe", "news": ["SPY"]}], 410, "invalid subscribe action for this feed"),
    ],
)
def test_error_code_and_words(messages: list[Any], code: int, words: str) -> None:
    assert converse(protocol(), *messages) == {"T": "error", "code": code, "msg": words}


def test_409_for_a_feed_outside_the_plan_comes_as_the_reply_to_auth() -> None:
    assert converse(protocol("sip"), AUTH) == {"T": "error", "code": 409, "msg": "insufficient subscription"}


def test_406_for_a_second_connection_of_one_key_and_feed_until_the_first_has_gone() -> None:
    slots: set[tuple[str, str]] = set()
    first, second = protocol(slots=slots), protocol(slots=slots)
    assert converse(first, AUTH)["msg"] == "authenticated"
    assert converse(second, AUTH) == {"T": "error", "code": 406, "msg": "connection limit exceeded"}
    assert converse(protocol("test", ("test",), slots=slots), AUTH)["msg"] == "authenticated"
    first.release()
    assert converse(second, AUTH)["msg"] == "authenticated"


def test_405_refuses_the_whole_request_and_changes_nothing() -> None:
    peer = protocol(limit=1)
    converse(peer, AUTH, SUBSCRIBE)
    assert converse(peer, {"action": "subscribe", "quotes": ["SPY", "BAC"]})["code"] == 405
    assert converse(peer, {"action": "subscribe", "quotes": ["*"]})["code"] == 405
    assert converse(peer, {"action": "subscribe", "quotes": ["SPY"]})["quotes"] == ["SPY"]


def test_subscribing_adds_unsubscribing_subtracts_and_both_answer_the_full_list() -> None:
    peer = protocol()
    converse(peer, AUTH, SUBSCRIBE)
    ack = converse(peer, {"action": "subscribe", "trades": ["BAC", "SPY"], "bars": ["*"]})
    assert next(iter(ack)) == "T"
    assert ack == {
        "T": "subscription",
        "trades": ["SPY", "BAC"],
        "quotes": [],
        "bars": ["*"],
        "updatedBars": [],
        "dailyBars": [],
        "statuses": [],
        "lulds": [],
        "corrections": ["SPY", "BAC"],
        "cancelErrors": ["SPY", "BAC"],
    }
    assert converse(peer, {"action": "unsubscribe", "trades": ["SPY"]})["trades"] == ["BAC"]


def test_timeframe_that_cpquant_sends_with_bars_is_ignored() -> None:
    assert converse(protocol(), AUTH, {"action": "subscribe", "bars": ["BRK.B"], "timeframe": "1Min"})["bars"] == [
        "BRK.B"
    ]

"""Every message of the real captures is accounted for: the replay against their own lines, read as plain JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mdslib.events import Kind
from mdslib.feeds.capture import What, capture_files, read_capture
from mdslib.feeds.replay import replay_capture

CAPTURES = ["bitfinex_20210417", "bitmex_20210417", "bitmex_20210722", "coinbase_20210417", "kraken_20210417"]
PRINTED = {
    "messages", "decoded", "control", "ignored", "snapshots", "deltas", "trades", "old_trades", "checksums_ok",
    "checksums_bad", "sequence_gaps", "crossed",
}  # fmt: skip


def new_trades(venue, message):
    """Return what makes each new trade of a message one: pair and id, or all that is said of it."""
    if venue == "coinbase":
        return [(message["product_id"], message["trade_id"])] if message["type"] == "match" else []
    if venue == "bitmex":
        new = message.get("table") == "trade" and message["action"] == "insert"
        return [(row["symbol"], row["trdMatchID"]) for row in message["data"]] if new else []
    if not isinstance(message, list):
        return []
    if venue == "kraken":
        return [(message[-1], *row) for row in message[1]] if message[-2] == "trade" else []
    return [(message[0], message[2][0])] if message[1] in ("te", "tu") else []


@pytest.mark.parametrize("capture", CAPTURES)
def test_every_message_is_one_of_three_things_and_every_trade_comes_once(shared_data: Path, capture: str):
    kept: list[np.ndarray] = []
    found = replay_capture(shared_data / capture, sink=kept.append).as_dict()
    lines = [line for line in read_capture(*capture_files(shared_data / capture)) if line.what is What.RECEIVED]
    assert found.keys() >= PRINTED
    assert all(found.keys() >= PRINTED for found in found["pairs"].values())
    assert len(lines) == found["messages"] == found["decoded"] + found["control"] + found["ignored"]
    assert found["messages"] == sum(pair["messages"] for pair in found["pairs"].values())
    assert (found["ignored"], found["checksums_bad"], found["sequence_gaps"], found["crossed"]) == (0, 0, 0, 0)
    messages = [json.loads(line.text) for line in lines]
    trades = [trade for message in messages for trade in new_trades(found["venue"], message)]
    records = np.concatenate(kept)
    assert len(set(trades)) == found["trades"] == int((records["kind"] == Kind.TRADE).sum())


def test_the_numbers_of_bitfinex_follow_one_another(shared_data: Path):
    lines = read_capture(*capture_files(shared_data / "bitfinex_20210417"))
    messages = [json.loads(line.text) for line in lines if line.what is What.RECEIVED]
    numbers = [message[-1] for message in messages if isinstance(message, list)]
    assert len(numbers) == 1670
    assert np.diff(numbers).tolist() == [1] * 1669

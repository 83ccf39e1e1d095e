"""Reading captures: their two forms, compressed or not, merged by time; and what is no capture."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mdslib.cli import run
from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind
from mdslib.feeds.capture import What, capture_files, dialect_of, read_capture
from mdslib.feeds.replay import replay_capture

TEXT = b"""configuration: {"ticker":[]}
https://api.kraken.com/0/public/AssetPairs -> 1.5: {"error":[]}
wss://ws.kraken.com <-> 2.25
wss://ws.kraken.com <- 2.5: {"event":"subscribe"}
2.75: {"event":"heartbeat"}
"""


def test_every_kind_of_line_is_told(tmp_path: Path):
    (tmp_path / "K.0").write_bytes(TEXT)
    lines = list(read_capture(tmp_path / "K.0"))
    assert [line.what for line in lines] == [What.NOTE, What.REST, What.CONNECTED, What.SENT, What.RECEIVED]
    assert [line.time for line in lines] == [0, 1_500_000_000, 2_250_000_000, 2_500_000_000, 2_750_000_000]
    assert lines[-1].text == b'{"event":"heartbeat"}'
    assert lines[2].url == "wss://ws.kraken.com"


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_compressed_files_read_the_same(tmp_path: Path, suffix: str):
    plain, packed = tmp_path / "K.0", tmp_path / f"K.1{suffix}"
    plain.write_bytes(TEXT)
    if suffix == ".gz":
        packed.write_bytes(gzip.compress(TEXT))
    else:
        with pa.output_stream(str(packed), compression="zstd") as stream:
            stream.write(TEXT)
    assert [line[3:] for line in read_capture(packed)] == [line[3:] for line in read_capture(plain)]


def test_files_of_a_folder_are_merged_by_time_and_keep_their_own_order(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"1.0: [1]\n3.0: [3]\n2.0: [4]\n")
    (tmp_path / "b").write_bytes(b"2.0: [2]\n4.0: [5]\n")
    (tmp_path / "README.md").write_bytes(b"not a capture")
    assert [line.text for line in read_capture(*capture_files(tmp_path))] == [b"[1]", b"[2]", b"[3]", b"[4]", b"[5]"]


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (TEXT, "kraken"),
        (b'wss://ws.kraken.com/v2 <-> 2.25\n2.5: {"channel":"status","type":"update"}\n', "kraken-v2"),
        (b'{"channelID":1,"event":"subscriptionStatus"}\n', "kraken"),
        (b'{"method":"pong"}\n', "kraken-v2"),
        (b'{"type":"open","product_id":"BTC-USD"}\n', "coinbase"),
        (b'{"channel":"heartbeats","sequence_num":0,"events":[]}\n', "coinbase-advanced"),
        (b'{"event":"info","serverId":"x"}\n', "bitfinex"),
        (b'{"info":"Welcome to the BitMEX Realtime API."}\n', "bitmex"),
    ],
)
def test_the_protocol_is_told_by_address_or_by_the_messages(tmp_path: Path, text: bytes, dialect: str):
    (tmp_path / "K.0").write_bytes(text)
    assert dialect_of(tmp_path / "K.0") == dialect


def test_a_capture_that_does_not_tell_its_protocol_is_refused(tmp_path: Path):
    (tmp_path / "K.0").write_bytes(b'{"a":1}\n')
    with pytest.raises(
        DataError, match=r"K\.0 does not tell whose protocol it is in; name it with --venue: bitfinex, "
    ):
        dialect_of(tmp_path / "K.0")


def test_a_json_file_is_one_message_and_a_rest_response_by_its_name(tmp_path: Path):
    (tmp_path / "ws_a.json").write_bytes(b'{\n  "event": "heartbeat"\n}\n')
    (tmp_path / "http_b.json").write_bytes(b'{"error":\n []}')
    lines = list(read_capture(*capture_files(tmp_path)))
    assert [line.what for line in lines] == [What.REST, What.RECEIVED]
    found = replay_capture(tmp_path, "kraken").as_dict()
    assert (found["messages"], found["control"], found["rest"]) == (1, 1, 1)


def test_a_reconnection_begins_anew_what_is_numbered_by_connection(tmp_path: Path):
    begin = (
        'wss://api.bitfinex.com/ws/2 <-> {0}\n{0}: {{"event":"conf","status":"OK","flags":65536}}\n{0}: [5,"hb",1]\n'
    )
    (tmp_path / "B.0").write_text(begin.format(1) + '1: [5,"hb",2]\n' + begin.format(2))
    found = replay_capture(tmp_path).as_dict()
    assert (found["connections"], found["sequence_gaps"], found["messages"]) == (2, 0, 5)


def _match(number: int, pair: str = "BTC-USD") -> str:
    return json.dumps(
        {"type": "match", "trade_id": number, "side": "sell", "size": "5.2", "price": "400.2", "product_id": pair}
        | {"sequence": 50, "time": f"2020-09-13T12:26:{number}Z"}
    )


@pytest.mark.parametrize("one_file", [True, False])
def test_between_two_connections_each_pair_that_was_seen_has_a_gap(tmp_path: Path, one_file: bool):
    """Not so of a pair whose connection goes on, and not after the last connection of the capture."""
    opened = "wss://ws-feed.exchange.coinbase.com <-> "
    first, second = (f"{opened}{time}\n{time + 1}: {_match(time % 100)}\n" for time in (1_600_000_010, 1_600_003_611))
    (tmp_path / "c.0").write_text(first + second if one_file else first)
    if not one_file:
        (tmp_path / "c.1").write_text(second)
    other = f"1600000012: {_match(13, 'ETH-USD')}\n1600009000: {_match(14, 'ETH-USD')}\n"
    (tmp_path / "d.0").write_text(f"{opened}1600000009\n{other}")
    parts: list[np.ndarray] = []
    report = replay_capture(tmp_path, sink=parts.append)
    records = np.concatenate(parts)
    (gap,) = records[records["kind"] == Kind.GAP]
    assert report.symbols[gap["instrument"]] == "BTC-USD"
    assert gap["ts_event"] == gap["ts_init"] == 1_600_000_011 * 10**9  # the connection's last message
    assert gap["i0"] == records["ts_event"][records["i1"] == 10][0]
    assert (report.connections, report.records) == (3, len(records))


def test_folders_of_several_venues_are_replayed_apart_and_their_pairs_bear_the_venue(shared_data: Path):
    found = replay_capture(shared_data / "venue_messages").as_dict()
    assert found["venue"] == "bitmex, coinbase, kraken"
    assert found["messages"] == found["decoded"] + found["control"] + found["ignored"] == 56
    assert found["pairs"]["kraken:BTC/USD"]["checksums_bad"] == 1  # the example was edited by hand
    assert found["crossed"] == 0
    with pytest.raises(DataError, match="holds bitmex, coinbase, kraken; to get their records, replay each by itself"):
        replay_capture(shared_data / "venue_messages", sink=lambda records: None)


def test_what_is_no_capture_is_refused_with_its_place(tmp_path: Path):
    with pytest.raises(DataError, match=r"capture: there is no file or folder .*none; give a capture's file"):
        capture_files(tmp_path / "none")
    with pytest.raises(DataError, match="holds no files"):
        capture_files(tmp_path)
    (tmp_path / "K").write_bytes(b"1.0: [1]\nhello\n")
    with pytest.raises(DataError, match=r"capture: K, line 2 must be '<time>: <message>' or a JSON message, received"):
        list(read_capture(tmp_path / "K"))


@pytest.mark.parametrize(("suffix", "codec"), [(".zst", "zstd"), (".gz", "gzip")])
def test_a_cut_file_gives_what_is_readable_and_then_its_error(
    tmp_path: Path, suffix: str, codec: str, capsys: pytest.CaptureFixture[str]
):
    packed, chance = tmp_path / f"K{suffix}", np.random.default_rng(1)
    lines = [b'%d.0: {"event":"heartbeat","x":%d}' % (n, chance.integers(1 << 60)) for n in range(1, 20_001)]
    with pa.output_stream(str(packed), compression=codec) as stream:
        stream.write(b"\n".join(lines))
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size * 2 // 3])
    found: list[bytes] = []
    with pytest.raises(DataError, match=rf"capture: .*K\{suffix} can't be read after line \d+: ") as told:
        found.extend(line.text for line in read_capture(packed))
    assert len(found) > 5_000
    assert found == [line.partition(b": ")[2] for line in lines[: len(found)]]
    assert f"after line {len(found)}: " in str(told.value)
    assert run(["replay-capture", str(packed), "--venue", "kraken", "--json"]) == 2
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert (figures["messages"], figures["damaged"]) == (len(found), [str(told.value)])
    assert err == f"mds: error: {told.value}\n"


@pytest.mark.parametrize(("cut", "told"), [(0, "K.zst holds no messages"), (5, "K.zst can't be read after line 0")])
def test_a_file_of_which_nothing_is_left_is_an_error(
    tmp_path: Path, cut: int, told: str, capsys: pytest.CaptureFixture[str]
):
    packed = tmp_path / "K.zst"
    with pa.output_stream(str(packed), compression="zstd") as stream:
        stream.write(TEXT * 1000)
    packed.write_bytes(packed.read_bytes()[:cut])
    assert run(["replay-capture", str(packed), "--venue", "kraken"]) == 2
    assert told in capsys.readouterr().err


def test_a_capture_of_another_venue_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "K.0").write_bytes(TEXT)
    assert run(["replay-capture", str(tmp_path), "--venue", "coinbase"]) == 2
    assert "K.0 is kraken's, --venue says coinbase; leave --venue out" in capsys.readouterr().err
    (tmp_path / "K.0").write_bytes(b'1.0: [336,{"as":[],"bs":[]},"book-10","XBT/USD"]\n')  # it does not tell
    assert run(["replay-capture", str(tmp_path), "--venue", "coinbase"]) == 2
    assert "no message can be read as coinbase's, 1 are unreadable" in capsys.readouterr().err


def test_an_unknown_venue_is_refused_with_a_hint(tmp_path: Path):
    (tmp_path / "K.0").write_bytes(TEXT)
    with pytest.raises(ConfigError, match=r"no decoder reads the venue 'krakn'\. Did you mean 'kraken'\?"):
        replay_capture(tmp_path, "krakn")


def test_the_command_prints_an_account_by_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "K.0").write_bytes(TEXT)
    assert run(["replay-capture", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "connection        1       0       1       0" in out
    assert "1 heartbeat" in out


def test_the_command_names_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["replay-capture", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("mds: error: capture: there is no file or folder")

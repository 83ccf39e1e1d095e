"""Faults on what the sockets send, as a plain client sees them on the wire."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mdslib.events import Kind
from mdslib.sim import Exchange, read_faults, read_played, read_sent

from ..days import DataClient, UpdateClient, day_of, steps
from .struck import buy, calls, listener, reader, struck, thrown


def frames(exchange: Exchange, last: int = 10, **channels: list[str]) -> list[list[int]]:
    """Return the sizes of the trades (1, 2, ...) in each frame, until the last one has come."""
    client = reader(exchange, **channels)
    got: list[list[int]] = []
    while not any(last in frame for frame in got):
        got.append([message["s"] for message in client.receive()])
    client.close()
    return got


def flat(parts: list[list[int]]) -> list[int]:
    """Return the parts one after another."""
    return [size for part in parts for size in part]


def raw_frames(exchange: Exchange, count: int) -> list[str | bytes]:
    """Return frames as they are on the wire."""
    client = reader(exchange)
    got = [client.socket.recv(120) for _ in range(count)]
    client.close()
    return got


# -- market data ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["free", "fast"])
def test_mute_loses_what_falls_into_its_time_and_answers_pings(mode: str, tmp_path: Path) -> None:
    fault = 'what = "mute"\nafter = "3500ms"\nfor = "3s"'
    with struck(fault, mode=mode, speed=20.0, log_dir=tmp_path) as exchange:
        client = reader(exchange)
        assert client.socket.ping().wait(120)
        sizes = [message["s"] for message in client.take(7)]
        client.close()
    assert sizes == [1, 2, 3, 7, 8, 9, 10]
    assert read_sent(tmp_path)["i0"].tolist() == sizes
    ended = read_faults(tmp_path)[-1]
    assert (ended["phase"], ended["messages"], ended["at"]) == ("ended", 3, "2013-10-08T13:30:06.5Z")


def test_mute_by_real_time_while_the_day_flies_by() -> None:
    fault = 'what = "mute"\nafter_events = 3\nfor = "300ms real"'
    with struck(fault, steps(400, every_ms=100), mode="fast", speed=20.0) as exchange:
        client = reader(exchange)
        client.take(3)
        began = time.monotonic()
        following = client.receive()[0]["s"]
        took = time.monotonic() - began
        client.close()
    assert 0.25 < took < 15
    assert following > 30  # 0.3 s at 20 times are 60 trades


def test_single_messages_are_dropped_and_named() -> None:
    with struck('what = "drop"\nnth = 3\ntimes = 2') as exchange:
        assert flat(frames(exchange)) == [1, 2, 5, 6, 7, 8, 9, 10]
        log = thrown(exchange)
    assert [(entry["phase"], entry.get("symbol"), entry.get("messages")) for entry in log] == [
        ("began", None, None),
        ("hit", "SPY", 2),
        ("ended", None, 2),
    ]


def test_only_of_a_channel_and_a_symbol() -> None:
    day = day_of((1, "SPY", 10.0, 1), (2, "BAC", 5.0, 2), (3, "SPY", 10.5, 3), (4, "BAC", 5.0, 10))
    fault = 'what = "drop"\nfor = "day"\nsymbol = "SPY"\nonly = ["trades"]'
    with struck(fault, day) as exchange:
        assert frames(exchange) == [[2, 10]]
    with struck(fault.replace("trades", "quotes"), day) as exchange:
        assert frames(exchange) == [[1, 2, 3, 10]]


def test_slow_frames_come_late_and_in_order() -> None:
    fault = 'what = "slow"\nafter_events = 4\ntimes = 1\ndelay = "3s"'
    with struck(fault, batch=1, mode="fast", speed=10.0) as exchange:
        client = reader(exchange)
        began = time.monotonic()
        client.take(4)
        early = time.monotonic() - began
        following = client.receive()[0]["s"]
        late = time.monotonic() - began - early
        rest = [message["s"] for message in client.take(5)]
        client.close()
    assert [following, *rest] == [5, 6, 7, 8, 9, 10]
    assert late > 0.14  # the 5th was due at 5 s and came at 8 s of the day: 0.4 s after the 4th, which may be read late


@pytest.mark.parametrize(
    ("unit", "expected"), [("message", [[1, 2, 3, 3, 3, 4, 5]]), ("frame", [[1, 2], [3, 4], [3, 4], [3, 4], [5]])]
)
def test_duplicates_of_messages_and_of_frames(unit: str, expected: list[list[int]], tmp_path: Path) -> None:
    nth, batch = (3, 10) if unit == "message" else (2, 2)
    fault = f'what = "duplicate"\nunit = "{unit}"\nnth = {nth}\ncopies = 2'
    with struck(fault, steps(5), batch=batch, log_dir=tmp_path) as exchange:
        assert frames(exchange, 5) == expected
    assert read_sent(tmp_path)["i0"].tolist() == flat(expected), "what was sent twice is logged twice"


def test_a_frame_comes_after_the_one_that_follows_it() -> None:
    with struck('what = "reorder"\nnth = 2', batch=3) as exchange:
        assert frames(exchange) == [[1, 2, 3], [7, 8, 9], [4, 5, 6], [10]]


def test_a_frame_that_none_follows_comes_at_the_end() -> None:
    with struck('what = "reorder"\nnth = 4', batch=3) as exchange:
        assert frames(exchange) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]


def test_messages_are_shuffled_in_their_frame_by_the_seed() -> None:
    fault = 'what = "reorder"\nhow = "shuffle"\nnth = 2'
    runs = []
    for _ in range(2):
        with struck(fault, steps(20), batch=10) as exchange:
            runs.append(frames(exchange, 20))
    assert runs[0] == runs[1]
    assert runs[0][0] == list(range(1, 11))
    assert runs[0][1] != list(range(11, 21))
    assert sorted(runs[0][1]) == list(range(11, 21))


@pytest.mark.parametrize(("size", "expected"), [("", [[3], [4], [5], [6]]), ("size = 3", [[3, 4, 5], [6]])])
def test_burst_holds_back_and_lets_all_out_at_once(size: str, expected: list[list[int]]) -> None:
    fault = f'what = "burst"\nafter = "2500ms"\nfor = "4s"\n{size}'
    with struck(fault, batch=1, mode="fast", speed=5.0) as exchange:
        client = reader(exchange)
        client.take(2)
        began = time.monotonic()
        held = [[message["s"] for message in client.receive()] for _ in expected]
        took = time.monotonic() - began
        following = client.receive()[0]["s"]
        client.close()
    assert (held, following) == (expected, 7)
    assert took > 0.35  # of 0.9 s, since a busy machine may read the two before them late


@pytest.mark.parametrize(
    "how", ["truncated", "garbage", "empty", "binary", "wrong-type", "missing-field", "unknown-type"]
)
def test_a_corrupt_frame_between_good_ones(how: str, tmp_path: Path) -> None:
    with struck(f'what = "corrupt"\nhow = "{how}"\nnth = 2', steps(3), batch=1, log_dir=tmp_path) as exchange:
        first, bad, last = raw_frames(exchange, 3)
    assert [json.loads(frame)[0]["s"] for frame in (first, last)] == [1, 3]
    sent = [1, 2, 3] if how == "binary" else [1, 3]
    assert read_sent(tmp_path)["i0"].tolist() == sent, "what can't be read any more does not count as sent"
    good = '[{"T":"t","S":"SPY","i":2,"x":"V","p":100.01,"s":2,"c":[],"z":"A","t":"2013-10-08T13:30:02Z"}]'
    if how == "truncated":
        assert bad == good[: len(good) // 2]
    elif how == "garbage":
        assert isinstance(bad, str)
        assert len(bad) == len(good)
        assert not bad.startswith("[{")
    elif how == "empty":
        assert bad == ""
    elif how == "binary":
        assert bad == good.encode()
    else:
        told, right = json.loads(bad)[0], json.loads(good)[0]
        changed = {"wrong-type": {"p": "nonsense"}, "missing-field": {}, "unknown-type": {"T": "zz"}}[how]
        kept = {name: value for name, value in right.items() if how != "missing-field" or name != "t"}
        assert told == kept | changed


def test_what_is_lost_was_played_all_the_same(tmp_path: Path) -> None:
    with struck('what = "drop"\ntimes = 2\nnth = 2', steps(4), batch=1, log_dir=tmp_path) as exchange:
        assert frames(exchange, 4) == [[1], [4]]
    assert read_sent(tmp_path)["i0"].tolist() == [1, 4]
    played = read_played(tmp_path)
    assert played["i0"][played["kind"] == Kind.TRADE].tolist() == [1, 2, 3, 4]


def test_of_a_frame_with_one_bad_message_the_others_count_as_sent(tmp_path: Path) -> None:
    with struck('what = "corrupt"\nhow = "wrong-type"\nnth = 2', steps(6), batch=3, log_dir=tmp_path) as exchange:
        raw_frames(exchange, 2)
    assert read_sent(tmp_path)["i0"].tolist() == [1, 2, 3, 5, 6]


def test_faults_follow_one_another_on_one_frame() -> None:
    faults = 'what = "drop"\nnth = 2---what = "duplicate"\nnth = 2---what = "reorder"'
    with struck(faults, steps(6), batch=3) as exchange:
        assert frames(exchange, 3) == [[4, 5, 6], [1, 3, 3]]


# -- order updates ------------------------------------------------------------


def updates_of(exchange: Exchange, count: int, orders: int = 1, **more: Any) -> list[dict[str, Any]]:
    """Return the updates that come of some orders which fill."""
    heard = []
    with calls(exchange) as client:
        updates = listener(exchange)
        reader_ = reader(exchange)
        reader_.receive()
        for number in range(orders):
            buy(client, f"o{number}", **more)
        heard = [updates.receive()["data"] for _ in range(count)]
        updates.close()
        reader_.close()
    return heard


def events(heard: list[dict[str, Any]]) -> list[str]:
    """Return names of events."""
    return [data["event"] for data in heard]


REAL = {"mode": "fast", "speed": 10.0}


def test_fills_that_are_never_told() -> None:
    fault = 'what = "drop"\nsocket = "updates"\nonly = ["fill"]\nfor = "day"'
    with struck(fault, **REAL) as exchange, calls(exchange) as client:
        heard = updates_of(exchange, 2)
        deadline = time.monotonic() + 60
        while client.get("/v2/positions").json() == [] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert client.get("/v2/orders:by_client_order_id?client_order_id=o0").json()["status"] == "filled"
    assert events(heard) == ["pending_new", "new"]


def test_fills_that_are_told_twice_with_the_same_execution() -> None:
    with struck('what = "duplicate"\nsocket = "updates"\nonly = ["fill"]', **REAL) as exchange:
        heard = updates_of(exchange, 4)
        hit = next(entry for entry in thrown(exchange) if entry["phase"] == "hit")
    assert events(heard) == ["pending_new", "new", "fill", "fill"]
    assert heard[2] == heard[3]
    assert (hit["event"], hit["client_order_id"], hit["execution_id"]) == ("fill", "o0", heard[2]["execution_id"])


def test_updates_out_of_order() -> None:
    with struck('what = "reorder"\nsocket = "updates"\nonly = ["pending_new"]', **REAL) as exchange:
        assert events(updates_of(exchange, 3)) == ["new", "pending_new", "fill"]


def test_fills_that_come_late() -> None:
    fault = 'what = "slow"\nsocket = "updates"\nonly = ["fill"]\ndelay = "4s"'
    with struck(fault, **REAL) as exchange:
        began = time.monotonic()
        assert events(updates_of(exchange, 3)) == ["pending_new", "new", "fill"]
        assert time.monotonic() - began > 0.4


def test_updates_are_mute_and_rest_tells_the_truth() -> None:
    fault = 'what = "mute"\nsocket = "updates"\nafter_orders = 1\nfor = "day"'
    with struck(fault) as exchange, calls(exchange) as client:
        updates = listener(exchange)
        buy(client, "a")
        assert [updates.receive()["data"]["event"] for _ in range(2)] == ["pending_new", "new"]
        buy(client, "b")
        with pytest.raises(TimeoutError):
            updates.receive(0.3)
        assert len(client.get("/v2/orders").json()) == 2
        updates.close()


def raw_updates(client: UpdateClient, count: int) -> list[str | bytes]:
    return [client.socket.recv(120) for _ in range(count)]


@pytest.mark.parametrize("how", ["truncated", "binary", "wrong-type", "missing-field", "unknown-type"])
def test_a_corrupt_update(how: str) -> None:
    with struck(f'what = "corrupt"\nsocket = "updates"\nhow = "{how}"') as exchange, calls(exchange) as client:
        updates = listener(exchange)
        buy(client, "a")
        bad, good = raw_updates(updates, 2)
        updates.close()
    assert json.loads(good)["data"]["event"] == "new"
    if how == "truncated":
        with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
            json.loads(bad)
    elif how == "binary":
        assert isinstance(bad, str)
        assert json.loads(bad)["data"]["event"] == "pending_new"
    elif how == "missing-field":
        assert "order" not in json.loads(bad)["data"]
    elif how == "wrong-type":
        assert json.loads(bad)["data"]["order"]["qty"] == "nonsense"
    else:
        assert json.loads(bad)["data"]["event"] == "levitated"
        assert json.loads(bad)["data"]["order"]["status"] == "levitating"


def test_the_stream_errs_and_ends() -> None:
    fault = 'what = "socket-error"\nsocket = "updates"\ncode = 500\non = "stream"\nclose = true'
    with struck(fault) as exchange, calls(exchange) as client:
        updates = listener(exchange)
        buy(client, "a")
        said = json.loads(updates.socket.recv(120))
        with pytest.raises(Exception, match="1000"):
            updates.receive()
    assert said["data"]["error_message"] == "internal server error"


def test_a_data_client_without_a_script_has_no_line() -> None:
    with Exchange(steps(3), in_process=True) as exchange:
        client = DataClient(exchange)
        client.login()
        client.subscribe(trades=["SPY"])
        assert [message["s"] for message in client.take(3)] == [1, 2, 3]
        client.close()

"""What every store must do, whatever keeps its parts: one suite for a folder, a bucket, and ArcticDB on LMDB and S3."""

from __future__ import annotations

import datetime
import http.server
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import mdslib
from mdslib.errors import ConfigError, CredentialError, DataError
from mdslib.events import SCHEMAS, Kind
from mdslib.instruments import Instrument
from mdslib.protocols import Store
from mdslib.store.compact import compact
from mdslib.store.integrity import verify_store
from mdslib.store.open import open_store
from mdslib.store.tickstore import Source, TickStore
from mdslib.table import Table, empty, from_columns, trades
from tests.store.s3server import KEYS, make_bucket, s3_server
from tests.store.tapes import BTC, DAY, ETH, MIDNIGHT, made_records, make_tape

SPY = Instrument("SPY")
OPEN = 1_381_239_000_000_000_000
TUESDAY = datetime.date(2013, 10, 8)
BACKENDS = ("folder", "bucket", "arctic-lmdb", "arctic-s3")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """One S3 server for all tests of this file."""
    with s3_server() as address:
        make_bucket(address, "ticks")
        yield address


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TickStore:
    """An empty store of each kind."""
    backend = str(request.param)
    if backend.startswith("arctic"):
        pytest.importorskip("arcticdb", reason="the extra 'arctic' is not installed")
    if backend == "folder":
        return open_store(tmp_path / "store")
    if backend == "arctic-lmdb":
        return open_store(f"arctic:lmdb://{tmp_path}/db")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    address: str = request.getfixturevalue("server")
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    number = next(_numbers)
    if backend == "bucket":
        return open_store(f"s3://ticks/run{number}")
    host, _, port = address.removeprefix("http://").partition(":")
    make_bucket(address, f"arctic{number}")
    return open_store(f"arctic:s3://{host}:arctic{number}?port={port}&aws_auth=true&region=us-east-1")


def some(kind: Kind, rows: int = 50) -> Table:
    """Return rows of a kind with odd values in every column."""
    random = np.random.default_rng(int(kind))
    columns: dict[str, np.ndarray] = {}
    for name, field in SCHEMAS[kind].items():
        kinds = np.dtype(field.dtype).kind
        drawn = random.integers(0, 200, rows)
        columns[name] = drawn / 8.0 if kinds == "f" else drawn.astype(field.dtype)
        if kinds == "f":
            columns[name][:2] = [np.nan, -0.0]
    columns["ts_event"] = OPEN + np.sort(random.integers(0, 10**9, rows))
    columns["ts_init"] = columns["ts_event"] + 5
    return from_columns(kind, columns | {"instrument": np.zeros(rows, "<u2")})


def test_every_kind_comes_back_bit_for_bit(store: TickStore) -> None:
    seam: Store = store
    for kind in (Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.BOOK_DELTA, Kind.GAP, Kind.STATUS):
        table = some(kind)
        seam.write(table, SPY, TUESDAY)
        assert seam.read(SPY, kind, TUESDAY).equals(table)
    assert len(seam.list()) == 6
    assert all(not part.error and part.digest for part in verify_store(store))


def test_a_day_is_replaced_and_no_rows_are_a_day_too(store: TickStore) -> None:
    for price in (1.0, 2.0):
        store.write(trades([OPEN], [price], [1]), SPY, TUESDAY)
    assert store.read(SPY, Kind.TRADE, TUESDAY)["price"].tolist() == [2.0]
    store.write(empty(Kind.QUOTE), SPY, TUESDAY)
    assert len(store.read(SPY, Kind.QUOTE, TUESDAY)) == 0
    assert [(row["kind"], row["rows"]) for row in store.list()] == [("quote", 0), ("trade", 1)]


def test_columns_are_read_apart(store: TickStore) -> None:
    store.write(some(Kind.TRADE), SPY, TUESDAY)
    part = store.read(SPY, Kind.TRADE, TUESDAY, ["size"])
    assert list(part.columns) == ["ts_event", "ts_init", "instrument", "size"]
    assert part["size"].tolist() == some(Kind.TRADE)["size"].tolist()


def test_it_says_what_it_holds_and_what_is_not_there(store: TickStore) -> None:
    with pytest.raises(DataError, match="It is empty: import data with `mds import`"):
        store.read(SPY, Kind.TRADE, TUESDAY)
    store.write(trades([OPEN], [1.0], [1]), SPY, TUESDAY, source=[Source("a.zip", "00ff")])
    assert store.describe(SPY, Kind.TRADE, TUESDAY)["source"] == [{"name": "a.zip", "sha256": "00ff"}]
    assert store.dates(SPY, Kind.TRADE) == ("2013-10-08",)
    assert (store.has(SPY, Kind.TRADE, TUESDAY), store.has(SPY, Kind.QUOTE, TUESDAY)) == (True, False)
    with pytest.raises(DataError, match=r"on 2013-10-09. Nearest: 2013-10-08 \(1 stored in all\)"):
        store.read(SPY, Kind.TRADE, datetime.date(2013, 10, 9))
    with pytest.raises(DataError, match=r"has no quote of SPY on 2013-10-08. There are only: trade"):
        store.read(SPY, Kind.QUOTE, TUESDAY)


def test_an_instrument_comes_back_with_its_tick_and_lot(store: TickStore) -> None:
    fine = Instrument("XBT/USD", "kraken", 0.1, 1e-8, "USD", "24/7", shortable=False, fractionable=True)
    store.write(trades([MIDNIGHT], [1.0], [1]), fine, DAY)
    assert store.instrument(BTC, Kind.TRADE) == fine
    assert store.symbols() == ("XBT/USD",)


def test_a_year_of_daily_bars_is_one_part(store: TickStore) -> None:
    closes = [1_381_176_000 * 10**9, 1_381_262_400 * 10**9]
    bars = some(Kind.BAR, 2).replace(ts_event=np.array(closes), ts_init=np.array(closes))
    store.write_year(bars, SPY, 2013, "1d")
    assert len(store.read(SPY, Kind.BAR, TUESDAY, interval="1d")) == 1
    store.write(bars.slice(1, 2), SPY, TUESDAY, interval="1d")
    assert len(store.read_year(SPY, TUESDAY, "1d")) == 2


def test_tapes_are_compacted_into_it_and_loaded_from_it(store: TickStore, tmp_path: Path) -> None:
    make_tape(tmp_path / "record/tape", made_records(500))
    (report,) = compact(tmp_path / "record", store)
    assert not report.error
    (again,) = compact(tmp_path / "record", store)
    assert again.unchanged
    data = mdslib.load([BTC, ETH], DAY, store=store)
    assert len(data) == report.rows


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, server: str) -> Callable[[], TickStore]:
    """A bucket that is not there."""
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(name, value)
    return lambda: open_store("s3://nobodys/store")


def test_a_bucket_that_is_not_there_is_named(refused: Callable[[], TickStore]) -> None:
    with pytest.raises(DataError, match=r"bucket: s3://nobodys/store/kind=trade.* there is no such bucket; create it"):
        refused().write(trades([OPEN], [1.0], [1]), SPY, TUESDAY)


def test_a_bucket_that_nobody_serves_is_named(
    refused: Callable[[], TickStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="nobody answers there; look at AWS_ENDPOINT_URL and the network"):
        refused().list()


class _Forbidding(http.server.BaseHTTPRequestHandler):
    """Answers everything as S3 answers keys that may not."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def test_a_bucket_that_refuses_is_a_clear_error(
    refused: Callable[[], TickStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Forbidding) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
            store = refused()
            with pytest.raises(DataError, match=r"these keys may not do that; look at .*the bucket's policy") as error:
                store.write(trades([OPEN], [1.0], [1]), SPY, TUESDAY)
            with pytest.raises(DataError, match="these keys may not do that"):
                store.list()
        finally:
            server.shutdown()
            thread.join()
    assert "secret" not in str(error.value)


def test_a_bucket_that_refuses_leaves_the_tapes_and_says_so(refused: Callable[[], TickStore], tmp_path: Path) -> None:
    make_tape(tmp_path / "tape", made_records(50))
    (report,) = compact(tmp_path, refused())
    assert "there is no such bucket" in report.error
    assert (tmp_path / "tape/00000001.tape").exists()


def test_a_bucket_without_keys_and_an_address_that_is_none_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CredentialError, match="a bucket needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the env"):
        open_store("s3://ticks")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(ConfigError, match=r"must be like https://s3.example.com, received 'localhost:9000'"):
        open_store(Path("s3://ticks"))


def test_an_arcticdb_address_holds_no_key_and_is_one() -> None:
    with pytest.raises(ConfigError, match="must hold no key; write aws_auth=true"):
        open_store("arctic:s3://host:bucket?access=AK&secret=topsecret")
    for address in ("mongodb://host", "lmdb://relative/folder"):
        with pytest.raises(ConfigError, match="an ArcticDB is at lmdb:///ABSOLUTE/FOLDER or s3://HOST:BUCKET"):
            open_store(f"arctic:{address}")


def test_a_path_that_lost_a_slash_means_the_same_database(tmp_path: Path) -> None:
    pytest.importorskip("arcticdb", reason="the extra 'arctic' is not installed")
    named = open_store(f"arctic:lmdb://{tmp_path}/db")
    assert open_store(Path(f"arctic:lmdb://{tmp_path}/db")).where == named.where

"""From a venue's socket to a notebook: recorded, compacted, loaded; every event of the wire is there, once."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

import mdslib
from mdslib.events import Kind
from mdslib.recorder.plan import Mode
from mdslib.sim.venues.server import VenueServer
from mdslib.store.compact import compact
from mdslib.store.integrity import verify_store
from mdslib.store.parquet import ParquetStore
from mdslib.store.retain import retain
from tests.recorder.conftest import FRAMES, Run, decoded, plan, tape_of
from tests.venue_servers import running

PAIRS = ["BTC-USD", "ETH-USD"]


def test_what_a_venue_sent_is_loaded_as_tables(tmp_path: Path) -> None:
    out, store = tmp_path / "record", ParquetStore(tmp_path / "store")
    feeds = [f"coinbase:{pair}" for pair in PAIRS]
    with running(VenueServer.of_made("coinbase", tuple(PAIRS), FRAMES, 0.0)) as venue:
        Run(plan(out, *feeds, mode=Mode.LIGHT, urls={"coinbase": venue.url})).until(lambda: venue.sent)
    reports = compact(out, store)
    assert [report.error for report in reports] == [""] * len(reports)
    assert all(not part.error for part in verify_store(store))
    days = sorted(datetime.date.fromisoformat(report.date) for report in reports)  # two, where midnight came between
    sent = decoded("coinbase", PAIRS)
    for place, name in enumerate(feeds):
        data = mdslib.load(name, (days[0], days[-1]), store=store)
        ours = sent[sent["instrument"] == place]
        assert sorted(table.kind for table in data.tables) == np.unique(ours["kind"]).tolist()
        for table in data.tables:
            rows = ours[ours["kind"] == table.kind]
            price = "bid" if table.kind == Kind.QUOTE else "price"
            assert np.array_equal(np.sort(table[price]), np.sort(rows["f0"]), equal_nan=True)
            if table.kind == Kind.BOOK_DELTA:  # a book is its deltas in their order
                assert table["size"].tolist() == rows["i0"].tolist()
    assert len(tape_of(out, "coinbase")) == sum(report.rows + report.rest for report in reports)
    late = retain(out, store, 1, today=days[-1] + datetime.timedelta(days=9))
    assert [report.failed for report in late] == [False] * len(late)
    assert not list(out.rglob("*.tape"))

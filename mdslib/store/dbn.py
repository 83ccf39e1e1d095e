"""Import Databento's DBN files through Databento's own decoder; needs the extra ``databento``.

Read are trades (``trades``), quotes (``mbp-1``, ``tbbo``: the book after the event), and bars (``ohlcv-1s``, ``-1m``,
``-1h``, stamped at their start there and at their close here). Other records are counted by name.

Source: databento.com/docs, Schemas and data formats; the package databento_dbn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind, pack_conditions
from mdslib.instruments import Instrument
from mdslib.store.imported import Imported, in_order, read_bytes, store_days
from mdslib.store.tickstore import TickStore

_PRICE = 1e9  # prices are whole counts of 1e-9
_UNDEFINED = 2**63 - 1
_SIDES = {"A": pack_conditions(["s"]), "B": pack_conditions(["b"])}  # who took: an ask sold, a bid bought
# By the record's type. Daily ones are of UTC's days, which are no sessions, so they are left out.
_BARS = {32: ("1s", 1), 33: ("1m", 60), 34: ("1h", 3_600)}


class Dbn(NamedTuple):
    """What a file held: the days that were stored, and records that were left out, by name."""

    days: list[Imported]
    left_out: dict[str, int]


def import_dbn(path: Path | str, store: TickStore, venue: str = "") -> Dbn:
    """Import a DBN file, plain or ``.zst``.

    Parameters
    ----------
    path : Path or str
        The file.
    store : TickStore
        Where its days go, a part an instrument.
    venue : str, optional
        The venue to store it under; by default the file's dataset, such as ``XNAS.ITCH``.

    Raises
    ------
    ConfigError
        ``databento_dbn`` is not installed.
    DataError
        The file is no DBN, is cut off, or holds nothing that can be stored.
    """
    path = Path(path)
    metadata, records, source = _decoded(path)
    names = _symbols(metadata)
    rows: dict[tuple[str, Kind, str], list[dict[str, Any]]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    for record in records:
        found = _row(record)
        if found is None:
            left_out[type(record).__name__] += 1
            continue
        for kind, interval, row in found:
            symbol = names.get(record.instrument_id, str(record.instrument_id))
            rows[symbol, kind, interval].append(row)
    if not rows:
        held = ", ".join(f"{count} {name}" for name, count in left_out.items()) or "no records"
        raise DataError(f"{path.name}: must hold trades, best quotes or bars, received {held}")
    done: list[Imported] = []
    for (symbol, kind, interval), found_rows in rows.items():
        columns = {name: np.array([row[name] for row in found_rows]) for name in found_rows[0]}
        instrument = Instrument(symbol, venue or str(metadata.dataset))
        done += store_days(in_order(kind, columns), instrument, store, [source], interval or None)
    return Dbn(done, dict(left_out))


def _decoded(path: Path) -> tuple[Any, list[Any], Any]:
    try:
        import databento_dbn
    except ImportError as error:
        raise ConfigError(
            f"Databento's decoder is not installed ({error}); run: pip install 'mdslib[databento]'"
        ) from None
    data, source = read_bytes(path)
    if path.suffix == ".zst":
        import pyarrow as pa

        data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    decoder = databento_dbn.DBNDecoder()
    try:
        decoder.write(data)
        metadata, *records = decoder.decode()
    except (databento_dbn.DBNError, ValueError) as error:
        raise DataError(f"{path.name}: must be a DBN file, received: {error}; get the file anew") from None
    if decoder.buffer():
        raise DataError(
            f"{path.name}: must end with a whole record, received {len(decoder.buffer())} bytes more; get the file anew"
        )
    return metadata, records, source


def _symbols(metadata: Any) -> dict[int, str]:
    """Return the symbol of each instrument id; a file's ids mean one symbol each."""
    names: dict[int, str] = {}
    for symbol, intervals in dict(metadata.mappings).items():
        for interval in intervals:
            told = interval["symbol"] if isinstance(interval, dict) else interval.symbol
            if str(told).isdigit():
                names[int(told)] = str(symbol)
    return names


def _row(record: Any) -> list[tuple[Kind, str, dict[str, Any]]] | None:
    """Return what a record says, or None where it is nothing that is stored."""
    name = type(record).__name__
    if name == "OHLCVMsg":
        return _bar(record)
    if name not in ("TradeMsg", "MBP1Msg"):
        return None
    times = {"ts_event": int(record.ts_event), "ts_init": int(record.ts_recv)}
    found: list[tuple[Kind, str, dict[str, Any]]] = []
    if str(record.action) in ("T", "Trade") and record.price != _UNDEFINED:
        side = _SIDES.get(str(record.side)[:1], 0)
        trade = {"price": record.price / _PRICE, "size": int(record.size), "conditions": side}
        found.append((Kind.TRADE, "", times | trade | {"trade_id": int(record.sequence)}))
    if name == "MBP1Msg":
        best = record.levels[0]
        quote = {
            "bid": np.nan if best.bid_px == _UNDEFINED else best.bid_px / _PRICE,
            "ask": np.nan if best.ask_px == _UNDEFINED else best.ask_px / _PRICE,
            "bid_size": int(best.bid_sz),
            "ask_size": int(best.ask_sz),
        }
        found.append((Kind.QUOTE, "", times | quote))
    return found


def _bar(record: Any) -> list[tuple[Kind, str, dict[str, Any]]] | None:
    length = _BARS.get(int(record.rtype))
    if length is None:
        return None
    interval, seconds = length
    close = int(record.ts_event) + seconds * 10**9
    prices = {name: getattr(record, name) / _PRICE for name in ("open", "high", "low", "close")}
    return [(Kind.BAR, interval, {"ts_event": close, "ts_init": close, "volume": int(record.volume)} | prices)]


__all__ = ["Dbn", "import_dbn"]

"""What a recorder does now, in a file that it replaces every second, and how a person reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mdslib.clock import wall_ns
from mdslib.errors import DataError
from mdslib.strictjson import dumps

FOLDER = "status"
_COLUMNS = ("feed", "state", "msg/s", "lag ms", "age s", "trades", "deltas", "gaps", "book", "bid", "ask", "MB")
_LEFT_OUT = frozenset({"age s", "trades", "deltas", "bid", "ask"})  # where the terminal is narrow
_WIDE = 110  # columns
STALE = 10.0  # s; a recorder whose file is older does not run, or hangs


def write_status(out: Path, name: str, told: dict[str, Any]) -> None:
    """Replace a recorder's status file, whole or not at all.

    Raises
    ------
    OSError
        If it can't be written.
    """
    path = out / FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.new")
    try:
        draft.write_text(dumps(told), "utf-8")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read_status(out: Path) -> dict[str, Any]:
    """Return what every recorder of a folder does.

    Returns
    -------
    dict
        ``recorders``: what each said last, with ``age`` in s and ``running``; ``feeds``: all their feeds.

    Raises
    ------
    DataError
        If there is no status in the folder, or one is no JSON.
    """
    files = sorted((out / FOLDER).glob("*.json"))
    if not files:
        raise DataError(f"{out} has no recorder's status; start one with mds record, or name its folder with --out")
    recorders, feeds = [], []
    for file in files:
        try:
            told = json.loads(file.read_text("utf-8"))
            age = (wall_ns() - told["time"]) / 1e9
            running = told["running"] and age < STALE
            recorders.append({key: value for key, value in told.items() if key != "feeds"} | {
                "age": round(age, 1), "running": running, "name": file.stem,
            })  # fmt: skip
            feeds += [feed if running else feed | {"state": "stopped", "rate": 0.0} for feed in told["feeds"]]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} must be a recorder's status: {error}; delete it") from None
    return {"recorders": recorders, "feeds": feeds}


def table_of(status: dict[str, Any], width: int = _WIDE) -> Any:
    """Return the status as a table for a terminal; a narrow one gets fewer columns."""
    from rich.table import Table

    table = Table(title=_title(status))
    shown = [column for column in _COLUMNS if width >= _WIDE or column not in _LEFT_OUT]
    for name in shown:
        texts = name in ("feed", "state", "book")
        table.add_column(name, justify="left" if texts else "right", no_wrap=name in ("feed", "state"))
    for feed in status["feeds"]:
        cells = _cells(feed)
        table.add_row(*(cells[name] for name in shown))
    troubles = [f"{feed['id']}: {feed['said']}" for feed in status["feeds"] if feed["said"]]
    troubles += [f"{each['name']}: {each['trouble']}" for each in status["recorders"] if each.get("trouble")]
    table.caption = "\n".join(troubles) or None
    return table


def _cells(feed: dict[str, Any]) -> dict[str, str]:
    colour = {"live": "green", "stopped": "dim", "refused": "red"}.get(feed["state"], "yellow")
    return {
        "feed": feed["id"],
        "state": f"[{colour}]{feed['state']}[/]",
        "msg/s": f"{feed['rate']:,.1f}",
        "lag ms": _figure(feed["lag_ms"]),
        "age s": _figure(feed["age"]),
        "trades": f"{feed['trades']:,}",
        "deltas": f"{feed['deltas']:,}",
        "gaps": f"{feed['gaps']:,}",
        "book": _health(feed),
        "bid": _figure(feed["bid"], 8),
        "ask": _figure(feed["ask"], 8),
        "MB": f"{feed['bytes'] / 1e6:,.1f}",
    }


def _title(status: dict[str, Any]) -> str:
    running = sum(bool(each["running"]) for each in status["recorders"])
    return f"{running} of {len(status['recorders'])} recorders run"


def _figure(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits > 1 else f"{value:,.1f}"


def _health(feed: dict[str, Any]) -> str:
    checks = f", {feed['checksums_ok']:,} checked" if feed["checksums_ok"] or feed["checksums_bad"] else ""
    bad = f", {feed['checksums_bad']:,} wrong" if feed["checksums_bad"] else ""
    crossed = f", crossed {feed['crossed']:,} times" if feed["crossed"] else ""
    times = f", {feed['wrong_times']:,} wrong times" if feed.get("wrong_times") else ""
    return f"{feed['book']}{checks}{bad}{crossed}{times}"

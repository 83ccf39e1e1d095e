"""The command `mds replay-capture`, which decodes what was recorded from a venue's sockets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdslib.errors import DataError

if TYPE_CHECKING:
    from mdslib.feeds.replay import CaptureReport

_COLUMNS = ("messages", "decoded", "control", "ignored", "snapshots", "deltas", "trades", "old_trades", "checksums_ok",
            "checksums_bad", "sequence_gaps", "crossed")  # fmt: skip


def replay_command(
    path: Annotated[
        Path, typer.Argument(help="A capture's file, or the folder of one session's files.", show_default=False)
    ],
    venue: Annotated[str, typer.Option(help="Venue, where the capture does not tell it.", show_default=False)] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Decode a raw capture again, rebuild its books, and account for every message.

    A message is decoded, control, or ignored under a name that says why.
    """
    from mdslib.feeds.replay import replay_capture

    report = replay_capture(path, venue)
    if json:
        from mdslib.strictjson import dumps

        sys.stdout.write(dumps(report.as_dict()) + "\n")
    else:
        sys.stdout.write(_table(report))
    figures = report.as_dict()
    if report.damaged:
        raise report.damaged[0]
    if not figures["messages"] and not report.rest:
        raise DataError(f"capture: {path} holds no messages; give a capture's file, or the folder of its files")
    unreadable = figures["names"].get("unreadable", 0)
    if unreadable and not figures["decoded"]:
        raise DataError(
            f"capture: {path}: no message can be read as {report.venue}'s, {unreadable:,} are unreadable; "
            "is it another venue's? Name it with --venue"
        )


def _table(report: CaptureReport) -> str:
    figures = report.as_dict()
    rows: list[tuple[str, dict[str, Any]]] = [*figures["pairs"].items(), ("total", figures)]
    first = max(len(name) for name, _ in rows)
    lines = [" ".join([" " * first, *_COLUMNS])]
    for name, row in rows:
        cells = (f"{row[column]:>{len(column)},}" for column in _COLUMNS)
        lines.append(" ".join([f"{name:<{first}}", *cells]))
    lines.append("")
    lines += [f"{count:>10,} {name}" for name, count in figures["names"].items()]
    lines.append(
        f"{figures['venue']}: {figures['quotes_equal']:,} of {figures['quotes_compared']:,} of the venue's best prices "
        f"are the book's; {figures['resyncs']:,} resyncs; {figures['records']:,} records"
    )
    return "\n".join(lines) + "\n"

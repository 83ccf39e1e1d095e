"""The beginning of a session: its folder, its clock, its tape's header, and what it holds when it opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdslib.clock import Clock
from mdslib.desk import opening_record
from mdslib.errors import SessionError
from mdslib.live.plan import LivePlan
from mdslib.matching import Rules
from mdslib.protocols import Position, Records
from mdslib.store.tapefile import TapeReader, TapeWriter
from mdslib.tape import TapeHeader, make_header

if TYPE_CHECKING:
    from mdslib.brokers.alpaca import AlpacaBroker
    from mdslib.live.simlink import SimLink

# What makes another run of it, whatever a person says; everything else is the model's.
_RUN = ("account_id", "trading_date", "run_name", "instruments", "clock", "hours", "cash", "split_flips")


def make_folder(run_dir: Path) -> None:
    """Make the run's folder and see that it can be written; raises `SessionError`."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SessionError(
            f"run folder {run_dir} can't be written ({error.strerror}); choose another with --run-dir"
        ) from error


def check_clock(broker: AlpacaBroker, clock: Clock, allowed: float) -> float:
    """Refuse to trade on a clock that disagrees with the venue's by more than `allowed` seconds.

    Returns
    -------
    float
        How far the venue's clock is ahead, s; negative where it is behind.
    """
    began = clock.now()
    venue = broker.clock().now
    skew = (venue - (began + clock.now()) // 2) / 1e9
    if abs(skew) > allowed:
        raise SessionError(
            f"this machine's clock and the venue's differ by {abs(skew):.1f} s, {allowed:g} s is allowed;"
            " set the clock (timedatectl set-ntp true), or raise max_clock_skew"
        )
    return skew


def header_of(plan: LivePlan, account_id: str, link: SimLink | None) -> TapeHeader:
    """Return the header of the tape that a plan begins."""
    from mdslib.strategy.driver import strategy_fingerprint

    return make_header(
        model=plan.strategy.name,
        fingerprint=strategy_fingerprint(plan.strategy),
        parameters=plan.params._asdict(),
        instruments=plan.instruments,
        account_id=account_id,
        trading_date=plan.date,
        run_name=plan.run_name,
        limits={} if plan.limits is None else plan.limits._asdict(),
        clock="wall" if link is None else ("stepped" if link.lockstep else "scaled"),
        hours=[(plan.session.open, plan.session.close)],
        split_flips=plan.splits_flips(Rules.ALPACA if link is None else link.rules),
        source=plan.source,
    )


def open_tape(plan: LivePlan, header: TapeHeader) -> TapeWriter:
    """Open the run's tape: a new one under this header, or the one that is there, still under its own."""
    folder, accept = plan.run_dir / "tape", bool(plan.options["accept_changed_model"])

    def meet(found: TapeReader) -> TapeHeader:
        check_header(found.header, header, plan.run_dir, accept_changed=accept)
        return found.header

    return TapeWriter(folder, header, durability=plan.options["durability"], meet=meet)


def check_header(found: TapeHeader, planned: TapeHeader, folder: Path, *, accept_changed: bool) -> None:
    """Refuse to go on with a tape that was begun as something else.

    Parameters
    ----------
    found, planned : TapeHeader
        The tape's newest header, and the one that this start would write.
    folder : Path
        For the message.
    accept_changed : bool
        A person says that another code, other parameters or limits are meant.

    Raises
    ------
    SessionError
        Names what differs.
    """
    other = [name for name in _RUN if getattr(found, name) != getattr(planned, name)]
    if other:
        raise SessionError(
            f"{folder} holds the tape of another run: {_differences(found, planned, other)}; start this one in a folder"
            " of its own with --run-dir"
        )
    changed = [f.name for f in fields(TapeHeader) if getattr(found, f.name) != getattr(planned, f.name)]
    if changed and not accept_changed:
        raise SessionError(
            f"{folder} holds the tape of another model: {_differences(found, planned, changed)}; its state can't be"
            " taken over. Start as before, or say --accept-changed-model to go on with a fresh state from now on"
        )


def _differences(found: TapeHeader, planned: TapeHeader, names: Sequence[str]) -> str:
    pairs = [(name.replace("_", " "), *_apart(getattr(found, name), getattr(planned, name))) for name in names]
    return "; ".join(f"{name}: {there} there, {here} here" for name, there, here in pairs)


def _apart(there: object, here: object) -> tuple[str, str]:
    """Return both values as text; of two mappings, what differs."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        names = sorted(n for n in {*there, *here} if there.get(n) != here.get(n))
        return _items(there, names), _items(here, names)
    return _said(there), _said(here)


def _items(values: Mapping[str, object], names: Sequence[str]) -> str:
    return ", ".join(f"{name}={values[name]}" for name in names if name in values) or "none"


def _said(value: object) -> str:
    if isinstance(value, tuple) and value and hasattr(value[0], "symbol"):
        return " ".join(each.symbol for each in value)
    return str(value)


def opening_records(symbols: Sequence[str], positions: Mapping[str, Position], cash: float, now: int) -> Records:
    """Return the OPENING records of a session: positions that are there already are taken over."""
    held = [positions.get(symbol, Position(symbol, 0.0, 0.0)) for symbol in symbols]
    return np.concatenate(
        [opening_record(k, each.qty, each.avg_px, 0.0 if k else cash, now) for k, each in enumerate(held)]
    )

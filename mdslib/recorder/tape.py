"""A venue's tape, day by day: batches go to the day that they were received on.

A day that can't be written, for want of space say, keeps its batches in memory and is tried again every second. Only
what memory can't hold is lost, and then it is a GAP of every instrument, a line for the person, and a count.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mdslib.clock import monotonic_ns
from mdslib.errors import MdsError, RecordError, TapeError
from mdslib.events import RECORD, Kind
from mdslib.instruments import Instrument
from mdslib.protocols import Records
from mdslib.store.tapefile import Durability, TapeWriter, writer_of
from mdslib.tape import TapeHeader, make_header

DAY = 86_400_000_000_000  # ns
MOST_WAITING = 2_000_000  # records that wait in memory for a disk: 192 MB
_MOST_BESIDE = 10  # tapes of a day, where earlier ones are damaged
_LOOKED_AT = 1000  # records of a tape's end
_FOR_SESSIONS = (  # what a session must do, and a recorder need not
    " Free space, then start the run again.",
    "; nothing was recorded: free space or choose another runs folder",
)
_TRY_AGAIN = 1_000_000_000  # ns
_EPOCH = datetime.date(1970, 1, 1)


def date_of(day: int) -> datetime.date:
    """Return the date of a day's number since 1970."""
    return _EPOCH + datetime.timedelta(days=day)


def _reason(error: MdsError) -> str:
    """Return an error's text as a sentence, without what is for sessions only."""
    text = str(error)
    for advice in _FOR_SESSIONS:
        text = text.removesuffix(advice)
    return text if text.endswith(".") else f"{text}."


class VenueTape:
    """Append-only tapes of one venue, one a day.

    Parameters
    ----------
    folder : Path
        The venue's folder; a day's tape is ``folder/DATE/name``.
    name : str
        Name of the tape's folder.
    instruments : sequence of Instrument
        A record's `instrument` indexes them.
    run_name : str
        Told in the header: the mode.
    durability : {"write", "fsync"}
        Whether a batch waits for the kernel, or for the disk.
    tell : callable
        Takes one line for a person.

    Attributes
    ----------
    written, lost, waiting : int
        Records on the tape since the start, given up, and in memory for a disk that will not have them.
    why : str
        Why a disk will not have them; empty while it does.
    """

    def __init__(
        self, folder: Path, name: str, instruments: Sequence[Instrument], run_name: str, durability: Durability,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.folder, self.name, self.instruments = folder, name, tuple(instruments)
        self.run_name, self.durability, self._tell = run_name, durability, tell
        self.written = self.lost = self.waiting = 0
        self.why = ""
        self._disk = False  # whether it is the disk's, and not another writer's
        self._parts: deque[tuple[int, Records]] = deque()
        self._writer: TapeWriter | None = None
        self._day = -1
        self._opening: Records = np.zeros(0, RECORD)  # what the open tape must say before anything else
        self._retry = 0
        self._last = 0  # latest event that was taken, ns UTC
        self._hole = self._mended = False
        self._told = 0  # of `lost`, what a person knows of

    @property
    def bytes(self) -> int:
        """Bytes of the records written since the start."""
        return self.written * RECORD.itemsize

    @property
    def trouble(self) -> str:
        """Why records wait, how many, and what a person does about it; empty while none must."""
        if not self.why:
            return ""
        what = "Free space and leave" if self._disk else "Leave"
        return (
            f"{self.why} {what} this process running: it is tried again every second, and {self.waiting} records wait "
            "in memory, which a restart would lose."
        )

    def add(self, day: int, records: Records) -> None:
        """Take a batch of one day; it is safe after the next `flush` that leaves nothing waiting.

        Once memory holds no more, batches are lost until all that waits is written. The GAP stands where the first of
        them would: nothing follows on it before `mended`, when whoever keeps the books must begin them anew.
        """
        if not len(records):
            return
        if self._hole or self.waiting + len(records) > MOST_WAITING:
            if not self._hole:
                self._tell(f"tape {self.folder}: the disk has taken nothing for too long; what comes now is lost")
                self._wait(day, self._gaps(int(records["ts_init"][0]), self._last))
            self._hole = True
            self.lost += len(records)
            return
        self._wait(day, records)
        self._last = max(self._last, int(records["ts_event"].max()))

    def mended(self) -> bool:
        """Tell, once, that batches were lost and that the tape takes them again."""
        mended, self._mended = self._mended, False
        return mended

    def _wait(self, day: int, records: Records) -> None:
        self.waiting += len(records)
        self._parts.append((day, records))

    def flush(self, *, now: bool = False) -> bool:
        """Write what waits; `now` tries a disk again at once. Return whether all of it is on the tape."""
        if self._retry and not now and monotonic_ns() < self._retry:
            return False
        try:
            while self._parts:
                day, batch = self._together()
                self._write(day, batch)
                self._parts.popleft()
                self.waiting -= len(batch)
        except MdsError as error:
            first, self.why = not self.why, _reason(error)
            self._disk, self._retry = isinstance(error, RecordError), monotonic_ns() + _TRY_AGAIN
            if first:
                self._tell(self.trouble)
            return False
        if self.why:
            lost, self._told = self.lost - self._told, self.lost
            left = f", {lost} records were lost" if lost else ", nothing was lost"
            self._tell(f"tape {self.folder}: the disk takes records again{left}")
        self._mended = self._mended or self._hole
        self.why, self._retry, self._hole = "", 0, False
        return True

    def close(self) -> bool:
        """Write what waits and give up the tape; return whether all of it could be written."""
        done = self.flush(now=True)
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        return done

    def _together(self) -> tuple[int, Records]:
        """Make one part of all the first ones of the same day."""
        day, first = self._parts.popleft()
        some = [first]
        while self._parts and self._parts[0][0] == day:
            some.append(self._parts.popleft()[1])
        whole = np.concatenate(some)
        self._parts.appendleft((day, whole))
        return day, whole

    def _write(self, day: int, records: Records) -> None:
        if day != self._day or self._writer is None:
            self._open(day)
        assert self._writer is not None
        if len(self._opening):
            self._append(self._writer, self._opening)
            self._opening = self._opening[:0]
        self._append(self._writer, records)

    def _append(self, writer: TapeWriter, records: Records) -> None:
        writer.append(records)
        self.written += len(records)

    def _open(self, day: int) -> None:
        """Begin a day's tape, or go on with one that is there, which says so on it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._opening = self._opening[:0]
        writer = self._writer = self._new_writer(day)
        self._day = day
        if writer.found is not None:
            before = writer.found.segments[-1].records[-_LOOKED_AT:]
            last = int(before["ts_event"].max()) if len(before) else 0
            writer.found.close()
            self._opening = self._gaps(int(self._parts[0][1]["ts_init"][0]), last, began=True)

    def _new_writer(self, day: int) -> TapeWriter:
        """Open the day's tape; beside one that is damaged, which is left as it is, the next of its name."""
        header = self._header(day)
        for number in range(_MOST_BESIDE):
            folder = self.folder / date_of(day).isoformat() / (f"{self.name}.{number}" if number else self.name)
            try:
                return TapeWriter(folder, header, self.durability)
            except RecordError:
                raise
            except TapeError as error:
                if writer_of(folder):
                    raise
                self._tell(f"{error}. It is left alone; the recording goes on beside it, in {self.name}.{number + 1}")
        raise TapeError(f"{self.folder}: {_MOST_BESIDE} tapes of {date_of(day)} are damaged; look at the disk")

    def _header(self, day: int) -> TapeHeader:
        return make_header(
            model="", fingerprint="", parameters={}, instruments=self.instruments, account_id="",
            trading_date=date_of(day), run_name=self.run_name,
        )  # fmt: skip

    def _gaps(self, time: int, since: int, *, began: bool = False) -> Records:
        """Return a GAP of every instrument, and a START before them where the program began again."""
        records = np.zeros(len(self.instruments) + began, RECORD)
        records["ts_event"] = records["ts_init"] = time
        records["kind"][int(began) :] = int(Kind.GAP)
        records["i0"][int(began) :] = since
        records["instrument"][int(began) :] = np.arange(len(self.instruments))
        if began:
            records["kind"][0] = int(Kind.START)
        return records

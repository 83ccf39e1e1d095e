"""Lives of a session that end by SIGKILL: a mother process compiles once, then forks a child for each life.

A child kills itself at one of its *points*: before or after a write to the tape (or in the middle of one), before or
after an order, a cancel or a question goes to the venue, when a frame, an update or an answer has arrived and is not
recorded yet, before or after a lock-step exchange is told that an instant is done. The product has no hooks for this.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 150  # s that a life may last


class Ended(NamedTuple):
    """How one life ended: its exit code (negative: the signal), where it was killed, and what it said."""

    code: int
    at: str
    said: str


class Mother:
    """The process that all lives are forked from; use it in a ``with`` statement."""

    def __init__(self, models: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *models], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def __enter__(self) -> Mother:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(120)
        self._process.stdout.close()

    def live(
        self, parameters: dict[str, Any], kill_at: int = 0, *, on: str = "", tear: bool = False, deaf: bool = False
    ) -> Ended:
        """Run one life; it is killed at point number `kill_at`, where that is not 0, of those that are called `on`.

        A deaf one hears no order updates.
        """
        told = {"parameters": parameters, "kill_at": kill_at, "on": on, "tear": tear, "deaf": deaf}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


# In the child -----------------------------------------------------------------------------------------------------


class Points:
    """Counts the points that a life passes, and ends it at one of them."""

    def __init__(self, kill_at: int, report: Path, *, on: str, tear: bool) -> None:
        self.kill_at, self.report, self.on, self.tear = kill_at, report, on, tear
        self.passed = 0
        self._lock = threading.Lock()
        self._write = os.write

    def pass_by(self, name: str, last_wish: Callable[[], object] | None = None) -> None:
        with self._lock:
            self.passed += name.startswith(self.on)
            if self.passed == self.kill_at:
                if last_wish is not None and self.tear:
                    last_wish()
                    name += ", torn"
                self.report.write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: type, name: str, *, after: bool = True) -> None:
        """Put a point before, and one after, each call of a method."""
        method = getattr(owner, name)

        def wrapped(this: Any, *args: Any, **kwargs: Any) -> Any:
            self.pass_by(f"before {name}")
            answer = method(this, *args, **kwargs)
            if after:
                self.pass_by(f"after {name}")
            return answer

        setattr(owner, name, wrapped)

    def around_writes(self) -> None:
        def write(fd: int, data: Any) -> int:
            self.pass_by("before the tape", lambda: self._write(fd, bytes(data)[: len(data) * 2 // 3]))
            count = self._write(fd, data)
            self.pass_by("after the tape")
            return count

        os.write = write  # type: ignore[assignment]


def child(told: dict[str, Any], report: Path) -> int:
    from mdslib.brokers.alpaca import AlpacaBroker
    from mdslib.live import Session
    from mdslib.live.engine import Engine
    from mdslib.live.simlink import SimLink
    from mdslib.live.verdict import Verdict
    from mdslib.live.writer import Writer

    signal.alarm(LONGEST)
    points = Points(told["kill_at"], report, on=told["on"], tear=told["tear"])
    if told["kill_at"]:
        for name in ("submit", "cancel", "order"):
            points.around(AlpacaBroker, name)
        for name in ("on_market", "on_update", "on_answer"):
            points.around(Engine, name, after=False)
        points.around(Writer, "carry_out", after=False)
        points.around(SimLink, "done")
        points.around_writes()
    if told["deaf"]:
        Engine.on_update = lambda this, update: None  # type: ignore[method-assign]
    session = Session.from_parameters(**told["parameters"])
    session.run()
    verdict = Verdict.read(session.plan.run_dir)
    assert verdict is not None
    report.write_text(verdict.reason)
    return int(verdict.code)


def mother(models: list[str]) -> None:
    """Import and compile what a life needs, then fork one for each line of standard input."""
    import cpquant.data
    import cpquant.trade
    import numpy as np

    import mdslib.feeds.alpaca_history
    import mdslib.feeds.alpaca_socket
    import mdslib.feeds.backfill
    import mdslib.live.wiring
    from mdslib.brokers.alpaca import _trading_client
    from mdslib.instruments import Instrument
    from mdslib.risk import Limits
    from mdslib.sim.log import read_orders  # noqa: F401
    from mdslib.strategy import Fold, find_model
    from mdslib.tape.crc import stamp
    from mdslib.tape.header import machine_class

    _trading_client()
    machine_class()
    for model in models:
        for split in (False, True):
            Fold(find_model(model), instruments=(Instrument("SPY"),), limits=Limits(), split_flips=split).prepare()
    stamp(np.zeros(24, np.uint32), 1)
    assert cpquant.data
    assert mdslib.live.wiring
    for number in itertools.count(1):
        line = sys.stdin.readline()
        if not line:
            return
        told = json.loads(line)
        report = Path(told["parameters"]["run_dir"]).parent / f"life-{number}.txt"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("")
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                sink = os.open(os.devnull, os.O_RDWR)
                os.dup2(sink, 0)
                os.dup2(sink, 1)
                code = child(told, report)
            except BaseException as error:
                report.write_text("".join(traceback.format_exception(error)))
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        said = report.read_text()
        sys.stdout.write(json.dumps({"code": code, "at": said if code == -9 else "", "said": said}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        mother(sys.argv[1:])

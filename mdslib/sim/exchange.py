"""`Exchange`: a local exchange in a process of its own, for tests, notebooks and the demo."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mdslib.errors import ConfigError, MdsError, SessionError
from mdslib.sim.faults.script import load_script
from mdslib.sim.options import SimOptions
from mdslib.table import MarketData

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_START = 120.0  # s: a cold start compiles the matching core


class Exchange:
    """A local exchange that speaks Alpaca's protocols on 127.0.0.1; use it in a ``with`` statement.

    It runs in a process of its own, which ends with this one, however that ends.

    Parameters
    ----------
    data : MarketData
        The day that it plays.
    options : SimOptions, optional
        How; single options can be given by name instead.
    in_process : bool
        Run it in a thread of this process: quicker to start, but it shares the interpreter.
    forked : bool
        Run it in a fork of this process, which has warmed up (`warm_core`) and has no other thread: starts at once.
    **changes
        Fields of `SimOptions`; `faults` may also be a script's name or file.

    Attributes
    ----------
    port : int
    url, trade_url : str
        Base of the REST calls (without ``/v2``), for trading and for history.
    data_url : str
        The data websocket of feed iex; ``feed_url(feed)`` gives another's.
    stream_url : str
        The ``trade_updates`` websocket.
    time_url : str
        The side channel.

    Examples
    --------
    ::

        with Exchange(data, mode="lockstep", rules="alpaca") as exchange:
            client = TradingClient("key", "secret", url_override=exchange.trade_url)
    """

    def __init__(
        self,
        data: MarketData,
        options: SimOptions | None = None,
        *,
        in_process: bool = False,
        forked: bool = False,
        **changes: Any,
    ) -> None:
        if isinstance(changes.get("log_dir"), str):
            changes["log_dir"] = Path(changes["log_dir"])
        if isinstance(changes.get("faults"), str | Path):
            changes["faults"] = load_script(changes["faults"])
        self.options = replace(options or SimOptions(), **changes)
        self.data = data
        self.in_process, self.forked = in_process, forked
        self.port = 0
        self._runner: _Process | _Thread | _Fork | None = None

    def __enter__(self) -> Exchange:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Exchange:
        """Start the exchange and wait until it takes connections.

        Raises
        ------
        ConfigError
            The port is in use, an option or the log folder is wrong.
        """
        self._runner = _Fork() if self.forked else _Thread() if self.in_process else _Process()
        self.port = self._runner.start(self.data, self.options)
        return self

    def stop(self) -> None:
        """Stop the exchange; its log is complete afterwards. Does nothing the second time."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            runner.stop()

    @property
    def url(self) -> str:
        """Base address of the REST calls."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def trade_url(self) -> str:
        """Base address of the trading calls."""
        return self.url

    def feed_url(self, feed: str = "iex") -> str:
        """Return the data websocket of a feed."""
        return f"ws://127.0.0.1:{self.port}/v2/{feed}"

    @property
    def data_url(self) -> str:
        """The data websocket of feed iex."""
        return self.feed_url()

    @property
    def stream_url(self) -> str:
        """The ``trade_updates`` websocket."""
        return f"ws://127.0.0.1:{self.port}/stream"

    @property
    def time_url(self) -> str:
        """The side channel's websocket."""
        return f"ws://127.0.0.1:{self.port}/sim/time"


class _Process:
    """The exchange as a child: its day comes by its standard input, whose end is also the sign to stop."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def start(self, data: MarketData, options: SimOptions) -> int:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        command = [sys.executable, "-m", "mdslib.sim"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            pickle.dump((data, options), self._child.stdin, protocol=5)
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once: its last words are read below
        line = self._child.stdout.readline()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            self.stop()
            raise ConfigError(answer["error"])
        return int(answer["port"])

    def _last_words(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"the exchange's process ended before it was ready: {lines[-1] if lines else 'no word of why'}"

    def stop(self) -> None:
        child = self._child
        if child is None:
            return
        self._child = None
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            child.stdin.close()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)
        child.stdout.close()
        if self._errors is not None:
            self._errors.close()


class _Thread:
    """The exchange in a thread of this process."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._port = 0
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, data: MarketData, options: SimOptions) -> int:
        self._thread = threading.Thread(target=self._run, args=(data, options), name="exchange", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START):
            raise SessionError(
                f"the exchange's thread was not ready within {_START:.0f} s; try a process (in_process=False)"
            )
        if self._failure is not None:
            raise self._failure
        return self._port

    def _run(self, data: MarketData, options: SimOptions) -> None:
        from mdslib.sim.server import serve

        def ready(port: int, stop: asyncio.Event) -> None:
            self._loop, self._port, self._stop = asyncio.get_running_loop(), port, stop
            self._ready.set()

        try:
            asyncio.run(serve(data, options, ready))
        except BaseException as failure:  # handed to the thread that waits in start()
            self._failure = failure
            self._ready.set()

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(10)
        if self._failure is not None:
            raise self._failure


class _Fork:
    """The exchange in a fork of this process: nothing is imported or compiled again."""

    def __init__(self) -> None:
        self._child: BaseProcess | None = None
        self._line: Connection | None = None

    def start(self, data: MarketData, options: SimOptions) -> int:
        context = multiprocessing.get_context("fork")
        self._line, there = context.Pipe()
        self._child = context.Process(target=_serve_forked, args=(data, options, self._line, there), daemon=True)
        self._child.start()
        there.close()
        try:
            answer = self._line.recv()
        except EOFError:
            answer = "the exchange's process ended before it was ready: no word of why"
        if isinstance(answer, int):
            return answer
        self.stop()
        raise ConfigError(str(answer))

    def stop(self) -> None:
        child, self._child = self._child, None
        if child is None or self._line is None:
            return
        self._line.close()
        child.join(10)
        if child.is_alive():
            child.kill()
            child.join(10)


def _serve_forked(data: MarketData, options: SimOptions, parents: Connection, line: Connection) -> None:
    from mdslib.sim.server import serve

    parents.close()  # so that its end is the parent's, however the parent ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the parent, which then stops this one

    def ready(port: int, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().add_reader(line.fileno(), stop.set)
        line.send(port)

    try:
        asyncio.run(serve(data, options, ready))
    except MdsError as error:
        line.send(str(error))


def warm_core(rules: str) -> None:
    """Compile the matching core in this process, for exchanges that are forked from it.

    Parameters
    ----------
    rules : str
        ``permissive`` or ``alpaca``.
    """
    from mdslib.matching import parse_rules
    from mdslib.sim.core import warm

    warm(parse_rules(rules))

"""papermill through its Python API, with the settings and the handles that a session of 6.5 hours needs.

What is different from a plain run: a long IOPub timeout (the command line has no flag for it), whole-file saves, and a
handle on the kernel's process. It runs in a worker thread on purpose: in the main thread nbclient takes over SIGTERM
and SIGINT and shuts the kernel down before a `finally` can run.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdslib.live.verdict import replace_file

IOPUB_TIMEOUT = 120  # seconds: with the default of 4, a cell that prints 20,000 lines fails the run
THREAD = "papermill"  # name of the thread that it runs in
AUTOSAVE = 15  # seconds between saves inside one cell, as long as it displays something


class Execution:
    """One notebook being executed in a thread of its own.

    Parameters
    ----------
    source, output : Path
        The notebook, and where its executed copy goes; it is replaced whole at every save.
    parameters : mapping
        For the cell tagged ``parameters``.
    start_timeout : float
        Seconds for the kernel to answer for the first time.

    Attributes
    ----------
    error : BaseException or None
        What ended the run, once `done`.
    unsaved : OSError or None
        Why the executed notebook could not be saved the last time; a full disk must not end the session.
    """

    def __init__(self, source: Path, output: Path, parameters: Mapping[str, Any], start_timeout: float) -> None:
        self.error: BaseException | None = None
        self.unsaved: OSError | None = None
        self._cell_began = threading.Event()
        self._manager: Any = None
        self._arguments = (source, output, dict(parameters), start_timeout)
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait up to so many seconds and tell whether the run is done."""
        self._thread.join(seconds)
        return self.done

    @property
    def done(self) -> bool:
        """Whether papermill has returned."""
        return not self._thread.is_alive()

    @property
    def cell_began(self) -> bool:
        """Whether a cell has begun to run."""
        return self._cell_began.is_set()

    @property
    def kernel_pid(self) -> int | None:
        """Process id of the kernel while there is one."""
        return getattr(getattr(self._manager, "provisioner", None), "pid", None)

    def signal_kernel(self, number: signal.Signals) -> bool:
        """Send a signal to the kernel's process alone; tell whether there was one."""
        pid = self.kernel_pid
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def adopt(self, manager: Any) -> None:
        """Take the handle on the kernel; called by the engine."""
        self._manager = manager

    def cell_starts(self, **_: Any) -> None:
        """Note that a cell begins; called by nbclient."""
        self._cell_began.set()

    def _run(self) -> None:
        from jupyter_core.utils import ensure_event_loop

        loop = ensure_event_loop()  # the one that nbclient will take in this thread; nobody else would close it
        try:
            _execute(self, *self._arguments)
        # Whatever ended papermill is kept for the verdict, which the runner writes: nothing is lost here.
        except BaseException as error:
            self.error = error
        finally:
            loop.close()


def _execute(run: Execution, source: Path, output: Path, parameters: dict[str, Any], start_timeout: float) -> None:
    import papermill
    from papermill.iorw import papermill_io

    engine = _register_engine()
    papermill_io.register(str(output), _WholeFile(run))
    papermill.execute_notebook(
        str(source),
        str(output),
        parameters=parameters,
        engine_name=engine,
        kernel_name="python3",
        progress_bar=False,
        start_timeout=start_timeout,
        autosave_cell_every=AUTOSAVE,
        iopub_timeout=IOPUB_TIMEOUT,
        on_cell_execute=run.cell_starts,
        run=run,
    )


def _register_engine() -> str:
    """Give papermill an engine that hands over its kernel's manager."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class LiveEngine(Engine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(
            cls, nb_man: Any, kernel_name: str, *, run: Execution, start_timeout: float, **options: Any
        ) -> Any:
            known = {name: options[name] for name in ("iopub_timeout", "on_cell_execute")}
            client = PapermillNotebookClient(
                nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, timeout=None, **known
            )
            # Unix sockets in a folder of ours: no port is opened, and nothing of the session crosses TCP in plain text.
            # The folder's name is short, because the path of such a socket may have 107 characters at most.
            with tempfile.TemporaryDirectory(prefix="mds-") as folder:
                manager = client.create_kernel_manager()
                manager.transport = "ipc"
                manager.connection_file = f"{folder}/kernel.json"
                manager.client_factory = _patient_client()
                run.adopt(manager)
                return client.execute()

    papermill_engines.register("mdslib", LiveEngine)
    return "mdslib"


def _patient_client() -> type[Any]:
    """Make a client that takes in every message at once, however many wait to be written into the notebook.

    By default 1,000 may wait; what the kernel publishes beyond that is dropped, the end of the cell included, and
    papermill then waits for it in vain (measured with 20,000 lines over a Unix socket).
    """
    import zmq
    from jupyter_client.asynchronous.client import AsyncKernelClient

    class PatientClient(AsyncKernelClient):
        def connect_iopub(self, identity: bytes | None = None) -> Any:
            self.context.setsockopt(zmq.RCVHWM, 0)  # without a bound; inherited by the sockets that follow
            return super().connect_iopub(identity)

    return PatientClient


class _WholeFile:
    """papermill's writer for the executed notebook: a crash while saving leaves the one before.

    A save that fails is noted, and the next one tried: raised here, it would end papermill, and with it the kernel, in
    the middle of a session.
    """

    def __init__(self, run: Execution) -> None:
        self._run = run

    def read(self, path: str) -> str:
        return Path(path).read_text(encoding="utf-8")

    def write(self, text: str, path: str) -> None:
        try:
            replace_file(Path(path), text)
        except OSError as error:
            self._run.unsaved = error
        else:
            self._run.unsaved = None

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def pretty_path(self, path: str) -> str:
        return path

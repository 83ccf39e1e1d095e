"""Fold a model's tape without the compiler, in a process of its own, before any compiled code of it runs here.

Compiled code does not look whether an index lies within its array: one that does not ends the process, or writes over
somebody else's memory. Python looks. And the compiler is chosen when numba is imported, so this takes a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdslib.check.made import with_fills
from mdslib.check.outcome import Outcome, snapshot
from mdslib.errors import MdsError
from mdslib.instruments import Instrument
from mdslib.protocols import Records
from mdslib.strategy import Fold, Strategy, find_model

TIMEOUT = 300.0  # seconds


class Plain(NamedTuple):
    """What came of the uncompiled run.

    Attributes
    ----------
    tape : RECORD array or None
        The events, with the fates of the orders that it decided; None where it failed.
    outcome : Outcome or None
        What folding that tape gives.
    wrong : str
        Why it failed, in one line; empty where it did not.
    outside : bool
        It failed on an index that lies outside its array.
    """

    tape: Records | None = None
    outcome: Outcome | None = None
    wrong: str = ""
    outside: bool = False


class Uncompiled:
    """An uncompiled run, begun when this is made.

    Parameters
    ----------
    strategy : Strategy
        In a file, or in a module that another process can import.
    params : NamedTuple
    instruments : tuple of Instrument
    events : RECORD array
        Market events and timers.
    seed : int
        Of the fates of the orders.
    """

    def __init__(
        self, strategy: Strategy, params: Any, instruments: tuple[Instrument, ...], events: Records, seed: int
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="mds-check-")
        self._folder = Path(self._scratch.name)
        np.save(self._folder / "events.npy", events)
        told = {
            "model": _source(strategy),
            "params": params._asdict(),
            "instruments": [[i.symbol, i.venue, i.tick, i.lot, i.currency, i.session] for i in instruments],
            "seed": seed,
        }
        (self._folder / "case.json").write_text(json.dumps(told))
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-W", "ignore", "-m", "mdslib.check.uncompiled", self._scratch.name]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def wait(self) -> Plain:
        """Return what came of it."""
        try:
            _, said = self._process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.drop()
            return Plain(wrong=f"it did not end within {TIMEOUT:.0f} s; check fewer events")
        with self._scratch:
            return self._read(said.decode(errors="replace").strip())

    def drop(self) -> None:
        """End the run, whatever it has come to."""
        self._process.kill()
        self._process.communicate()
        self._scratch.cleanup()

    def _read(self, said: str) -> Plain:
        failure, result = self._folder / "failure.json", self._folder / "outcome.npz"
        if failure.exists():
            return Plain(**json.loads(failure.read_text()))
        if not result.exists():
            code = self._process.returncode
            return Plain(wrong=(said.splitlines() or [f"it ended with code {code}"])[-1])
        with np.load(result) as found:
            state = {name.removeprefix("state:"): found[name] for name in found.files if name.startswith("state:")}
            return Plain(found["tape"], Outcome(found["decisions"], state))


def _source(strategy: Strategy) -> str:
    """Return what finds the strategy again in another process."""
    if strategy.module.startswith("mds_model_") or strategy.module == "__main__":
        return f"{strategy.file}:{strategy.name}"
    return f"{strategy.module}:{strategy.name}"


def _main(folder: Path) -> int:
    told = json.loads((folder / "case.json").read_text())
    try:
        strategy = find_model(told["model"])
        params = strategy.make_params(**told["params"])
        instruments = [Instrument(*each) for each in told["instruments"]]

        def fresh() -> Fold:
            return Fold(strategy, params, instruments=instruments, cash=100_000.0)

        tape = with_fills(fresh(), np.load(folder / "events.npy"), told["seed"])
        fold = fresh()
        decisions = fold.feed(tape)
    except MdsError as error:
        told = {"wrong": str(error), "outside": _is_index(error)}
        (folder / "failure.json").write_text(json.dumps(told))
        return 1
    state = {f"state:{name}": array for name, array in snapshot(fold).items()}
    np.savez(folder / "outcome.npz", tape=np.array(tape), decisions=np.array(decisions), **state)  # type: ignore[arg-type]
    return 0


def _is_index(error: BaseException | None) -> bool:
    """Tell whether an index outside an array is at the root of an error."""
    while error is not None:
        if isinstance(error, IndexError):
            return True
        error = error.__cause__
    return False


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))

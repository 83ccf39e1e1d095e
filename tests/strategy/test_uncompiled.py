"""Without the compiler (``NUMBA_DISABLE_JIT=1``) the fold and the back-test give the same bits, and no warnings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIXED = Path(__file__).parent / "mixed.py"

RUN = """\
import hashlib, json, sys
import numpy as np
from mdslib import backtest, find_model, make_limits
from mdslib.check.made import made_data, records_of
from mdslib.events import RECORD, Kind
from mdslib.strategy import Fold
from mdslib.strategy.market import market_of

def held_records():
    made = np.zeros(60, RECORD)
    made["kind"] = np.resize([Kind.GAP, Kind.RESYNC, Kind.STATUS, Kind.STATUS], 60)
    made["code"] = np.resize([1, 0, ord("H"), ord("T")], 60)
    return made

def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:12]

QUICK = {"moving_average": {"fast": 3, "slow": 9}, "pairs_zscore": {"warm_up": 20, "half_life": 30.0}}
told = {}
for name in sys.argv[1:]:
    model = find_model(name)
    data = made_data(model, 800, 11)
    params = QUICK.get(model.name, {})
    limited = make_limits(max_position=30)
    fold = Fold(model, model.make_params(**params), instruments=data.instruments, cash=1e5, limits=limited)
    decisions = fold.run(data)
    told[model.name] = [len(decisions), digest(decisions), fold.digest()]
    tape = np.concatenate([held_records(), records_of(market_of(model, data, model.market_kinds))])
    tape["seq"] = np.random.default_rng(5).permutation(len(tape))
    tape = np.sort(tape, order="seq")
    held = Fold(model, model.make_params(**params), instruments=data.instruments, cash=1e5, limits=limited)
    decisions = held.feed(tape)
    told[model.name + " held"] = [len(decisions), digest(decisions), held.digest()]
    for rules in ("permissive", "alpaca"):
        for limits in (None, limited):
            if model.name != "mixed" and (rules == "alpaca") is (limits is None):
                continue  # each is a driver to compile; the model that does everything has them all
            r = backtest(model, data, params=params, rules=rules, limits=limits, fees=1.0, flatten="10s")
            key = f"{model.name} {rules} {limits is None}"
            told[key] = [len(r.fills), r.rejected, digest(r.decisions), digest(r.events), digest(r.account), r.equity]
print(json.dumps(told))
"""


def told(disabled: str, models: list[str]) -> dict[str, list[object]]:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", RUN, *models],
        env=os.environ | {"NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.compiled
def test_compiled_and_uncompiled_runs_are_bit_equal() -> None:
    models = ["volume_modulo", "moving_average", "pairs_zscore", str(MIXED)]
    compiled, plain = told("0", models), told("1", models)
    assert set(compiled) == set(plain)
    for name, values in compiled.items():
        assert values == plain[name], name
        assert values[0] != 0, f"{name} decided nothing, so this shows nothing"

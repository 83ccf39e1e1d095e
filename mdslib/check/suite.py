"""Run the laws: on a model at once, or as one test a law in pytest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdslib.check.case import Case
from mdslib.check.laws import Law, NotCheckable, checks
from mdslib.check.report import CheckReport, Finding, Verdict
from mdslib.strategy import Strategy, find_model
from mdslib.table import MarketData


def check_model(
    model: str | Path | Strategy,
    params: Any = None,
    *,
    events: int = 5000,
    seed: int = 1,
    data: MarketData | None = None,
) -> CheckReport:
    """Check that a model keeps the laws of the contract.

    Parameters
    ----------
    model : str, Path or Strategy
        A name, a module path, a file, or the strategy itself.
    params : NamedTuple, optional
        The strategy's parameters; its defaults otherwise.
    events : int
        How many made events.
    seed : int
        Equal seeds check on equal events.
    data : MarketData, optional
        Real data instead of made events.

    Returns
    -------
    CheckReport
        One result for each law.

    Raises
    ------
    ModelError
        If the model can't be found.

    Examples
    --------
    >>> from mdslib import Trade, hold, strategy
    >>> @strategy(on=Trade)
    ... def quiet(trade, state, account, p):
    ...     return hold()
    >>> check_model(quiet, events=100).ok
    True
    """
    strategy = find_model(model)
    case = Case(strategy, params, events=events, seed=seed, data=data)
    return CheckReport(strategy.name, len(case.data), seed, tuple(results(case)))


def results(case: Case) -> list[Finding]:
    """Return what each law says of a case, in their order."""
    found: dict[str, Finding] = {}
    for law in checks:
        found[law.name] = judge(law, case, found)
    return list(found.values())


def judge(law: Law, case: Case, before: dict[str, Finding]) -> Finding:
    """Check one law, unless one that it rests on was not kept."""
    ground = before.get(law.rests_on)
    if ground is not None and ground.outcome is not Verdict.KEPT:
        return Finding(law.name, Verdict.NOT_CHECKED, f"rests on: {law.rests_on}")
    try:
        wrong = law.check(case)
    except NotCheckable as reason:
        return Finding(law.name, Verdict.NOT_CHECKED, str(reason))
    if wrong:
        return Finding(law.name, Verdict.BROKEN, " ".join(wrong.split()))
    return Finding(law.name, Verdict.KEPT, f"{len(case.tape):,} events, {len(case.whole.decisions):,} decisions")


def conformance(
    model: str | Path | Strategy,
    params: Any = None,
    *,
    events: int = 2000,
    seed: int = 1,
    data: MarketData | None = None,
) -> Callable[[Law], None]:
    """Return a test function for pytest, one test a law.

    Parameters are those of `check_model`. A law that can't be checked is skipped with its reason.

    Examples
    --------
    ::

        test_my_model_keeps_the_contract = conformance("my_model")
    """
    import pytest

    @functools.cache
    def found() -> dict[str, Finding]:
        case = Case(find_model(model), params, events=events, seed=seed, data=data)
        return {result.name: result for result in results(case)}

    @pytest.mark.parametrize("law", checks, ids=[law.name for law in checks])
    def test(law: Law) -> None:
        result = found()[law.name]
        if result.outcome is Verdict.NOT_CHECKED:
            pytest.skip(result.text)
        assert result.outcome is Verdict.KEPT, result.line()

    return test

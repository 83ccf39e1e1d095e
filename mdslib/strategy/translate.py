"""Numba's errors in one line, with the model's line number."""

from __future__ import annotations

import re

from mdslib.errors import ModelError
from mdslib.strategy.contract import Strategy

_FILE_LINE = re.compile(r'File "([^"]+)", line (\d+)')
_RULES: tuple[tuple[str, str], ...] = (
    (
        r"[Cc]an't unify return type|Cannot unify .* for '\$?return|unify .*[Rr]eturn",
        "its branches return different types; return one of buy(), sell(), target(), cancel(), hold() or pair() in"
        " every branch",
    ),
    (
        r"Cannot unify",
        "a variable has different types in different branches; give it one type, such as 0.0 instead of 0",
    ),
    (
        r"(?i)cannot modify readonly array|cannot store to readonly|setitem.*readonly|static_setitem.*readonly",
        "it writes a global array, which compiled code holds constant; keep it in the state",
    ),
    (r"Unknown attribute '(\w+)' of type (.*)", "it reads {0!r}, which is not there"),
    (r"static getattr.*?attr(?:ibute)?[ =]'?(\w+)", "it reads {0!r}, which is not there"),
    (
        r"Untyped global name '([^']+)'",
        "it uses the name {0!r}, which compiled code can't take; decorate functions with @jit",
    ),
    (r"NameError: name '([^']+)'|name '([^']+)' is not defined", "the name {0!r} is not defined"),
    (
        r"No implementation of function (?:Function\()?<?([^>\n(]+)",
        "it calls {0} in a way that compiled code does not support",
    ),
    (r"Use of unsupported NumPy function '([^']+)'", "it calls {0}, which compiled code does not support"),
    (r"Failed in nopython mode pipeline \(step: ([^)]+)\)", "it can't be compiled (step: {0})"),
)


def one_line(error: BaseException, strategy: Strategy) -> ModelError:
    """Return a `ModelError` that says in one line what Numba said in a thousand characters.

    Parameters
    ----------
    error : BaseException
        From compiling a driver of the strategy.
    strategy : Strategy
    """
    text = str(error)
    lines = [int(line) for file, line in _FILE_LINE.findall(text) if file == strategy.file]
    where = f"line {lines[-1]}" if lines else f"line {strategy.line}"
    for pattern, sentence in _RULES:
        match = re.search(pattern, text)
        if match:
            groups = [g.strip() for g in match.groups() if g]
            said = sentence.format(*groups) if groups else sentence
            break
    else:
        said = "it can't be compiled: " + (text.strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"model {strategy.name!r} ({_short(strategy.file)}, {where}): {said}")


def _short(file: str) -> str:
    return "/".join(file.replace("\\", "/").split("/")[-2:])

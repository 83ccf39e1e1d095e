"""Numba's errors in one line, with the model's line number."""

from __future__ import annotations

import os
import re

from mdslib.errors import ModelError
from mdslib.strategy.contract import Strategy

_PLACE = re.compile(r'File "([^"]+\.py)", line (\d+)|(?:at|from) (\S+\.py) \((\d+)\)')
_ANSWERS = "buy(), sell(), target(), cancel(), hold() or pair()"
_RULES: tuple[tuple[str, str], ...] = (
    (
        r"[Cc]an't unify return type|Cannot unify .* for '\$?return|unify .*[Rr]eturn",
        f"its branches return different types; return one of {_ANSWERS} in every branch",
    ),
    (
        r"Cannot unify .* for '([^'.]+)",
        "{0!r} has different types in different branches; give it one type, such as 0.0 instead of 0",
    ),
    (
        r"(?i)cannot modify readonly array|cannot store to readonly|setitem.*readonly",
        "it writes an array that it may only read, a global one or a book's; keep what changes in the state",
    ),
    (r"Unknown attribute 'first' of type Answer", "it yields its answer; return it instead"),
    (
        r"Unknown attribute '(?:first|second)' of type ([^\n(]*)",
        f"it returns {{0}}, which is no answer; return {_ANSWERS}",
    ),
    (r"Unknown attribute 'verb' of type", "pair() takes two legs; make them with leg(), target_leg() or cancel_leg()"),
    (r"Unknown attribute '(\w+)' of type (\w+)", "it reads {0!r}, which {1} has not"),
    (r"^KeyError: '?(\w+)", "it reads {0!r}, a field that the record has not"),
    (
        r"No definition for lowering (?:un)?aligned array\(Record.*\)\.(\w+) =",
        "it writes {0!r} of a whole array of records; write that of its one record, as in state[0].{0} = 1",
    ),
    (r"No definition for lowering (\w+)\(.*\)\.(\w+) =", "it writes {1!r} of {0}, which can't be changed"),
    (
        r"Untyped global name '([^']+)'[^\n]*<class 'function'>",
        "it calls {0!r}, which is not compiled; decorate it with @jit",
    ),
    (
        r"Untyped global name '([^']+)'[^\n]*<class '([^']+)'>",
        "it uses the global {0!r}, a {1}, which compiled code can't take; use numbers, tuples or the state",
    ),
    (
        r"assigned to variable '([^']+)' in globals",
        "it uses the global {0!r}, a list, which compiled code can't take; use a tuple, an array or the state",
    ),
    (r"Untyped global name '([^']+)'", "it uses the name {0!r}, which compiled code can't take"),
    (r"name '([^']+)' is not defined", "the name {0!r} is not defined"),
    (r"Cannot bind [^\n]* due to \"TypeError: ([^\"]+)\"", "a call does not fit: {0}"),
    (r"module '(\w+)' has no attribute '(\w+)'", "{0} has no {1!r}"),
    (
        r"No implementation of function Function\(<[^>\n]*function (\w+)[^>]*>\)[^>]*>>> \w+\(([^\n]{1,80})",
        "it calls {0} with ({1}, which compiled code does not support",
    ),
    (
        r"No implementation of function (?:Function\()?<?([^>\n(]+)",
        "it calls {0} in a way that compiled code does not support",
    ),
    (r"Use of unsupported NumPy function '([^']+)'", "it calls {0}, which compiled code does not support"),
    (r"IMPORT_NAME", "it imports inside the step; import at the top of the file"),
    (r"STORE_GLOBAL", "it writes a global variable; keep it in the state"),
    (r"format spec in f-strings", "it formats text, which compiled code does not support"),
    (r"The '([^']+)' construct is not supported", "it uses {0!r}, which compiled code does not support"),
    (r"Cannot cast ([^\n]+?) to (\w+)", "it puts {0} where {1} belongs"),
    (r"^(?:Failed in nopython mode pipeline[^\n]*\n)+(?:\s*\n)*([^\n]{1,160})", "it can't be compiled: {0}"),
)


def while_compiling(error: BaseException) -> bool:
    """Tell whether an error came out of the compiler, and not out of the model at work."""
    trace = error.__traceback__
    while trace is not None:
        if f"{os.sep}numba{os.sep}core{os.sep}" in trace.tb_frame.f_code.co_filename:
            return True
        trace = trace.tb_next
    return False


def one_line(error: BaseException, strategy: Strategy) -> ModelError:
    """Return a `ModelError` that says in one line what Numba said in a thousand characters.

    Parameters
    ----------
    error : BaseException
        From compiling a driver of the strategy.
    strategy : Strategy
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    text = f"KeyError: {text}" if isinstance(error, KeyError) else text.lstrip()
    file, line = _place(text, strategy)
    return ModelError(f"model {strategy.name!r} ({_short(file)}, line {line}): {_sentence(text, error)}")


def _sentence(text: str, error: BaseException) -> str:
    for pattern, sentence in _RULES:
        match = re.search(pattern, text)
        if match:
            return sentence.format(*[" ".join(g.split()) for g in match.groups() if g])
    return "it can't be compiled: " + (text.splitlines() or [type(error).__name__])[0]


def _place(text: str, strategy: Strategy) -> tuple[str, int]:
    """Return the innermost place that is a person's own: in the model, or in a helper of theirs."""
    for match in _PLACE.finditer(text):
        file, line = (match[1], match[2]) if match[1] else (match[3], match[4])
        if _is_theirs(file, strategy):
            return os.path.abspath(file), int(line)
    return strategy.file, strategy.line


def _is_theirs(file: str, strategy: Strategy) -> bool:
    """Tell whether a file is a person's own: the model, or a helper of theirs."""
    path = os.path.abspath(file)
    if path == os.path.abspath(strategy.file):
        return True
    inner = (os.path.dirname(os.path.dirname(os.path.abspath(__file__))), f"{os.sep}site-packages{os.sep}")
    return os.path.isfile(path) and not path.startswith(inner[0]) and inner[1] not in path and "driver_" not in path


def where_raised(error: BaseException, strategy: Strategy) -> str:
    """Return `` in FILE, line N`` for the innermost line of a person's own that an error came from, or an empty text.

    Numba adds the line of a ``raise`` or of a division to the traceback, but not that of an index out of bounds.
    """
    found = ""
    trace = error.__traceback__
    while trace is not None:
        if _is_theirs(trace.tb_frame.f_code.co_filename, strategy):
            found = f" in {_short(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def reason(error: BaseException) -> str:
    """Say what a model raised while it ran; an answer that is none is said in the words of the contract."""
    text = str(error)
    if ("expected Answer" in text and "got None" in text) or "'NoneType' object has no attribute 'first'" in text:
        return "returned None: every branch must end with an answer, such as return hold()"
    return f"raised {type(error).__name__}: {text}"


def _short(file: str) -> str:
    return "/".join(file.replace("\\", "/").split("/")[-2:])

"""The fingerprint: one name for everything that a compiled driver depends on.

It covers bytecode, constants, compiler options and the *values of captured globals* of every function that a step
reaches, and the versions of numba, numpy, Python and mdslib. Numba's own cache looks at one file's time stamp only, so
without this an edit two files away would go on running old code.
"""

from __future__ import annotations

import enum
import hashlib
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np

# Their versions are part of the hash, so their insides need not be.
_VERSIONED = ("numpy", "numba", "math", "builtins", "cmath", "operator")


class _Walk:
    def __init__(self) -> None:
        self.hash = hashlib.sha256(repr((numba.__version__, np.__version__, sys.version_info[:3])).encode())
        self.seen: set[int] = set()

    def add(self, *parts: object) -> None:
        self.hash.update(repr(parts).encode())

    def code(self, code: CodeType) -> None:
        self.add(code.co_code, code.co_names, code.co_varnames[: code.co_argcount])
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.code(constant)
            else:
                self.add(constant)

    def function(self, function: Any) -> None:
        options = getattr(function, "targetoptions", None)
        python = getattr(function, "py_func", function)
        if id(python) in self.seen:
            return
        self.seen.add(id(python))
        if str(python.__module__).partition(".")[0] in _VERSIONED:
            self.add(python.__module__, python.__qualname__)
            return
        self.add(python.__qualname__, sorted(options.items()) if options else None, python.__defaults__)
        self.code(python.__code__)
        cells = dict(zip(python.__code__.co_freevars, python.__closure__ or (), strict=False))
        names = _names(python.__code__)
        for name in sorted(names | set(cells)):
            value = cells[name].cell_contents if name in cells else python.__globals__.get(name, _NOTHING)
            if value is not _NOTHING:
                self.value(name, value, names)

    def value(self, name: str, value: Any, names: set[str]) -> None:
        if isinstance(value, ModuleType):
            self.add(name, value.__name__)
            if value.__name__.partition(".")[0] not in _VERSIONED:
                for attribute in sorted(names & set(vars(value))):
                    self.value(attribute, vars(value)[attribute], names)
        elif isinstance(value, FunctionType) or hasattr(value, "py_func"):
            self.add(name)
            self.function(value)
        elif isinstance(value, np.ndarray):
            self.add(name, value.dtype.descr, value.shape, value.tobytes())
        elif isinstance(value, enum.EnumMeta):
            self.add(name, [(member.name, member.value) for member in value])
        elif isinstance(value, type):
            self.add(name, value.__qualname__, getattr(value, "_fields", ()))
            self.add(sorted((k, str(v)) for k, v in getattr(value, "__annotations__", {}).items()))
        elif isinstance(value, np.dtype):
            self.add(name, value.descr)
        elif isinstance(
            value, int | float | complex | str | bytes | bool | tuple | frozenset | np.generic | type(None)
        ):
            self.add(name, value)
        else:
            self.add(name, type(value).__qualname__)


_NOTHING = object()


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def fingerprint(functions: Iterable[Callable[..., Any]], *extra: object) -> str:
    """Return 16 hexadecimal digits that change whenever anything that the functions reach changes.

    Parameters
    ----------
    functions : iterable of callable
        Compiled or plain functions; walked recursively.
    *extra : object
        Anything else with a stable ``repr``.

    Examples
    --------
    >>> def f(x): return x + 1
    >>> def g(x): return x + 2
    >>> fingerprint([f]) == fingerprint([f]), fingerprint([f]) == fingerprint([g])
    (True, False)
    """
    walk = _Walk()
    walk.add(*extra)
    for function in functions:
        walk.function(function)
    return walk.hash.hexdigest()[:16]

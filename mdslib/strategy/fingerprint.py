"""The fingerprint: one name for everything that a compiled driver depends on.

It covers bytecode, constants, compiler options and the *values of captured globals* of every function that a step
reaches, and the versions of numba, numpy, Python and mdslib. Numba's own cache looks at one file's time stamp only, so
without this an edit two files away would go on running old code.
"""

from __future__ import annotations

import enum
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numba
import numpy as np

# Their versions are part of the hash, so their insides need not be.
_VERSIONED = ("numpy", "numba", "math", "builtins", "cmath", "operator")
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
_NUMBERS = (int, float, complex, np.generic)


class Known(NamedTuple):
    """What a walk has found: as long as it is all still there, another walk would find the same."""

    looked: list[tuple[Mapping[str, Any], str, object]]  # every look-up of a name, and what it gave
    functions: list[tuple[FunctionType, CodeType, object]]  # every function, its code and its defaults
    digest: str = ""

    def holds(self) -> bool:
        """Tell whether nothing has changed since; a twentieth of the work of a walk."""
        return all(mapping.get(name, _NOTHING) is value for mapping, name, value in self.looked) and all(
            function.__code__ is code and function.__defaults__ is defaults
            for function, code, defaults in self.functions
        )


class _Walk:
    def __init__(self) -> None:
        self.hash = hashlib.sha256(repr((numba.__version__, np.__version__, sys.version_info[:3])).encode())
        self.names: set[str] = set()  # every name and text that the code mentions
        self.seen: set[int] = set()
        self.modules: set[tuple[int, frozenset[str]]] = set()
        self.known = Known(looked=[], functions=[])
        self.steady = True  # nothing was found that may change in place, where no look-up shows it

    def add(self, *parts: object) -> None:
        self.hash.update(repr(parts).encode())

    def code(self, code: CodeType) -> None:
        self.names.update(code.co_names)
        for constant in code.co_consts:  # texts, and tuples of them: names of keyword arguments
            self.names.update(
                c for c in (constant if isinstance(constant, tuple) else (constant,)) if isinstance(c, str)
            )
        self.add(code.co_code, code.co_names, code.co_varnames[: code.co_argcount])
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.code(constant)
            else:
                self.value("", constant, set())

    def function(self, function: Any) -> None:
        options = getattr(function, "targetoptions", None)
        python = getattr(function, "py_func", function)
        if id(python) in self.seen:
            return
        self.seen.add(id(python))
        if str(python.__module__).partition(".")[0] in _VERSIONED:
            self.add(python.__module__, python.__qualname__)
            return
        self.add(python.__qualname__, sorted(options.items()) if options else None)
        self.value("", (python.__defaults__, tuple(sorted((python.__kwdefaults__ or {}).items()))), set())
        self.code(python.__code__)
        self.known.functions.append((python, python.__code__, python.__defaults__))
        self.steady = self.steady and not (python.__closure__ or python.__kwdefaults__)
        cells = dict(zip(python.__code__.co_freevars, python.__closure__ or (), strict=False))
        names = _names(python.__code__)
        for name in sorted(names | set(cells)):
            value = cells[name].cell_contents if name in cells else python.__globals__.get(name, _NOTHING)
            self.known.looked.append((python.__globals__, name, value))
            if value is not _NOTHING:
                self.value(name, value, names)

    def value(self, name: str, value: Any, names: set[str]) -> None:
        self.add(name)
        if type(value) in _PLAIN:
            self.add(value)
        elif isinstance(value, ModuleType):
            self.module(value, names)
        elif isinstance(value, FunctionType) or hasattr(value, "py_func"):
            self.function(value)
        elif isinstance(value, np.ndarray):
            self.steady = False
            self.add(value.dtype.descr, value.shape, value.tobytes())
        elif isinstance(value, np.dtype):
            self.add(value.descr)
        elif isinstance(value, numba.types.Type):
            self.add(str(value))
        elif isinstance(value, enum.Enum):
            self.add(type(value).__qualname__, value.name, value.value)
        elif isinstance(value, type):
            self.type(value)
        elif isinstance(value, tuple):
            self.add(type(value).__qualname__, len(value))
            for place, item in enumerate(value):
                self.value(str(place), item, names)
        elif isinstance(value, frozenset):  # its order differs from process to process
            self.add(sorted(map(repr, value)))
        elif isinstance(value, _NUMBERS):
            self.add(value)
        else:
            self.add(type(value).__qualname__)

    def module(self, module: ModuleType, names: set[str]) -> None:
        self.add(module.__name__)
        known = (id(module), frozenset(names))  # modules may name each other
        if module.__name__.partition(".")[0] in _VERSIONED or known in self.modules:
            return
        self.modules.add(known)
        for attribute in sorted(names & set(vars(module))):
            self.known.looked.append((vars(module), attribute, vars(module)[attribute]))
            self.value(attribute, vars(module)[attribute], names)

    def type(self, value: Any) -> None:
        self.add(value.__qualname__)
        if isinstance(value, enum.EnumMeta):
            members: Any = value
            self.add([(member.name, member.value) for member in members])
        self.add(getattr(value, "_fields", ()), sorted(getattr(value, "_field_defaults", {}).items()))
        self.add(sorted((k, str(v)) for k, v in getattr(value, "__annotations__", {}).items()))


_NOTHING = object()


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


MOST_WALKED = 256
_walked: dict[tuple[tuple[Callable[..., Any], ...], str], Known] = {}


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
    functions = tuple(functions)
    key = functions, repr(extra)
    known = _walked.get(key)
    if known is not None and known.holds():
        return known.digest
    walk = _Walk()
    walk.add(*extra)
    for function in functions:
        walk.function(function)
    digest = walk.hash.hexdigest()[:16]
    if walk.steady:
        while len(_walked) >= MOST_WALKED:
            del _walked[next(iter(_walked))]
        _walked[key] = walk.known._replace(digest=digest)
    return digest


def reached_names(functions: Iterable[Callable[..., Any]]) -> set[str]:
    """Return every name, attribute and text that the functions and all they reach mention.

    Examples
    --------
    >>> def f(account): return account[0].position
    >>> "position" in reached_names([f]), "last_px" in reached_names([f])
    (True, False)
    """
    walk = _Walk()
    for function in functions:
        walk.function(function)
    return walk.names

"""The one place where compiler options are set.

Every compiled function of the library, and every building block that a user writes, goes through `jit`. It never
caches: a cached leaf goes on serving old code after something that it calls has been edited. Only the drivers of
`mdslib.strategy.driver` are cached, under a name that covers everything they reach.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

# Intel's short vector math library gives other last bits than libm, so uncompiled runs would differ from compiled ones.
os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")

import numba
import numpy as np
from numba import njit
from numba.extending import register_jitable

from mdslib.protocols import Records

F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = njit  # its annotations leave out some of its options


def jit(function: F) -> F:
    """Compile a scalar function for use inside a strategy; no fast math, no cache, the interpreter lock released.

    Examples
    --------
    >>> @jit
    ... def ema(previous, x, alpha):
    ...     return previous + (x - previous) * alpha
    >>> ema(1.0, 2.0, 0.5)
    1.5
    """
    compiled: F = _njit(nogil=True, no_cfunc_wrapper=True)(function)
    return compiled


def jit_hot(function: F) -> F:
    """Compile like `jit`, and always inline: for kernels on the path of every order, where a call costs 20 to 40 ns.

    A call passes each array as seven numbers, which for a kernel of a dozen arrays is more work than the kernel does.
    """
    compiled: F = _njit(nogil=True, forceinline=True, no_cfunc_wrapper=True)(function)
    return compiled


def jit_inner(function: F) -> F:
    """Compile like `jit_hot`, for kernels that only compiled code calls: Python can't call them.

    The wrapper that Python would call by is a third of what compiling a driver costs from a cold cache.
    """
    if not compiling():
        return function
    compiled: F = _njit(nogil=True, forceinline=True, no_cfunc_wrapper=True, no_cpython_wrapper=True)(function)
    return compiled


def jit_bounded(function: F) -> F:
    """Compile like `jit_inner`, with a look at every index: one outside its array raises instead of ending the process.

    Only the function's own indices are looked at, not those of what it calls.
    """
    if not compiling():
        return function
    compiled: F = _njit(nogil=True, boundscheck=True, no_cfunc_wrapper=True, no_cpython_wrapper=True)(function)
    return compiled


def jit_quiet(function: F) -> F:
    """Compile like `jit_inner`, without asking for inlining: for kernels off the path of every order."""
    if not compiling():
        return function
    compiled: F = _njit(nogil=True, no_cfunc_wrapper=True, no_cpython_wrapper=True)(function)
    return compiled


def jit_open(function: F) -> F:
    """Let compiled code call a function that stays plain Python elsewhere: for what every model calls.

    Python runs it as it stands, so the wrapper that Python would call by is not compiled.
    """
    made: F = register_jitable(nogil=True, forceinline=True)(function)
    return made


def compiling() -> bool:
    """Tell whether `jit` compiles; False under ``NUMBA_DISABLE_JIT=1``, for a debugger or for coverage."""
    return not getattr(numba.config, "DISABLE_JIT")  # noqa: B009 - its annotations leave it out


def checking_bounds() -> bool:
    """Tell whether ``NUMBA_BOUNDSCHECK=1`` has all compiled code look at its indices, for finding a wrong one."""
    return bool(getattr(numba.config, "BOUNDSCHECK"))  # noqa: B009 - its annotations leave it out


@contextmanager
def collecting_later() -> Iterator[None]:
    """Keep the garbage collector away from a compilation: it makes a million objects, and little garbage in cycles.

    Looking at them all again and again is a tenth of what compiling costs.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def direct(compiled: Any, *arguments: Any) -> Callable[..., Any]:
    """Return the machine code that a compiled function has for arguments of these types.

    Calling it skips Numba's look at the type of every argument, which for half a dozen structured arrays takes 2.5 us.
    So nothing but the caller sees to it that later arguments are of the same types and memory layouts.

    Parameters
    ----------
    compiled : function
        Compiled by Numba, and called with such arguments before.
    *arguments
        One set of arguments.

    Returns
    -------
    callable
        `compiled` itself in uncompiled runs.
    """
    if not compiling():
        return cast("Callable[..., Any]", compiled)
    typeof: Any = numba.typeof
    found = compiled.overloads.get(tuple(typeof(argument) for argument in arguments))
    return cast("Callable[..., Any]", compiled if found is None else found.entry_point)


class Row(np.record):  # type: ignore[misc]  # numpy's annotations say final, numpy does not
    """A record read by attributes, for uncompiled runs: a field hides a method of the same name, such as `mean`."""

    def __getattribute__(self, name: str) -> Any:
        fields = np.void.__getattribute__(self, "dtype").fields
        if name in fields:
            return np.void.getfield(self, *fields[name][:2])
        return np.void.__getattribute__(self, name)


def records(count: int, dtype: np.dtype[Any]) -> Records:
    """Return zeroed records whose fields can be read as attributes, compiled or not.

    Compiled code reads attributes of plain structured arrays. Uncompiled code needs rows that can do so too, and they
    would slow a compiled call, so only uncompiled runs get them.
    """
    return as_records(np.zeros(count, dtype))


def as_records(array: np.ndarray[Any, Any]) -> Records:
    """Return a view of a structured array that suits `records`; no copy."""
    if compiling() or array.dtype.type is Row or array.dtype.names is None:
        return array
    return array.view(np.ndarray).view(np.dtype((Row, array.dtype)))


def _make_borrow() -> Any:
    from numba.core import cgutils as untyped
    from numba.core import types

    cgutils: Any = untyped
    from numba.extending import intrinsic

    def strip(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, value)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
            return array._getvalue()
        if isinstance(kind, types.BaseTuple):
            parts = cgutils.unpack_tuple(builder, value)
            kinds: Any = kind
            inner = [strip(context, builder, k, v) for k, v in zip(kinds.types, parts, strict=True)]
            return context.make_tuple(builder, kind, inner)
        return value

    @intrinsic
    def borrow(_typing: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return strip(context, builder, value, args[0])

        return value(value), codegen

    return borrow


def _make_read_only() -> Any:
    from numba.core.imputils import impl_ret_borrowed
    from numba.extending import intrinsic

    kept: Any = impl_ret_borrowed

    @intrinsic
    def read_only(_typing, value):  # type: ignore[no-untyped-def]
        made = value.copy(readonly=True)

        def codegen(context, builder, _signature, args):  # type: ignore[no-untyped-def]
            return kept(context, builder, made, args[0])

        return made(value), codegen

    return read_only


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _itself(value: Any) -> Any:
    return value


# Compiled drivers borrow the arrays that they are called with: the caller keeps them alive, so nothing in the loop has
# to count references to them. Counting costs about 50 ns a decision (five atomic pairs for each kernel that is called).
borrow = _make_borrow() if compiling() else _itself

# An array that a step may read: one that writes it is not compiled, and raises where it runs uncompiled.
read_only = _make_read_only() if compiling() else _read_only

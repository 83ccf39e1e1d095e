"""A line for the person where compiled code ends the process: an index outside its array, which nothing has caught.

The handler is a dozen machine instructions that call `write` and `_exit`, as is safe in a process whose memory can't be
trusted any more. Python's own way, faulthandler, writes some thirty lines.
"""

from __future__ import annotations

import ctypes
import signal

CRASHED = 139  # as a shell counts: 128 + SIGSEGV

_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
_IR = """
declare i64 @write(i32, i8*, i64)
declare void @_exit(i32)
define void @mds_crashed(i32 %number) {{
  %text = inttoptr i64 {address} to i8*
  %written = call i64 @write(i32 2, i8* %text, i64 {length})
  call void @_exit(i32 {code})
  ret void
}}
"""
_kept: list[object] = []  # machine code and texts that the process may still jump to


def blame_model(model: str) -> None:
    """Have a crash blamed on the model, which is the only code here that nobody has tested."""
    say_on_crash(
        f"compiled code has ended this process; most likely model {model!r} uses an index outside an array, at which "
        f"compiled code does not look: run mds check {model}, which names the line"
    )


def say_on_crash(text: str, code: int = CRASHED) -> None:
    """Have this process write one line to standard error and exit, where it would be ended by a signal of the kernel's.

    Parameters
    ----------
    text : str
        What to say, after ``mds: error:``; one line.
    code : int
        The exit code.
    """
    import llvmlite.binding as llvm
    import numba  # noqa: F401 - has set up the machine that llvmlite compiles for

    machine = llvm.Target.from_default_triple().create_target_machine()
    line = ctypes.create_string_buffer(f"mds: error: {text}\n".encode())
    source = _IR.format(address=ctypes.addressof(line), length=len(line) - 1, code=code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source), machine)
    engine.finalize_object()
    handler = ctypes.c_void_p(engine.get_function_address("mds_crashed"))
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    for number in _SIGNALS:
        libc.signal(number, handler)
    _kept.extend((line, engine))

"""Kernels written into a driver's text, in place of calls to them.

Numba types, lowers and optimises every function by itself, and once more within each of its callers: 30 to 150 ms a
function from a cold cache, and a driver calls two dozen. One flat function, without what a run does not need, takes a
third of that. The kernels stay the one source: their text is taken from where they stand, arguments that are constants
are put in, and branches that constants decide are left out.

What can be put in place is a call that is a statement by itself, `kernel(...)` or `x = kernel(...)`, with positional
arguments. It stays a call where the kernel's text can't be found, is not the code that is loaded, or returns from
within a loop; and in uncompiled runs, so that comparing the two runs covers this file.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import math
import operator
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
UNWRITABLE = {"nan": math.nan, "inf": math.inf}  # floats without a literal, by the names that the text uses


class Kernel(NamedTuple):
    """A function's text, ready to be put in place of a call."""

    parameters: tuple[str, ...]
    body: tuple[ast.stmt, ...]
    whole: frozenset[str] = frozenset()  # the parameters that are whole numbers


class _Writing(NamedTuple):
    """What is at hand while a module is written."""

    own: Mapping[str, Kernel]
    library: Mapping[str, Any]
    apart: Mapping[str, str]  # the name of the function that a kernel becomes
    number: list[int]  # of the last call that was replaced; makes its variables its own


def write_out(source: str, library: Mapping[str, Any], apart: Iterable[str] = ()) -> str:
    """Return a module's text with kernels in place of calls to them.

    Parameters
    ----------
    source : str
        Text of a module. Its own functions that are decorated ``@hot`` are kernels, too, and are left out.
    library : mapping
        What the text may name; see `reached_objects`.
    apart : iterable of str
        Kernels among those that stay calls wherever they are called: each becomes one function of the module, decorated
        ``@apart``. For long ones off the path of every event, since a text's compilation takes more than its length.
    """
    tree = ast.parse(source)
    own = [f for f in tree.body if isinstance(f, ast.FunctionDef) and _is_hot(f)]
    kernels = {f.name: Kernel(tuple(a.arg for a in f.args.args), tuple(f.body)) for f in own}
    by_name = {name: f"{name}_apart" for name in apart if kernel_of(library[name]) is not None}
    writing = _Writing(kernels, library, by_name, [0])
    kept = [node for node in tree.body if node not in own]
    for function in kept:
        if isinstance(function, ast.FunctionDef):
            function.body = _written(function.body, writing)
    first = [isinstance(node, ast.FunctionDef) for node in kept].index(True) if kept else 0
    kept[first:first] = _functions(kept, writing)
    return ast.unparse(ast.fix_missing_locations(ast.Module(kept, []))) + "\n"


def _functions(body: list[ast.stmt], writing: _Writing) -> list[ast.stmt]:
    """Return the kernels that stay calls and that a text calls, as functions."""
    made: dict[str, ast.stmt] = {}
    waiting = list(body)
    while waiting:
        called = _names([waiting.pop()], ast.Load)
        for name, function in writing.apart.items():
            if function in called and function not in made:
                kernel = kernel_of(writing.library[name]) or Kernel((), ())
                arguments = ast.arguments([], [ast.arg(p) for p in kernel.parameters], None, [], [], None, [])
                text = _written([copy.deepcopy(statement) for statement in kernel.body], writing)
                made[function] = ast.FunctionDef(function, arguments, text, [ast.Name("apart", ast.Load())])
                waiting.append(made[function])
    return list(made.values())


def reached_objects(kernels: Iterable[Callable[..., Any]]) -> dict[str, Any]:
    """Return every module and function that kernels name, by name, and the floats that have no literal.

    Raises
    ------
    ValueError
        Where two things go by one name.
    """
    found: dict[str, Any] = dict(UNWRITABLE)
    waiting = list(kernels)
    while waiting:
        python = _python(waiting.pop())
        for name in python.__code__.co_names:
            value = python.__globals__.get(name)
            if not isinstance(value, ModuleType) and not _is_function(value):
                continue
            if name not in found and not isinstance(value, ModuleType):
                waiting.append(value)
            if found.setdefault(name, value) is not value:
                raise ValueError(f"two kernels mean different things by {name!r}; rename one of them")
    return found


def _is_hot(function: ast.FunctionDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "hot" for mark in function.decorator_list)


def _python(function: Any) -> Any:
    return getattr(function, "py_func", function)


def _is_function(value: object) -> bool:
    return isinstance(_python(value), FunctionType)


@functools.cache
def kernel_of(function: Callable[..., Any]) -> Kernel | None:
    """Return a function's text as a kernel, or None where it can't be put in place of a call."""
    python = _python(function)
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(python))).body[0]
    except (OSError, SyntaxError):  # the file is gone, or was edited
        return None
    if not isinstance(definition, ast.FunctionDef) or not _is_loaded(definition, python):
        return None
    body = definition.body[1:] if ast.get_docstring(definition) is not None else definition.body
    if any(isinstance(node, ast.Return) for loop in _nodes(body, ast.For, ast.While) for node in ast.walk(loop)):
        return None
    parameters = tuple(a.arg for a in definition.args.args)
    constants = _constants(body, python.__globals__, _names(body, ast.Store) | set(parameters))
    whole = frozenset(a.arg for a in definition.args.args if a.annotation and ast.unparse(a.annotation) == "int")
    return Kernel(parameters, tuple(_spliced([_fold(_put(statement, constants)) for statement in body])), whole)


def _is_loaded(definition: ast.FunctionDef, function: Any) -> bool:
    """Tell whether a text is what the loaded code was compiled from: a file may have been edited since."""
    code = function.__code__
    # What a module's name compiles to depends on the import that brought it.
    modules = [name for name in code.co_names if isinstance(function.__globals__.get(name), ModuleType)]
    imports = [ast.Import([ast.alias("sys", name)]) for name in modules]
    bare = ast.FunctionDef(**{name: getattr(definition, name) for name in definition._fields})
    bare.decorator_list = []
    text = ast.fix_missing_locations(ast.Module([*imports, bare], []))
    made = compile(text, "", "exec", dont_inherit=True, flags=code.co_flags & annotations.compiler_flag)
    mine = next(constant for constant in made.co_consts if isinstance(constant, CodeType))
    return (mine.co_code, mine.co_consts, mine.co_names) == (code.co_code, code.co_consts, code.co_names)


def _nodes(body: Iterable[ast.stmt], *types: type[ast.AST]) -> Iterator[Any]:
    return (node for statement in body for node in ast.walk(statement) if isinstance(node, types))


def _names(body: Iterable[ast.stmt], context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in _nodes(body, ast.Name) if isinstance(node.ctx, context)}


def _constants(body: list[ast.stmt], scope: Mapping[str, Any], local: set[str]) -> dict[str, ast.expr]:
    """Return the numbers among the globals that a kernel mentions, to be written in."""
    constants: dict[str, ast.expr] = {}
    for name in _names(body, ast.Load) - local:
        value = scope.get(name)
        if isinstance(value, bool | int | float):
            constants[name] = _literal(value)
    for node in _nodes(body, ast.Attribute):
        module = scope.get(node.value.id) if isinstance(node.value, ast.Name) else None
        value = getattr(module, node.attr) if isinstance(module, ModuleType) else None
        if isinstance(value, float):
            constants[ast.unparse(node)] = _literal(value)
    return constants


def _literal(value: float) -> ast.expr:
    if value != value:
        return ast.Name("nan", ast.Load())
    if math.isinf(value):
        name = ast.Name("inf", ast.Load())
        return name if value > 0 else ast.UnaryOp(ast.USub(), name)
    return ast.Constant(value)


def _written(body: list[ast.stmt], writing: _Writing) -> list[ast.stmt]:
    """Return statements with kernels in place of calls."""
    made: list[ast.stmt] = []
    for statement in body:
        if _calls_apart(statement, writing):
            made.append(statement)
            continue
        kernel = _called(statement, writing)
        if kernel is not None:
            made += _in_place(kernel, statement, writing)
            continue
        for part in ("body", "orelse"):
            if getattr(statement, part, None):
                setattr(statement, part, _written(getattr(statement, part), writing))
        made.append(statement)
    return made


def _calls_apart(statement: ast.stmt, writing: _Writing) -> bool:
    """Tell whether a statement calls a kernel that stays a call, and write that call, for one compilation of it."""
    call = getattr(statement, "value", None)
    name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
    kernel = kernel_of(writing.library[name]) if name in writing.apart else None
    if kernel is None:
        return False
    made: Any = call
    made.func = ast.Name(writing.apart[name], ast.Load())
    for place, parameter in enumerate(kernel.parameters):
        if parameter in kernel.whole:  # some are of 16 bits, and a constant has a type of its own
            made.args[place] = ast.Call(ast.Name("int64", ast.Load()), [made.args[place]], [])
    return True


def _called(statement: ast.stmt, writing: _Writing) -> Kernel | None:
    """Return the kernel that a statement calls and does nothing else."""
    call = statement.value if isinstance(statement, ast.Expr | ast.Assign) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        return None
    function = writing.library.get(call.func.id)
    return writing.own.get(call.func.id) or (kernel_of(function) if _is_function(function) else None)


def _in_place(kernel: Kernel, statement: Any, writing: _Writing) -> list[ast.stmt]:
    """Return what does the work of a call: its arguments bound, its body, its result assigned."""
    writing.number[0] += 1
    suffix = f"_{writing.number[0]}"
    stored = _names(kernel.body, ast.Store)
    put: dict[str, ast.expr] = {name: ast.Name(name + suffix, ast.Load()) for name in stored}
    bound: dict[str, ast.expr] = {}
    shared: dict[str, str] = {}  # equal arguments that nothing changes are read once
    for parameter, given in zip(kernel.parameters, statement.value.args, strict=True):
        argument: Any = _fold(given)
        if isinstance(argument, ast.Name | ast.Constant) and parameter not in stored:
            put[parameter] = argument
            continue
        name = parameter + suffix
        bound[name] = argument
        if parameter not in stored:
            name = shared.setdefault(ast.dump(argument), name)
        put[parameter] = ast.Name(name, ast.Load())
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    body = _ended(_spliced([_fold(_put(inner, put)) for inner in kernel.body]), target)
    used = _names(body, ast.Load)
    first = [ast.Assign([ast.Name(name, ast.Store())], value) for name, value in bound.items() if name in used]
    return [*first, *_written(body, writing)]


def _ended(body: list[ast.stmt], target: ast.expr | None) -> list[ast.stmt]:
    """Return a body that assigns instead of returning; one that returns early breaks out of a loop of one round."""
    count = sum(1 for _ in _nodes(body, ast.Return))
    if count == 0 or (count == 1 and isinstance(body[-1], ast.Return)):
        return _assigning(body, target, [])
    return [ast.While(ast.Constant(True), _assigning([*body, ast.Return(None)], target, [ast.Break()]), [])]


def _assigning(body: list[ast.stmt], target: ast.expr | None, after: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements up to the first return, each return being an assignment and what comes after it."""
    made: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.Return):
            value = [] if statement.value is None or target is None else [ast.Assign([target], statement.value)]
            return [*made, *value, *after]
        if isinstance(statement, ast.If):
            statement.body = _assigning(statement.body, target, after)
            statement.orelse = _assigning(statement.orelse, target, after)
        made.append(statement)
    return made


def _put(node: ast.AST, names: Mapping[str, ast.expr]) -> ast.AST:
    """Return a copy with expressions in place of names; `names` may hold dotted ones."""
    if isinstance(node, ast.Name):
        known = names.get(node.id, node)
        return ast.Name(known.id, node.ctx) if isinstance(known, ast.Name) else known
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and ast.unparse(node) in names:
        return names[ast.unparse(node)]
    return _mapped(node, lambda inner: _put(inner, names))


def _mapped(node: ast.AST, change: Callable[[ast.AST], ast.AST]) -> ast.AST:
    """Return a copy of a node whose children are changed."""
    made: dict[str, Any] = {}
    for name, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            made[name] = change(value)
        elif isinstance(value, list):
            made[name] = [change(item) if isinstance(item, ast.AST) else item for item in value]
        else:
            made[name] = value
    return type(node)(**made)


def _fold(node: ast.AST) -> ast.AST:
    """Return a copy in which what constants decide is decided."""
    made: Any = _mapped(node, _fold)
    if isinstance(made, ast.If | ast.For | ast.While):
        made.body = _spliced(made.body) or [ast.Pass()]
        made.orelse = _spliced(made.orelse)
    elif isinstance(made, ast.Compare) and len(made.ops) == 1:
        left, right = _constant(made.left), _constant(made.comparators[0])
        compare = _COMPARE.get(type(made.ops[0]))
        if left is not None and right is not None and compare is not None:
            return ast.Constant(compare(left.value, right.value))
    elif isinstance(made, ast.BoolOp):
        return _joined(made)
    elif isinstance(made, ast.UnaryOp):
        inner = _constant(made.operand)
        if inner is not None and isinstance(made.op, ast.Not | ast.USub):
            return ast.Constant(not inner.value if isinstance(made.op, ast.Not) else -inner.value)
    elif isinstance(made, ast.IfExp):
        test = _constant(made.test)
        if test is not None:
            return made.body if test.value else made.orelse
        if ast.dump(made.body) == ast.dump(made.orelse):
            return made.body
    return made  # type: ignore[no-any-return]


def _constant(node: ast.AST) -> Any:
    """Return a node that is a number or a truth, or None."""
    return node if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float) else None


def _joined(node: ast.BoolOp) -> ast.expr:
    """Return an `and` or an `or` without the operands that constants decide; kernels' operands have no effects."""
    decides = isinstance(node.op, ast.Or)
    left = []
    for value in node.values:
        constant = _constant(value)
        if constant is None:
            left.append(value)
        elif bool(constant.value) is decides:
            return ast.Constant(decides)
    if not left:
        return ast.Constant(not decides)
    return left[0] if len(left) == 1 else ast.BoolOp(node.op, left)


def _spliced(body: Iterable[Any]) -> list[ast.stmt]:
    """Return statements with the chosen branch in place of each decision on a constant, and nothing after a return."""
    made: list[ast.stmt] = []
    for statement in body:
        test = _constant(statement.test) if isinstance(statement, ast.If) else None
        if test is not None:
            made += statement.body if test.value else statement.orelse
        elif not isinstance(statement, ast.Pass):
            made.append(statement)
        if made and isinstance(made[-1], ast.Return):
            break
    return made

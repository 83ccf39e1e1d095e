"""The compiler for a driver's text: Numba's own, without the steps that look for what such a text does not have."""

from __future__ import annotations

from typing import Any

from numba import njit

from mdslib.jit import F, compiling


def _make_flat() -> Any:
    from numba.core.compiler import CompilerBase
    from numba.core.compiler_machinery import FunctionPass, register_pass
    from numba.core.compiler_machinery import PassManager as Untyped
    from numba.core.rewrites import registry as rewrites
    from numba.core.transforms import canonicalize_cfg
    from numba.core.typed_passes import IRLegalization, NativeLowering, NoPythonBackend, NopythonTypeInference
    from numba.core.untyped_passes import FixupArgs, TranslateByteCode

    manager: Any = Untyped
    register: Any = register_pass
    canonical: Any = canonicalize_cfg
    registry: Any = rewrites.rewrite_registry

    @register(mutates_CFG=True, analysis_only=False)
    class Rewrites(FunctionPass):
        """What Numba's `IRProcessing` and `GenericRewrites` do, but for finding out twice where variables live.

        That goes with the square of a function's length, is a fifth of a long one's compilation, and is done again when
        it is needed, by `IRLegalization`.
        """

        _name = "mds_rewrites"

        def __init__(self) -> None:
            FunctionPass.__init__(self)  # type: ignore[no-untyped-call]

        def run_pass(self, state: Any) -> bool:
            state.func_ir.blocks = blocks = canonical(state.func_ir.blocks)
            for rewriting in registry.rewrites["before-inference"]:
                rewrite, waiting = rewriting(state), list(blocks.items())
                while waiting:
                    key, block = waiting.pop()
                    if rewrite.match(state.func_ir, block, state.typemap, state.calltypes):
                        blocks[key] = rewrite.apply()
                        waiting.append((key, blocks[key]))
            return True

    class Flat(CompilerBase):
        """Numba's steps for a long plain function: no closures, no array expressions, every name of one type.

        Source: numba.readthedocs.io, Customizing the Compiler.
        """

        def define_pipelines(self) -> list[Any]:
            steps = manager("flat")
            for step in (
                TranslateByteCode,
                FixupArgs,
                Rewrites,
                NopythonTypeInference,
                IRLegalization,
                NativeLowering,
                NoPythonBackend,
            ):
                steps.add_pass(step, step.__name__)
            steps.finalize()
            return [steps]

    return Flat


# What drivers are compiled by; see `mdslib.strategy.driver`.
Flat = _make_flat() if compiling() else None


def jit_flat(function: F) -> F:
    """Compile a function of a driver's text that only the driver calls."""
    if not compiling():
        return function
    options: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    compiled: F = njit(pipeline_class=Flat, **options)(function)
    return compiled

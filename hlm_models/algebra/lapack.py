"""LAPACK in compiled code that may run without the interpreter and be kept on disk.

Compiled code names the routines; where they are in this process, SciPy knows.
"""

from collections.abc import Callable

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

__all__ = ["factorise", "invert"]

PREFIX = "hlm_models_"

for _name in ("dpotrf", "dpotri"):
    llvm.add_symbol(
        PREFIX + _name, get_cython_function_address("scipy.linalg.cython_lapack", _name)
    )


@intrinsic
def factorise(typing, size, matrix):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Turn the lower triangle by rows of a flat (size, size) into its Cholesky factor; info."""
    return types.int32(types.int64, matrix), _caller("dpotrf")


@intrinsic
def invert(typing, size, matrix):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Turn what `factorise` left into the lower triangle of the inverse; info."""
    return types.int32(types.int64, matrix), _caller("dpotri")


def _caller(name: str) -> Callable[..., ir.Value]:
    """Code that calls name(uplo, n, a, lda, info): a lower triangle by rows is an upper one."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        size, matrix = args
        data = context.make_array(signature.args[1])(context, builder, matrix).data
        uplo = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(8), ord("U")))
        n = cgutils.alloca_once_value(builder, builder.trunc(size, ir.IntType(32)))
        info = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(32), 0))
        given = [uplo, n, data, n, info]
        form = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        routine = cgutils.get_or_insert_function(builder.module, form, PREFIX + name)
        builder.call(routine, given)
        return builder.load(info)

    return build

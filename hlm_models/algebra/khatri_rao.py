"""The wide form of a random term: Z as a Khatri-Rao product, BLUPs by augmented least squares.

Row i of Z is the Kronecker product of the indicator of its group with z_i, in one of two orders:

    by group   Z = [I_ij z_i1, I_ij z_i2, ...] for j = 1, 2, ...   Var(b) = I_J (x) Psi
    by term    Z = [ind * z_1, ind * z_2, ...], J columns a term     Var(b) = Psi (x) I_J

The BLUP is the least-squares solution of (r, 0) on (Z, B), r = y - X beta, where B has J q columns
as Z has, and B'B = sigma2 Var(b)^-1: that is sigma2 (I_J (x) Psi^-1) by group, and
sigma2 (Psi^-1 (x) I_J) by term. (A B with B'B = sigma2 Psi^-1, q x q, does not conform with Z: it
is the B of one group.)
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Order", "augmented_least_squares", "khatri_rao", "penalty_root", "term_to_group"]

Order = Literal["group", "term"]


def khatri_rao(level: IntArray, J: int, z: FloatArray, *, order: Order) -> "csr_array":
    """Z (n, J q), row by row the Kronecker product of the level's indicator and z (n, q)."""
    from scipy.sparse import csr_array

    n, q = z.shape
    effect = np.arange(q)
    columns = level[:, None] * q + effect if order == "group" else level[:, None] + J * effect
    return csr_array((z.ravel(), columns.ravel(), np.arange(0, n * q + 1, q)), shape=(n, J * q))


def term_to_group(J: int, q: int) -> IntArray:
    """Positions (J q,) such that b_by_group = b_by_term[...] and Z_by_group = Z_by_term[:, ...]."""
    return np.arange(J * q).reshape(q, J).T.ravel()


def penalty_root(Psi: FloatArray, sigma2: float, J: int, *, order: Order) -> "csr_array":
    """B (J q, J q) with B'B = sigma2 Var(b)^-1.

    Raises
    ------
    numpy.linalg.LinAlgError
        Psi is not positive definite; `hlm_models.algebra.blup.blup` takes a singular one.
    """
    from scipy.sparse import csr_array, eye_array, kron

    root = np.sqrt(sigma2) * np.linalg.inv(np.linalg.cholesky(Psi))
    levels = eye_array(J)
    return csr_array(kron(levels, root) if order == "group" else kron(root, levels))


def augmented_least_squares(Z: "csr_array", B: "csr_array", r: FloatArray) -> FloatArray:
    """Least-squares solution b (J q,) of (r, 0) on (Z, B), by a sparse factorisation."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    normal = csc_array(Z.T @ Z + B.T @ B)
    return np.asarray(splu(normal, permc_spec="MMD_AT_PLUS_A").solve(Z.T @ r))

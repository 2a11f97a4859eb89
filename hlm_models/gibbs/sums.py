"""What the rows say about the effects, as sums over the levels, at given effects."""

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.kernel import LANES

__all__ = ["add_coupled", "add_levels_at", "level_sums_work", "move_effects"]


@compiled()
def level_sums_work(q):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `add_levels_at`."""
    return 3 * q * LANES


@compiled(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def add_levels_at(b, R, G, H, B, total, M, N, work):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Add sums of b b' and of b, raw effects b (J, q), and of s G s' and s H, s = R b.

    M (q, q) is filled with sum_j s_ja G_j,ac s_jc, and N (q, k) with sum_j s_ja H_j,ac.
    """
    q, k, J = H.shape
    raw = work[: q * LANES].reshape((q, LANES))
    s = work[q * LANES : 2 * q * LANES].reshape((q, LANES))
    for lo in range(0, J, LANES):
        m = min(LANES, J - lo)
        for a in range(q):
            for j in range(m):
                raw[a, j] = b[lo + j, a]
        for a in range(q):
            for j in range(m):
                s[a, j] = 0.0
            for c in range(q):
                w = R[a, c]
                if w != 0.0:
                    for j in range(m):
                        s[a, j] += w * raw[c, j]
        for a in range(q):
            one = 0.0
            for j in range(m):
                one += raw[a, j]
            total[a] += one
            for c in range(a + 1):
                one, product = 0.0, 0.0
                for j in range(m):
                    one += raw[a, j] * raw[c, j]
                    product += s[a, j] * G[a, c, lo + j] * s[c, j]
                B[a, c] += one
                M[a, c] += product
                if c < a:
                    B[c, a] += one
                    M[c, a] += product
            for c in range(k):
                one = 0.0
                for j in range(m):
                    one += s[a, j] * H[a, c, lo + j]
                N[a, c] += one


@compiled(error_model="numpy")
def add_coupled(first, others, blocks, M, N):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Add to M (Q, Q) and N (Q, k) of several factors, scaled effects.

    first (J1, q1) and others (r,) are the effects, blocks those of
    `hlm_models.algebra.crossed_pass.several_blocks`.
    """
    G, H, _, HR, starts, columns, entries, factors, owner, cells, values = blocks[:11]
    q1, k, J = H.shape
    base = factors[:, 0].copy()
    at = q1
    for f in range(len(factors)):
        base[f] = at
        at += factors[f, 0]
    for j in range(J):
        for a in range(q1):
            for c in range(q1):
                M[a, c] += first[j, a] * G[a, c, j] * first[j, c]
            for c in range(k):
                N[a, c] += first[j, a] * H[a, c, j]
        for s in range(starts[j], starts[j + 1]):
            i = columns[s]
            f = owner[i]
            e = base[f] + (i - factors[f, 2]) % factors[f, 0]
            for a in range(q1):
                product = first[j, a] * entries[s, a] * others[i]
                M[a, e] += product
                M[e, a] += product
    at = 0
    for i in range(len(cells)):
        f, g, left, right = cells[i, 0], cells[i, 1], cells[i, 2], cells[i, 3]
        for t in range(factors[f, 0]):
            for u in range(factors[g, 0]):
                product = others[left + t] * values[at] * others[right + u]
                M[base[f] + t, base[g] + u] += product
                if f != g:
                    M[base[g] + u, base[f] + t] += product
                at += 1
    for i in range(len(others)):
        f = owner[i]
        e = base[f] + (i - factors[f, 2]) % factors[f, 0]
        for c in range(k):
            N[e, c] += others[i] * HR[i, c]


@compiled(error_model="numpy")
def move_effects(b, move, shift, work):  # type: ignore[no-untyped-def]
    """Turn b (J, q) into move b - shift, level by level; work (q,)."""
    J, q = b.shape
    for j in range(J):
        for a in range(q):
            work[a] = -shift[a]
            for c in range(q):
                work[a] += move[a, c] * b[j, c]
        for a in range(q):
            b[j, a] = work[a]

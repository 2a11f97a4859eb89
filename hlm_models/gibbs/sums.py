"""What the rows say about the effects, as sums over the levels, at given effects."""

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.kernel import LANES

__all__ = ["add_coupled", "add_levels_at", "level_sums_work", "move_effects"]


@compiled()
def level_sums_work(q):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `add_levels_at`."""
    return 3 * q * LANES


@compiled(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def add_levels_at(b, R, G, H, columns, effects, B, total, M, N, work):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Add sums over the levels of one group, at raw effects b (J, q) and scaled ones s = R b.

    Of b b' to B (q, q), of b to total (q,); the products of features, sum_j s_jc G_j,ab s_jd for
    (a, c) and (b, d), to M (F, F), and theirs with W, sum_j s_jc H_j,a, to N (F, k). A feature
    (a, c) is the column a = columns[f] times the effect c = effects[f].
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
                one = 0.0
                for j in range(m):
                    one += raw[a, j] * raw[c, j]
                B[a, c] += one
                if c < a:
                    B[c, a] += one
        for f in range(len(columns)):
            a, c = columns[f], effects[f]
            for g in range(f + 1):
                e, d = columns[g], effects[g]
                one = 0.0
                for j in range(m):
                    one += s[c, j] * G[a, e, lo + j] * s[d, j]
                M[f, g] += one
                if g < f:
                    M[g, f] += one
            for e in range(k):
                one = 0.0
                for j in range(m):
                    one += s[c, j] * H[a, e, lo + j]
                N[f, e] += one


@compiled(error_model="numpy")
def add_coupled(first, others, blocks, z, s, ends, M, N):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """The same M and N of several groups, added; nothing else.

    z, s (F,) are columns and effects of the features, counted through all groups, and those of
    group g stand from ends[g] to ends[g + 1]. first (J1, q1) and others (r,) are the scaled
    effects, blocks those of `hlm_models.algebra.crossed_pass.several_blocks`.
    """
    G, H, _, HR, starts, columns, entries, factors, owner, cells, values = blocks[:11]
    q1, k, J = H.shape
    base = factors[:, 0].copy()
    at = q1
    for f in range(len(factors)):
        base[f] = at
        at += factors[f, 0]
    for j in range(J):
        for f in range(ends[1]):
            for g in range(ends[1]):
                M[f, g] += first[j, s[f]] * G[z[f], z[g], j] * first[j, s[g]]
            for c in range(k):
                N[f, c] += first[j, s[f]] * H[z[f], c, j]
        for t in range(starts[j], starts[j + 1]):
            i = columns[t]
            group = owner[i]
            own = (i - factors[group, 2]) % factors[group, 0]
            for g in range(ends[group + 1], ends[group + 2]):
                if z[g] - base[group] == own:
                    value = others[i - own + s[g] - base[group]]
                    for f in range(ends[1]):
                        product = first[j, s[f]] * entries[t, z[f]] * value
                        M[f, g] += product
                        M[g, f] += product
    at = 0
    for i in range(len(cells)):
        left, right = cells[i, 0], cells[i, 1]
        p, q = factors[left, 0], factors[right, 0]
        for f in range(ends[left + 1], ends[left + 2]):
            for g in range(ends[right + 1], ends[right + 2]):
                product = (
                    others[cells[i, 2] + s[f] - base[left]]
                    * values[at + (z[f] - base[left]) * q + z[g] - base[right]]
                    * others[cells[i, 3] + s[g] - base[right]]
                )
                M[f, g] += product
                if left != right:
                    M[g, f] += product
        at += p * q
    for i in range(len(others)):
        group = owner[i]
        own = (i - factors[group, 2]) % factors[group, 0]
        for f in range(ends[group + 1], ends[group + 2]):
            if z[f] - base[group] == own:
                for c in range(k):
                    N[f, c] += others[i - own + s[f] - base[group]] * HR[i, c]


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

"""The unconstrained numbers that are sampled, and the way to parameters and back.

x holds, in this order, the standard deviations of every block (one where a term's effects share
it), the free coefficients and sigma unless it is known, each on the real line (log for a half
line, logit for an interval, as it is for the whole line), then the canonical partial correlations
of every correlated term, row by row, each as the logit of (1 + partial) / 2. These are PyMC's own
transforms of the marginal graph, which moves free coefficients without bounds in orthogonal
coordinates besides.
"""

import math
from dataclasses import dataclass

import numpy as np

from hlm_models.parts.covariances import Covariance, MatrixForm, lkj_shapes
from hlm_models.parts.priors import Elementary
from hlm_models.spec.integration import Integration, integration
from hlm_models.spec.model import ModelSpec
from hlm_models.target.draws import VarianceDraws
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["Coordinates", "coordinates"]


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Where every unconstrained number of a model stands.

    names (d,) : what each number of x is
    scalars (m, 10) : log densities of the first m as elementary terms, in the order of
        `hlm_models.parts.priors.Elementary`
    shapes (d - m, 2) : a and c of every partial correlation z, whose log density by its logit is
        a log((1 - z^2) / 4) - c; of a prior of correlations, c = log B(a, a)
    forms (T, 4) : of every term with a prior of Psi as a whole, its first row, where its part of
        the factors begins, how far its rows are apart there, and its effects
    numbers : power, rate (q,) and scale (q, q) of these terms, one after the other: what
        `hlm_models.parts.covariances.MatrixForm` has beyond the other tables
    sigma : where sigma stands in x, -1 where it is known
    q (F,) : effects of every block
    row_sd (R,) : of every effect of every block, where its sd stands in x
    row_first (R,) : the first effect that it may be correlated with, counted within the block
    row_partial (R,) : where in x its partial correlations begin; the next row's follow
    """

    names: tuple[str, ...]
    scalars: FloatArray
    shapes: FloatArray
    forms: IntArray
    numbers: FloatArray
    sigma: int
    q: IntArray
    row_sd: IntArray
    row_first: IntArray
    row_partial: IntArray
    integration: Integration

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def free(self) -> slice:
        """Where the free coefficients stand in x."""
        end = len(self.scalars) - (self.sigma >= 0)
        return slice(end - len(self.integration.free), end)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The rows of each block."""
        ends = np.cumsum(self.q).tolist()
        return tuple(slice(end - q, end) for end, q in zip(ends, self.q.tolist(), strict=True))

    def values(self, x: FloatArray) -> VarianceDraws:
        """Parameters at points x (..., d)."""
        m = len(self.scalars)
        natural = np.empty((*x.shape[:-1], m))
        for k, (lower, upper) in enumerate(self.scalars[:, 1:3].tolist()):
            natural[..., k] = _to_natural(x[..., k], lower, upper)
        partial = np.tanh(x[..., m:] / 2)
        sd, factors = [], []
        for rows in self.blocks:
            sd.append(natural[..., self.row_sd[rows]])
            q = rows.stop - rows.start
            factor = np.zeros((*x.shape[:-1], q, q))
            for a in range(q):
                first, at = self.row_first[rows][a], self.row_partial[rows][a] - m
                left = np.ones(x.shape[:-1])
                for c in range(first, a):
                    z = partial[..., at + c - first]
                    factor[..., a, c] = z * np.sqrt(left)
                    left = left * (1 - z**2)
                factor[..., a, a] = np.sqrt(left)
            factors.append(factor)
        known = self.sigma < 0
        return VarianceDraws(
            np.ones(x.shape[:-1]) if known else natural[..., self.sigma],
            tuple(sd),
            tuple(_corr(one) for one in factors),
            tuple(factors),
            natural[..., self.free],
        )

    def unconstrained(self, draws: VarianceDraws) -> FloatArray:
        """The x (..., d) of given parameters: the inverse of `values`; infinite at an edge."""
        m = len(self.scalars)
        natural, partials = np.empty((*draws.sigma.shape, m)), []
        for rows, sd, factor in zip(self.blocks, draws.sd, draws.factor, strict=True):
            natural[..., self.row_sd[rows]] = sd
            # What each row of the factor has from a column on: its length there without the others.
            left = np.sqrt(np.cumsum(factor[..., ::-1] ** 2, axis=-1)[..., ::-1])
            for a, first in enumerate(self.row_first[rows]):
                here, after = slice(first, a), slice(first + 1, a + 1)
                with np.errstate(divide="ignore"):
                    partials.append(2 * np.arcsinh(factor[..., a, here] / left[..., a, after]))
        natural[..., self.free] = draws.beta_free
        if self.sigma >= 0:
            natural[..., self.sigma] = draws.sigma
        x = np.empty_like(natural)
        for k, (lower, upper) in enumerate(self.scalars[:, 1:3].tolist()):
            with np.errstate(divide="ignore"):
                below = 0.0 if np.isinf(lower) else np.log(natural[..., k] - lower)
                above = 0.0 if np.isinf(upper) else np.log(upper - natural[..., k])
            x[..., k] = natural[..., k] if np.isinf(lower) else below - above
        return np.concatenate([x, *partials], axis=-1)

    def point(
        self,
        sd: tuple[FloatArray, ...],
        corr: tuple[FloatArray, ...],
        beta_free: FloatArray,
        sigma: float,
    ) -> FloatArray:
        """The x (d,) of given parameters; ones at the edge of their support are moved inside."""
        m = len(self.scalars)
        natural = np.empty(m)
        x = np.empty(self.size)
        for rows, one_sd, one_corr in zip(self.blocks, sd, corr, strict=True):
            natural[self.row_sd[rows]] = one_sd
            firsts = self.row_first[rows]
            for first in np.unique(firsts):
                term = np.flatnonzero(firsts == first)
                # A singular matrix has no factor: a little is moved towards independence.
                inside = 0.98 * one_corr[np.ix_(term, term)] + 0.02 * np.eye(len(term))
                L = np.linalg.cholesky(inside)
                for a in range(1, len(term)):
                    left, at = 1.0, self.row_partial[rows][term[a]]
                    for c in range(a):
                        z = float(np.clip(L[a, c] / np.sqrt(max(left, 1e-12)), -0.995, 0.995))
                        x[at + c] = 2 * np.arctanh(z)
                        left *= 1 - z**2
        natural[self.free] = beta_free
        if self.sigma >= 0:
            natural[self.sigma] = sigma
        for k, (lower, upper) in enumerate(self.scalars[:, 1:3].tolist()):
            x[k] = _to_real(float(natural[k]), lower, upper)
        return x


def _corr(factor: FloatArray) -> FloatArray:
    """Correlations (..., q, q) with a diagonal of exactly one."""
    corr = factor @ np.swapaxes(factor, -1, -2)
    at = np.arange(corr.shape[-1])
    corr[..., at, at] = 1.0
    return corr


def _to_natural(x: FloatArray, lower: float, upper: float) -> FloatArray:
    if np.isinf(lower):
        return x
    if np.isinf(upper):
        return lower + np.exp(x)
    return lower + (upper - lower) / (1 + np.exp(-x))


def _to_real(value: float, lower: float, upper: float) -> float:
    if np.isinf(lower):
        return value
    if np.isinf(upper):
        return float(np.log(max(value - lower, 1e-300)))
    share = float(np.clip((value - lower) / (upper - lower), 1e-3, 1 - 1e-3))
    return float(np.log(share / (1 - share)))


def coordinates(spec: ModelSpec) -> Coordinates | None:
    """The coordinates of one model; None where a prior is no sum of elementary terms."""
    split = integration(spec)
    names: list[str] = []
    scalars: list[FloatArray] = []
    shapes: list[FloatArray] = []
    forms: list[list[int]] = []
    numbers: list[FloatArray] = []
    row_sd: list[int] = []
    row_first, row_partial, partial_names = [], [], []
    square = 0
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            form = covariance.matrix_form()
            found = _separate(covariance) if form is None else _of_powers(form)
            if found is None:
                return None
            sds, partials = found
            effects, first = block.effects[term.columns], term.columns.start
            if form is not None:
                place = square + first * (block.q + 1)
                forms.append([len(row_sd), place, block.q, term.q])
                numbers.append(np.concatenate([[form.power], form.rate, form.scale.ravel()]))
            shared = len(sds) < term.q
            for k, effect in enumerate(effects):
                row_sd.append(len(scalars) + (0 if shared else k))
                row_first.append(first + (0 if len(partials) else k))
                row_partial.append(len(shapes))
                if len(partials):
                    for c in range(k):
                        shapes.append(partials[k * (k - 1) // 2 + c])
                        partial_names.append(f"partial_{block.group}[{effect}, {effects[c]}]")
            labels = (term.text,) if shared else effects
            names += [f"sd_{block.group}[{label}]" for label in labels]
            scalars += [np.array(one) for one in sds]
        square += block.q**2
    for k in split.free.tolist():
        one = spec.priors.beta[k].elementary(place="location")
        if one is None:
            return None
        names.append(f"beta[{spec.design.coef[k]}]")
        scalars.append(np.array(one))
    known = spec.priors.sigma is None
    if spec.priors.sigma is not None:
        one = spec.priors.sigma.elementary(place="scale")
        if one is None:
            return None
        names.append("sigma")
        scalars.append(np.array(one))
    m = len(scalars)
    return Coordinates(
        names=(*names, *partial_names),
        scalars=frozen(np.array(scalars).reshape(m, len(Elementary._fields))),
        shapes=frozen(np.array(shapes).reshape(-1, 2)),
        forms=frozen(np.array(forms, dtype=np.int64).reshape(-1, 4)),
        numbers=frozen(np.concatenate([np.zeros(0), *numbers])),
        sigma=-1 if known else m - 1,
        q=frozen(np.array([block.q for block in spec.blocks], dtype=np.int64)),
        row_sd=frozen(np.array(row_sd, dtype=np.int64)),
        row_first=frozen(np.array(row_first, dtype=np.int64)),
        row_partial=frozen(np.array(row_partial, dtype=np.int64) + m),
        integration=split,
    )


def _separate(covariance: Covariance) -> tuple[list[Elementary], FloatArray] | None:
    """Terms of every free sd and `shapes` of the partial correlations, apart from one another."""
    from scipy.special import betaln

    a = covariance.partial_shapes()
    sds = [one.elementary(place="scale") for one in covariance.sd_priors()]
    known = [one for one in sds if one is not None]
    if a is None or len(known) < len(sds):
        return None
    return known, np.column_stack([a, betaln(a, a)])


def _of_powers(form: MatrixForm) -> tuple[list[Elementary], FloatArray]:
    """The same of a prior of Psi as a whole: its power of |Psi|, and the Jacobian of Psi.

    |Psi| is the product of all sd^2 and of 1 - z^2 of all partial correlations z. By sd and the
    strict lower triangle of corr, d Psi is 2^q prod sd^q, and by z, d corr is that of uniform
    correlation matrices, but for its constant. Each sd has |Psi|^log_det and sd^q between them as
    sd^(2 log_det + q).

    Source: Lewandowski, Kurowicka and Joe (2009), doi:10.1016/j.jmva.2009.04.008, section 2.4.
    """
    q = len(form.rate)
    constant, power = form.constant / q + math.log(2), 2 * form.log_det + q
    a = lkj_shapes(1.0, q) + form.log_det
    one = Elementary(constant=constant, lower=0.0, log_power=power)
    return [one] * q, np.column_stack([a, (1 - 2 * a) * math.log(2)])

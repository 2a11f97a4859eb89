"""A ModelSpec as the arrays that the compiled sweeps take."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hlm_models.errors import RefusalError
from hlm_models.gibbs.coefficients import Regression, regression_work
from hlm_models.gibbs.scaling import scaling_work
from hlm_models.gibbs.sweep import (
    COEFFICIENTS,
    EFFECTS,
    JOINT,
    Features,
    Laws,
    Model,
    Scratch,
)
from hlm_models.gibbs.variances import Units
from hlm_models.parts.priors.student_t import StudentT
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray

__all__ = ["Scheme", "Sizes", "model", "new_laws", "new_scratch"]

Scheme = Literal["joint", "effects", "coefficients"]
CODES = {"joint": JOINT, "effects": EFFECTS, "coefficients": COEFFICIENTS}


@dataclass(frozen=True, slots=True)
class Sizes:
    """p coefficients, Q effects of all groups, U units of at most w effects; d centred ones.

    F features of the rows that are summed.
    """

    p: int
    Q: int
    F: int
    U: int
    w: int
    d: int


def model(spec: ModelSpec, scheme: Scheme) -> tuple[Model, Sizes]:
    """The arrays of one model and one scheme.

    Raises
    ------
    RefusalError
        the scheme is `coefficients`, and there is no group, or several, or no effect has a
        coefficient.
    """
    design, p = spec.design, spec.design.p
    forward = np.array(design.x_scaling.R, dtype=np.float64, order="C").reshape(p, p)
    units = _units(spec)
    Q = sum(block.q for block in spec.blocks)
    R = np.zeros((Q, Q))
    at = 0
    for block, scale in zip(spec.blocks, spec.marginal.scales, strict=True):
        R[at : at + block.q, at : at + block.q] = scale.R
        at += block.q
    scaled = units.scale.copy()
    for u, (f, m) in enumerate(zip(units.first.tolist(), units.size.tolist(), strict=True)):
        if m > 1:
            here = R[f : f + m, f : f + m]
            scaled[u, :m, :m] = here @ units.scale[u, :m, :m] @ here.T
    effects, centred = _centred(spec) if scheme == "coefficients" else (np.zeros(0, int),) * 2
    rest = np.setdiff1d(np.arange(p), centred)
    d = len(centred)
    features = _features(spec, units, every=scheme == "joint")
    levels = spec.blocks[0].J if spec.blocks else 0
    sizes = [CODES[scheme], spec.priors.sigma is not None, levels]
    found = Model(
        T=np.array(spec.marginal.products.T, order="C"),
        forward=forward,
        fit=np.array(design.y_fit, dtype=np.float64),
        R=R,
        back=np.linalg.inv(R),
        prior=_coefficient_priors(spec),
        every=_regression(forward, np.arange(p)),
        rest=_regression(forward, rest),
        centred=Regression(centred.astype(np.int64), np.eye(d), np.eye(d)),
        effects=effects.astype(np.int64),
        units=units,
        features=features,
        scaled=scaled,
        sigma=_sigma(spec),
        sizes=np.array(sizes, dtype=np.int64),
        n=float(design.n),
    )
    U, w, _ = units.scale.shape
    return found, Sizes(p, Q, len(features.z), U, w, d)


def new_laws(sizes: Sizes) -> Laws:
    """Room for the laws of one chain."""
    p, Q, U, w, d = sizes.p, sizes.Q, sizes.U, sizes.w, sizes.d
    return Laws(
        mean=np.zeros(p),
        precision=np.zeros((p, p)),
        centred_mean=np.zeros(d),
        centred_precision=np.zeros((d, d)),
        scale=np.zeros((U, w, w)),
        a=np.zeros((U, w)),
        sigma=np.zeros(2),
        weights=np.zeros(p),
        C=np.zeros((Q, Q)),
        move=np.zeros((Q, Q)),
        shift=np.zeros(Q),
        terms=np.zeros((Q, 5)),
        curves=np.zeros((Q, 3, w)),
        shears=np.zeros((U, w, w, 3)),
    )


def new_scratch(sizes: Sizes) -> Scratch:
    """Room for the sums of one chain."""
    p, Q, F, w = sizes.p, sizes.Q, sizes.F, sizes.w
    k = p + 1
    # Coefficients that b is centred at may be as many as the effects.
    room = max(int(regression_work(k, max(p, Q))), int(scaling_work(max(w, Q))))
    return Scratch(
        B=np.zeros((Q, Q)),
        total=np.zeros(Q),
        M=np.zeros((F, F)),
        N=np.zeros((F, k)),
        S=np.zeros((k, k)),
        v=np.zeros(k),
        right=np.zeros(max(p, Q)),
        Tv=np.zeros(k),
        g=np.zeros(F),
        one=np.zeros((Q, Q)),
        two=np.zeros((Q, Q)),
        room=np.zeros(room),
    )


def _units(spec: ModelSpec) -> Units:
    """Every free variance with its prior, in the order of blocks and terms."""
    first, width, size, seen, forms = [], [], [], [], []
    start = 0
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            at = start + term.columns.start
            for form in covariance.variance_forms():
                assert form is not None, "refused before"
                m = len(form.scale)
                wide = term.q if covariance.structure == "shared" else m
                first.append(at)
                width.append(wide)
                size.append(m)
                seen.append(float(block.J * (wide if m == 1 else 1)))
                forms.append(form)
                at += wide
        start += block.q
    w = max(size, default=0)
    scale, spread = np.zeros((len(forms), w, w)), np.ones((len(forms), w))
    for u, form in enumerate(forms):
        scale[u, : size[u], : size[u]] = form.scale
        spread[u, : size[u]] = form.spread
    df = np.array([float(form.df) for form in forms])
    return Units(
        first=np.array(first, dtype=np.int64),
        width=np.array(width, dtype=np.int64),
        size=np.array(size, dtype=np.int64),
        seen=np.array(seen),
        nu=np.array([float(form.nu) for form in forms]),
        df=df,
        scale=scale,
        spread=spread,
        rates=df[:, None] * spread**2,
    )


def _features(spec: ModelSpec, units: Units, *, every: bool) -> Features:
    """What every effect adds to the rows, and with `every` what others of its unit would there."""
    z: list[int] = []
    s: list[int] = []
    own: list[int] = []
    for f, width, m in zip(*(one.tolist() for one in units[:3]), strict=True):
        here = range(f, f + width)
        pairs = [(a, c) for a in here for c in (here if every and m > 1 else [a])]
        own += [len(z) + k for k, (a, c) in enumerate(pairs) if a == c]
        z += [a for a, _ in pairs]
        s += [c for _, c in pairs]
    edges = np.cumsum([0, *(block.q for block in spec.blocks)])
    columns = np.array(z, dtype=np.int64)
    return Features(
        z=columns,
        s=np.array(s, dtype=np.int64),
        own=np.array(own, dtype=np.int64),
        ends=np.searchsorted(columns, edges).astype(np.int64),
    )


def _coefficient_priors(spec: ModelSpec) -> tuple[FloatArray, FloatArray, FloatArray]:
    """loc, precision and df (p,) of every coefficient; df 0 where it is not Student t."""
    rows = []
    for prior in spec.priors.beta:
        if isinstance(prior, StudentT):
            scale = prior.settled("scale")
            rows.append((prior.settled("loc"), 1.0 / scale / scale, prior.df))
            continue
        form = prior.normal_form()
        assert form is not None, "refused before"
        rows.append((*form, 0.0))
    loc, precision, df = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return loc.copy(), precision.copy(), df.copy()


def _sigma(spec: ModelSpec) -> tuple[float, float, float, float]:
    """nu, scale, df and spread of sigma^2; of a known one they are not looked at."""
    if spec.priors.sigma is None:
        return 0.0, 0.0, 0.0, 1.0
    form = spec.priors.sigma.variance_form()
    assert form is not None, "refused before"
    return float(form.nu), float(form.scale[0, 0]), float(form.df), float(form.spread[0])


def _regression(forward: FloatArray, places: IntArray) -> Regression:
    Q, T = np.linalg.qr(forward[:, places])
    return Regression(
        places.astype(np.int64), np.ascontiguousarray(Q), np.ascontiguousarray(np.linalg.inv(T))
    )


def _centred(spec: ModelSpec) -> tuple[IntArray, IntArray]:
    """Effects (d,) whose column is one of X too, and the places (d,) of these in beta."""
    if len(spec.blocks) != 1:
        groups = ", ".join(block.group for block in spec.blocks) or "none"
        raise RefusalError(
            "gibbs: refused: the scheme coefficients draws coefficients of one group, and here "
            f"are {groups}: use joint or effects"
        )
    [block], coef = spec.blocks, spec.design.coef
    pairs = [
        (a, coef.index(name))
        for a, name in enumerate(block.effects)
        if name in coef and np.array_equal(spec.design.X[:, coef.index(name)], block.z[:, a])
    ]
    if not pairs:
        raise RefusalError(
            f"gibbs: refused: the scheme coefficients needs an effect of {block.group} "
            f"({', '.join(block.effects)}) that is a coefficient too "
            f"({', '.join(coef) or 'none'}): use joint or effects"
        )
    effects, places = np.array(pairs, dtype=np.int64).T
    return effects, places

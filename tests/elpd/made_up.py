"""Made-up posteriors, and the dense normal densities that their log likelihoods are."""

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import multivariate_normal

import hlm_models as hlm
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import point_at
from hlm_models.spec import density
from hlm_models.spec.density import Point
from hlm_models.spec.simulate import draw_prior
from hlm_models.target.conditional import draw_posterior
from hlm_models.target.draws import VarianceDraws

__all__ = [
    "CASES", "CHAINS", "DRAWS", "FRAME", "around", "conditional_draws", "dense", "dense_rows",
    "from_frame", "moments", "points_of", "posterior_of",
]  # fmt: skip

CHAINS, DRAWS = 2, 3


def posterior_of(spec, points, chains=CHAINS):
    """A fit whose draws are these points, the chains one after the other."""
    values = {"sigma": [point.sigma for point in points]}
    if spec.design.p:
        values["beta"] = [point.beta for point in points]
    for f, block in enumerate(spec.blocks):
        for name in ("sd", "corr", "b"):
            values[f"{name}_{block.group}"] = [getattr(point, name)[f] for point in points]
    return fit_of(
        spec, {k: np.array(v).reshape(chains, -1, *np.shape(v)[1:]) for k, v in values.items()}
    )


def fit_of(spec, values):
    """A fit of these draws, (chains, draws) and the variable's own dimensions."""
    dims, coords = {"sigma": (), "beta": ("coef",)}, {}
    for block in spec.blocks:
        g, effect = block.group, f"effect_{block.group}"
        dims |= {f"sd_{g}": (effect,), f"corr_{g}": (effect, f"{effect}_2"), f"b_{g}": (g, effect)}
        coords |= {g: list(block.labels), effect: list(block.effects)}
    chains, draws = values["sigma"].shape
    coords |= {"chain": range(chains), "draw": range(draws)}
    shaped = {name: (("chain", "draw", *dims[name]), one) for name, one in values.items()}
    data = xr.DataTree.from_dict({"posterior": xr.Dataset(shaped, coords)})
    return PosteriorFit(spec, "nuts", data, "made up", "centered", 0, (), {}, 1)


def around(spec, seed=1):
    """Draws in the region of the data: coefficients near least squares, correlations any."""
    rng, design = np.random.default_rng(seed), spec.design
    centre = np.linalg.lstsq(design.X, design.y_net)[0]
    spread = np.std(design.y_net - design.X @ centre)
    points = []
    for _ in range(CHAINS * DRAWS):
        corrs = draw_prior(spec, rng).corr
        sds = tuple(
            spread * np.exp(0.3 * rng.normal(size=block.q)) / np.sqrt(np.mean(block.z**2, axis=0))
            for block in spec.blocks
        )
        bs = tuple(
            rng.standard_normal((block.J, block.q)) @ (sd[:, None] * np.linalg.cholesky(corr)).T
            for block, sd, corr in zip(spec.blocks, sds, corrs, strict=True)
        )
        beta = centre + 0.1 * spread / np.sqrt(np.mean(design.X**2, axis=0)) * rng.normal(
            size=design.p
        )
        points.append(Point(beta, spread * float(np.exp(0.5 * rng.normal())), sds, corrs, bs))
    return posterior_of(spec, points)


def points_of(fit):
    posterior = fit.data["posterior"].to_dataset()
    sizes = posterior.sizes["chain"], posterior.sizes["draw"]
    return {at: point_at(fit.spec, posterior, *at) for at in np.ndindex(sizes)}


def conditional_draws(spec, chains, draws, *, seed=1, spread=0.2):
    """Draws of the variances around those of REML, and exact ones of beta and b given them."""
    rng, ml = np.random.default_rng(seed), hlm.fit(spec, engine="reml")
    size = chains, draws
    # Inside, where REML is on the boundary.
    corr = tuple(
        np.broadcast_to(0.9 * one.corr + 0.1 * np.eye(len(one.sd)), (*size, *one.corr.shape))
        for one in ml.random
    )
    variances = VarianceDraws(
        sigma=ml.sigma * np.exp(spread / 3 * rng.normal(size=size)),
        sd=tuple(
            one.sd * np.exp(spread * rng.normal(size=(*size, len(one.sd)))) for one in ml.random
        ),
        corr=corr,
        factor=tuple(np.linalg.cholesky(one) for one in corr),
        beta_free=np.zeros((*size, 0)),
    )
    found, _ = draw_posterior(spec, variances, np.random.SeedSequence(seed))
    return fit_of(spec, found)


def moments(fit, point, integrated):
    """Mean (n,) and covariance (n, n) of the rows at one draw, some effects integrated out."""
    spec = fit.spec
    given = tuple(
        b * (block.group not in integrated) for block, b in zip(spec.blocks, point.b, strict=True)
    )
    weights = np.ones(spec.design.n) if spec.design.weights is None else spec.design.weights
    V = np.diag(point.sigma**2 / weights)
    for block, sd, corr in zip(spec.blocks, point.sd, point.corr, strict=True):
        if block.group in integrated:
            same = block.level[:, None] == block.level
            V += block.z @ (sd[:, None] * corr * sd) @ block.z.T * same
    return density.linear_predictor(spec, replace(point, b=given)), V


def dense(fit, by, integrated):
    """Every draw's density of the rows of each level of `by`, by the whole covariance matrix."""
    group = hlm.grouping(fit.spec, by)
    found = np.empty((CHAINS, DRAWS, group.J))
    for at, point in points_of(fit).items():
        mean, V = moments(fit, point, integrated)
        for j in range(group.J):
            rows = np.flatnonzero(group.level == j)
            normal = multivariate_normal(mean[rows], V[np.ix_(rows, rows)])
            found[*at, j] = normal.logpdf(fit.spec.design.y[rows])
    return found


def dense_rows(fit, by, integrated, rows):
    """Every draw's residual in its sd, and log sd, of some rows given the others of their level."""
    group, y = hlm.grouping(fit.spec, by), fit.spec.design.y
    residual, log_sd = np.empty((2, CHAINS, DRAWS, len(rows)))
    for at, point in points_of(fit).items():
        mean, V = moments(fit, point, integrated)
        for place, i in enumerate(rows):
            others = np.flatnonzero((group.level == group.level[i]) & (np.arange(len(y)) != i))
            gain = np.linalg.solve(V[np.ix_(others, others)], V[others, i])
            sd = np.sqrt(V[i, i] - gain @ V[others, i])
            residual[*at, place] = (y[i] - mean[i] - gain @ (y - mean)[others]) / sd
            log_sd[*at, place] = np.log(sd)
    return residual, log_sd


def nested_frame():
    """Four factors: d in c in b in a, and t in a too but crossed with b, c and d; u across all."""
    rng = np.random.default_rng(3)
    n = 240
    a, b, c, d = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(0, 2, n), None
    d, t, u = rng.integers(0, 2, n), rng.integers(0, 3, n), rng.integers(0, 5, n)
    names = {"a": [f"a{i}" for i in a], "u": [f"u{i}" for i in u]}
    names["b"] = [f"{x}b{i}" for x, i in zip(names["a"], b, strict=True)]
    names["c"] = [f"{x}c{i}" for x, i in zip(names["b"], c, strict=True)]
    names["d"] = [f"{x}d{i}" for x, i in zip(names["c"], d, strict=True)]
    names["t"] = [f"{x}t{i}" for x, i in zip(names["a"], t, strict=True)]
    x = rng.normal(3, 2, n)
    y = 1 + x + rng.normal(size=3)[a] + rng.normal(size=5)[u] + rng.normal(size=n)
    return pd.DataFrame(names | {"x": x, "y": y, "w": rng.uniform(0.3, 3, n), "o": 5 * x**2})


FRAME = nested_frame()


PAIRS = hlm.Grouping("pair", ("first", "second"), (FRAME["a"] == "a2").to_numpy().astype(int))
ACROSS = hlm.Grouping("across", tuple("vwxyz"), FRAME["u"].str[1:].to_numpy().astype(int))


def from_frame(formula, **more):
    head = {"schema": 1, "name": "made-up", "data": {"source": "frame"}, "formula": formula}
    return hlm.build(head | more, data=FRAME)


SHARED = {"priors": {"groups": {"a": {"kind": "shared"}}}}
CHAIN = "y ~ x + (x | a) + (1 | b) + (x | c) + (1 | d)"
CASES = {
    "three effects": (lambda: hlm.build("grunfeld-slopes"), "firm", {"firm"}),
    "two effects": (lambda: hlm.build("radon-slopes"), "county", {"county"}),
    "diagonal": (lambda: hlm.build("sleepstudy-uncorrelated"), "subject", {"subject"}),
    "outer of two": (lambda: hlm.build("pastes"), "batch", {"batch", "batch:cask"}),
    "inner of two": (lambda: hlm.build("pastes"), "batch:cask", {"batch:cask"}),
    "slopes outside": (lambda: hlm.build("pixel"), "dog", {"dog", "dog:side"}),
    "crossed": (lambda: hlm.build("penicillin"), "plate", {"plate"}),
    "crossed, other way": (lambda: hlm.build("penicillin"), "sample", {"sample"}),
    "weights and offset": (
        lambda: from_frame("y ~ x + offset(o) + (x | a)", weights="w"), "a", {"a"},
    ),
    "shared": (lambda: from_frame("y ~ x + (x || a)", **SHARED), "a", {"a"}),
    "no coefficient": (lambda: from_frame("y ~ 0 + (1 | a)"), "a", {"a"}),
    "chain of four": (lambda: from_frame(CHAIN), "a", {"a", "b", "c", "d"}),
    "chain from its second": (lambda: from_frame(CHAIN, weights="w"), "b", {"b", "c", "d"}),
    "crossed within": (
        lambda: from_frame("y ~ x + (x | a) + (1 | c) + (x | t)"), "a", {"a", "c", "t"},
    ),
    "nested and crossed": (
        lambda: from_frame(
            "y ~ x + offset(o) + (1 | a) + (x | b) + (1 | d) + (x || u)", weights="w"
        ),
        "a",
        {"a", "b", "d"},
    ),
    "known sds": (
        lambda: from_frame("y ~ x + (1 | b)", residual={"kind": "known", "sd": "w"}), "b", {"b"},
    ),
    "a row a level": (lambda: hlm.build("eight-schools"), "school", {"school"}),
    "levels of no group": (lambda: from_frame(CHAIN), PAIRS, {"a", "b", "c", "d"}),
    "levels that nothing is nested in": (lambda: from_frame("y ~ x + (x | a)"), ACROSS, set()),
    "no random term": (lambda: from_frame("y ~ x", weights="w"), PAIRS, set()),
    "crossed with all": (
        lambda: from_frame("y ~ x + (1 | a) + (x | b) + (x || u)", weights="w"), "u", {"u"},
    ),
}  # fmt: skip

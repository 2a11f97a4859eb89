"""Weights and offset in the density, the default priors and draws of responses."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hlm_models import build
from hlm_models.elpd.pointwise import LogLikelihood
from hlm_models.spec.density import Point
from hlm_models.spec.density import log_likelihood as by_row
from hlm_models.spec.information import mean_reliability
from hlm_models.spec.simulate import draw_response

N = 40
FORMULA = "y ~ x + (x | g) + (1 | h)"


def made_up():
    rng = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "y": rng.normal(2.0, 3.0, N),
            "x": rng.normal(size=N),
            "g": [f"g{i % 8}" for i in range(N)],
            "h": [f"h{i % 3}" for i in range(N)],
            "w": rng.uniform(0.1, 6.0, N),
            "o": rng.normal(5.0, 2.0, N),
        }
    )


FRAME = made_up()


def spec(frame=FRAME, formula=FORMULA, **more):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build({**head, **more}, data=frame)


def point(model, seed):
    rng = np.random.default_rng(seed)
    sd = tuple(rng.uniform(0.3, 2.0, block.q) for block in model.blocks)
    corr = tuple(np.eye(block.q) + 0.3 * (1 - np.eye(block.q)) for block in model.blocks)
    b = tuple(rng.normal(size=(block.J, block.q)) for block in model.blocks)
    return Point(rng.normal(size=model.design.p), float(rng.uniform(0.5, 2.0)), sd, corr, b)


def mean_at(model, at):
    """X beta + Z b + offset, by the frame."""
    x, offset = FRAME["x"], FRAME["o"] if model.design.offset_column else 0.0
    eta = at.beta[0] + at.beta[1] * x + offset
    for block, b in zip(model.blocks, at.b, strict=True):
        rows = b[[block.labels.index(label) for label in FRAME[block.group]]]
        eta = eta + rows[:, 0] + (rows[:, 1] * x if block.q == 2 else 0.0)
    return eta


@pytest.mark.parametrize("given", [("w", "o"), ("w", None), (None, "o")], ids=str)
def test_the_density_of_the_rows_is_scipys(given):
    model = spec(weights=given[0], offset=given[1])
    at = point(model, 1)
    scale = at.sigma / np.sqrt(FRAME["w"]) if given[0] else at.sigma
    expected = stats.norm(mean_at(model, at), scale).logpdf(FRAME["y"])
    np.testing.assert_allclose(by_row(model, at), expected, rtol=1e-12)


def test_responses_are_drawn_around_the_offset_with_the_weights_spread():
    model = spec(weights="w", offset="o")
    at = point(model, 2)
    rng = np.random.default_rng(1)
    draws = np.array([draw_response(model, at, rng) for _ in range(4000)])
    z = (draws - mean_at(model, at).to_numpy()) / (at.sigma / np.sqrt(FRAME["w"].to_numpy()))
    # Standard normal in every row: mean within 5 standard errors, variance too.
    assert np.abs(z.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert np.abs(z.var(axis=0) - 1).max() < 5 * np.sqrt(2 / 4000)


def test_the_pointwise_log_likelihood_counts_both():
    import xarray as xr

    model = spec(weights="w", offset="o")
    at = point(model, 4)
    dims = {"beta": ("coef",), "sigma": ()}
    arrays = {"beta": at.beta, "sigma": np.asarray(at.sigma)}
    for i, block in enumerate(model.blocks):
        g = block.group
        dims |= {f"sd_{g}": (f"e{g}",), f"corr_{g}": (f"e{g}", f"e{g}2"), f"b_{g}": (g, f"e{g}")}
        arrays |= {f"sd_{g}": at.sd[i], f"corr_{g}": at.corr[i], f"b_{g}": at.b[i]}
    posterior = xr.Dataset(
        {name: (("chain", "draw", *dims[name]), arrays[name][None, None]) for name in arrays},
        coords={"chain": [0], "draw": [0]},
    )
    found = LogLikelihood(model, posterior, "observation", None).block(0, N)[0, 0]
    np.testing.assert_allclose(found, by_row(model, at), rtol=1e-13)


def test_default_priors_are_of_the_response_less_its_offset():
    less = FRAME.assign(y=FRAME["y"] - FRAME["o"])
    assert spec(offset="o").priors == spec(less).priors


def test_weights_of_another_size_scale_the_default_prior_of_sigma_alone():
    one = spec(weights="w").priors
    hundred = spec(FRAME.assign(w=100 * FRAME["w"]), weights="w").priors
    assert hundred.sigma.scale == pytest.approx(10 * one.sigma.scale, rel=1e-12)
    assert (hundred.beta, hundred.blocks) == (one.beta, one.blocks)
    assert (one.beta, one.blocks) == (spec().priors.beta, spec().priors.blocks)
    same = spec(FRAME.assign(w=1.0), weights="w").priors
    assert same.sigma.scale == pytest.approx(spec().priors.sigma.scale, rel=1e-12)


def test_the_reliability_that_chooses_the_form_counts_weights_as_rows_of_information():
    formula = "y ~ x + (1 | g)"
    plain = mean_reliability(spec(formula=formula).design)
    for c in (0.01, 1.0, 50.0):
        found = mean_reliability(spec(FRAME.assign(w=c), formula, weights="w").design)
        assert found == pytest.approx(plain, rel=1e-9)
    moved = FRAME.assign(y=FRAME["y"] + FRAME["o"])
    assert mean_reliability(spec(moved, formula, offset="o").design) == pytest.approx(plain)

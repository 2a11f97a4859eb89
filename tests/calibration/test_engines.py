"""Every engine with draws on every model that it takes, by simulation from the prior.

A correct engine fails a model with a probability of 0.01 at most (`ERROR`, all its quantities
together), and the seeds are fixed, so that a run that passes once always does.
"""

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.engines.find import ENGINES, find

SIMULATIONS = 60
DRAWING = [name for name in ENGINES if find(name).draws]

NORMAL = {"kind": "normal", "loc": 0.5, "scale": 2.0}
SIGMA = {"kind": "inverse_gamma", "shape": 4.0, "scale": 3.0}
HALF_T = {"kind": "half_student_t", "df": 5, "scale": 1.0}
DIAGONAL = {"kind": "diagonal", "sd": {"kind": "inverse_gamma", "shape": 3.0, "scale": 2.0}}
WISHART = {"kind": "inverse_wishart", "nu": 7.0, "scale": [[4.0, 1.0], [1.0, 3.0]]}
MODELS = {
    "one factor": {
        "formula": "y ~ x + (1 | g)",
        "priors": {"groups": {"g": DIAGONAL}, "sigma": SIGMA},
    },
    "correlated slopes": {
        "formula": "y ~ x + (x | g)",
        "priors": {"groups": {"g": WISHART}, "sigma": SIGMA},
    },
    "hierarchical covariance": {
        "formula": "y ~ x + (x | g)",
        "priors": {"groups": {"g": {"kind": "hierarchical", "scale": 0.8}}, "sigma": HALF_T},
    },
    "independent slopes, weights": {
        "formula": "y ~ x + (x || g)",
        "weights": "w",
        "priors": {"groups": {"g": {"kind": "diagonal", "sd": HALF_T}}, "sigma": SIGMA},
    },
    "crossed": {
        "formula": "y ~ x + (1 | g) + (1 | h)",
        "priors": {"groups": {"g": DIAGONAL, "h": DIAGONAL}, "sigma": SIGMA},
    },
    "nested": {
        "formula": "y ~ 1 + (1 | h/g)",
        "priors": {"groups": {"h:g": DIAGONAL, "h": DIAGONAL}, "sigma": HALF_T},
    },
    "known residuals": {
        "formula": "y ~ 1 + (1 | g)",
        "residual": {"kind": "known", "sd": "w"},
        "priors": {"groups": {"g": DIAGONAL}},
    },
    "lkj": {
        "formula": "y ~ x + (x | g)",
        "priors": {
            "groups": {"g": {"kind": "lkj", "eta": 1.5, "sd": {"kind": "half_normal", "scale": 1}}},
            "sigma": HALF_T,
        },
    },
}
SEEDS = {name: 201 + k for k, name in enumerate(MODELS)}


def made_up():
    """Rows (40) of eight levels and of five, unbalanced; y is drawn anew."""
    rng = np.random.default_rng(19)
    g, h = np.repeat(np.arange(8), 5), rng.permutation(np.arange(40) % 5)
    g[g == 3] = 2
    return pd.DataFrame(
        {
            "y": rng.normal(size=40),
            "x": rng.normal(1.0, 1.0, 40),
            "g": [f"g{code}" for code in g],
            "h": [f"h{code}" for code in h],
            "w": rng.uniform(0.5, 2.0, 40),
        }
    )


def built(name):
    config = {"schema": 1, "name": "m", "data": {"source": "frame"}, **MODELS[name]}
    config["priors"] = {"beta": NORMAL, **config["priors"]}
    return hlm.build(config, data=made_up())


@pytest.mark.parametrize("engine", DRAWING)
def test_an_engine_takes_six_of_the_models(engine):
    assert sum(not find(engine).refusals(built(name)) for name in MODELS) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("engine", DRAWING)
@pytest.mark.parametrize("name", MODELS)
def test_the_ranks_of_an_engine_are_uniform(name, engine):
    spec = built(name)
    if find(engine).refusals(spec):
        pytest.skip(f"{engine} refuses {name}")
    found = hlm.calibrate(spec, engine, SIMULATIONS, seed=SEEDS[name])
    status = {one.code: (one.status, one.message) for one in found.checks}
    assert [code for code, (one, _) in status.items() if one == "fail"] == [], status

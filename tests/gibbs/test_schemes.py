"""All schemes, and marginal NUTS, sample the same posterior."""

import math

import numpy as np
import pytest
from gibbs_cases import CENTRED, made

import hlm_models as hlm

MODELS = (
    "intercept", "weights and offset", "wishart", "hierarchical", "independent", "shared",
    "two terms", "student t", "known", "crossed", "nested",
)  # fmt: skip


def quantities(fit):
    """Mean and error of every parameter, of its log or Fisher's z where it has a long tail."""
    from hlm_models.results.summary import ess, parameter_draws

    found = {}
    for name, draws in parameter_draws(fit).items():
        values = {"s": np.log, "c": np.arctanh}.get(name[0], np.asarray)(draws)
        found[name] = (values.mean(), values.std() / math.sqrt(ess(values, "mean")))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_scheme_has_the_posterior_of_nuts(name):
    spec = made(name)
    theirs = quantities(hlm.fit(spec, engine="nuts", seed=1, draws=3000))
    schemes = ["joint", "effects", *(["coefficients"] if name in CENTRED else [])]
    for scheme in schemes:
        # A sweep of several groups takes a hundred times as long.
        few, many = (2000, 4000) if len(spec.blocks) > 1 else (8000, 40_000)
        draws = few if scheme == "joint" else many
        fit = hlm.fit(spec, engine="gibbs", seed=2, draws=draws, gibbs={"scheme": scheme})
        for parameter, (mean, error) in quantities(fit).items():
            other, other_error = theirs[parameter]
            # Of some two hundred differences one in a hundred runs has a larger one.
            assert abs(mean - other) < 4.5 * math.hypot(error, other_error), (scheme, parameter)

"""Checks of a model itself."""

import numpy as np
import pandas as pd

import hlm_models as hlm
from hlm_models.results.design_checks import design_checks


def cells() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    arm = np.tile(["low", "mid", "high"], 20)
    site = np.repeat([f"s{i}" for i in range(10)], 6)
    return pd.DataFrame({"y": 100 + rng.normal(size=60), "arm": arm, "site": site})


def codes(formula: str, **keywords: object) -> list[str]:
    spec = hlm.build(formula=formula, data=cells(), **keywords)
    return [check.code for check in design_checks(spec)]


def test_cell_means_far_from_their_default_priors_are_a_conflict():
    assert codes("y ~ 0 + arm + (1 | site)") == ["prior_conflict"] * 3


def test_an_intercept_is_centred_where_the_data_are():
    assert codes("y ~ arm + (1 | site)") == []


def test_priors_that_the_user_states_settle_the_conflict():
    stated = ["priors.beta={kind: normal, loc: 100, scale: 10}"]
    assert codes("y ~ 0 + arm + (1 | site)", overrides=stated) == []

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.errors import FitError, InputErrors
from hlm_models.inference.refit import refit
from hlm_models.results.simulate import simulate

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "extract.json").read_text())["refit"]


@pytest.fixture(scope="module")
def slopes():
    return hlm.fit("sleepstudy-slopes", engine="reml")


@pytest.mark.golden
def test_a_transformed_response_gives_the_fit_of_lme4(slopes):
    found = refit(slopes, np.sqrt(slopes.spec.design.y))
    assert found.criterion == pytest.approx(GOLDEN["criterion"], rel=1e-10)
    np.testing.assert_allclose(found.beta, GOLDEN["fixef"], rtol=1e-7)


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("name", ["sleepstudy-slopes", "penicillin"])
def test_the_refit_is_the_fit_of_the_data_with_that_response(name, engine):
    fit = hlm.fit(name, engine=engine)
    y = simulate(fit, seed=3)[:, 0]
    design = fit.spec.design
    data = design.table.frame().assign(**{design.formula.response: y})
    fresh = hlm.fit(hlm.build(name, data=data), engine=engine)
    # A Series' own index says nothing about the rows of the model.
    found = refit(fit, pd.Series(y, index=np.arange(len(y))[::-1]))
    assert found.engine == engine
    assert found.criterion == fresh.criterion
    for part in ("beta", "vcov_beta", "theta", "df"):
        np.testing.assert_array_equal(getattr(found, part), getattr(fresh, part))
    np.testing.assert_array_equal(found.spec.design.y, y)


def test_the_response_given_stays_the_callers(slopes):
    y = slopes.spec.design.y + 1.0
    refit(slopes, y)
    y[0] = 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[:-1], r"has shape \(179,\), and 180 values are needed"),
        (lambda y: np.column_stack([y, y]), r"has shape \(180, 2\)"),
        (lambda y: np.where(np.arange(180) == 6, np.nan, y), "nan in row 7, and in 1 of 180 rows"),
        (lambda y: np.where(np.arange(180) > 177, np.inf, y), "inf in row 179, and in 2 of 180"),
        (lambda y: [*y[:-1], "much"], "must hold numbers"),
        (lambda y: np.full(180, 5.0), "is 5 in every row; nothing varies"),
    ],
)
def test_unusable_responses_are_refused(slopes, change, message):
    with pytest.raises(InputErrors, match=message):
        refit(slopes, change(slopes.spec.design.y))


@pytest.mark.parametrize("unit", [1e200, 1e-160, 1e-200])
@pytest.mark.parametrize("name", ["sleepstudy-slopes", "penicillin"])
def test_a_response_too_large_or_small_to_square_is_no_exact_fit(name, unit):
    fit = hlm.fit(name, engine="reml")
    with pytest.raises(FitError, match="give it in another unit"):
        refit(fit, fit.spec.design.y * unit)

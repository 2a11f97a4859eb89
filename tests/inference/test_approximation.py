import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.errors import RefusalError
from hlm_models.inference.approximation import METHODS

ASK = {
    "anova": lambda fit, df: hlm.anova(fit, df=df),
    "coefficient_tests": lambda fit, df: hlm.coefficient_tests(fit, df=df),
    "hypothesis": lambda fit, df: hlm.hypothesis(fit, "x = 0", df=df),
    "marginal_means": lambda fit, df: hlm.marginal_means(fit, "arm", df=df),
}


def made_up(seed=1, schools=6):
    rng = np.random.default_rng(seed)
    n = 8 * schools
    school = np.arange(n) % schools
    y = rng.normal(size=n) + 2 * rng.normal(size=schools)[school]
    frame = pd.DataFrame({"y": y, "x": rng.normal(size=n), "school": school.astype(str)})
    return frame.assign(arm=frame["school"], side=np.where(school < 3, "left", "right"))


@pytest.mark.parametrize("df", METHODS)
@pytest.mark.parametrize("ask", ASK)
def test_no_test_rests_on_a_variance_that_the_data_do_not_inform(ask, df):
    # One school an arm: theta stays where the search began, and p followed it.
    fit = hlm.fit(hlm.build(formula="y ~ x + arm + (1 | school)", data=made_up()), engine="reml")
    [check] = [check for check in fit.checks if check.code == "identified"]
    assert check.status == "warn"
    with pytest.raises(RefusalError, match="no degrees of freedom: the criterion is flat"):
        ASK[ask](fit, df)


@pytest.mark.parametrize("df", METHODS)
@pytest.mark.parametrize("formula", ["y ~ x + side + (x | school)", "y ~ x + side + (x || school)"])
def test_a_singular_fit_has_tests(formula, df):
    data = made_up().assign(y=np.random.default_rng(0).normal(size=48))
    fit = hlm.fit(hlm.build(formula=formula, data=data), engine="reml")
    assert fit.singular
    assert np.isfinite(hlm.anova(fit, df=df).frame()).all(axis=None)

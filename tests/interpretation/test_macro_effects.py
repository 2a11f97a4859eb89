import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.interpretation.macro_effects import macro_effects


def test_a_predictor_of_the_model_stands_beside_each_levels_coefficients(fit_of):
    fit = fit_of("uneven")
    found = macro_effects(fit, "u")
    assert found.inside
    np.testing.assert_array_equal(found.values, np.arange(8.0))
    table = found.frame()
    assert len(table) == 16
    slopes = table[table["coefficient"] == "x"]
    np.testing.assert_allclose(
        slopes["partial"] - slopes["expected"], fit.random[0].b[:, 1], rtol=1e-7
    )


def test_the_lectures_schools_by_free_lunch(nels):
    fit = hlm.fit("nels-slopes", engine="ml")
    found = macro_effects(fit, nels.groupby("school")["flp"].first())
    assert not found.inside
    counts = found.by_value().loc["ses", "levels"]
    assert counts.to_dict() == {1: 226, 2: 257, 3: 201}
    means = found.by_value().loc["Intercept", "partial"]
    assert means.is_monotonic_decreasing
    b = fit.random[0].b[found.values == 3, 0].mean()
    assert means[3] == pytest.approx(fit.beta[0] + b)


def test_labels_are_values_too(fit_of):
    fit = fit_of("growth")
    found = macro_effects(fit, "sex")
    assert found.by_value().loc["age", "levels"].to_dict() == {"Female": 11, "Male": 16}
    beta = fit.beta
    expected = np.where(found.values == "Male", beta[2] + beta[3], beta[2])
    np.testing.assert_allclose(found.pooling.expected[:, 1], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("predictor", "text"),
    [
        ("x", "x varies within g"),
        ("v", r"frame\.groupby\('g'\)\['v'\]\.first\(\)"),
        (3, "a Series of values by level"),
    ],
)
def test_what_is_no_macro_predictor_is_refused(fit_of, predictor, text):
    with pytest.raises(InputErrors, match=text):
        macro_effects(fit_of("uneven"), predictor)


def test_levels_without_a_value_are_named(fit_of):
    import pandas as pd

    with pytest.raises(InputErrors, match="'g3' of g has no finite value"):
        macro_effects(fit_of("uneven"), pd.Series({f"g{j}": j for j in range(8) if j != 3}))
    with pytest.raises(InputErrors, match="'g0' of g has no finite value"):
        macro_effects(
            fit_of("uneven"), pd.Series({f"g{j}": 1 / j if j else np.inf for j in range(8)})
        )
    with pytest.raises(InputErrors, match="n is the name of another column"):
        macro_effects(fit_of("uneven"), pd.Series({f"g{j}": j for j in range(8)}, name="n"))
    with pytest.raises(InputErrors, match="g1 has several values"):
        macro_effects(fit_of("uneven"), pd.Series([1, 2], index=["g1", "g1"]))

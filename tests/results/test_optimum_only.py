import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors

CALLS = {
    "bootstrap": lambda fit: hlm.bootstrap(fit, 2, seed=1),
    "profile": lambda fit: hlm.profile(fit, ["sigma"]),
    "likelihood_ratio": lambda fit: hlm.likelihood_ratio(fit, fit),
    "cooks_distance": lambda fit: hlm.cooks_distance(fit, "batch"),
}


@pytest.fixture(scope="module")
def given():
    return hlm.fit(hlm.build("dyestuff", overrides=["reml.theta=[2.0]"]), engine="reml")


@pytest.mark.parametrize("name", CALLS)
def test_what_searches_again_takes_no_fit_at_a_given_theta(name, given):
    message = f"reml.theta: {name}.* takes a fit at its optimum"
    with pytest.raises(InputErrors, match=message):
        CALLS[name](given)


def test_influence_with_theta_fixed_takes_any_theta(given):
    assert hlm.cooks_distance(given, "batch", theta="fixed").notna().all()
    assert hlm.cooks_distance(given).notna().all()

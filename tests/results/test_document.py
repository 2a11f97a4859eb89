import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.results.document import document, plain

CANNED = Path(__file__).parents[1] / "report" / "canned.py"
canned_posterior = runpy.run_path(str(CANNED))["canned_posterior"]


@pytest.fixture(scope="module", params=["sleepstudy-slopes", "sleepstudy-uncorrelated"])
def both(request):
    ref = hlm.fit(request.param, engine="reml")
    return canned_posterior(ref.spec, ref, np.random.default_rng(4), draws=60), ref


def strict(value):
    """The same after a trip through JSON without NaN."""
    return json.loads(json.dumps(value, allow_nan=False))


def test_documents_are_strict_json(both):
    for fit in both:
        found = document(fit)
        assert strict(found) == found


def test_a_fit_on_the_boundary_is_strict_json():
    ref = hlm.fit("dyestuff2", engine="reml")
    assert strict(document(ref))["singular"]
    posterior = canned_posterior(ref.spec, ref, np.random.default_rng(1), draws=20)
    assert not strict(document(posterior))["singular"]


def test_the_numbers_of_a_point_fit_are_the_fits(both):
    _, ref = both
    found, [random] = document(ref), ref.random
    assert found["criterion"] == {"name": "reml", "value": ref.criterion}
    k = ref.spec.design.p + len(ref.theta) + 1
    assert found["aic"] == ref.criterion + 2 * k
    assert found["bic"] == ref.criterion + k * math.log(180)
    assert found["theta"] == ref.theta.tolist()
    assert found["vcov_beta"] == ref.vcov_beta.tolist()
    assert [row["estimate"] for row in found["beta"]] == ref.beta.tolist()
    assert found["random"][0]["cov"] == random.cov.tolist()
    psi = np.outer(random.sd, random.sd) * random.corr
    np.testing.assert_allclose(found["random"][0]["cov"], psi, rtol=1e-12, atol=1e-12)


def test_the_numbers_of_a_posterior_are_those_of_its_draws(both):
    posterior, _ = both
    found, data = document(posterior), posterior.data["posterior"]
    assert found["sigma"]["mean"] == float(data["sigma"].mean())
    sd, corr = data["sd_subject"].values, data["corr_subject"].values
    [random] = found["random"]
    for i in range(2):
        assert random["sd"][i]["mean"] == pytest.approx(sd[..., i].mean(), rel=1e-14)
        for j in range(2):
            cov = sd[..., i] * corr[..., i, j] * sd[..., j]
            assert random["cov"][i][j]["mean"] == pytest.approx(cov.mean(), rel=1e-12, abs=1e-12)
            assert random["cov"][i][j]["sd"] == pytest.approx(cov.std(ddof=1), rel=1e-9, abs=1e-12)
    assert [row["mean"] for row in found["beta"]] == pytest.approx(
        data["beta"].mean(("chain", "draw")).values, rel=1e-14
    )


def test_a_fixed_correlation_has_a_mean_and_no_diagnostics(both):
    posterior, _ = both
    diagonal = document(posterior)["random"][0]["corr"][0][0]
    assert diagonal["mean"] == pytest.approx(1, abs=1e-15)
    assert diagonal["sd"] == pytest.approx(0, abs=1e-15)
    assert math.isnan(diagonal["r_hat"] or math.nan)


def test_checks_are_carried_as_they_are(both):
    for fit in both:
        assert document(fit)["checks"] == [plain(check.document()) for check in fit.checks]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float64("nan"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan], [-np.inf, 2.0]]), [[1.0, None], [None, 2.0]]),
        ((1, (2.0, None)), [1, [2.0, None]]),
        ({"a": {"b": np.arange(2)}}, {"a": {"b": [0, 1]}}),
        ("text", "text"),
    ],
)
def test_plain_values_are_what_json_can_hold(value, expected):
    found = plain(value)
    assert found == expected
    assert json.dumps(found, allow_nan=False) == json.dumps(expected)

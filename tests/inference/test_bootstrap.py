import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hlm_models as hlm
from hlm_models.errors import FitError, InputErrors, ModelMismatchError
from hlm_models.inference import bootstrap as module
from hlm_models.inference.bootstrap import Bootstrap, bootstrap
from hlm_models.inference.draws import quick_fit
from hlm_models.inference.journal import NAME
from hlm_models.inference.workers import collect
from hlm_models.results.progress import silent
from hlm_models.results.simulate import Source
from hlm_models.results.summary import parameters, point_values


def made_up(seed=0, *, n=90):
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 10, n), rng.integers(0, 6, n)
    x = rng.normal(2, 1, n)
    y = 1 + x + rng.normal(size=10)[g] * (1 + 0.5 * x) + rng.normal(size=6)[h] + rng.normal(size=n)
    frame = pd.DataFrame({"y": y, "x": x, "g": [f"g{i}" for i in g], "h": [f"h{i}" for i in h]})
    return frame.assign(w=rng.uniform(0.2, 3.0, n), o=rng.normal(size=n))


def build(formula, frame, **options):
    config = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula, **options}
    return hlm.build(config, data=frame)


@pytest.fixture(scope="module")
def fit():
    return hlm.fit(hlm.build("sleepstudy-slopes"), engine="reml")


MODELS = [
    ("y ~ x + (x | g)", {}),
    ("y ~ x + (x | g)", {"weights": "w", "offset": "o"}),
    ("y ~ x + (x | g) + (1 | h)", {"weights": "w"}),
]


@pytest.mark.parametrize(("formula", "options"), MODELS)
def test_another_response_has_the_cross_products_of_a_new_pass(formula, options):
    spec = build(formula, made_up(), **options)
    y = np.random.default_rng(1).normal(5, 2, spec.design.n)
    kept, anew = spec.marginal.with_response(y), spec.with_response(y).marginal
    for name in ("G", "H", "T", *(["HR"] if len(spec.blocks) > 1 else [])):
        np.testing.assert_allclose(
            getattr(kept.products, name), getattr(anew.products, name), rtol=1e-10, atol=1e-10
        )
    assert kept.products.G is spec.marginal.products.G
    theta = kept.start(0.4)
    one, other = kept.at(theta, reml=True), anew.at(theta, reml=True)
    assert one.value == pytest.approx(other.value, rel=1e-12)
    np.testing.assert_allclose(kept.beta(one), anew.beta(other), rtol=1e-10)


@pytest.mark.parametrize(("formula", "options"), MODELS)
@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_a_quick_refit_finds_what_the_fitter_finds(formula, options, engine):
    fit = hlm.fit(build(formula, made_up(), **options), engine=engine)
    y = Source.of(fit, seed=5).response(0)
    start = fit.spec.marginal.scaled_theta(fit.theta)
    quick = quick_fit(fit.spec.marginal, y, start=start, reml=engine == "reml")
    full = hlm.fit(fit.spec.with_response(y), engine=engine)
    offset = quick.marginal.offset(reml=engine == "reml")
    assert quick.criterion + offset == pytest.approx(full.criterion, abs=1e-6)
    expected = [point_values(full)[one.name][0] for one in parameters(fit.spec)]
    np.testing.assert_allclose(quick.population(fit.spec), expected, rtol=1e-3, atol=1e-3)


def test_responses_have_the_mean_and_covariance_of_the_model():
    spec = build("y ~ x + (x | g) + (1 | h)", made_up(n=30), weights="w", offset="o")
    fit = hlm.fit(spec, engine="ml")
    source, design = Source.of(fit, seed=2), spec.design
    V = np.diag(fit.sigma**2 / design.weights)
    for block, estimate in zip(spec.blocks, fit.random, strict=True):
        V += (block.z @ estimate.cov @ block.z.T) * (block.level[:, None] == block.level)
    centre = design.X @ fit.beta + design.offset
    root = np.linalg.cholesky(V)
    draws = np.array([np.linalg.solve(root, source.response(i) - centre) for i in range(3000)])
    # White noise once V is taken out: means and covariances within 5 standard errors.
    assert np.abs(draws.mean(axis=0)).max() < 5 / np.sqrt(3000)
    off = np.cov(draws.T) - np.eye(design.n)
    assert np.abs(off).max() < 5 * np.sqrt(2 / 3000)


def test_draws_depend_on_seed_and_number_alone(fit):
    few, many = bootstrap(fit, 4, seed=7), bootstrap(fit, 9, seed=7)
    np.testing.assert_array_equal(few.draws, many.draws[:4])
    other = bootstrap(fit, 4, seed=8)
    assert not np.isclose(few.draws, other.draws).any()
    assert len(np.unique(many.draws[:, 0])) == 9


def test_workers_change_nothing(fit):
    before = dict(os.environ)
    one, two = (
        bootstrap(fit, 5, seed=7, statistic=share, workers=workers) for workers in (None, 2)
    )
    assert one.names == two.names
    np.testing.assert_allclose(one.draws, two.draws, rtol=1e-12)
    assert dict(os.environ) == before


def test_an_interrupted_run_is_taken_up(fit, tmp_path):
    whole = bootstrap(fit, 8, seed=3)
    bootstrap(fit, 5, seed=3, folder=tmp_path)
    path = tmp_path / NAME
    text = path.read_text()
    assert len(text.splitlines()) == 6
    path.write_text(text[:-20])
    steps = []
    again = bootstrap(fit, 8, seed=3, folder=tmp_path, progress=steps.append)
    assert (steps[0].done, steps[0].total, steps[-1].done) == (4, 8, 8)
    np.testing.assert_array_equal(again.draws, whole.draws)
    # The file is whole again: nothing is left to draw, and the draws kept are the ones used.
    lines = path.read_text().splitlines()
    index, row = json.loads(lines[1])
    lines[1] = json.dumps([index, [0.0] + [1.0] * (len(row) - 1)])
    path.write_text("\n".join(lines) + "\n")
    steps.clear()
    assert (
        bootstrap(fit, 8, seed=3, folder=tmp_path, progress=steps.append).draws[index] == 1
    ).all()
    assert [step.done for step in steps] == [8]
    assert len(bootstrap(fit, 2, seed=3, folder=tmp_path).draws) == 2


def test_a_file_without_a_whole_first_line_is_begun_anew(fit, tmp_path):
    bootstrap(fit, 1, seed=3, folder=tmp_path)
    (tmp_path / NAME).write_text((tmp_path / NAME).read_text()[:30])
    found = bootstrap(fit, 3, seed=3, folder=tmp_path)
    np.testing.assert_array_equal(found.draws, bootstrap(fit, 3, seed=3).draws)
    assert len((tmp_path / NAME).read_text().splitlines()) == 4


def test_draws_of_something_else_are_refused(fit, tmp_path):
    bootstrap(fit, 1, seed=3, folder=tmp_path)
    for other, seed in (
        (fit, 4),
        (hlm.fit(fit.spec, engine="ml"), 3),
        (hlm.fit("dyestuff", "ml"), 3),
    ):
        with pytest.raises(ModelMismatchError, match="another fit, seed or statistic"):
            bootstrap(other, 1, seed=seed, folder=tmp_path)
    with pytest.raises(ModelMismatchError):
        bootstrap(fit, 1, seed=3, folder=tmp_path, statistic=share)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputErrors, match="draws cannot be kept there"):
        bootstrap(fit, 1, seed=3, folder=file)


def one(fit):
    return {"value": fit.sigma}


def other(fit):
    return {"value": fit.theta[0]}


def test_draws_of_another_statistic_of_the_same_name_are_refused(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(other, "__qualname__", one.__qualname__)
    bootstrap(fit, 2, seed=3, folder=tmp_path, statistic=one)
    with pytest.raises(ModelMismatchError, match="another fit, seed or statistic"):
        bootstrap(fit, 2, seed=3, folder=tmp_path, statistic=other)


NO_DRAWS = {
    "a number": b"5",
    "nothing": b"null",
    "no number": b'["a", [1.0, 2.0]]',
    "too short": b"[1, [0.0, 2.0]]",
    "words": b'[1, ["a", "b", "c", "d", "e", "f", "g"]]',
    "nested": b"[1, [[0.0], 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]",
    "three": b"[1, [0.0], 3]",
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("case", NO_DRAWS)
def test_a_line_that_is_no_draw_is_dropped(fit, tmp_path, case):
    whole = bootstrap(fit, 3, seed=3, folder=tmp_path)
    path = tmp_path / NAME
    lines = path.read_bytes().split(b"\n")
    lines[2] = NO_DRAWS[case]
    path.write_bytes(b"\n".join(lines))
    again = bootstrap(fit, 3, seed=3, folder=tmp_path)
    np.testing.assert_array_equal(again.draws, whole.draws)
    assert sorted(json.loads(line)[0] for line in path.read_text().splitlines()[1:]) == [0, 1, 2]


@pytest.mark.parametrize("content", [b"\xff\xfe\n\x00\n", b"\xff\xfe", b"5", b"notes\n"])
def test_a_file_of_something_else_is_left_alone(fit, tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ModelMismatchError, match="another fit, seed or statistic"):
        bootstrap(fit, 1, seed=3, folder=tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


WRONG = [
    ({"draws": "3"}, "draws: a whole number of at least 1 is needed, not '3'"),
    ({"draws": 3.0}, "draws: a whole number"),
    ({"workers": 1.5}, "workers: a whole number"),
    ({"seed": None}, "seed: a whole number from 0 on is needed, not None"),
    ({"seed": -1}, "seed: a whole number"),
    ({"seed": "a"}, "seed: a whole number"),
    ({"folder": 5}, "folder: a path is needed, not 5"),
    ({"statistic": 5}, "statistic: a function of a fit is needed, not 5"),
    ({"statistic": lambda fit: fit.sigma}, "statistic: a mapping of names to numbers is needed"),
    ({"statistic": lambda fit: {"a": "b"}}, "statistic: a mapping of names to numbers is needed"),
    ({"statistic": lambda fit: {}, "workers": 2}, "statistic: worker processes cannot import"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments_are_told_before_anything_is_drawn(fit, arguments, message, monkeypatch):
    monkeypatch.setattr(module, "collect", None)
    with pytest.raises(InputErrors, match=message):
        bootstrap(fit, **{"draws": 2, "seed": 1, **arguments})


def share(fit):
    """The share of the intercepts in the variance."""
    variance = fit.random[0].cov[0, 0]
    return {"share": variance / (variance + fit.sigma**2), "sigma again": fit.sigma}


def test_a_statistic_of_the_full_fit(fit):
    found = bootstrap(fit, 3, seed=3, statistic=share)
    assert found.names[-2:] == ("share", "sigma again")
    assert found.estimate[-2] == share(fit)["share"]
    np.testing.assert_allclose(found.draws[:, -1], found.draws[:, found.names.index("sigma")])
    plain = bootstrap(fit, 3, seed=3)
    np.testing.assert_array_equal(found.draws[:, :-2], plain.draws)
    with pytest.raises(InputErrors, match="the same names"):
        bootstrap(fit, 3, seed=3, statistic=lambda fit: {f"{fit.sigma:.9f}": 1.0})


def test_failed_refits_are_counted(fit, monkeypatch):
    def some_fail(marginal, y, **options):
        return None if int(y[0] * 1e6) % 2 else quick_fit(marginal, y, **options)

    whole = bootstrap(fit, 12, seed=1)
    monkeypatch.setattr(module, "quick_fit", some_fail)
    found = bootstrap(fit, 12, seed=1)
    assert 0 < found.failed < 12
    lost = np.isnan(found.draws).all(axis=1)
    assert lost.sum() == found.failed
    np.testing.assert_array_equal(found.draws[~lost], whole.draws[~lost])
    assert (found.frame()["draws"] == 12 - found.failed).all()
    monkeypatch.setattr(module, "quick_fit", lambda *args, **options: None)
    with pytest.raises(FitError, match="all 5 refits"):
        bootstrap(fit, 5, seed=1)


class Dying:
    def row(self, index):
        if index == 3:
            os._exit(3)
        return np.array([float(index)])


def test_a_worker_that_dies_is_told():
    options = {"done": {}, "keep": lambda index, row: None, "stage": "", "progress": silent}
    with pytest.raises(FitError, match="worker processes ended"):
        collect(Dying(), 6, workers=2, **options)
    for bad in ({"draws": 0, "workers": 1}, {"draws": 1, "workers": 0}):
        with pytest.raises(InputErrors, match="at least 1"):
            collect(Dying(), **bad, **options)


def test_intervals_by_hand():
    draws = np.random.default_rng(1).gamma(3, size=(999, 1))
    draws[17] = np.nan
    found = Bootstrap(("a",), np.array([2.5]), draws, failed=1, singular=0, seed=1)
    there = draws[np.isfinite(draws)]
    low, high = np.quantile(there, [0.05, 0.95])
    assert found.interval("a", level=0.9) == pytest.approx((low, high))
    assert found.interval("a", kind="basic", level=0.9) == pytest.approx((5.0 - high, 5.0 - low))
    middle, half = 5.0 - there.mean(), stats.norm.ppf(0.95) * there.std(ddof=1)
    assert found.interval("a", kind="normal", level=0.9) == pytest.approx(
        (middle - half, middle + half)
    )
    row = found.frame(level=0.9).loc["a"]
    assert row[["basic_lower", "percentile_upper"]].tolist() == pytest.approx([5.0 - high, high])
    assert row["bias"] == pytest.approx(there.mean() - 2.5)
    assert row["draws"] == 998
    for bad in ({"name": "b"}, {"name": "a", "kind": "bca"}, {"name": "a", "level": 95}):
        with pytest.raises(InputErrors):
            found.interval(**bad)


def test_a_level_is_a_number(fit):
    found = bootstrap(fit, 2, seed=1)
    for level in (95, "a"):
        with pytest.raises(InputErrors, match="level: a number between 0 and 1"):
            found.interval("sigma", level=level)


def test_a_correlation_without_variance_is_undefined_not_zero(fit):
    quick = quick_fit(
        fit.spec.marginal, fit.spec.design.y, start=np.array([1.0, 0, 1.0]), reml=True
    )
    names = [one.name for one in parameters(fit.spec)]
    flat = replace(quick, theta=np.array([1.0, 0.0, 0.0]))
    assert flat.singular
    assert not quick.singular
    values = dict(zip(names, flat.population(fit.spec), strict=True))
    assert values["sd_subject[days]"] == 0
    assert np.isnan(values["corr_subject[Intercept, days]"])


def test_moments_in_a_balanced_one_way_layout():
    rng = np.random.default_rng(3)
    J, m, draws = 20, 6, 600
    g = np.repeat(np.arange(J), m)
    y = 10 + 2 * rng.normal(size=J)[g] + rng.normal(size=J * m)
    frame = pd.DataFrame({"y": y, "g": [f"g{i:02d}" for i in g]})
    fit = hlm.fit(hlm.build(formula="y ~ 1 + (1 | g)", data=frame), engine="reml")
    found = bootstrap(fit, draws, seed=11)
    beta, sd, sigma = found.draws.T
    # REML is the analysis of variance here: mean squares are independent scaled chi-squares.
    tau2, sigma2 = fit.random[0].cov[0, 0], fit.sigma**2
    between = (m * tau2 + sigma2) / (J * m)
    assert found.singular == found.failed == 0
    assert beta.mean() == pytest.approx(fit.beta[0], abs=4 * np.sqrt(between / draws))
    assert beta.var() == pytest.approx(between, rel=4 * np.sqrt(2 / draws))
    df = J * (m - 1)
    assert (sigma**2).mean() == pytest.approx(sigma2, rel=4 * np.sqrt(2 / df / draws))
    assert stats.kstest(df * sigma**2 / sigma2, stats.chi2(df).cdf).pvalue > 1e-3
    mean_square = (m * sd**2 + sigma**2) / (m * tau2 + sigma2)
    assert stats.kstest((J - 1) * mean_square, stats.chi2(J - 1).cdf).pvalue > 1e-3

"""A model taken to Bambi, and from it, has the same log posterior; what cannot go is refused."""

import doctest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.spec.density import Point, joint_log_density

bmb = pytest.importorskip("bambi")

PRIORS = {
    "beta": {
        "Intercept": {"kind": "student_t", "df": 4, "loc": 1.5, "scale": 6},
        "x": {"kind": "uniform", "lower": -40, "upper": 50},
        "w": {"kind": "flat"},
    },
    "sigma": {"kind": "exponential", "scale": 3},
    "groups": {
        "g": {
            "kind": "diagonal",
            "sd": {
                "Intercept": {"kind": "half_normal", "scale": 2},
                "x": {"kind": "uniform", "lower": 0, "upper": 30},
            },
        },
        "h": {"kind": "diagonal", "sd": {"kind": "flat"}},
    },
}
CELLS = {"source": "frame", "where": "x > -1", "derive": {"v": "x * w"}}
MODELS = {
    "a random intercept": ("y ~ x + (1 | g)", {}),
    "several kinds of priors": ("y ~ x + w + (x || g) + (1 | h)", {"priors": PRIORS}),
    "a factor": ("y ~ x * f + (1 | g)", {}),
    "a factor that varies": ("y ~ f + (0 + f || g)", {}),
    "no intercept": ("y ~ 0 + x + f + (0 + x | g)", {}),
    "no intercept, said by a minus": ("y ~ -1 + x + w + (1 | g)", {}),
    "a constant at the end": ("y ~ x + w + (x + 1 || g) + (w - 1 | h)", {}),
    "a constant in the middle": ("y ~ x + w + (I(x + 1) + 0 + w || g)", {}),
    "transforms": (
        "log(z) ~ center(x) + sqrt(w) + I(x * w) + exp(x) + C(f) + (center(x) || g)",
        {},
    ),
    "crossed factors": ("y ~ x + (1 | g:h) + (x || h)", {}),
    "nested factors": ("y ~ x + (1 | g/h)", {}),
    "an offset": ("y ~ x + offset(w) + (1 | g)", {}),
    "an offset by its key": ("y ~ x + (1 | g)", {"offset": "w"}),
    "odd names": ("y ~ `two words` + (`two words` || `the group`)", {}),
    "known standard deviations": (
        "y ~ x + (1 | g)",
        {"residual": {"kind": "known", "sd": "w"}},
    ),
    "rows chosen, a column derived": ("y ~ x + v + (v || g)", {"data": CELLS}),
    "no random term": ("y ~ x + w", {}),
    "flat": ("y ~ x + (1 | g)", {"priors": {"preset": "flat"}}),
}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(7)
    n = 80
    frame = pd.DataFrame(
        {
            "x": rng.normal(1.0, 2.0, n),
            "w": rng.uniform(0.5, 3.0, n),
            "f": rng.choice(["low", "mid", "high"], n),
            "g": rng.integers(1, 13, n) * 10,
            "h": rng.choice(list("dbca"), n),
        }
    )
    effects = dict(zip(sorted(set(frame.g)), rng.normal(size=12), strict=False))
    frame["y"] = 3 + frame.x + frame.g.map(effects) + rng.normal(size=n)
    frame["z"] = np.exp(frame.y / 4)
    return frame.assign(**{"two words": frame.x + rng.normal(size=n), "the group": frame.g})


@pytest.fixture(scope="module")
def frame(rows):
    """The same with categories, as Bambi warns of pandas where it meets text."""
    return rows.astype({"f": "category", "h": "category"})


def built(rows, formula, more):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula, **more}
    return hlm.build(model, data=rows)


def random_point(spec, rng):
    sds = tuple(rng.uniform(0.5, 3.0, block.q) for block in spec.blocks)
    return Point(
        rng.normal(size=spec.design.p),
        1.0 if spec.priors.sigma is None else float(rng.uniform(0.5, 3.0)),
        sds,
        tuple(np.eye(block.q) for block in spec.blocks),
        tuple(rng.normal(size=(block.J, block.q)) for block in spec.blocks),
    )


def log_posterior(model):
    """The density of a built, centred Bambi model as a function of its variables by name."""
    from pytensor.compile.mode import Mode

    # Interpreted: a handful of evaluations do not pay for compiling.
    mode = Mode(linker="py", optimizer="fast_compile")
    graph = model.backend.model
    density = graph.compile_logp(jacobian=False, mode=mode)
    starts = graph.initial_point()

    def at(variables):
        values = {}
        for rv in graph.free_RVs:
            name, transform = graph.rvs_to_values[rv].name, graph.rvs_to_transforms[rv]
            value = np.asarray(variables[rv.name], dtype=float).reshape(starts[name].shape)
            if transform is not None:
                value = transform.forward(value, *rv.owner.inputs).eval(mode=mode)
            values[name] = value
        return float(density(values))

    return at


def variables(spec, point, model):
    """The variables of Bambi at a point, by names and columns and not by the adapter's own map."""
    component = model.parameters["mu"]
    values = {"sigma": point.sigma}
    for name, term in component.terms.items():
        if name in component.offset_terms:
            continue
        group = name.split("|")[1] if "|" in name else None
        if group is None:
            ours, names = spec.design.X, point.beta
            theirs = np.asarray(term.data).reshape(spec.design.n, -1)
            values[name] = [names[nearest(ours, column)] for column in theirs.T]
            continue
        [at] = [k for k, block in enumerate(spec.blocks) if block.group == group]
        block, theirs = spec.blocks[at], np.asarray(term.predictor).reshape(spec.design.n, -1)
        columns = [nearest(block.z, column) for column in theirs.T]
        order = [block.labels.index(label) for label in term.groups]
        values[name] = point.b[at][np.ix_(order, columns)]
        values[f"{name}_sigma"] = point.sd[at][columns]
    return values


def nearest(columns, column):
    apart = np.abs(columns - column[:, None]).max(axis=0)
    assert apart.min() < 1e-12
    return int(apart.argmin())


def assert_same_posterior(spec, model, rng):
    model.noncentered = False
    model.build()
    density = log_posterior(model)
    for _ in range(2):
        point = random_point(spec, rng)
        expected = joint_log_density(spec, point)
        assert np.isfinite(expected)
        assert density(variables(spec, point, model)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("formula", "more"), MODELS.values(), ids=MODELS)
def test_bambi_has_the_same_log_posterior_and_gives_the_model_back(rows, formula, more):
    spec = built(rows, formula, more)
    model = hlm.to_bambi(spec)
    back = hlm.from_bambi(model)
    assert back.design.coef == spec.design.coef
    assert [block.labels for block in back.blocks] == [block.labels for block in spec.blocks]
    assert [str(prior) for prior in back.priors.beta] == [str(one) for one in spec.priors.beta]
    point = random_point(spec, np.random.default_rng(2))
    assert joint_log_density(back, point) == pytest.approx(joint_log_density(spec, point), rel=1e-9)
    assert_same_posterior(spec, model, np.random.default_rng(1))


def test_the_page_says_what_its_code_prints():
    page = Path(__file__).parents[1] / "docs" / "bambi.md"
    found = doctest.testfile(str(page), module_relative=False, report=True)
    assert found.attempted > 5
    assert found.failed == 0


REFUSED = {
    "correlated effects": (
        ("y ~ x + (x | g)", {}),
        r"\(x \| g\) has correlated effects.*write \(x \|\| g\)",
    ),
    "one variance for all effects": (
        ("y ~ x + (x || g)", {"priors": {"groups": {"g": {"kind": "shared"}}}}),
        r"the prior shared of \(x \|\| g\)",
    ),
    "a prior of a covariance": (
        ("y ~ x + (1 | g)", {"priors": {"groups": {"g": {"kind": "wishart", "scale": [[1]]}}}}),
        r"the prior wishart of \(1 \| g\).*use diagonal",
    ),
    "a prior of a variance": (
        (
            "y ~ x + (1 | g)",
            {"priors": {"sigma": {"kind": "inverse_gamma", "shape": 1, "scale": 1}}},
        ),
        "the prior inverse_gamma of sigma: use one of half_normal",
    ),
    "the lecture's priors": (
        ("y ~ x + (x | g)", {"priors": {"preset": "lecture"}}),
        "correlated effects.*inverse_gamma of sigma",
    ),
    "a horseshoe": (
        ("y ~ x + w + (1 | g)", {"priors": {"beta": {"kind": "horseshoe"}}}),
        "the prior horseshoe is one of several coefficients together",
    ),
    "R2D2": (
        ("y ~ x + w + (1 | g)", {"priors": {"beta": {"kind": "r2d2"}}}),
        "the prior r2d2 is one of several coefficients together",
    ),
    "weights": (("y ~ x + (1 | g)", {"weights": "w"}), r"weights divide .* \(w\)"),
    "contrasts": (("y ~ f + (1 | g)", {"contrasts": {"f": "sum"}}), "f has contrasts of its own"),
    "another reference": (
        ("y ~ f + (1 | g)", {"contrasts": {"f": {"kind": "treatment", "reference": "mid"}}}),
        "f has contrasts of its own",
    ),
    "a spline": (("y ~ bs(x, df=4) + (1 | g)", {}), r"bs\(\) has other columns in Bambi"),
    "a taken name": (("y ~ mu + (1 | g)", {}), "the coefficient mu has a name that Bambi uses"),
    "one term, two kinds of priors": (
        ("y ~ f + (1 | g)", {"priors": {"beta": {"f[low]": {"kind": "flat"}}}}),
        r"the columns of f have priors of several kinds \(flat, normal\)",
    ),
}


@pytest.mark.parametrize(("model", "words"), REFUSED.values(), ids=REFUSED)
def test_what_bambi_cannot_say_is_refused_by_name(rows, model, words):
    spec = built(rows.assign(mu=rows.w), *model)
    with pytest.raises(hlm.RefusalError, match=words):
        hlm.to_bambi(spec)


def prior(name, **settings):
    return bmb.Prior(name, **settings)


UNREAD = {
    "another family": ({"family": "t"}, "the family t, and there is gaussian only"),
    "another link": ({"link": "log"}, "the link log of mu"),
    "a formula of sigma": (
        {"formula": bmb.Formula("y ~ x + (1|g)", "sigma ~ w")},
        "a formula of sigma .sigma ~ w.",
    ),
    "a fixed sigma": ({"priors": {"sigma": 2.0}}, "sigma is the number 2.0: make it a column"),
    "a Gaussian process": ({"formula": "y ~ hsgp(x, m=5, c=2)"}, "hsgp"),
    "a call": ({"formula": "y ~ np.log(w) + (1|g)"}, "np.log"),
    "weights": ({"formula": "weighted(y, w) ~ x"}, "weighted.* is not a function"),
    "a potential": (
        {"potentials": [("x", lambda x: -(x**2))]},
        "potentials",
    ),
    "a prior that we lack": ({"priors": {"x": prior("Laplace", mu=0, b=1)}}, "Laplace.* of x"),
    "a prior by its precision": ({"priors": {"x": prior("Normal", mu=0, tau=1)}}, "mu and sigma"),
    "a prior of its own": (
        {"priors": {"x": prior("Mine", dist=print)}},
        "a distribution of its own",
    ),
    "a moved group": (
        {"priors": {"1|g": prior("Normal", mu=1, sigma=prior("HalfNormal", sigma=1))}},
        r"of 1\|g: effects are Normal with mu 0",
    ),
    "a mean that is estimated": (
        {
            "priors": {
                "1|g": prior(
                    "Normal", mu=prior("Normal", mu=0, sigma=1), sigma=prior("HalfNormal", sigma=1)
                )
            }
        },
        r"of 1\|g: effects are Normal with mu 0",
    ),
    "effects with heavy tails": (
        {"priors": {"1|g": prior("StudentT", nu=3, sigma=prior("HalfNormal", sigma=1))}},
        r"of 1\|g: effects are Normal",
    ),
    "a centred intercept": ({"center_predictors": True}, "center_predictors=False"),
}


@pytest.mark.parametrize(("words", "message"), UNREAD.values(), ids=UNREAD)
def test_what_cannot_be_said_here_is_refused_by_name(frame, words, message):
    options = {"formula": "y ~ x + (1|g)", "center_predictors": False, **words}
    model = bmb.Model(data=frame, extra_namespace={"np": np}, **options)
    with pytest.raises(hlm.RefusalError, match=message):
        hlm.from_bambi(model)


def test_neither_takes_the_other_s_model(frame):
    with pytest.raises(hlm.InputErrors, match=r"takes a bambi\.Model, and this is str"):
        hlm.from_bambi("sleepstudy-slopes")
    with pytest.raises(hlm.InputErrors, match=r"takes a model, hlm\.build"):
        hlm.to_bambi(bmb.Model("y ~ x", frame))
    with pytest.raises(hlm.InputErrors, match="neither exact nor marginal"):
        hlm.from_bambi(bmb.Model("y ~ x", frame), intercept="middle")


@pytest.mark.parametrize(
    "formula", ["y ~ x + f + (x|g)", "y ~ x + (f|g) + (1|h)", "y ~ 1 + (1|g/h)", "y ~ w + (1|g:h)"]
)
def test_the_priors_that_bambi_scales_come_with_their_numbers(frame, formula):
    # Every crossing occurs: a level without rows is none here, and in Bambi it has effects.
    at = np.arange(len(frame))
    crossed = frame.assign(g=pd.Categorical(at % 8), h=pd.Categorical(at // 8 % 2))
    model = bmb.Model(formula, crossed, center_predictors=False)
    spec = hlm.from_bambi(model)
    assert str(spec.priors.sigma) == f"half_student_t(4, {np.std(frame.y):.6g})"
    assert_same_posterior(spec, model, np.random.default_rng(3))


def test_other_names_of_the_same_priors(frame):
    scales = prior("HalfCauchy", beta=2)
    priors = {
        "Intercept": prior("Cauchy", alpha=1, beta=3),
        "x": prior("Normal", sigma=2),
        "1|g": prior("Normal", mu=0, sigma=scales),
        "sigma": prior("Exponential", lam=0.25),
    }
    model = bmb.Model("y ~ x + (1|g)", frame, priors=priors, center_predictors=False)
    model.set_alias({"1|g": "firms"})
    spec = hlm.from_bambi(model, name="firms")
    assert spec.name == "firms"
    assert str(spec.priors.sigma) == "exponential(4)"
    model.set_alias({"1|g": "1|g"})
    assert_same_posterior(spec, model, np.random.default_rng(4))


def test_rows_with_gaps_are_dropped_as_bambi_drops_them(frame):
    gaps = frame.assign(x=frame.x.where(frame.x < 3))
    model = bmb.Model("y ~ x + (1|g)", gaps, dropna=True, center_predictors=False)
    spec = hlm.from_bambi(model)
    assert 0 < spec.design.n == gaps.x.notna().sum() < len(frame)
    assert_same_posterior(spec, model, np.random.default_rng(5))


def test_a_centred_intercept_is_exact_where_its_prior_is_flat(frame):
    flat = {"Intercept": prior("Flat")}
    centred = hlm.from_bambi(bmb.Model("y ~ x + (1|g)", frame, priors=flat))
    model = bmb.Model("y ~ x + (1|g)", frame, priors=flat, center_predictors=False)
    assert_same_posterior(centred, model, np.random.default_rng(6))


def test_the_marginal_prior_of_a_centred_intercept(frame):
    priors = {"Intercept": prior("Normal", mu=2, sigma=3), "x": prior("Normal", mu=-1, sigma=0.5)}
    spec = hlm.from_bambi(bmb.Model("y ~ x + (1|g)", frame, priors=priors), intercept="marginal")
    rng, mean = np.random.default_rng(8), frame.x.mean()
    draws = rng.normal(2, 3, 400_000) - mean * rng.normal(-1, 0.5, 400_000)
    found = spec.priors.beta[0].numbers()
    # Monte Carlo errors of the draws: 3 / sqrt(400,000) is 0.005, of the sd less.
    assert found["loc"] == pytest.approx(draws.mean(), abs=0.02)
    assert found["scale"] == pytest.approx(draws.std(), abs=0.02)
    odd = {**priors, "x": prior("StudentT", nu=3, mu=0, sigma=1)}
    with pytest.raises(hlm.RefusalError, match="normal priors of all coefficients"):
        hlm.from_bambi(bmb.Model("y ~ x + (1|g)", frame, priors=odd), intercept="marginal")


def test_a_response_that_was_replaced_goes_along(rows):
    spec = built(rows, "y ~ x + (1 | g)", {}).with_response(np.arange(80.0))
    assert_same_posterior(spec, hlm.to_bambi(spec), np.random.default_rng(9))
    other = built(rows, "log(z) ~ x + (1 | g)", {}).with_response(np.arange(80.0))
    with pytest.raises(hlm.RefusalError, match="another response"):
        hlm.to_bambi(other)


@pytest.mark.slow
@pytest.mark.parametrize("name", hlm.list_models())
def test_every_model_of_the_zoo_goes_or_is_refused_for_its_correlations(name):
    try:
        spec = hlm.build(name)
    except hlm.InputErrors as error:
        pytest.skip(f"NELS is not there, and HLM_DATA does not name its folder: {error}")
    if spec.design.n > 10_000:
        pytest.skip("Bambi forms the wide Z of all its rows")
    wanted = [term for block in spec.blocks for term in block.terms if term.correlated]
    lecture = spec.config["priors"]["preset"] == "lecture"
    if wanted or lecture:
        with pytest.raises(hlm.RefusalError, match="correlated effects"):
            hlm.to_bambi(spec)
    else:
        assert hlm.to_bambi(spec).data.shape[0] == spec.design.n


@pytest.mark.slow
def test_both_draw_from_one_posterior():
    import arviz as az

    spec = hlm.build("sleepstudy-uncorrelated")
    ours = hlm.summary(hlm.fit(spec, engine="nuts", seed=1))
    model = hlm.to_bambi(spec)
    draws = model.fit(
        inference_method="nutpie", draws=1000, tune=1000, chains=4, random_seed=1, progressbar=False
    )
    theirs = az.summary(draws, round_to="none")
    names = {
        "beta[Intercept]": "Intercept",
        "beta[days]": "days",
        "sigma": "sigma",
        "sd_subject[Intercept]": "1|subject_sigma",
        "sd_subject[days]": "days|subject_sigma",
    }
    for here, there in names.items():
        mine, other = ours.loc[here], theirs.loc[there]
        error = np.hypot(mine["mcse_mean"], other["mcse_mean"])
        assert abs(mine["mean"] - other["mean"]) < 4 * error, here


def test_equal_columns_keep_the_priors_of_their_own_terms(frame):
    twice = frame.assign(again=frame["x"])
    priors = {
        f"{name}|g": bmb.Prior("Normal", mu=0, sigma=bmb.Prior("HalfNormal", sigma=scale))
        for name, scale in (("x", 1), ("again", 9))
    }
    model = bmb.Model(
        "y ~ x + (0 + x|g) + (0 + again|g)", twice, priors=priors, center_predictors=False
    )
    [block] = hlm.from_bambi(model).priors.blocks
    assert [str(one) for term in block.terms for one in term.sd_priors()] == [
        "half_normal(1)",
        "half_normal(9)",
    ]

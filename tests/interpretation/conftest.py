"""Fits that several files read, each made once."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from canned import canned_posterior
from interpretation_cases import model, uneven_frame

import hlm_models as hlm

GOLDEN = Path(__file__).parents[1] / "golden" / "mundlak.json"


@pytest.fixture(scope="session")
def golden():
    return json.loads(GOLDEN.read_text())


@cache
def point(name):
    bundled = {
        "hsb-context": model("mathach ~ ses + (1 | school)", "hsb"),
        "growth": model("distance ~ sex * age + (age | subject)", "orthodont"),
        "curve": model("distance ~ sex * poly(age, 2) + (1 | subject)", "orthodont"),
    }
    if name == "uneven":
        spec = hlm.build(
            model("y ~ x * u + offset(o) + (x | g)", "frame", weights="w"), data=uneven_frame()
        )
        return hlm.fit(spec, engine="reml")
    # lme4's ends, so that numbers agree as far as arithmetic does.
    theta = json.loads(GOLDEN.read_text())["theta"].get(name)
    overrides = [] if theta is None else [f"reml.theta={theta}"]
    return hlm.fit(hlm.build(bundled.get(name, name), overrides=overrides), engine="reml")


@cache
def posterior(name):
    fit = point(name)
    return canned_posterior(fit.spec, fit, np.random.default_rng(1), chains=2, draws=40)


@pytest.fixture(scope="session")
def fit_of():
    return point


@pytest.fixture(scope="session")
def posterior_of():
    return posterior

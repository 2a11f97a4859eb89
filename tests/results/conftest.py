"""Fits whose parts lme4 has extracted too (tests/golden/extract.R)."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import hlm_models as hlm

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "extract.json").read_text())["fits"]
BUNDLED = {"sleepstudy": "sleepstudy-slopes", "penicillin": "penicillin", "pastes": "pastes"}


@cache
def fitted_like_lme4(name):
    """At lme4's theta, so that numbers agree as far as arithmetic does."""
    theta = [f"reml.theta={GOLDEN[name]['theta']}"]
    if name in BUNDLED:
        return hlm.fit(hlm.build(BUNDLED[name], overrides=theta), engine="reml")
    data = hlm.build("sleepstudy-slopes").design.table.frame()
    i = np.arange(1, len(data) + 1)
    data = data.assign(w=1.0 + i % 3, o=i % 5)[(i % 7 != 0) & (i > 6)]
    model = {
        "schema": 1,
        "name": "uneven",
        "data": {"source": "frame"},
        "formula": "reaction ~ days + offset(o) + (days | subject)",
        "weights": "w",
    }
    return hlm.fit(hlm.build(model, data=data, overrides=theta), engine="reml")


@pytest.fixture(scope="session", params=list(GOLDEN))
def lme4(request):
    """One of lme4's fits by name: ours, and what lme4 says of it."""
    return fitted_like_lme4(request.param), GOLDEN[request.param]


@pytest.fixture(scope="session")
def fit_of():
    return fitted_like_lme4

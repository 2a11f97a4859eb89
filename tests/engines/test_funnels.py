"""The latent form on data that say little, and much, about each level's effect.

With little, a centred form meets Neal's funnel: the effects are as narrow as their standard
deviation is small. With much, effects and mean are nearly known, and a non-centred form ties them
together.
Source: Betancourt and Girolami (2015), arXiv:1312.0906.
"""

import json

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.cli import main

pytestmark = pytest.mark.slow


def groups(rows, *, spread, seed=1):
    """Five groups of `rows` rows with residual sd 1."""
    rng = np.random.default_rng(seed)
    level = np.repeat(np.arange(5), rows)
    b = spread * rng.normal(size=5)
    y = 1 + b[level] + rng.normal(size=len(level))
    return pd.DataFrame({"y": y, "g": [f"g{j}" for j in level]})


@pytest.mark.parametrize(("rows", "form"), [(2, "noncentered"), (200, "centered")])
def test_the_form_that_is_chosen_meets_no_funnel(rows, form):
    spec = hlm.build(formula="y ~ 1 + (1 | g)", data=groups(rows, spread=0.5))
    fit = hlm.fit(spec, "nuts", parameterization="latent", seed=1)
    assert fit.parameterization == form
    assert fit.divergences == 0
    assert hlm.summary(fit)["r_hat"].max() < 1.01


def test_the_wrong_one_fails_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    groups(2, spread=0.1).to_csv("few.csv", index=False)
    (tmp_path / "few.yaml").write_text(
        "schema: 1\nname: few\ndata: {source: {file: few.csv}}\nformula: y ~ 1 + (1 | g)\n"
    )
    command = ["run", "few.yaml", "--engines", "nuts", "--json"]
    assert main([*command, "--set", "fit.parameterization=centered"]) == 1
    checks = json.loads(capsys.readouterr().out)["fits"]["nuts"]["checks"]
    [found] = [one for one in checks if one["code"] == "divergences"]
    assert found["status"] == "fail"

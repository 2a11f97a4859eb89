"""The models of the sampling benchmark, as files that every peer reads.

A folder a model: `data.csv` with the columns that the model uses; `model.yaml` for hlm_models, with
its default priors; `case.json` with the formula and the numbers of these priors for the peers.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import hlm_models as hlm

NELS = "mscore ~ flp*ses + (ses | school)"


def simulated_nels(rows: int = 12_892, groups: int = 684) -> pd.DataFrame:
    """Pupils in schools of unequal size, at the size and with the spread of `nels`."""
    rng = np.random.default_rng(1)
    weights = rng.gamma(4.0, size=groups)
    school = np.sort(
        np.concatenate(
            [np.arange(groups), rng.choice(groups, rows - groups, p=weights / weights.sum())]
        )
    )
    flp = rng.integers(1, 4, groups)[school]
    ses = rng.normal(size=rows) * 0.75
    root = np.linalg.cholesky(np.array([[9.0, 0.9], [0.9, 1.5]]))
    b = rng.normal(size=(groups, 2)) @ root.T
    mean = 56.0 - 2.4 * flp + b[school, 0] + (4.0 - 0.3 * flp + b[school, 1]) * ses
    mscore = mean + 8.6 * rng.normal(size=rows)
    return pd.DataFrame({"school": school, "flp": flp, "ses": ses, "mscore": mscore})


def _nels() -> Any:
    folder = os.environ.get("HLM_DATA")
    if folder and (Path(folder) / "nels.csv").is_file():
        return hlm.build("nels-macro")
    return hlm.build(formula=NELS, data=simulated_nels())


def rows(n: int, groups: int) -> Any:
    """A correlated slope at n rows of the same groups, each of which has a row at least."""
    rng = np.random.default_rng(1)
    level = np.sort(np.arange(n) % groups)
    x, b = rng.normal(size=n), rng.normal(size=(groups, 2)) * [3.5, 1.2]
    y = 50 + 4 * x + b[level, 0] + b[level, 1] * x + 8 * rng.normal(size=n)
    frame = pd.DataFrame({"g": level, "x": x, "y": y})
    return hlm.build(formula="y ~ x + (x | g)", data=frame)


MODELS = {
    "sleepstudy-slopes": lambda: hlm.build("sleepstudy-slopes"),
    "radon-uranium": lambda: hlm.build("radon-uranium"),
    "hsb-slopes-as-outcomes": lambda: hlm.build("hsb-slopes-as-outcomes"),
    "nels": _nels,
    "insteval": lambda: hlm.build("insteval"),
}


def write(spec: Any, name: str, folder: Path) -> dict[str, Any]:
    """The three files of one model; gives the case."""
    folder.mkdir(parents=True, exist_ok=True)
    spec.design.table.frame().to_csv(folder / "data.csv", index=False)
    formula = spec.design.formula.text
    model = {
        "schema": 1,
        "name": "model",
        "data": {"source": {"file": "data.csv"}},
        "formula": formula,
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(model), encoding="utf-8")
    assert spec.design.coef[0] == "Intercept"
    case = {
        "name": name,
        "rows": spec.design.n,
        "groups": {block.group: block.J for block in spec.blocks},
        "formula": formula,
        "response": formula.partition("~")[0].strip(),
        "coef": spec.design.coef,
        "beta": [_numbers(prior, "normal") for prior in spec.priors.beta],
        "terms": [
            {
                "group": block.group,
                "effects": block.effects,
                "sd": [_numbers(sd, "half_student_t") for sd in prior.terms[0].sd_priors()],
                "eta": prior.terms[0].eta if prior.terms[0].correlated else None,
            }
            for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True)
        ],
        "sigma": _numbers(spec.priors.sigma, "half_student_t"),
    }
    (folder / "case.json").write_text(json.dumps(case, indent=1), encoding="utf-8")
    return case


def _numbers(prior: Any, kind: str) -> list[float]:
    assert prior.kind == kind, f"the peers are told of {kind} only"
    return [float(value) for value in prior.numbers().values()]

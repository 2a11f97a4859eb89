"""Pages of made-up results, plain and with hostile names: nothing is sampled."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from canned import canned_agreement, canned_posterior

import hlm_models as hlm
from hlm_models.calibration.calibrate import Calibration
from hlm_models.calibration.quantities import ranked, truth
from hlm_models.calibration.simulations import Failed, Ranked
from hlm_models.comparison.board import Entry, make_board
from hlm_models.comparison.sensitivity import sensitivity_rows
from hlm_models.report import calibration, comparison, page, prior
from hlm_models.results.checks import Check
from hlm_models.results.prior import implied_prior
from hlm_models.spec.simulate import draw_prior

__all__ = ["HOSTILE", "KINDS", "hostile_models", "plain_models", "rendered"]

KINDS = ("run", "comparison", "calibration", "prior")
TESTS = Path(__file__).parents[1]
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</svg></style></title>--><b>bold",
    "long" * 1250,
    "שלום עולם ومرحبا",
    "\u202etfel ot thgir",
    "👩‍👩‍👧‍👦🧪",
    "\"'>&amp;`${alert(1)}",
    "{{ 7 * 7 }}{% raw %}",
    "tab\tand\nline",
)


def plain_models():
    """Three models of the same data; pages of one model are about the first."""
    return tuple(
        map(hlm.build, ("sleepstudy-slopes", "sleepstudy-intercept", "sleepstudy-uncorrelated"))
    )


def hostile_models():
    """Models whose every name is hostile: their own, columns, groups, levels, and the data's."""
    rng = np.random.default_rng(2)
    n = 12 * len(HOSTILE)
    level = np.arange(n) % len(HOSTILE)
    x, long, group, other = HOSTILE[0], HOSTILE[3], "<img src=x onerror=alert(1)>", HOSTILE[4]
    frame = pd.DataFrame(
        {
            "y": rng.standard_normal(n) + level,
            x: rng.standard_normal(n),
            long: rng.standard_normal(n),
            group: np.array(HOSTILE, dtype=object)[level],
            other: rng.integers(0, 8, n),
            "f": np.array(HOSTILE, dtype=object)[rng.integers(0, 4, n)],
        }
    )
    # A group's name may hold no "/".
    largest = f"y ~ f + `{x}` + `{long}` + (`{x}` | `{group}`) + (1 | `{other}`)"
    smaller = largest.replace(f" + `{long}`", "")
    names = (HOSTILE[0] * 200, HOSTILE[4])
    return tuple(
        _renamed(hlm.build(formula=formula, data=frame), name)
        for formula, name in zip((largest, smaller), names, strict=True)
    )


def _renamed(spec, name):
    table = replace(spec.design.table, source="/data/" + HOSTILE[1] * 150)
    return replace(spec, name=name, design=replace(spec.design, table=table))


def rendered(kind, models):
    """The page of one kind, as text."""
    if kind == "comparison":
        return _comparison(models)
    return {"run": _run, "calibration": _calibration, "prior": _prior}[kind](models[0])


def _fits(spec):
    reference = hlm.fit(spec, "reml")
    warned = Check("ess_bulk", "warn", 91.25, 400, f"few effective draws of {spec.name}")
    return canned_posterior(spec, reference, np.random.default_rng(1), checks=[warned]), reference


def _run(spec):
    posterior, reference = _fits(spec)
    provenance = {
        "model": spec.name,
        "command": f"hlm run {spec.name}",
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"numpy": "2.2"},
        "seed": 1,
        "data": {"source": spec.design.table.source, "rows": spec.design.n, "digest": "abc123"},
        "digest": spec.digest,
        "seconds": {"nuts": {"fit": 1.5}, "reml": {"build": 0.1, "fit": 0.2}},
        "config": spec.config,
    }
    agreement = canned_agreement(posterior, reference)
    found = page.Run(posterior, reference, agreement, provenance, sensitivity_rows(posterior))
    return page.render(found)


def _comparison(models):
    given = {spec.name: Entry(*_fits(spec)) for spec in models}
    canned_board = runpy.run_path(str(TESTS / "comparison" / "canned_board.py"))
    with pytest.MonkeyPatch.context() as patch:
        canned_board["install"](patch)
        board = make_board(given, provenance={"command": f"hlm compare {' '.join(given)}"})
    return comparison.render(board)


def _calibration(spec):
    rng = np.random.default_rng(1)
    names = tuple(ranked(spec, truth(spec, draw_prior(spec, rng))))
    ranks = rng.integers(100, size=(120, len(names)))
    ranks[:, 1] //= 2
    rows = [Ranked(tuple(map(int, one)), 300.0, 0) for one in ranks]
    rows[:2] = [Failed(f"the fit of {spec.name} did not converge")] * 2
    return calibration.render(Calibration(spec, "nuts", spec.fit, 1, names, tuple(rows)))


def _prior(spec):
    return prior.render(implied_prior(spec, 200, 1))

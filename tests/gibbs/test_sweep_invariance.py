"""A sweep leaves the joint law of unknowns and response as it is.

Source: Geweke (2004), doi:10.1198/016214504000001132: unknowns from the prior, a response given
them, one sweep; every statistic of unknowns and response has the same mean after as before.
"""

import math

import numpy as np
import pytest
from gibbs_cases import INVERSE, frame, point, units

import hlm_models as hlm
from hlm_models.gibbs import model as gibbs_model
from hlm_models.gibbs.state import State
from hlm_models.gibbs.step import step
from hlm_models.spec.density import log_likelihood
from hlm_models.spec.simulate import draw_prior, draw_response

REPLICATES = 300

MODELS = {
    "half t": ("y ~ x + (1 | g)", ()),
    "matrix": ("y ~ x + (x | g)", (f"priors.groups.g={INVERSE}",)),
    "hierarchical": ("y ~ x + (x | g)", ("priors.groups.g={kind: hierarchical}",)),
    "student t": ("y ~ x + (x || g)", ("priors.beta={kind: student_t}",)),
    "crossed": ("y ~ x + (1 | g) + (1 | h)", ("priors.groups.h={kind: shared}",)),
}


def model_of(name):
    formula, overrides = MODELS[name]
    given = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return hlm.build(given, data=frame(30), overrides=overrides)


def start(spec, rng):
    """A draw from the prior, its auxiliaries given it."""
    drawn = draw_prior(spec, rng)
    Psi = tuple(sd[:, None] * corr * sd for sd, corr in zip(drawn.sd, drawn.corr, strict=True))
    known = units(spec)
    a = np.ones((len(known), max(len(form.scale) for *_, form in known)))
    for u, (index, columns, shared, form) in enumerate(known):
        here = columns[:1] if shared else columns
        inverse = np.diag(np.linalg.inv(Psi[index][np.ix_(here, here)]))
        if form.df:
            rate = form.df * inverse + form.spread**-2.0
            a[u, : len(here)] = rate / rng.gamma((form.nu + 1) / 2, size=len(here))
    form = spec.priors.sigma.variance_form()
    rate = form.df / drawn.sigma**2 + form.spread[0] ** -2.0
    weights = np.ones(spec.design.p)
    for k, prior in enumerate(spec.priors.beta):
        if prior.kind == "student_t":
            gap = (drawn.beta[k] - prior.loc) / prior.scale
            weights[k] = rng.gamma((prior.df + 1) / 2, 2 / (prior.df + gap**2))
    return State(
        beta=drawn.beta,
        sigma=drawn.sigma,
        Psi=Psi,
        b=drawn.b,
        a=a,
        sigma_a=rate / rng.gamma((form.nu + 1) / 2),
        weights=weights,
    )


def statistics(spec, state):
    found = [*np.arctan(state.beta), math.log(state.sigma)]
    for Psi, b in zip(state.Psi, state.b, strict=True):
        found += np.log(np.diag(Psi)).tolist()
        if len(Psi) > 1 and Psi[1, 0] != 0:
            found.append(float(Psi[1, 0] / math.sqrt(Psi[0, 0] * Psi[1, 1])))
        found.append(math.log(float(np.sum(b * np.linalg.solve(Psi, b.T).T))))
    mean = float(np.mean(log_likelihood(spec, point(state)))) + math.log(state.sigma)
    return np.array([*found, mean])


def changes(name, scheme):
    """Mean change of every statistic by a sweep, in its standard errors."""
    spec, rng, found = model_of(name), np.random.default_rng(31), []
    for _ in range(REPLICATES):
        before = start(spec, rng)
        here = spec.with_response(draw_response(spec, point(before), rng))
        after, _ = step(rng, before, here, scheme=scheme)
        found.append(statistics(here, after) - statistics(here, before))
    rows = np.array(found)
    return rows.mean(axis=0) / (rows.std(axis=0) / math.sqrt(len(rows)))


@pytest.mark.parametrize("scheme", ["joint", "effects"])
@pytest.mark.parametrize("name", MODELS)
def test_a_sweep_changes_no_mean(name, scheme):
    assert np.abs(changes(name, scheme)).max() < 4


def test_a_sweep_of_the_coefficients_of_groups_changes_no_mean():
    assert np.abs(changes("matrix", "coefficients")).max() < 4


@pytest.mark.parametrize("scheme", ["joint", "effects", "coefficients"])
def test_degrees_of_freedom_without_those_of_the_prior_are_found_out(scheme, monkeypatch):
    real = gibbs_model._units

    def without_the_prior(spec):
        found = real(spec)
        return found._replace(seen=found.seen - found.nu)

    monkeypatch.setattr(gibbs_model, "_units", without_the_prior)
    assert np.abs(changes("matrix", scheme)).max() > 5

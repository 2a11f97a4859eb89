"""Gibbs: microseconds a sweep, and effective draws a second beside marginal NUTS.

    python benchmarks/gibbs.py

The lecture's third model (2,742 pupils, 146 schools, its own priors) and all of NELS (684 schools,
a random slope) with an inverse Wishart prior. A sweep is held against the lecture's own loop over
schools in NumPy, which is the twin in the tests, and against one gradient of the kernel, b and beta
integrated out, at the chain's own values. Times are the least of several; those of ESS are of whole
fits by one core after compiled code is loaded, sampling alone.
"""

import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import hlm_models as hlm
from hlm_models.algebra.integrated import one_factor_density, one_factor_work
from hlm_models.gibbs.chains import Plan, sample
from hlm_models.gibbs.machine import machine
from hlm_models.gibbs.start import start
from hlm_models.results.progress import silent
from hlm_models.spec.integration import integration
from hlm_models.spec.model import ModelSpec
from hlm_models.target.start import reml_estimates

LOOP = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "gibbs" / "lecture_loop.py"))
SCHEMES = ("joint", "effects", "coefficients")
CASES = {
    "lecture's third": ("nels-bayes-macro", ()),
    "all of NELS": (
        "nels-slopes",
        (
            "priors.groups.school={kind: inverse_wishart, scale: [[12, 0], [0, 1.5]]}",
            "priors.sigma={kind: inverse_gamma, shape: 1, scale: 70}",
        ),
    ),
}
SWEEPS, REPEATS = 300, 15


def least(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds of the fastest of several calls of each, in turns: other work disturbs them alike."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            found[name].append(time.perf_counter() - began)
    return {name: min(seconds) for name, seconds in found.items()}


def sweeps(spec: ModelSpec, scheme: str) -> Callable[[], Any]:
    """`SWEEPS` sweeps of one chain, under way."""
    works, rng = machine(spec, scheme), np.random.default_rng(1)
    chain, b = start(spec, reml_estimates(spec), rng)
    kept = works.room(SWEEPS, with_effects=False)
    works.record(rng, chain, b, kept)
    return lambda: works.record(rng, chain, b, kept)


def gradients(spec: ModelSpec, levels: int) -> Callable[[], Any]:
    """`SWEEPS` calls of the kernel at the REML estimates, over some of the levels."""
    gram, split = spec.marginal.products, integration(spec)
    q, k, _ = gram.H.shape
    at = reml_estimates(spec)
    corr = (at.corr[0] + np.eye(q)) / 2
    raw = at.sd[0][:, None] * np.linalg.cholesky(corr) / at.sigma
    lam = (spec.marginal.scales[0].R @ raw).ravel()
    out, work = np.zeros(q * q + k), np.zeros(one_factor_work(q, k, split.Q.shape[1]))
    first = (gram.G[:, :, :levels].copy(), gram.H[:, :, :levels].copy(), gram.T)
    m = np.array(split.fit)

    def calls() -> None:
        for _ in range(SWEEPS):
            one_factor_density(lam, np.log(at.sigma), m, first, split.gaussian, out, work)

    calls()
    return calls


def loop(spec: ModelSpec) -> Callable[[], Any]:
    """One sweep of the lecture's second sampler as it stands on the slides."""
    [block], [prior] = spec.blocks, spec.priors.blocks
    [form] = prior.terms[0].variance_forms()
    normal = [one.normal_form() for one in spec.priors.beta]
    of_sigma = spec.priors.sigma.variance_form()
    data = LOOP["Lecture"](
        spec.design.y, spec.design.X, block.z, block.level,
        np.array([loc for loc, _ in normal]), np.diag([1 / one for _, one in normal]),
        form.nu, form.scale, of_sigma.nu, of_sigma.scale[0, 0] / of_sigma.nu,
    )  # fmt: skip
    rng = np.random.default_rng(1)
    return lambda: LOOP["run"](LOOP["effects_sweep"], data, 1, rng)


def ess(spec: ModelSpec, engine: str, **settings: Any) -> tuple[str, float, float]:
    """The parameter that mixes worst, its ESS, and its ESS for a second of sampling."""
    fit = hlm.fit(spec, engine=engine, cores=1, seed=1, **settings)
    rows = hlm.summary(fit)["ess_bulk"]
    return str(rows.idxmin()), rows.min(), rows.min() / fit.seconds["fit"]


def main() -> None:
    for title, (name, overrides) in CASES.items():
        spec = hlm.build(name, overrides=overrides)
        [block] = spec.blocks
        print(f"{title}: {spec.design.n:,} rows, {block.J} groups, p {spec.design.p}, q {block.q}")
        works = {"gradient": gradients(spec, block.J), "call": gradients(spec, 1)}
        works |= {scheme: sweeps(spec, scheme) for scheme in SCHEMES}
        seconds = {name: one / SWEEPS * 1e6 for name, one in least(works).items()}
        # Less what a call from Python costs by itself.
        kernel = seconds["gradient"] - seconds["call"]
        slow = least({"loop": loop(spec)})["loop"] * 1e6
        print(f"  loop over groups in NumPy {slow:,.0f} us, gradient {kernel:.1f} us")
        for scheme in SCHEMES:
            ours = seconds[scheme]
            ratios = f"{slow / ours:5.0f} times as fast as the loop, {ours / kernel:.1f} gradients"
            print(f"  {scheme:12s} {ours:6.1f} us a sweep: {ratios}")
        sample(spec, "joint", Plan(1, 50, 50, 1, 1, False), np.random.SeedSequence(1), silent)
        for engine, settings in (
            *(("gibbs", {"gibbs": {"scheme": scheme}, "draws": 4000}) for scheme in SCHEMES),
            ("nuts", {"parameterization": "marginal"}),
        ):
            worst, size, rate = ess(spec, engine, **settings)
            how = settings.get("gibbs", {}).get("scheme", "marginal")
            print(f"  {engine} {how:12s} ESS {size:6.0f}, {rate:8,.0f} a second ({worst})")


if __name__ == "__main__":
    main()

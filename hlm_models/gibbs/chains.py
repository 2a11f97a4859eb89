"""Chains side by side: each has its own generator, so that threads change no bit."""

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from hlm_models.algebra.compiled import uninterrupted
from hlm_models.gibbs.machine import Kept, Machine, machine
from hlm_models.gibbs.model import Scheme
from hlm_models.gibbs.start import start
from hlm_models.gibbs.sweep import Chain
from hlm_models.results.progress import ChainStep, Progress, Step
from hlm_models.spec.model import ModelSpec
from hlm_models.target.start import reml_estimates
from hlm_models.types import FloatArray

__all__ = ["Plan", "draws_of", "sample"]

PAUSE = 0.1
"""Seconds of sweeps in one compiled call, about: nobody waits longer for the end of a Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many chains, sweeps before the draws, draws a chain, and sweeps for each of them."""

    chains: int
    tune: int
    draws: int
    thin: int
    cores: int
    with_effects: bool


def sample(
    spec: ModelSpec, scheme: Scheme, plan: Plan, seed: np.random.SeedSequence, progress: Progress
) -> tuple[Kept, ...]:
    """Draws of every chain; the same seed gives the same bits on any `cores`.

    Raises
    ------
    FitError
        the model fits the data exactly, or a draw has no law.
    RefusalError
        the scheme is not for this model.
    """
    works = [machine(spec, scheme) for _ in range(plan.chains)]
    rngs = [np.random.default_rng(child) for child in seed.spawn(plan.chains)]
    progress(Step("finding where to start"))
    estimates = reml_estimates(spec)
    progress(Step("loading compiled code, which is made on first use"))
    with spec.marginal.one_thread():
        with uninterrupted():
            chains = [
                _Chain(one, rng, *start(spec, estimates, rng), plan)
                for one, rng in zip(works, rngs, strict=True)
            ]
        _together(chains, plan, progress)
    return tuple(one.kept for one in chains)


def draws_of(spec: ModelSpec, chains: tuple[Kept, ...]) -> dict[str, FloatArray]:
    """All variables of the posterior (chains, draws, ...), for `posterior_tree`."""
    found = {"sigma": np.array([one.sigma for one in chains])}
    if spec.design.p:
        found["beta"] = np.array([one.beta for one in chains])
    Psi, at = np.array([one.Psi for one in chains]), 0
    for index, block in enumerate(spec.blocks):
        here = Psi[..., at : at + block.q, at : at + block.q]
        at += block.q
        sd = np.sqrt(np.diagonal(here, axis1=-2, axis2=-1))
        corr = here / (sd[..., :, None] * sd[..., None, :])
        corr[..., np.arange(block.q), np.arange(block.q)] = 1.0
        found |= {f"sd_{block.group}": sd, f"corr_{block.group}": corr}
        if all(len(one.b[index]) for one in chains):
            found[f"b_{block.group}"] = np.array([one.b[index] for one in chains])
    return found


class _Chain:
    """One chain on its way, by one thread at a time."""

    def __init__(
        self,
        works: Machine,
        rng: np.random.Generator,
        chain: Chain,
        b: tuple[FloatArray, ...],
        plan: Plan,
    ) -> None:
        self.works, self.rng, self.chain, self.b, self.plan = works, rng, chain, b, plan
        self.kept = works.room(plan.draws, with_effects=plan.with_effects)
        self.done = 0
        """Sweeps done so far."""

    def run(self, stop: threading.Event) -> None:
        """All sweeps, or as many as there are until `stop`."""
        size = self._fill(self.works.room(self.plan.tune, with_effects=False), 1, 1, stop)
        self._fill(self.kept, self.plan.thin, max(1, size // self.plan.thin), stop)

    def _fill(self, out: Kept, thin: int, size: int, stop: threading.Event) -> int:
        """Fill `out`, by about `PAUSE` seconds a call; how many places that is."""
        at, end = 0, len(out.sigma)
        while at < end and not stop.is_set():
            here, began = slice(at, min(at + size, end)), time.perf_counter()
            self.works.record(self.rng, self.chain, self.b, out.part(here), thin=thin)
            if time.perf_counter() - began < PAUSE / 2:
                size *= 2
            self.done += (here.stop - at) * thin
            at = here.stop
        return size


def _together(chains: list[_Chain], plan: Plan, progress: Progress) -> None:
    """Run all chains, `cores` at a time; Ctrl-C, or a chain that breaks, ends them."""
    stop = threading.Event()
    _tell(chains, plan, progress)
    with ThreadPoolExecutor(plan.cores) as pool:
        running = [pool.submit(one.run, stop) for one in chains]
        try:
            waiting = True
            while waiting:
                ended, rest = wait(running, timeout=PAUSE, return_when=FIRST_EXCEPTION)
                waiting = bool(rest) and all(one.exception() is None for one in ended)
                _tell(chains, plan, progress)
        finally:
            stop.set()
    for one in running:
        one.result()


def _tell(chains: list[_Chain], plan: Plan, progress: Progress) -> None:
    total = plan.tune + plan.draws * plan.thin
    steps = tuple(ChainStep(one.done, total, tuning=one.done < plan.tune) for one in chains)
    done = sum(one.done for one in steps)
    progress(Step("sampling", done, total * plan.chains, unit="sweeps", chains=steps))

"""hlm_models: one model file, cold, from its data on disk to the posterior on disk."""

from clock import Clock, count_nutpie_steps

clock = Clock()

import itertools  # noqa: E402
import time  # noqa: E402

import hlm_models as hlm  # noqa: E402
from hlm_models.target import nutpie as marginal  # noqa: E402

settings = {key: value for key, value in clock.settings.items() if value is not None}
if latent := settings.get("parameterization") in {"centered", "noncentered"}:
    count = count_nutpie_steps()
sampled, take = [], marginal.sample
began = {}


def keep(*arguments):
    """Steps of tuning are in what the sampler of the marginal form hands on, not in the fit."""
    sampled.append(take(*arguments))
    return sampled[-1]


def watch(step) -> None:
    """When every stage began, on a clock that stands still during imports."""
    began.setdefault(step.stage.partition(" with ")[0], time.time() - clock.imports)


marginal.sample = keep
with clock.stage("build"):
    spec = hlm.build(clock.folder / "model.yaml", progress=watch)
with clock.stage("fit"):
    fit = hlm.fit(spec, engine="nuts", progress=watch, **settings)
with clock.stage("save"):
    hlm.save_fit(fit, clock.out / "posterior.nc")
ended = time.time() - clock.imports
clock.stop()

posterior, stats = fit.data["posterior"], fit.data["sample_stats"]
population = {
    f"beta[{name}]": posterior["beta"].values[..., k] for k, name in enumerate(spec.design.coef)
}
for block in spec.blocks:
    g = block.group
    for a, effect in enumerate(block.effects):
        population[f"sd_{g}[{effect}]"] = posterior[f"sd_{g}"].values[..., a]
        for c, other in enumerate(block.effects[:a]):
            population[f"corr_{g}[{other}, {effect}]"] = posterior[f"corr_{g}"].values[..., c, a]
population["sigma"] = posterior["sigma"].values
steps = sampled[0].steps if sampled else count() if latent else None
asked = spec.fit.model_copy(update=settings)
how = asked.sampling(warm=fit.parameterization == "marginal")
times = [*began.values(), ended]
clock.tell(
    population,
    # With the exact draws of beta and b; what comes after them no peer does.
    sampling=began["predictive draws"] - began["sampling"],
    tuning=how.tune,
    steps=steps,
    steps_kept=int(stats["n_steps"].sum()),
    divergences=fit.divergences,
    packages=("hlm-models", "nutpie", "numba", "numpy"),
    more={
        # Of the sampler alone, without the draws of beta and b.
        "gradient": fit.seconds["fit"] * how.cores / steps * 1e6 if steps else None,
        "parameterization": fit.parameterization,
        "reported": dict(fit.seconds),
        "detail": dict(zip(began, (b - a for a, b in itertools.pairwise(times)), strict=True)),
    },
)

"""NumPyro as one writes it by hand: as PyMC's, in JAX; chains in parallel on the processor.

Single precision, as it is by default.
"""

from clock import Clock

clock = Clock()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import numpyro  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
import pandas as pd  # noqa: E402
from numpyro.infer import MCMC, NUTS  # noqa: E402

case, settings = clock.case, clock.settings
chains = settings["chains"]
numpyro.set_platform("cpu")
numpyro.set_host_device_count(chains)
compiling = {"seconds": 0.0}


def watch(event: str, seconds: float, **about: object) -> None:  # noqa: ARG001
    """JAX tells the seconds of tracing, lowering and compiling."""
    if event.startswith("/jax/core/compile/") and event.endswith("_duration"):
        compiling["seconds"] += seconds


jax.monitoring.register_event_duration_secs_listener(watch)

with clock.stage("read"):
    frame = pd.read_csv(clock.folder / "data.csv")
with clock.stage("build"):
    columns = [
        np.prod([frame[piece] for piece in name.split(":")], axis=0) for name in case["coef"][1:]
    ]
    X = np.column_stack(columns)
    means = X.mean(axis=0)
    loc, scale = np.array(case["beta"]).T
    data = {
        "X": jnp.asarray(X - means),
        "y": jnp.asarray(frame[case["response"]].to_numpy(dtype=float)),
        "terms": [],
    }
    for term in case["terms"]:
        level, labels = pd.factorize(frame[term["group"]])
        Z = [
            np.ones(len(frame)) if name == "Intercept" else frame[name].to_numpy(dtype=float)
            for name in term["effects"]
        ]
        data["terms"].append((jnp.asarray(level), jnp.asarray(np.column_stack(Z)), len(labels)))


def half_student_t(nu, spread):
    return dist.FoldedDistribution(dist.StudentT(nu, 0.0, spread))


def model() -> None:
    middle = numpyro.sample("middle", dist.Normal(loc[0], scale[0]))
    slopes = numpyro.sample("slopes", dist.Normal(loc[1:], scale[1:]).to_event(1))
    numpyro.deterministic("intercept", middle - means @ slopes)
    eta = middle + data["X"] @ slopes
    for term, (level, Z, J) in zip(case["terms"], data["terms"], strict=True):
        g, q = term["group"], len(term["effects"])
        nu, spread = np.array(term["sd"]).T
        sd = numpyro.sample(f"sd_{g}", half_student_t(nu, spread).to_event(1))
        z = numpyro.sample(f"z_{g}", dist.Normal(0, 1).expand([J, q]).to_event(2))
        if q > 1:
            root = numpyro.sample(f"root_{g}", dist.LKJCholesky(q, concentration=term["eta"]))
            numpyro.deterministic(f"corr_{g}", root @ root.T)
            b = z @ (sd[:, None] * root).T
        else:
            b = z * sd
        numpyro.deterministic(f"b_{g}", b)
        eta += jnp.sum(Z * b[level], axis=1)
    sigma = numpyro.sample("sigma", half_student_t(*case["sigma"]))
    numpyro.sample("y", dist.Normal(eta, sigma), obs=data["y"])


tuning = settings["tune"] or 1000  # it has no default; 1000 is what its examples take
key = jax.random.PRNGKey(settings["seed"])
sampler = MCMC(
    NUTS(model),
    num_warmup=tuning,
    num_samples=settings["draws"],
    num_chains=chains,
    chain_method="parallel",
    progress_bar=False,
)
with clock.stage("fit"):
    sampler.run(key, extra_fields=("num_steps", "diverging"))
    draws = jax.device_get(sampler.get_samples(group_by_chain=True))
compiled = compiling["seconds"]
with clock.stage("save"):
    np.savez(clock.out / "posterior.npz", **draws)
clock.stop()

stats = jax.device_get(sampler.get_extra_fields(group_by_chain=True))
population = {"beta[Intercept]": draws["intercept"]}
for k, name in enumerate(case["coef"][1:]):
    population[f"beta[{name}]"] = draws["slopes"][..., k]
for term in case["terms"]:
    g, effects = term["group"], term["effects"]
    for a, effect in enumerate(effects):
        population[f"sd_{g}[{effect}]"] = draws[f"sd_{g}"][..., a]
        for c, other in enumerate(effects[:a]):
            population[f"corr_{g}[{other}, {effect}]"] = draws[f"corr_{g}"][..., c, a]
kept = int(stats["num_steps"].sum())
# Steps of tuning are not kept: the same tuning once more, now that the clock has stopped.
sampler.warmup(key, collect_warmup=True, extra_fields=("num_steps",))
steps = kept + int(sampler.get_extra_fields()["num_steps"].sum())
clock.tell(
    {name: np.asarray(value, dtype=float) for name, value in population.items()}
    | {"sigma": np.asarray(draws["sigma"], dtype=float)},
    sampling=clock.stages["fit"] - compiled,
    tuning=tuning,
    steps=steps,
    steps_kept=kept,
    divergences=int(stats["diverging"].sum()),
    packages=("numpyro", "jax", "numpy"),
    more={"compile": compiled},
)

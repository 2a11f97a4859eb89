"""PyMC as one writes it by hand: non-centred effects, LKJ on their factor, centred predictors."""

from clock import Clock, count_nutpie_steps

clock = Clock()

import json  # noqa: E402

import numpy as np  # noqa: E402
import nutpie  # noqa: E402
import pandas as pd  # noqa: E402
import pymc as pm  # noqa: E402
import pytensor.tensor as pt  # noqa: E402

case, settings = clock.case, clock.settings
with clock.stage("read"):
    frame = pd.read_csv(clock.folder / "data.csv")
    # Arrays of pandas cannot be written to, which PyTensor does not take: they are copied below.
with clock.stage("build"):
    columns = [
        np.prod([frame[piece] for piece in name.split(":")], axis=0) for name in case["coef"][1:]
    ]
    X = np.column_stack(columns)
    means = X.mean(axis=0)
    loc, scale = np.array(case["beta"]).T
    with pm.Model() as model:
        middle = pm.Normal("middle", loc[0], scale[0])
        slopes = pm.Normal("slopes", loc[1:], scale[1:])
        pm.Deterministic("intercept", middle - pt.dot(means, slopes))
        eta = middle + pt.dot(X - means, slopes)
        for term in case["terms"]:
            g, q = term["group"], len(term["effects"])
            level, labels = pd.factorize(frame[g])
            nu, spread = np.array(term["sd"]).T
            z = pm.Normal(f"z_{g}", 0, 1, shape=(len(labels), q))
            if q == 1:
                sd = pm.HalfStudentT(f"sd_{g}", nu=nu[0], sigma=spread[0])
                b = pm.Deterministic(f"b_{g}", z[:, 0] * sd)
                eta += b[level]
                continue
            # A vector of scales in sd_dist finds no point to start from (PyMC 6.4, nutpie 0.16).
            unit = pm.HalfStudentT.dist(nu=nu[0], sigma=1.0)
            root, _, sd = pm.LKJCholeskyCov(f"root_{g}", n=q, eta=term["eta"], sd_dist=unit)
            pm.Deterministic(f"sd_{g}", spread * sd)
            b = pm.Deterministic(f"b_{g}", pt.dot(z, root.T) * spread)
            Z = [1.0 if name == "Intercept" else np.array(frame[name]) for name in term["effects"]]
            for k, column in enumerate(Z):
                eta += column * b[level, k]
        sigma = pm.HalfStudentT("sigma", nu=case["sigma"][0], sigma=case["sigma"][1])
        pm.Normal("y", eta, sigma, observed=np.array(frame[case["response"]]))
count = count_nutpie_steps()
with clock.stage("compile"):
    compiled = nutpie.compile_pymc_model(model)
with clock.stage("sample"):
    fit = nutpie.sample(
        compiled,
        draws=settings["draws"],
        tune=settings["tune"],
        chains=settings["chains"],
        cores=settings["cores"],
        seed=settings["seed"],
        progress_bar=False,
    )
with clock.stage("save"):
    fit.to_netcdf(clock.out / "posterior.nc")
clock.stop()

posterior, stats = fit["posterior"], fit["sample_stats"]
population = {"beta[Intercept]": posterior["intercept"].values}
for k, name in enumerate(case["coef"][1:]):
    population[f"beta[{name}]"] = posterior["slopes"].values[..., k]
for term in case["terms"]:
    g, effects = term["group"], term["effects"]
    if len(effects) == 1:
        population[f"sd_{g}[{effects[0]}]"] = posterior[f"sd_{g}"].values
        continue
    for a, effect in enumerate(effects):
        population[f"sd_{g}[{effect}]"] = posterior[f"sd_{g}"].values[..., a]
        for c, other in enumerate(effects[:a]):
            corr = posterior[f"root_{g}_corr"].values[..., c, a]
            population[f"corr_{g}[{other}, {effect}]"] = corr
used = json.loads(stats.attrs["inference_library_settings"])["settings"]
clock.tell(
    population | {"sigma": posterior["sigma"].values},
    sampling=clock.stages["sample"],
    tuning=int(used["num_tune"]),
    steps=count(),
    steps_kept=int(stats["n_steps"].sum()),
    divergences=int(stats["diverging"].sum()),
    packages=("pymc", "pytensor", "nutpie", "numba", "numpy"),
)

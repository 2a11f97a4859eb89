"""Bambi: its formula and priors; by PyMC's sampler, its default, or by nutpie.

What it cannot say: that effects of one group correlate.
"""

from clock import Clock, count_nutpie_steps

clock = Clock()

import bambi as bmb  # noqa: E402
import pandas as pd  # noqa: E402

case, settings = clock.case, clock.settings
groups = [term["group"] for term in case["terms"]]
sampler = settings.pop("sampler")
with clock.stage("read"):
    frame = pd.read_csv(clock.folder / "data.csv", dtype=dict.fromkeys(groups, "str"))
with clock.stage("build"):
    priors = {
        name: bmb.Prior("Normal", mu=mu, sigma=sd)
        for name, (mu, sd) in zip(case["coef"], case["beta"], strict=True)
    }
    priors["sigma"] = bmb.Prior("HalfStudentT", nu=case["sigma"][0], sigma=case["sigma"][1])
    effects = []
    for term in case["terms"]:
        for effect, (nu, scale) in zip(term["effects"], term["sd"], strict=True):
            name = f"{'1' if effect == 'Intercept' else effect}|{term['group']}"
            spread = bmb.Prior("HalfStudentT", nu=nu, sigma=scale)
            priors[name] = bmb.Prior("Normal", mu=0, sigma=spread)
            effects.append((f"sd_{term['group']}[{effect}]", f"{name}_sigma"))
    model = bmb.Model(case["formula"], frame, priors=priors)
    model.build()

tuned = {"steps": 0}


def watch(trace, draw) -> None:  # noqa: ARG001
    """Count the steps of tuning: PyMC throws the statistics of those draws away."""
    if draw.tuning:
        tuned["steps"] += int(draw.stats[0]["tree_size"])


if sampler == "nutpie":
    count = count_nutpie_steps()
    asked = {"inference_method": "nutpie"}
else:
    asked = {"callback": watch}
if settings["tune"] is not None:
    asked["tune"] = settings["tune"]
with clock.stage("fit"):
    fit = model.fit(
        draws=settings["draws"],
        chains=settings["chains"],
        cores=settings["cores"],
        random_seed=settings["seed"],
        progressbar=False,
        **asked,
    )
with clock.stage("save"):
    fit.to_netcdf(clock.out / "posterior.nc")
clock.stop()

posterior, stats = fit["posterior"], fit["sample_stats"]
kept = int(stats["n_steps"].sum())
population = {f"beta[{name}]": posterior[name].values for name in case["coef"]}
population |= {ours: posterior[theirs].values for ours, theirs in effects}
clock.tell(
    population | {"sigma": posterior["sigma"].values},
    sampling=float(posterior.attrs["sampling_time"]),
    tuning=int(posterior.attrs["tuning_steps"]),
    steps=count() if sampler == "nutpie" else tuned["steps"] + kept,
    steps_kept=kept,
    divergences=int(stats["diverging"].sum()),
    packages=("bambi", "pymc", "pytensor", "nutpie", "numba", "numpy"),
)

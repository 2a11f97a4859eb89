"""How often 95% intervals cover: coefficients, standard deviations and sigma, by kind of interval.

    python benchmarks/interval_coverage.py [LEVELS] [DRAWS]

Simulates a correlated intercept and slope, y = 1 + 0.5 x + b_0 + b_1 x + e, with sd 1 and 0.5,
correlation 0.3 and sigma 1, for LEVELS levels (6) of ten rows; DRAWS responses (500) of one fixed
x. The tests run the same with 30 levels.
"""

import itertools
import math
import sys

import numpy as np
import pandas as pd

import hlm_models as hlm

ROWS = 10
TRUE = {
    "beta[Intercept]": 1.0,
    "beta[x]": 0.5,
    "sd_g[Intercept]": 1.0,
    "sd_g[x]": 0.5,
    "corr_g[Intercept, x]": 0.3,
    "sigma": 1.0,
}
ROOT = np.array([[1.0, 0.0], [0.5 * 0.3, 0.5 * math.sqrt(1 - 0.3**2)]])


def intervals(fit, profiled) -> dict[tuple[str, str], tuple[float, float]]:
    """Ends by kind and parameter; the coefficients' Wald t is Satterthwaite's."""
    found = {}
    for name, row in hlm.summary(fit).iterrows():
        kind = "Satterthwaite" if name.startswith("beta") else "Wald"
        found[kind, name] = (row["lower"], row["upper"])
    for name, row in hlm.coefficient_tests(fit, df="kenward-roger").frame().iterrows():
        found["Kenward-Roger", f"beta[{name}]"] = (row["lower"], row["upper"])
    for name, row in hlm.profile(fit, profiled).frame().iterrows():
        found["profile", name] = (row["lower"], row["upper"])
    return found


def coverage(levels: int, draws: int, *, seed: int = 1, profiled=None) -> pd.DataFrame:
    """Shares of the draws whose interval covers, and that have an interval at all.

    `profiled` names the parameters to profile; all by default.
    """
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), ROWS)
    x = rng.normal(size=len(g))
    frame = pd.DataFrame({"y": rng.normal(size=len(g)), "x": x, "g": [f"g{i:02d}" for i in g]})
    spec = hlm.build(formula="y ~ x + (x | g)", data=frame)
    counts: dict[tuple[str, str], list[int]] = {}
    singular = 0
    for _ in range(draws):
        b = rng.normal(size=(levels, 2)) @ ROOT.T
        y = 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))
        fit = hlm.fit(spec.with_response(y), engine="reml")
        singular += fit.singular
        for (kind, name), (lower, upper) in intervals(fit, profiled).items():
            count = counts.setdefault((name, kind), [0, 0])
            count[0] += lower <= TRUE[name] <= upper
            count[1] += not math.isnan(lower)
    table = pd.DataFrame(
        {key: [covered / draws, there / draws] for key, (covered, there) in counts.items()},
        index=["coverage", "there"],
    ).T.rename_axis(["parameter", "kind"])
    table.attrs["singular"] = singular / draws
    return table.reindex(TRUE, level=0)


def main() -> None:
    levels, draws = (
        int(given or default) for given, default in itertools.zip_longest(sys.argv[1:3], (6, 500))
    )
    table = coverage(levels, draws)
    print(f"{levels} levels of {ROWS} rows, {draws} draws; {table.attrs['singular']:.1%} singular")
    print(table.to_string(float_format="{:.3f}".format))
    print(f"Monte Carlo error of a coverage of 0.95: {math.sqrt(0.95 * 0.05 / draws):.4f}")


if __name__ == "__main__":
    main()

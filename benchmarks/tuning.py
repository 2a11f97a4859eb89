"""How long the marginal form must be tuned, and at which acceptance: over the whole zoo.

    python benchmarks/tuning.py [--models NAME,...] [--tune 100,200,300,400,1000]
                                [--accept 0.8,0.9] [--seeds 3]

For every setting: effective draws (bulk, tail) a draw of the worst population parameter, leapfrog
steps a draw, divergent draws and the worst R-hat, each the worst over seeds and models, and the
models that are behind it. Nothing here is a wall time.
"""

import argparse
import sys

import numpy as np

import hlm_models as hlm
from hlm_models.results.summary import draw_rows

LARGE = ("insteval", "insteval-dept")


def measure(spec: object, tune: int, accept: float, seed: int) -> dict[str, float]:
    fit = hlm.fit(
        spec, engine="nuts", parameterization="marginal", tune=tune, target_accept=accept, seed=seed
    )
    rows = draw_rows(fit)
    stats = fit.data["sample_stats"]
    draws = stats["diverging"].size
    return {
        "bulk": min(row.ess_bulk for row in rows) / draws,
        "tail": min(row.ess_tail for row in rows) / draws,
        "steps": float(stats["n_steps"].mean()),
        "divergent": float(stats["diverging"].sum()),
        "r_hat": max(row.r_hat for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="")
    parser.add_argument("--tune", default="100,200,300,400,1000")
    parser.add_argument("--accept", default="0.8,0.9")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    names = (
        asked.models.split(",")
        if asked.models
        else [name for name in hlm.list_models() if name not in LARGE]
    )
    specs = {}
    for name in names:
        try:
            specs[name] = hlm.build(name)
        except hlm.InputErrors as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
    print(f"{len(specs)} models, {asked.seeds} seeds each, 4 chains of 1000 draws\n")
    head = ("accept", "tune", "bulk/draw", "tail/draw", "steps", "divergent", "r_hat")
    print(" ".join(f"{one:>10}" for one in head), "  worst bulk, tail, steps, r_hat")
    for accept in map(float, asked.accept.split(",")):
        for tune in map(int, asked.tune.split(",")):
            found = {
                name: [measure(spec, tune, accept, seed) for seed in range(1, asked.seeds + 1)]
                for name, spec in specs.items()
            }

            def worst(key: str, pick: object, found: dict = found) -> tuple[float, str]:
                return pick((pick(one[key] for one in ones), name) for name, ones in found.items())

            ends = [worst("bulk", min), worst("tail", min), worst("steps", max),
                    worst("r_hat", max)]  # fmt: skip
            divergent = sum(one["divergent"] for ones in found.values() for one in ones)
            median = np.median([one["bulk"] for ones in found.values() for one in ones])
            print(
                f"{accept:10.2f} {tune:10d} {ends[0][0]:10.2f} {ends[1][0]:10.2f} "
                f"{ends[2][0]:10.1f} {divergent:10.0f} {ends[3][0]:10.4f}  "
                f"{', '.join(name for _, name in ends)}; median bulk {median:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

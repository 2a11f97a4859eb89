"""Marginal likelihoods: seconds each, from a finished fit.

    python benchmarks/evidence.py [MODEL...]

Prints the log marginal likelihood, its standard error, the number of unknowns that are bridged,
and the least seconds of several calls after compiled code is loaded.
"""

import sys
import time

import hlm_models as hlm
from hlm_models.target.coordinates import coordinates

MODELS = ("sleepstudy-slopes", "radon-slopes", "nels-slopes")
REPEATS = 5


def main() -> None:
    """One line a model."""
    for name in sys.argv[1:] or MODELS:
        fit = hlm.fit(name, engine="nuts", seed=1)
        unknowns, seconds = coordinates(fit.spec), []
        assert unknowns is not None
        for _ in range(REPEATS):
            began = time.perf_counter()
            found = hlm.log_marginal_likelihood(fit)
            seconds.append(time.perf_counter() - began)
        print(
            f"{name:20} {found.log_marginal_likelihood:12.3f} +- {found.se:.4f}"
            f"  {unknowns.size} unknowns  {min(seconds):.2f} s"
        )


if __name__ == "__main__":
    main()

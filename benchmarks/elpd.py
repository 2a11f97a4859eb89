"""Leave-one-out beside ArviZ: of groups, and of a million rows.

    python benchmarks/elpd.py [groups]
    python benchmarks/elpd.py [rows] [ROWS] [GROUPS] [DRAWS]
    python benchmarks/elpd.py [arviz] [ROWS]

groups: nels-slopes from a finished fit (HLM_DATA names the folder of nels.csv). Prints the time of
leave-one-out of schools, of rows in both forms, and of ArviZ on the same log likelihoods.

rows: made-up draws of a model of so many rows; each form in a fresh process. Prints the time and
the largest memory of the process, imports, data and draws included.

arviz: the same by ArviZ, which holds the whole matrix, of as few rows as are asked for.
"""

import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import memory
import numpy as np
import xarray as xr

import hlm_models as hlm


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(title: str, work: Callable[[], Any]) -> Any:
    started, used = time.perf_counter(), time.process_time()
    found = work()
    seconds, used = time.perf_counter() - started, time.process_time() - used
    print(f"{title}: {seconds:.2f} s ({used:.2f} s of processors), peak {peak():,.0f} MB")
    return found


def by_arviz(fit: Any, **focus: Any) -> Any:
    import arviz_stats

    tree = fit.data.copy()
    tree["log_likelihood"] = xr.DataTree(hlm.log_likelihood(fit, **focus).dataset())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return arviz_stats.loo(tree, pointwise=True, reff=1.0)


def groups() -> None:
    import arviz_stats  # noqa: F401  what it takes to import is not timed

    fit = hlm.fit("nels-slopes", engine="nuts", seed=1)
    cases = {"schools": {"focus": "group"}, "rows": {}, "rows, integrated": {"form": "integrated"}}
    for title, focus in cases.items():
        for turn in ("first", "again"):
            found = timed(
                f"{title}, {turn}", lambda focus=focus: hlm.loo(fit, refit=False, **focus)
            )
        print(f"  elpd {found.elpd:.1f}, largest k {found.pareto_k.max():.2f}")
        theirs = timed(f"{title}, ArviZ", lambda focus=focus: by_arviz(fit, **focus))
        print(f"  elpd {theirs.elpd:.1f}, largest k {float(theirs.pareto_k.max()):.2f}")


def made_up(rows: int, levels: int, draws: int) -> Any:
    """A model of `memory.frame`, with draws of effects about as near to the truth as data allow."""
    data = memory.frame(rows, levels)
    spec = hlm.build(formula=memory.FORMULA, data=data)
    fit = memory.posterior(spec, 4, draws // 4)
    off = data["y"] - 50 - 2 * data["x"]
    around = np.column_stack(
        [
            off.groupby(data["school"]).mean(),
            (off * data["x"]).groupby(data["school"]).mean(),
        ]
    )
    [block] = spec.blocks
    order = [int(label) for label in block.labels]
    b = fit.data["posterior"]["b_school"].values
    b *= np.sqrt(levels / rows)
    b += around[order]
    return fit


def rows(count: int = 1_000_000, levels: int = 10_000, draws: int = 4_000) -> None:
    for form in ("conditional", "integrated"):
        arguments = [sys.executable, __file__, "one", form, str(count), str(levels), str(draws)]
        subprocess.run(arguments, check=True)


def one(form: str, count: str, levels: str, draws: str) -> None:
    fit = made_up(int(count), int(levels), int(draws))
    held = fit.data["posterior"].nbytes / 1e6
    print(f"{int(count):,} rows, {int(levels):,} groups, {int(draws):,} draws of {held:,.0f} MB")
    print(f"  built: peak {peak():,.0f} MB")
    found = timed(f"  {form}", lambda: hlm.loo(fit, form=form, refit=False))
    print(f"  largest k {found.pareto_k.max():.2f}, {found.bad:,} above {found.good_k:.2f}")


def arviz(count: int = 2_000) -> None:
    fit = made_up(count, max(1, count // 100), 4_000)
    hlm.loo(fit, refit=False)
    timed(f"{count:,} rows, ours", lambda: hlm.loo(fit, refit=False))
    timed(f"{count:,} rows, ArviZ", lambda: by_arviz(fit))


CASES: dict[str, Callable[..., None]] = {"groups": groups, "rows": rows, "arviz": arviz}


if __name__ == "__main__":
    name, *given = sys.argv[1:] or ["groups"]
    if name == "one":
        one(*given)
    else:
        CASES[name](*map(int, given))

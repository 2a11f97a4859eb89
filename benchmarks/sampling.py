"""The posterior against its peers: cold processes from data on disk to draws on disk, in turn.

    python benchmarks/sampling.py [compare] [--models A,B] [--peers A,B] [--limit SECONDS]
                                  [--runs N] [--chains N] [--draws N] [--tune N] [--out FOLDER]
    python benchmarks/sampling.py gradient | rows | insteval

compare   every model by every peer; tables here, as Markdown and as JSON in the folder
gradient  microseconds of a value alone and of a value with its gradient, compiled
rows      our sampling at 3e4, 1e5 and 1e6 rows of the same 1e4 groups
insteval  ours by parameterisation: seconds per effective draw

Peers, each in its own environment made here the first time: bambi (its default, PyMC's sampler),
bambi-nutpie, pymc (by hand, nutpie), numpyro (by hand), rstanarm (where R has it). Tuning is each
package's own default, or --tune for all. Every peer that keeps compiled code on disk runs each
model once with few draws before it is measured, so that the code is there. All have the same priors
as far as they can say them (docs/benchmarks.md).
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
import sampling_cases
from arviz_stats.base import array_stats

HERE = Path(__file__).parent
SAMPLERS = HERE / "samplers"
NUTS = (".peers-nuts", ("bambi", "nutpie[pymc]", "h5netcdf", "h5py"))
JAX = (".peers-jax", ("numpyro", "pandas"))
OURS = "hlm_models"
DEFAULT = "bambi"
CORES = os.cpu_count() or 1
FEW = {"draws": 10, "tune": 50}
"""Of the run that fills the caches."""
UNCACHED = {"numpyro", "rstanarm"}
"""Peers that keep no compiled code on disk, or have it there from the start."""

COMMANDS: dict[str, tuple[Callable[[], list[str]], dict[str, Any]]] = {
    OURS: (lambda: [sys.executable, str(SAMPLERS / "by_hlm_models.py")], {}),
    "bambi": (lambda: [peers.python(*NUTS), str(SAMPLERS / "by_bambi.py")], {"sampler": "pymc"}),
    "bambi-nutpie": (
        lambda: [peers.python(*NUTS), str(SAMPLERS / "by_bambi.py")],
        {"sampler": "nutpie"},
    ),
    "pymc": (lambda: [peers.python(*NUTS), str(SAMPLERS / "by_pymc.py")], {}),
    "numpyro": (lambda: [peers.python(*JAX), str(SAMPLERS / "by_numpyro.py")], {}),
    "rstanarm": (lambda: ["Rscript", str(SAMPLERS / "by_rstanarm.R")], {}),
}


def available() -> list[str]:
    """All peers but those that R lacks."""
    code = "quit(status = !requireNamespace('rstanarm', quietly = TRUE))"
    if shutil.which("Rscript") is None:
        lacking = True
    else:
        asked = subprocess.run(["Rscript", "-e", code], check=False, capture_output=True)
        lacking = asked.returncode != 0
    return [name for name in COMMANDS if not (name == "rstanarm" and lacking)]


def measure(
    peer: str, folder: Path, out: Path, settings: dict[str, Any], limit: float
) -> dict[str, Any]:
    """One cold process; its figures, or {"failed": why}."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    make, own = COMMANDS[peer]
    command = [*make(), str(folder), str(out), json.dumps(settings | own)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with (out / "log").open("wb") as log:
        started = time.time()
        process = subprocess.Popen(
            command,
            env=environment | {"BENCHMARK_STARTED": repr(started)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        peak, status = 0, 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.time() - started > limit:
                os.killpg(process.pid, 9)
                os.wait4(process.pid, 0)
                process.returncode = -9
                return {"failed": f"not done in {limit:.0f} s"}
            peak = max(peak, resident(process.pid))
            time.sleep(0.2)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = (out / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return {"failed": lines[-1] if lines else f"exit {process.returncode}"}
    found = json.loads((out / "result.json").read_text(encoding="utf-8"))
    found["megabytes"] = max(peak, usage.ru_maxrss * 1024) / 1e6
    for draws in out.glob("posterior.*"):
        found["saved_megabytes"] = draws.stat().st_size / 1e6
        draws.unlink()
    return found | effective(out, settings)


def resident(session: int) -> int:
    """Bytes that the processes of a session hold now, shared pages divided among them."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) != session:
                continue
            for line in stat.with_name("smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:  # it has ended meanwhile
            continue
    return total


def effective(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Effective draws of every population parameter, by one function for all packages."""
    if (out / "population.npz").exists():
        with np.load(out / "population.npz") as file:
            draws = {name: file[name] for name in file.files}
    else:
        flat = json.loads((out / "population.json").read_text(encoding="utf-8"))
        draws = {name: np.reshape(one, (settings["chains"], -1)) for name, one in flat.items()}
    bulk = {name: float(array_stats.ess(one, method="bulk")) for name, one in draws.items()}
    tail = {
        name: float(array_stats.ess(one, method="tail", prob=(0.05, 0.95)))
        for name, one in draws.items()
    }
    return {
        "kept": next(iter(draws.values())).size,
        "ess_bulk": min(bulk.values()),
        "ess_bulk_of": min(bulk, key=bulk.__getitem__),
        "ess_tail": min(tail.values()),
        "moments": {
            name: (float(one.mean()), float(one.std()), bulk[name]) for name, one in draws.items()
        },
    }


def derived(found: dict[str, Any], chains: int) -> dict[str, float]:
    """Figures of one run that the tables show; NaN where not known."""
    gradient = found.get("gradient")
    if gradient is None:
        steps = math.nan if found["steps"] is None else found["steps"]
        gradient = found["sampling"] * min(chains, CORES) / steps * 1e6
    return {
        "wall": found["wall"],
        "imports": found["imports"],
        "building": found["wall"] - found["imports"] - found["sampling"],
        "sampling": found["sampling"],
        "ess_bulk": found["ess_bulk"],
        "ess_tail": found["ess_tail"],
        "rate": found["ess_bulk"] / found["sampling"],
        "rate_with": found["ess_bulk"] / (found["wall"] - found["imports"]),
        "steps_per_draw": found["steps_kept"] / found["kept"],
        "gradient": gradient,
        "tuning": found["tuning"],
        "divergences": found["divergences"],
        "megabytes": found["megabytes"],
        "net": found["wall"] - found["imports"],
    }


COLUMNS = {
    "wall": ("wall s", ".1f"),
    "imports": ("imports s", ".1f"),
    "building": ("building s", ".1f"),
    "sampling": ("sampling s", ".2f"),
    "ess_bulk": ("ESS bulk", ",.0f"),
    "ess_tail": ("ESS tail", ",.0f"),
    "rate": ("ESS/s", ",.1f"),
    "rate_with": ("with building", ",.1f"),
    "steps_per_draw": ("steps/draw", ".1f"),
    "gradient": ("us/gradient", ",.0f"),
    "tuning": ("tuning", ".0f"),
    "divergences": ("diverg.", ".0f"),
    "megabytes": ("MB", ",.0f"),
    "off": ("off", ".2f"),
}


def off(found: dict[str, Any], base: dict[str, Any]) -> float:
    """Largest difference of a posterior mean from ours, in posterior standard deviations."""
    common = found["moments"].keys() & base["moments"].keys()
    return max(
        abs(found["moments"][name][0] - base["moments"][name][0]) / base["moments"][name][1]
        for name in common
    )


def run(
    case: dict[str, Any],
    folder: Path,
    names: dict[str, tuple[str, dict[str, Any]]],
    given: argparse.Namespace,
) -> dict[str, Any]:
    """Runs of the named variants (peer and its further settings) in turn, and their medians."""
    base = {
        "chains": given.chains,
        "draws": given.draws,
        "tune": given.tune,
        "cores": min(given.chains, CORES),
        "seed": 1,
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    for turn in range(given.runs + 1):
        for name, (peer, further) in names.items():
            if name in failed or (turn == 0 and peer in UNCACHED):
                continue
            few = FEW if turn == 0 else {"seed": turn}
            print(f"  {case['name']}: {name}, run {turn} of {given.runs}", file=sys.stderr)
            settings = base | further | few
            found = measure(peer, folder, folder / name, settings, given.limit)
            if "failed" in found:
                failed[name] = found["failed"]
            elif turn:
                runs[name].append(found)
    medians = {}
    for name, all_of_it in runs.items():
        if name in failed or not all_of_it:
            continue
        each = [derived(one, given.chains) for one in all_of_it]
        middle = {key: statistics.median(one[key] for one in each) for key in each[0]}
        medians[name] = {key: value for key, value in middle.items() if not math.isnan(value)}
        if ours := runs.get(OURS):
            medians[name]["off"] = off(all_of_it[0], ours[0])
    return {"case": case, "medians": medians, "failed": failed, "runs": runs}


def ratios(medians: dict[str, dict[str, float]]) -> list[str]:
    """Ours against the best peer and against Bambi's default."""
    others = {name: one for name, one in medians.items() if name != OURS}
    if OURS not in medians or not others:
        return []
    ours, lines = medians[OURS], []
    quick = max(others, key=lambda name: others[name]["rate"])
    short = min(others, key=lambda name: others[name]["net"])
    for label, name in (("the best peer", quick), ("Bambi's default", DEFAULT)):
        if name in others:
            ratio = ours["rate"] / others[name]["rate"]
            lines.append(
                f"min bulk ESS per second of sampling: {ratio:,.1f} times {label} ({name})"
            )
    for label, name in (("the best peer", short), ("Bambi's default", DEFAULT)):
        if name in others:
            ratio = ours["net"] / others[name]["net"]
            lines.append(f"wall less imports: {ratio:.3f} of {label}'s ({name})")
    return lines


def cells(found: dict[str, Any]) -> list[list[str]]:
    """Head and rows of one model's table."""
    table = [["", *(head for head, _ in COLUMNS.values())]]
    for name, one in found["medians"].items():
        row = [name]
        for key, (_, form) in COLUMNS.items():
            value = one.get(key, math.nan)
            row.append("-" if math.isnan(value) else format(value, form))
        table.append(row)
    return table


def heading(case: dict[str, Any]) -> str:
    groups = ", ".join(f"{count:,} {group}" for group, count in case["groups"].items())
    return f"{case['name']}: {case['formula']}; {case['rows']:,} rows, {groups}"


def text(found: dict[str, Any]) -> str:
    table = cells(found)
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    lines = [heading(found["case"])]
    for row in table:
        first = row[0].ljust(widths[0])
        rest = "  ".join(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))
        lines.append(f"  {first}  {rest}")
    lines += [f"  {name}: {why}" for name, why in found["failed"].items()]
    lines += [f"  {line}" for line in ratios(found["medians"])]
    return "\n".join(lines)


def markdown(found: dict[str, Any]) -> str:
    head, *body = (" | ".join(row) for row in cells(found))
    rule = "|---" + "|---:" * len(COLUMNS) + "|"
    lines = [f"### {heading(found['case'])}", "", f"| {head} |", rule]
    lines += [f"| {row} |" for row in body]
    lines += ["", *(f"* {name}: {why}" for name, why in found["failed"].items())]
    lines += [f"* {line}" for line in ratios(found["medians"])]
    return "\n".join(lines) + "\n"


def importing(runs: int) -> float:
    """Seconds of a cold `python -c 'import nutpie'`, the yardstick of our imports; the median."""
    seconds = []
    for _ in range(runs + 1):
        started = time.time()
        subprocess.run([sys.executable, "-c", "import nutpie"], check=True)
        seconds.append(time.time() - started)
    return statistics.median(seconds[1:])


def variants(names: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {name: (name, {}) for name in names}


def write(found: list[dict[str, Any]], given: argparse.Namespace, title: str, last: str) -> None:
    """Markdown and JSON of what was found so far; `last` is the end of the page."""
    machine = {"processors": CORES, "python": sys.version.split()[0]}
    asked = {key: str(value) for key, value in vars(given).items()}
    content = {"machine": machine, "asked": asked, "end": last, "models": found}
    (given.out / f"{title}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    pages = [markdown(one) for one in found]
    (given.out / f"{title}.md").write_text("\n".join([*pages, last, ""]), encoding="utf-8")


def compare(given: argparse.Namespace) -> None:
    names = given.peers or available()
    yardstick = f"A cold `import nutpie` takes {importing(3):.2f} s."
    print(yardstick)
    found: list[dict[str, Any]] = []
    for model in given.models or sampling_cases.MODELS:
        folder = given.out / model
        case = sampling_cases.write(sampling_cases.MODELS[model](), model, folder)
        found.append(run(case, folder, variants(names), given))
        print(text(found[-1]), flush=True)
        write(found, given, "compare", yardstick)


def insteval(given: argparse.Namespace) -> None:
    """Ours on InstEval, by parameterisation and as `auto` chooses."""
    folder = given.out / "insteval-ours"
    case = sampling_cases.write(sampling_cases.MODELS["insteval"](), "insteval", folder)
    names = {
        name: (OURS, {"parameterization": name}) for name in ("marginal", "noncentered", "auto")
    }
    found = run(case, folder, names, given)
    print(text(found))
    per = "\n".join(
        f"{name}: {1 / one['rate']:.3f} s of sampling per effective draw"
        for name, one in found["medians"].items()
    )
    print(per)
    write([found], given, "insteval", per)


def rows(given: argparse.Namespace) -> None:
    """Ours at growing numbers of rows, the groups fixed."""
    found: list[dict[str, Any]] = []
    lines: list[str] = []
    for n in given.sizes:
        folder = given.out / f"rows-{n}"
        case = sampling_cases.write(sampling_cases.rows(n, given.groups), f"rows-{n}", folder)
        found.append(run(case, folder, variants([OURS]), given))
        print(text(found[-1]), flush=True)
        if one := found[-1]["medians"].get(OURS):
            lines.append(
                f"{n:>9,} rows x {given.groups:,} groups: sampling {one['sampling']:.2f} s, "
                f"{one['steps_per_draw']:.1f} steps a draw, "
                f"{one.get('gradient', math.nan):.0f} us a gradient"
            )
    print("\n".join(lines))
    write(found, given, "rows", "\n".join(lines))


def gradient(_: argparse.Namespace) -> None:
    import sampling_gradient

    sampling_gradient.main()


PARTS = {"compare": compare, "gradient": gradient, "rows": rows, "insteval": insteval}


def main() -> None:
    def several(given: str) -> list[str]:
        return given.split(",")

    def sizes(given: str) -> list[int]:
        return [int(float(one)) for one in given.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=PARTS, default="compare")
    parser.add_argument("--models", type=several, help=", ".join(sampling_cases.MODELS))
    parser.add_argument("--peers", type=several, help=", ".join(COMMANDS))
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of one process")
    parser.add_argument("--runs", type=int, default=1, help="medians of so many runs")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, help="of all; by default each package's own")
    parser.add_argument("--sizes", type=sizes, default=[30_000, 100_000, 1_000_000])
    parser.add_argument("--groups", type=int, default=10_000, help="of `rows`")
    parser.add_argument("--out", type=Path, default=Path("runs/sampling"))
    given = parser.parse_args()
    for asked, known in ((given.models, sampling_cases.MODELS), (given.peers, COMMANDS)):
        for name in asked or ():
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    given.out = given.out.resolve()
    given.out.mkdir(parents=True, exist_ok=True)
    PARTS[given.part](given)


if __name__ == "__main__":
    main()

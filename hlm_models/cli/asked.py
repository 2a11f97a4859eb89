"""The options of `hlm fit` that ask for more than estimates: which have no effect, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from hlm_models.errors import InputErrors, Problem, RefusalError, nearest

if TYPE_CHECKING:
    from hlm_models.api.inference import Asked
    from hlm_models.engines.find import Engine

__all__ = ["asked"]


def asked(
    engine: "Engine",
    *,
    models: int,
    df: str | None,
    anova: bool,
    intervals: str | None,
    draws: int | None,
    workers: int | None,
    folder: Path | None,
) -> "Asked | None":
    """What the options ask about each of `models` fits; None where none is given.

    Raises
    ------
    InputErrors
        an option without effect, a misspelt word.
    RefusalError
        Kenward and Roger's method of ML fits.
    """
    general = {"--df": df, "--anova": anova or None, "--intervals": intervals}
    of_bootstrap = {"--bootstrap-draws": draws, "--workers": workers, "--resume": folder}
    given, drawing = (
        [option for option, value in options.items() if value is not None]
        for options in (general, of_bootstrap)
    )
    if not given and not drawing:
        return None
    if engine.draws:
        raise InputErrors.one(
            f"{engine.name} gives a posterior, which has no degrees of freedom, and its intervals "
            "are of its draws: take --engine reml, or leave this out",
            key=", ".join(given + drawing),
        )
    from hlm_models.api.inference import DRAWS, Asked, Kind
    from hlm_models.inference.approximation import method

    chosen, problems = method("satterthwaite" if df is None else df), []
    kinds: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
    if intervals is not None and intervals not in kinds:
        problems.append(
            Problem(
                f"'{intervals}' is no kind of interval{nearest(intervals, kinds)} "
                f"(kinds: {', '.join(kinds)})",
                key="--intervals",
            )
        )
    elif drawing and intervals != "bootstrap":
        problems.append(
            Problem("has an effect with --intervals bootstrap only", key=", ".join(drawing))
        )
    if folder is not None and models > 1:
        problems.append(Problem("there are several models for one folder", key="--resume"))
    if problems:
        raise InputErrors(problems)
    if chosen == "kenward-roger" and engine.name != "reml":
        raise RefusalError(
            "--df: Kenward and Roger's method is about REML estimates, not those of "
            f"{engine.name}: take --engine reml, or --df satterthwaite"
        )
    return Asked(
        df=chosen,
        anova=anova,
        intervals=None if intervals is None else kinds[intervals],
        draws=DRAWS if draws is None else draws,
        workers=workers,
        folder=folder,
    )

"""Predictions for a model, a file or a finished run: new rows in, rows with predictions out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.api.folders import is_run
from hlm_models.api.models import build, fit
from hlm_models.api.runs import Run, load_run
from hlm_models.config.settings import DataSettings, FileSource
from hlm_models.data.new_rows import KEY
from hlm_models.data.read import read_frame
from hlm_models.data.table import LabelColumn, label_column
from hlm_models.engines.find import find, require
from hlm_models.errors import InputErrors, ModelMismatchError, Problem
from hlm_models.prediction.asked import Asked, Borrow, Kinds, asked
from hlm_models.prediction.predict import predicted
from hlm_models.prediction.prediction import COLUMNS, Prediction
from hlm_models.results.arguments import checked_level
from hlm_models.results.document import plain
from hlm_models.results.fits import Fit, PosteriorFit
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.spec.model import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Predicted", "predict_file"]

PARTS = ("parameter", "group", "residual")


@dataclass(frozen=True, eq=False)
class Predicted:
    """New rows with their predictions, and the fit that made them.

    folder : of the finished run that the fit was taken from
    """

    fit: Fit
    new: "pd.DataFrame"
    asked: Asked
    prediction: Prediction
    folder: Path | None

    @property
    def groups(self) -> dict[str, str]:
        """What was asked of each group."""
        blocks = self.fit.spec.blocks
        return {block.group: kind for block, kind in zip(blocks, self.asked.kinds, strict=True)}

    @property
    def borrowed(self) -> dict[str, str]:
        """The level that lends its effects, by group."""
        asked, blocks = self.asked, self.fit.spec.blocks
        return {
            block.group: block.labels[int(level[0])]
            for block, kind, level in zip(blocks, asked.kinds, asked.rows.level, strict=True)
            if kind == "borrowed"
        }

    def frame(self) -> "pd.DataFrame":
        """The columns of the new data, then those of the prediction."""
        import pandas as pd

        return pd.concat([self.new, self.prediction.frame()], axis="columns")

    def document(self) -> dict[str, Any]:
        """The document of `hlm predict --json`."""
        spec = self.fit.spec
        frame = self.prediction.frame()
        numbers = frame[[name for name in COLUMNS if not name.startswith("var_")]]
        parts = frame[[f"var_{part}" for part in PARTS]].set_axis(PARTS, axis="columns")
        given = self.new.astype(object).where(self.new.notna(), None)
        rows = [
            {**{name: _told(value) for name, value in own.items()}, **mine, "var": var}
            for own, mine, var in zip(
                *(one.to_dict("records") for one in (given, numbers, parts)), strict=True
            )
        ]
        whole: dict[str, Any] = plain(
            {
                "model": spec.name,
                "engine": self.fit.engine,
                "formula": spec.design.formula.text,
                "folder": None if self.folder is None else str(self.folder),
                "groups": self.groups,
                "borrow": self.borrowed,
                "level": self.prediction.level,
                "rows": rows,
            }
        )
        return whole


def _told(value: object) -> object:
    """A value of the new data as JSON has it."""
    numbers = bool | int | float | np.bool_ | np.number
    return value if value is None or isinstance(value, numbers) else str(value)


def predict_file(
    model: str,
    new: Path,
    *,
    groups: Kinds = "existing",
    borrow: Borrow | None = None,
    level: float = 0.95,
    engine: str | None = None,
    root: Path = Path("runs"),
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
    progress: Progress = silent,
) -> Predicted:
    """Predictions of the rows of a file; everything is checked before anything is fitted.

    Parameters
    ----------
    model : the folder of a finished run; a name or the path of a model file, of which the run in
        `root` is used where it is finished and of this model and data, and else a new fit
    new : CSV, Parquet, Feather, Stata or SPSS
    groups, borrow, level : as `hlm_models.prediction.predict.predict` takes them
    engine : whose fit; by default the posterior of a run, or a fit by nuts

    Raises
    ------
    InputErrors
        a problem of the model, an argument or the new rows; `overrides` of a finished run, or an
        engine that it has not.
    RefusalError, FitError
        as `fit`.
    """
    checked_level(level)
    if engine is not None:
        find(engine)
    finished: Run | None = None
    if is_run(model):
        idle = {"--set": overrides, "--configs": folders}
        if any(idle.values()):
            raise InputErrors(
                Problem(f"has no effect on the finished run {model}", key=option)
                for option, given in idle.items()
                if given
            )
        finished = load_run(model, progress=progress)
        spec = finished.spec
        found: Fit | None = _of_run(finished, engine)
    else:
        spec = build(model, overrides=overrides, folders=folders, progress=progress)
        found = None
        if not overrides:
            finished = _run_of(spec, root, progress)
            found = _kept(finished, engine) if finished else None
    frame = _read_new(new, spec)
    rows = _asked(spec, frame, new, groups=groups, borrow=borrow)
    if found is None:
        chosen = engine or "nuts"
        require(chosen, spec)
        progress(Step(f"fitting by {chosen} (`hlm run` keeps a fit for the next time)"))
        finished, found = None, fit(spec, chosen, progress=progress)
    progress(Step("predicting"))
    return Predicted(
        fit=found,
        new=frame,
        asked=rows,
        prediction=predicted(found, rows, level),
        folder=finished.folder if finished else None,
    )


def _read_new(path: Path, spec: ModelSpec) -> "pd.DataFrame":
    """The rows of a file of the user."""
    source = DataSettings(source=FileSource(file=str(path)))
    try:
        frame = read_frame(source, folder=Path.cwd(), data_dir=None, labels=_text(spec))
    except InputErrors as error:
        raise InputErrors(
            problem if problem.file else replace(problem, key="--new") for problem in error.problems
        ) from None
    taken = [name for name in frame if name in (*COLUMNS, "var")]
    if taken:
        raise InputErrors.one(
            f"{', '.join(taken)} would stand there twice, in the new data and as a prediction: "
            "rename it, or predict in Python",
            file=str(path),
        )
    return frame


def _text(spec: ModelSpec) -> list[str]:
    """Columns with a label that no number is printed as, 007 or x: none of them holds numbers."""
    import pandas as pd

    found = []
    for name, column in spec.design.table.columns.items():
        if isinstance(column, LabelColumn):
            numbers = pd.to_numeric(pd.Series(column.labels), errors="coerce").dropna()
            if set(label_column(numbers, group=True).labels) != set(column.labels):
                found.append(name)
    return found


def _asked(
    spec: ModelSpec, frame: "pd.DataFrame", path: Path, *, groups: Kinds, borrow: Borrow | None
) -> Asked:
    """As `asked`; problems of the new rows name the file."""
    try:
        return asked(spec, frame, groups=groups, borrow=borrow)
    except InputErrors as error:
        raise InputErrors(
            replace(problem, key="", file=str(path)) if problem.key == KEY else problem
            for problem in error.problems
        ) from None


def _run_of(spec: ModelSpec, root: Path, progress: Progress) -> Run | None:
    """The latest finished run of a model, if it is of this model and these data."""
    if not (root / spec.name / "run.json").is_file():
        return None
    try:
        found = load_run(root / spec.name, progress=progress)
    except ModelMismatchError:
        # Its data have changed since: it is a run of other data than those of the model now.
        return None
    return found if found.spec.digest == spec.digest else None


def _kept(run: Run, engine: str | None) -> Fit | None:
    """The fit of a run by an engine, without one its first posterior; None if it has none."""
    if engine is not None:
        return run.fits.get(engine)
    drawn = [one for one in run.fits.values() if isinstance(one, PosteriorFit)]
    return drawn[0] if drawn else None


def _of_run(run: Run, engine: str | None) -> Fit:
    """As `_kept`; a run without a posterior gives what it has."""
    found = _kept(run, engine)
    if found is not None:
        return found
    if engine is None:
        return next(iter(run.fits.values()))
    raise InputErrors.one(
        f"the run {run.folder} has no fit by {engine} (it has {', '.join(run.fits)})",
        key="--engine",
    )

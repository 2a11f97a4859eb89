"""Several models of the same data on one board: what each foresees, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from hlm_models.comparison.agreement import Agreement, agreement
from hlm_models.comparison.evidence import Evidence, log_marginal_likelihood
from hlm_models.comparison.nested import (
    NestedTest,
    comparable_criteria,
    nested_tests,
    same_fixed_parts,
)
from hlm_models.comparison.same_data import SharedData, same_data
from hlm_models.comparison.weights import pseudo_bma, stacking
from hlm_models.design.build import RandomBlock
from hlm_models.elpd.estimate import Elpd
from hlm_models.elpd.grouping import Grouping
from hlm_models.elpd.kfold import kfold as kfold_elpd
from hlm_models.elpd.loo import loo
from hlm_models.elpd.pointwise import Focus
from hlm_models.elpd.waic import waic
from hlm_models.engines.find import require
from hlm_models.errors import FitError, InputErrors, Problem, RefusalError, nearest
from hlm_models.results.arguments import checked_count
from hlm_models.results.checks import Check
from hlm_models.results.document import plain
from hlm_models.results.fits import PointFit, PosteriorFit
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Board", "Difference", "Entry", "Model", "Row", "check_models", "make_board"]

SMALL = 4.0
"""A difference of elpd below this is small, whatever its standard error."""
ERRORS = 2.0
"""So many standard errors tell two models apart."""
FEW = 100
"""With fewer rows or groups than this the standard errors are themselves unsure."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What is put on the board: draws and, where it is there already, the REML fit beside them."""

    posterior: PosteriorFit
    reml: PointFit | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """One model of the board, with all that is known of it.

    points : its fits by "ml" and "reml"; `refused` says why one is not there
    evidence : None where it was not asked for, or refused, and then `no_evidence` says why
    """

    posterior: PosteriorFit
    points: Mapping[str, PointFit]
    refused: Mapping[str, str]
    agreement: Agreement | None
    elpd: Elpd
    waic: Elpd
    evidence: Evidence | None
    no_evidence: str

    @property
    def spec(self) -> ModelSpec:
        return self.posterior.spec


@dataclass(frozen=True, slots=True)
class Row:
    """One model in numbers, NaN where there is none.

    elpd_diff, dse : to the first row, with the standard error of the paired difference
    behind : the difference is at least 4 and at least two of its standard errors
    weight, weight_bma : by stacking, and pseudo-BMA+
    bad, integrated, refits : columns with weights that are not good enough; columns by better
        weights, with b integrated out; columns that the model was fitted without
    log_bayes_factor : to the largest marginal likelihood of the board
    loglik, df, aic, bic : by ML, of df parameters
    reml : minus twice the restricted log likelihood, where a model has the same fixed part
    agree, parameters : how many of the parameters agree with REML
    why_* : why the numbers are absent; else empty
    """

    name: str
    formula: str
    elpd: float
    se: float
    p: float
    elpd_diff: float
    dse: float
    behind: bool
    weight: float
    weight_bma: float
    bad: int
    integrated: int
    refits: int
    elpd_waic: float
    se_waic: float
    p_waic: float
    log_marginal_likelihood: float
    log_marginal_likelihood_se: float
    log_bayes_factor: float
    why_no_evidence: str
    loglik: float
    df: int | None
    aic: float
    bic: float
    why_no_likelihood: str
    reml: float
    why_no_reml: str
    agree: int | None
    parameters: int | None


@dataclass(frozen=True, eq=False)
class Difference:
    """Elpd of `model` less that of `reference`, in all and column by column."""

    model: str
    reference: str
    pointwise: FloatArray

    @property
    def elpd_diff(self) -> float:
        return float(np.sum(self.pointwise))

    @property
    def dse(self) -> float:
        """Standard error of the paired difference."""
        return math.sqrt(len(self.pointwise)) * float(np.std(self.pointwise, ddof=1))


@dataclass(frozen=True, eq=False)
class Board:
    """Models of the same data, the best first.

    models : in the order of the rows; all estimates have the same columns in the same order
    folds : of K-fold cross-validation; 0 where the order is by leave-one-out
    tests : likelihood-ratio tests of nested pairs
    checks : of every model's draws and estimate, with the model's name
    winner : what the order says, and what it does not
    provenance : command, created (ISO time), python and versions {package: version}
    """

    focus: Focus
    by: str | None
    folds: int
    seed: int
    data: SharedData
    models: Mapping[str, Model]
    rows: tuple[Row, ...]
    tests: tuple[NestedTest, ...]
    notes: tuple[str, ...]
    checks: tuple[tuple[str, Check], ...]
    winner: str
    provenance: Mapping[str, Any]

    @property
    def names(self) -> Sequence[int] | Sequence[str]:
        """What was left out: rows by number from 0, or levels of `by` by label."""
        return self.models[self.rows[0].name].elpd.names

    @property
    def question(self) -> str:
        """The question that the order answers, as a sentence."""
        return self.models[self.rows[0].name].elpd.question

    def difference(self, model: str, reference: str | None = None) -> Difference:
        """One model against another; against the first by default.

        Raises
        ------
        InputErrors
            there is no such model on the board.
        """
        other = self.rows[0].name if reference is None else reference
        for name in (model, other):
            if name not in self.models:
                raise InputErrors.one(
                    f"{name!r} is not on the board{nearest(name, self.models)} "
                    f"(models: {', '.join(self.models)})",
                    key="model",
                )
        left, right = (self.models[name].elpd.pointwise for name in (model, other))
        return Difference(model, other, left - right)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Every pair, the worse against the better."""
        return tuple(
            self.difference(worse.name, better.name) for better, worse in combinations(self.rows, 2)
        )

    def by_level(self, one: Difference) -> tuple[str, tuple[str, ...], FloatArray] | None:
        """A difference of rows summed over the levels of a group: its name, labels and sums.

        The group is the first of the best model that has one; None where there is none, and where
        groups are left out themselves.
        """
        blocks = [model.spec.blocks[0] for model in self.models.values() if model.spec.blocks]
        if self.by is not None or not blocks:
            return None
        block = blocks[0]
        return block.group, block.labels, np.bincount(block.level, one.pointwise, block.J)

    @property
    def evidence_notes(self) -> tuple[str, ...]:
        """What to know before the marginal likelihoods are compared."""
        found: dict[str, list[str]] = {}
        for name, one in self.models.items():
            for text in one.evidence.warnings if one.evidence else ():
                found.setdefault(text, []).append(name)
        return tuple(f"{_listed(names)}: {text}" for text, names in found.items())

    def frame(self) -> "pd.DataFrame":
        """One row a model, the best first."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows]).set_index("name")

    def pointwise(self) -> "pd.DataFrame":
        """Elpd of what was left out, one row a row or group, one column a model."""
        import pandas as pd

        index = pd.Index(list(self.names), name=self.by or "row")
        return pd.DataFrame({n: one.elpd.pointwise for n, one in self.models.items()}, index)

    def to_csv(self, path: str | Path) -> None:
        """Write `frame()` as CSV."""
        self.frame().to_csv(path)

    def markdown(self) -> str:
        """The board as two tables in Markdown, and what it says."""
        foreseen = [
            [
                row.name,
                *_fixed(row.elpd, row.se, row.elpd_diff, row.dse, row.p),
                *_fixed(row.weight, row.weight_bma, digits=2),
                str(row.bad),
                str(row.refits),
            ]
            for row in self.rows
        ]
        others = [
            [
                row.name,
                *_fixed(row.elpd_waic, row.log_marginal_likelihood, row.log_bayes_factor),
                *_fixed(row.loglik),
                "-" if row.df is None else str(row.df),
                *_fixed(row.aic, row.bic, row.reml),
            ]
            for row in self.rows
        ]
        how = f"{self.folds}-fold" if self.folds else "leave-one-out"
        what = "rows" if self.by is None else f"levels of {self.by}"
        head = ["elpd", "se", "diff", "dse", "p", "weight", "pseudo-BMA+", "bad k", "refits"]
        more = ["elpd_waic", "log ml", "log BF", "loglik", "df", "AIC", "BIC", "REML"]
        return "\n".join(
            [
                f"{self.question} By {how} over {what}: {self.data.n:,} rows of "
                f"{self.data.source}, response {self.data.response}.",
                "",
                *_pipes(["model", *head], foreseen),
                "",
                *_pipes(["model", *more], others),
                "",
                self.winner,
                "",
                *(f"* {note}" for note in self.notes),
                *(f"* marginal likelihood of {note}" for note in self.evidence_notes),
                "",
            ]
        )

    def document(self) -> dict[str, Any]:
        """The document of `hlm compare --json`."""
        found = {
            "focus": self.focus,
            "by": self.by,
            "question": self.question,
            "method": f"{self.folds}-fold" if self.folds else "loo",
            "seed": self.seed,
            "data": asdict(self.data),
            "models": [self._model(row) for row in self.rows],
            "differences": [
                {
                    "model": one.model,
                    "reference": one.reference,
                    "elpd_diff": one.elpd_diff,
                    "dse": one.dse,
                }
                for one in self.differences
            ],
            "likelihood_ratio": [
                {"smaller": one.smaller, "larger": one.larger}
                | {
                    field.name: getattr(one.test, field.name)
                    for field in fields(one.test)
                    if field.name not in ("smaller", "larger")
                }
                for one in self.tests
            ],
            "winner": self.winner,
            "notes": self.notes,
            "evidence_notes": self.evidence_notes,
            "checks": [{"model": name} | check.document() for name, check in self.checks],
            "provenance": dict(self.provenance),
        }
        whole: dict[str, Any] = plain(found)
        return whole

    def _model(self, row: Row) -> dict[str, Any]:
        """One model in the document."""
        found, model = asdict(row), self.models[row.name]
        del found["bad"], found["agree"], found["parameters"]
        verdicts = [one.verdict for one in model.agreement.rows] if model.agreement else []
        loo_only = not self.folds
        return found | {
            "engine": model.posterior.engine,
            "elpd_loo": row.elpd if loo_only else None,
            "p_loo": row.p if loo_only else None,
            "k_bad": row.bad,
            "waic": -2 * row.elpd_waic,
            "evidence_warnings": list(model.evidence.warnings) if model.evidence else [],
            "agreement": {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
        }


def make_board(
    entries: Mapping[str, Entry],
    focus: Focus = "observation",
    by: str | None = None,
    *,
    kfold: int | None = None,
    evidence: bool = True,
    provenance: Mapping[str, Any],
    progress: Progress = silent,
) -> Board:
    """Compare models of the same data; see `hlm_models.compare`."""
    specs = {name: entry.posterior.spec for name, entry in entries.items()}
    data, block = check_models(specs, focus, by, kfold=kfold)
    seed = next(iter(entries.values())).posterior.seed
    found = {
        name: _model(
            name, entry, focus, block, kfold=kfold, seed=seed, evidence=evidence, progress=progress
        )
        for name, entry in entries.items()
    }
    best = max(one.elpd.elpd for one in found.values())
    models = dict(sorted(_aligned(found).items(), key=lambda pair: best - pair[1].elpd.elpd))
    sets = same_fixed_parts({name: one.spec for name, one in models.items()})
    tests, test_notes = nested_tests(
        {name: one.points for name, one in models.items()}, progress=progress
    )
    progress(Step("weights"))
    rows = _rows(models, sets, seed)
    return Board(
        focus=focus,
        by=block.group if block else None,
        folds=kfold or 0,
        seed=seed,
        data=data,
        models=models,
        rows=rows,
        tests=tests,
        notes=(*data.notes, *_notes(models, rows, sets), *test_notes),
        checks=_checks(models),
        winner=_winner(rows),
        provenance=provenance,
    )


def check_models(
    specs: Mapping[str, ModelSpec], focus: str, by: str | None, *, kfold: int | None
) -> tuple[SharedData, RandomBlock | None]:
    """The data of models that can be compared, and the group that is left out.

    Raises
    ------
    InputErrors
        one model only, one model twice, other data; no such focus or group; too many folds.
    """
    if len(specs) < 2:
        raise InputErrors.one("a comparison needs two models or more", key="models")
    if focus not in get_args(Focus):
        raise InputErrors.one(
            f"{focus!r} is none of {', '.join(get_args(Focus))}{nearest(focus, get_args(Focus))}",
            key="focus",
        )
    first: dict[str, str] = {}
    problems = [
        Problem(f"this is the same model, of the same data, as {first[spec.digest]}", key=name)
        for name, spec in specs.items()
        if first.setdefault(spec.digest, name) != name
    ]
    if problems:
        raise InputErrors(problems)
    data, block = same_data(specs), _group(specs, focus, by)
    size, what = (data.n, "rows") if block is None else (block.J, f"levels of {block.group}")
    if kfold is not None and checked_count(kfold, "kfold", least=2) > size:
        raise InputErrors.one(
            f"{kfold} folds of {size} {what}: give a number from 2 to {size}", key="kfold"
        )
    return data, block


def _group(specs: Mapping[str, ModelSpec], focus: str, by: str | None) -> RandomBlock | None:
    """The group that is left out, from the first model that has it."""
    if focus == "observation":
        if by is not None:
            raise InputErrors.one(
                f"rows are left out one by one: leave out by={by!r}, or take focus='group'",
                key="by",
            )
        return None
    known: dict[str, RandomBlock] = {}
    for spec in specs.values():
        known = {block.group: block for block in spec.blocks} | known
    if not known:
        raise InputErrors.one("none of the models has a group: take focus='observation'", key="by")
    if by is None:
        if len(known) > 1:
            raise InputErrors.one(
                f"the models have several groups, name one of them: {', '.join(known)}", key="by"
            )
        return next(iter(known.values()))
    if by not in known:
        raise InputErrors.one(
            f"{by!r} is a group of none of the models{nearest(by, known)} "
            f"(groups: {', '.join(known)})",
            key="by",
        )
    return known[by]


def _model(
    name: str,
    entry: Entry,
    focus: Focus,
    block: RandomBlock | None,
    *,
    kfold: int | None,
    seed: int,
    evidence: bool,
    progress: Progress,
) -> Model:
    def named(step: Step) -> None:
        progress(replace(step, stage=f"{name}: {step.stage}"))

    posterior = entry.posterior
    by: str | Grouping | None = None
    if block is not None:
        has = any(one.group == block.group for one in posterior.spec.blocks)
        by = block.group if has else Grouping(block.group, block.labels, block.level)
    try:
        if kfold is None:
            named(Step("leave-one-out"))
            elpd = loo(posterior, focus, by, progress=named)
        else:
            elpd = kfold_elpd(posterior, kfold, by, seed=seed, progress=named)
        waic_elpd = waic(posterior, focus, by)
    except (FitError, RefusalError) as error:
        raise type(error)(f"{name}: {error}") from error
    points, refused = _points(entry, named)
    marginal, why = None, "" if evidence else "not asked for"
    if evidence:
        named(Step("marginal likelihood"))
        try:
            marginal = log_marginal_likelihood(posterior, progress=named)
        except (FitError, RefusalError) as error:
            why = str(error)
    return Model(
        posterior=posterior,
        points=points,
        refused=refused,
        agreement=agreement(posterior, points["reml"]) if "reml" in points else None,
        elpd=elpd,
        waic=waic_elpd,
        evidence=marginal,
        no_evidence=why,
    )


def _points(entry: Entry, progress: Progress) -> tuple[dict[str, PointFit], dict[str, str]]:
    """Fits by ML and REML, and why one could not be had."""
    spec = entry.posterior.spec
    if spec.reml.theta is not None:
        why = "the model file gives theta (reml.theta), so that there is no optimum to speak of"
        return {}, dict.fromkeys(("ml", "reml"), why)
    points, refused = {} if entry.reml is None else {"reml": entry.reml}, {}
    for name in ("ml", "reml"):
        if name in points:
            continue
        try:
            found = require(name, spec).fit(spec, spec.fit, progress)
        except (FitError, RefusalError) as error:
            refused[name] = str(error)
        else:
            assert isinstance(found, PointFit)
            points[name] = found
    return points, refused


def _aligned(models: Mapping[str, Model]) -> dict[str, Model]:
    """The models with the columns of their estimates in the order of the first one's."""
    names = next(iter(models.values())).elpd.names
    return {
        name: replace(one, elpd=_in_order(one.elpd, names), waic=_in_order(one.waic, names))
        for name, one in models.items()
    }


def _in_order(elpd: Elpd, names: Sequence[int] | Sequence[str]) -> Elpd:
    if elpd.names == names:
        return elpd
    place: dict[object, int] = {name: at for at, name in enumerate(elpd.names)}
    order = np.array([place[name] for name in names])
    return replace(
        elpd,
        names=names,
        pointwise=elpd.pointwise[order],
        lpd=elpd.lpd[order],
        pareto_k=elpd.pareto_k[order],
        how=tuple(elpd.how[at] for at in order.tolist()),
    )


def _rows(
    models: Mapping[str, Model], sets: tuple[tuple[str, ...], ...], seed: int
) -> tuple[Row, ...]:
    pointwise = np.column_stack([one.elpd.pointwise for one in models.values()])
    weights = stacking(pointwise), pseudo_bma(pointwise, np.random.default_rng(seed))
    criteria = comparable_criteria(
        {name: one.points["reml"] for name, one in models.items() if "reml" in one.points}, sets
    )
    known = [one.evidence.log_marginal_likelihood for one in models.values() if one.evidence]
    most = max(known, default=math.nan)
    rows = []
    for k, (name, one) in enumerate(models.items()):
        against = Difference(name, "", pointwise[:, k] - pointwise[:, 0])
        ml, reml = one.points.get("ml"), criteria.get(name, math.nan)
        evidence = one.evidence
        rows.append(
            Row(
                name=name,
                formula=str(one.spec.config["formula"]),
                elpd=one.elpd.elpd,
                se=one.elpd.se,
                p=one.elpd.p,
                elpd_diff=against.elpd_diff,
                dse=against.dse,
                behind=against.elpd_diff <= -max(SMALL, ERRORS * against.dse),
                weight=float(weights[0][k]),
                weight_bma=float(weights[1][k]),
                bad=one.elpd.bad,
                integrated=sum(how == "integrated" for how in one.elpd.how),
                refits=one.elpd.refits,
                elpd_waic=one.waic.elpd,
                se_waic=one.waic.se,
                p_waic=one.waic.p,
                log_marginal_likelihood=evidence.log_marginal_likelihood if evidence else math.nan,
                log_marginal_likelihood_se=evidence.se if evidence else math.nan,
                log_bayes_factor=evidence.log_marginal_likelihood - most if evidence else math.nan,
                why_no_evidence=one.no_evidence,
                loglik=ml.loglik if ml else math.nan,
                df=ml.parameters if ml else None,
                aic=ml.aic if ml else math.nan,
                bic=ml.bic if ml else math.nan,
                why_no_likelihood=one.refused.get("ml", ""),
                reml=reml,
                why_no_reml=_why_no_reml(one) if math.isnan(reml) else "",
                agree=_agreeing(one.agreement),
                parameters=len(one.agreement.rows) if one.agreement else None,
            )
        )
    return tuple(rows)


def _why_no_reml(model: Model) -> str:
    return model.refused.get("reml", "no other model has the same fixed part")


def _agreeing(found: Agreement | None) -> int | None:
    return None if found is None else sum(row.verdict == "agree" for row in found.rows)


def _winner(rows: Sequence[Row]) -> str:
    """What the order says, and what it does not."""
    first, *others = rows

    def beside(row: Row) -> str:
        return f"{row.name} ({-row.elpd_diff:.1f} below, standard error {row.dse:.1f})"

    close = [beside(row) for row in others if not row.behind]
    behind = [beside(row) for row in others if row.behind]
    if not close:
        return f"{first.name} is expected to foresee new data best: {_listed(behind)}."
    text = f"{first.name} comes first, but is not told apart from {_listed(close)}."
    return text + (f" Clearly behind: {_listed(behind)}." if behind else "")


def _notes(
    models: Mapping[str, Model], rows: Sequence[Row], sets: tuple[tuple[str, ...], ...]
) -> list[str]:
    """What to know before the board is believed."""
    notes = []
    elpd = models[rows[0].name].elpd
    if any(-row.elpd_diff < SMALL for row in rows[1:]):
        notes.append(
            f"differences of elpd below {SMALL:g} are small: models that foresee so nearly alike "
            "are chosen by other reasons, and the standard error of so small a difference may be "
            "too small"
        )
    if elpd.size < FEW:
        terms = "rows" if elpd.by is None else f"levels of {elpd.by}"
        notes.append(
            f"elpd is a sum over {elpd.size} {terms}: with fewer than {FEW} the standard errors "
            "are themselves unsure"
        )
    comparable = [names for names in sets if len(names) > 1]
    if comparable and len(sets) > 1:
        notes.append(
            "REML criteria are comparable only where the fixed part is the same: "
            + "; ".join(_listed(names) for names in comparable)
        )
    likely = [row for row in rows if row.log_bayes_factor == 0]
    if rows[0].log_bayes_factor < 0:
        notes.append(
            f"the marginal likelihood is largest for {likely[0].name}: it asks how well the priors "
            "foresaw these data, and elpd how well the posterior foresees new ones"
        )
    return notes


def _checks(models: Mapping[str, Model]) -> tuple[tuple[str, Check], ...]:
    found: list[tuple[str, Check]] = []
    for name, one in models.items():
        # Of K-fold there are no weights.
        own = (*([one.elpd.check()] if one.elpd.method == "loo" else []), *one.elpd.checks)
        found += [(name, check) for check in (*own, one.waic.check(), *one.posterior.checks)]
    return tuple(found)


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _fixed(*values: float, digits: int = 1) -> list[str]:
    return [f"{value:.{digits}f}" if math.isfinite(value) else "-" for value in values]


def _pipes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown: the first column text, the others numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = ([cell.replace("|", "\\|") for cell in cells] for cells in (head, rule, *rows))
    return [f"| {' | '.join(cells)} |" for cells in lines]

"""A board of models as one HTML page that needs no network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.comparison.board import Board, Row
from hlm_models.comparison.evidence import strength
from hlm_models.report import tables
from hlm_models.report.origin import model_file, readable_time
from hlm_models.report.tables import ABSENT, Column, Table, fixed
from hlm_models.report.template import filled
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.summary import draw_rows, point_rows
from hlm_models.spec.describe import describe

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["render"]

REFERENCES = {
    "elpd": (
        "Vehtari, A., Gelman, A., Gabry, J. (2017). Practical Bayesian model evaluation using "
        "leave-one-out cross-validation and WAIC. Statistics and Computing 27, 1413–1432. "
        "doi:10.1007/s11222-016-9696-4"
    ),
    "psis": (
        "Vehtari, A., Simpson, D., Gelman, A., Yao, Y., Gabry, J. (2024). Pareto smoothed "
        "importance sampling. Journal of Machine Learning Research 25 (72), 1–58."
    ),
    "weights": (
        "Yao, Y., Vehtari, A., Simpson, D., Gelman, A. (2018). Using stacking to average Bayesian "
        "predictive distributions. Bayesian Analysis 13, 917–1007. doi:10.1214/17-BA1091"
    ),
    "differences": (
        "Sivula, T., Magnusson, M., Matamoros, A. A., Vehtari, A. Uncertainty in Bayesian "
        "leave-one-out cross-validation based model comparison. arXiv:2008.10296"
    ),
    "group": (
        "Merkle, E. C., Furr, D., Rabe-Hesketh, S. (2019). Bayesian comparison of latent variable "
        "models: conditional versus marginal likelihoods. Psychometrika 84, 802–829. "
        "doi:10.1007/s11336-019-09679-0"
    ),
    "bridge": (
        "Gronau, Q. F. et al. (2017). A tutorial on bridge sampling. Journal of Mathematical "
        "Psychology 81, 80–97. doi:10.1016/j.jmp.2017.09.005"
    ),
    "grades": (
        "Kass, R. E., Raftery, A. E. (1995). Bayes factors. Journal of the American Statistical "
        "Association 90, 773–795. doi:10.1080/01621459.1995.10476572"
    ),
    "boundary": (
        "Stram, D. O., Lee, J. W. (1994). Variance components testing in the longitudinal mixed "
        "effects model. Biometrics 50, 1171–1177. doi:10.2307/2533455"
    ),
    "likelihood": (
        "Bates, D., Mächler, M., Bolker, B., Walker, S. (2015). Fitting linear mixed-effects "
        "models using lme4. Journal of Statistical Software 67 (1). doi:10.18637/jss.v067.i01"
    ),
}
"""What a reader cites, by what the page makes use of."""


def render(board: Board) -> str:
    """The page as text; the same board gives the same text."""
    return filled("comparison.html", _context(board))


def _context(board: Board) -> dict[str, Any]:
    failed, warned = (
        [one for one in board.checks if one[1].status == status] for status in ("fail", "warn")
    )
    pictures = _pareto(board)
    return {
        "names": [row.name for row in board.rows],
        "winner": board.winner,
        "question": board.question,
        "notes": board.notes,
        "failed": failed,
        "warned": warned,
        "subject": "rows" if board.by is None else f"levels of {board.by}",
        "by_rows": board.by is None,
        "compared": _compared(board),
        "foreseen": _foreseen(board),
        "ranking": _ranking(board),
        "differences": _differences(board),
        "pairs": _pair_table(board),
        "pareto": pictures,
        "sources": _sources(board) if pictures else None,
        "likelihoods": _likelihoods(board),
        "tests": _test_table(board) if board.tests else None,
        "evidence": _evidence(board),
        "evidence_notes": board.evidence_notes,
        "agreement": _agreement(board),
        "best": _answer(board),
        "best_name": board.rows[0].name,
        "descriptions": [(name, describe(one.spec)) for name, one in board.models.items()],
        "checks": _check_table(board),
        "references": _references(board, psis=bool(pictures)),
        "facts": _facts(board),
        "versions": board.provenance.get("versions") or {},
        "command": board.provenance.get("command"),
        "files": [(name, model_file(one.spec.config)) for name, one in board.models.items()],
        "short": tables.short,
    }


def _who(board: Board) -> str:
    return ", ".join(sorted({one.posterior.engine for one in board.models.values()}))


def _engines(fit: PosteriorFit, reml: bool) -> str:
    return f"{fit.engine} and reml" if reml else fit.engine


def _how(board: Board) -> str:
    return f"{board.folds}-fold" if board.folds else "leave-one-out"


def _compared(board: Board) -> Table:
    return Table(
        f"{board.data.source}, {_who(board)}: the models",
        (Column("model", "name"), Column("formula", "text"), Column("draws"), Column("seed")),
        tuple(
            (
                row.name,
                row.formula,
                f"{board.models[row.name].elpd.draws:,}",
                str(board.models[row.name].posterior.seed),
            )
            for row in board.rows
        ),
    )


def _foreseen(board: Board) -> Table:
    what = "row" if board.by is None else board.by
    return Table(
        f"{board.data.source}, {_who(board)}: expected log predictive density by {_how(board)}, "
        f"focus {board.focus}",
        (
            Column("model", "name"),
            Column("difference", side="posterior"),
            Column("its se"),
            Column("elpd"),
            Column("se"),
            Column("p"),
            Column("stacking"),
            Column("pseudo-BMA+"),
            Column("elpd_waic"),
            Column("bad k"),
        ),
        tuple(
            (
                row.name,
                fixed(row.elpd_diff, 1),
                fixed(row.dse, 1),
                fixed(row.elpd, 1),
                fixed(row.se, 1),
                fixed(row.p, 1),
                fixed(row.weight, 2),
                fixed(row.weight_bma, 2),
                fixed(row.elpd_waic, 1),
                f"{row.bad:,}",
            )
            for row in board.rows
        ),
        f"elpd: sum over {len(board.names):,} of the log density that the model gives what was "
        f"left out, one {what} a term; higher is better. difference: to the first model, with the "
        "standard error of the paired difference. p: effective number of parameters. stacking, "
        "pseudo-BMA+: weights of the models in a common prediction. elpd_waic: another estimate "
        "of elpd, by WAIC. bad k: terms whose weights stayed not good enough.",
    )


def _ranking(board: Board) -> "Markup":
    from hlm_models.plot.board import ranking
    from hlm_models.plot.intervals import Bar
    from hlm_models.report.markup import markup

    first = board.rows[0].elpd

    def bar(row: Row, middle: float, se: float) -> Bar:
        return Bar(row.name, middle, middle - 2 * se, middle + 2 * se)

    figure = ranking(
        [bar(row, row.elpd_diff, row.dse) for row in board.rows],
        [bar(row, row.elpd - first, row.se) for row in board.rows],
    )
    alt = f"{board.data.source}: elpd of {len(board.rows)} models, less that of the first"
    return markup(figure, alt)


def _differences(board: Board) -> "tuple[Markup, ...]":
    """Differences to the first model: by what was left out, and rows by group too."""
    from hlm_models.plot.board import difference
    from hlm_models.report.markup import markup

    first = board.rows[0].name
    what = "rows" if board.by is None else f"levels of {board.by}"
    pictures = []
    for row in board.rows[1:]:
        one = board.difference(row.name)
        names = [f"row {at + 1}" if isinstance(at, int) else at for at in board.names]
        shown = [(what, names, one.pointwise)]
        grouped = board.by_level(one)
        if grouped is not None:
            group, labels, sums = grouped
            shown.append((f"levels of {group}", list(labels), sums))
        pictures += [
            markup(
                difference(
                    labels, values, what=what, title=f"{row.name} less {first}", better=first
                ),
                f"{row.name} less {first}: elpd of {len(labels):,} {what}",
            )
            for what, labels, values in shown
        ]
    return tuple(pictures)


def _pair_table(board: Board) -> Table:
    return Table(
        f"{board.data.source}, {_who(board)}: differences of every pair",
        (Column("model", "name"), Column("less", "text"), Column("difference"), Column("its se")),
        tuple(
            (one.model, one.reference, fixed(one.elpd_diff, 1), fixed(one.dse, 1))
            for one in board.differences
        ),
    )


def _pareto(board: Board) -> "tuple[Markup, ...]":
    from hlm_models.plot.board import pareto
    from hlm_models.report.markup import markup

    return tuple(
        markup(
            pareto(
                name,
                one.elpd.pareto_k,
                np.array([how == "refit" for how in one.elpd.how]),
                one.elpd.good_k,
            ),
            f"{name}: Pareto k of {one.elpd.size:,}",
        )
        for name, one in board.models.items()
        if not np.isnan(one.elpd.pareto_k).all()
    )


def _sources(board: Board) -> Table:
    """Where the terms of each estimate come from."""
    size = len(board.names)
    return Table(
        f"{board.data.source}, {_who(board)}: where the {size:,} terms come from",
        (
            Column("model", "name"),
            Column("weights"),
            Column("integrated"),
            Column("refits"),
            Column("bad k"),
        ),
        tuple(
            (
                row.name,
                f"{size - row.integrated - row.refits - row.bad:,}",
                f"{row.integrated:,}",
                f"{row.refits:,}",
                f"{row.bad:,}",
            )
            for row in board.rows
        ),
        "weights: importance weights that are good enough. integrated: weights that are good "
        "enough with the effects integrated out. refits: the model was fitted again without the "
        "term's data. bad k: weights that stayed not good enough.",
    )


def _likelihoods(board: Board) -> Table:
    why = [
        f"{row.name}: {text}."
        for row in board.rows
        for text in dict.fromkeys((row.why_no_likelihood, row.why_no_reml))
        if text
    ]
    return Table(
        f"{board.data.source}, ml and reml: criteria of our own fitter",
        (
            Column("model", "name"),
            *(Column(title, side="reference") for title in ("log likelihood", "df", "AIC", "BIC")),
            Column("REML criterion", side="reference"),
        ),
        tuple(
            (
                row.name,
                fixed(row.loglik, 2),
                ABSENT if row.df is None else str(row.df),
                fixed(row.aic, 2),
                fixed(row.bic, 2),
                fixed(row.reml, 2),
            )
            for row in board.rows
        ),
        "log likelihood, AIC and BIC by ML, lower AIC and BIC are better. REML criterion: minus "
        "twice the restricted log likelihood, shown where another model has the same fixed part. "
        + " ".join(why),
    )


def _test_table(board: Board) -> Table:
    noted = any(one.test.note for one in board.tests)
    return Table(
        f"{board.data.source}, ml and reml: likelihood-ratio tests of nested models",
        (
            Column("smaller", "name"),
            Column("within", "text"),
            Column("by", "text"),
            Column("ratio", side="reference"),
            Column("df"),
            Column("p"),
            Column("naive p"),
            Column("reference distribution", "text"),
            *((Column("note", "text"),) if noted else ()),
        ),
        tuple(
            (
                one.smaller,
                one.larger,
                one.test.engine.upper(),
                fixed(one.test.statistic, 2),
                str(one.test.df),
                tables.p_value(one.test.p),
                tables.p_value(one.test.p_naive),
                one.test.reference,
                *((one.test.note or ABSENT,) if noted else ()),
            )
            for one in board.tests
        ),
        "naive p: as if no variance were on its boundary under the smaller model.",
    )


def _evidence(board: Board) -> Table | None:
    """Marginal likelihoods; None where they were not asked for."""
    models = [board.models[row.name] for row in board.rows]
    if all(one.no_evidence == "not asked for" for one in models):
        return None
    refused = any(row.why_no_evidence for row in board.rows)
    return Table(
        f"{board.data.source}, {_who(board)}: log marginal likelihoods",
        (
            Column("model", "name"),
            Column("log marginal likelihood", side="posterior"),
            Column("se"),
            Column("log Bayes factor"),
            Column("Bayes factor"),
            Column("for the largest", "text"),
            *((Column("absent, for", "text"),) if refused else ()),
        ),
        tuple(
            (
                row.name,
                fixed(row.log_marginal_likelihood, 2),
                tables.number(row.log_marginal_likelihood_se, 2),
                fixed(row.log_bayes_factor, 2),
                tables.number(float(np.exp(row.log_bayes_factor)), 3),
                strength(row.log_bayes_factor) if row.log_bayes_factor < 0 else ABSENT,
                *((row.why_no_evidence or ABSENT,) if refused else ()),
            )
            for row in board.rows
        ),
        "Bayes factor: of the model to the one with the largest marginal likelihood, and in the "
        "words of Kass and Raftery (1995) how strongly the data speak for that one. It depends on "
        "the priors, however many rows there are.",
    )


def _agreement(board: Board) -> Table | None:
    """How many parameters of each model have which verdict; None where no model has REML."""
    found = {name: one.agreement for name, one in board.models.items() if one.agreement}
    if not found:
        return None
    verdicts = ("agree", "shifted", "spread", "boundary")
    return Table(
        f"{board.data.source}, {_who(board)} against reml: parameters by verdict",
        (
            Column("model", "name"),
            Column("agree"),
            Column("shifted"),
            Column("spread differs"),
            Column("boundary"),
            Column("not agreeing", "text"),
        ),
        tuple(
            (
                name,
                *(str(sum(row.verdict == one for row in table.rows)) for one in verdicts),
                ", ".join(row.parameter for row in table.rows if row.verdict != "agree") or ABSENT,
            )
            for name, table in found.items()
        ),
    )


def _answer(board: Board) -> Table:
    """The coefficients of the first model."""
    best = board.models[board.rows[0].name]
    reml = best.points.get("reml")
    return tables.answer_table(
        best.spec,
        draw_rows(best.posterior),
        point_rows(reml) if reml else (),
        best.agreement,
        engines=_engines(best.posterior, reml is not None),
        reference="REML",
    )


def _check_table(board: Board) -> Table:
    found = tables.check_table(board.data.source, _who(board), board.checks)
    code, _, *others = found.columns
    return replace(found, columns=(code, Column("model", "text"), *others))


def _references(board: Board, *, psis: bool) -> Sequence[str]:
    used = {
        "elpd": True,
        "psis": psis,
        "weights": True,
        "differences": True,
        "group": board.focus == "group",
        "bridge": any(one.evidence for one in board.models.values()),
        "grades": any(one.evidence for one in board.models.values()),
        "boundary": any(one.test.effects for one in board.tests),
        "likelihood": any(one.points for one in board.models.values()),
    }
    return [REFERENCES[key] for key, holds in used.items() if holds]


def _facts(board: Board) -> list[tuple[str, str]]:
    """How it was made, in reading order."""
    found = [
        ("created", readable_time(board.provenance.get("created"))),
        ("left out", f"{len(board.names):,} {board.by or 'rows'}, {_how(board)}"),
        ("seed", board.seed),
        ("data", board.data.source),
        ("rows", f"{board.data.n:,}"),
        ("response", board.data.response),
        ("digest of the data", board.data.digest),
        *((f"digest of {name}", one.spec.digest) for name, one in board.models.items()),
    ]
    return [(label, str(value)) for label, value in found if value is not None]

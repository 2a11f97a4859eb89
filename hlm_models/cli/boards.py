"""What `hlm compare` prints."""

from collections.abc import Mapping
from typing import Any

from hlm_models.cli.blocks import Block, Table, filled
from hlm_models.cli.numbers import cell, number, tenths

__all__ = ["comparison"]


def comparison(found: Mapping[str, Any]) -> list[Block]:
    """What `hlm compare` prints of its document."""
    rows, data = found["models"], found["data"]
    others = "rows" if found["by"] is None else f"levels of {found['by']}"
    how = "leave-one-out" if found["method"] == "loo" else found["method"]
    head = (
        f"{found['question']}\n{how} over {others} of {data['source']}: {data['n']:,} rows, "
        f"response {data['response']}"
    )
    foreseen = [
        [
            row["name"],
            *(tenths(row[key]) for key in ("elpd", "se", "elpd_diff", "dse", "p")),
            f"{row['weight']:.2f}",
            f"{row['weight_bma']:.2f}",
            str(row["k_bad"]),
            str(row["refits"]),
        ]
        for row in rows
    ]
    titles = ["model", "elpd", "se", "diff", "dse", "p", "weight", "BMA+", "bad k", "refits"]
    table = Table(titles, foreseen, right=range(1, 10))
    blocks: list[Block] = [head, table, filled(found["winner"])]
    keys = ("elpd_waic", "log_marginal_likelihood", "log_bayes_factor", "loglik")
    fitted = [
        [
            row["name"],
            *(tenths(row[key]) for key in keys),
            "-" if row["df"] is None else str(row["df"]),
            *(tenths(row[key]) for key in ("aic", "bic", "reml")),
        ]
        for row in rows
    ]
    titles = ["model", "elpd_waic", "log ml", "log BF", "loglik", "df", "AIC", "BIC", "REML"]
    blocks.append(Table(titles, fitted, right=range(1, 9)))
    tests = [
        [
            one["smaller"],
            one["larger"],
            one["engine"].upper(),
            number(one["statistic"]),
            str(one["df"]),
            _p_value(one["p"], one["draws"] - one["failed"]),
            cell("p", one["p_naive"]),
        ]
        for one in found["likelihood_ratio"]
    ]
    if tests:
        titles = ["smaller", "within", "by", "LR", "df", "p", "naive p"]
        blocks.append(Table(titles, tests, right=range(3, 7)))
    agreeing = [
        f"{row['name']} {row['agreement'].get('agree', 0)} of {sum(row['agreement'].values())}"
        for row in rows
        if row["agreement"]
    ]
    if agreeing:
        blocks.append(filled(f"Parameters that agree with REML: {', '.join(agreeing)}"))
    absent = [
        f"{row['name']}: {what}: {row[key]}"
        for row in rows
        for key, what in (
            ("why_no_evidence", "no marginal likelihood"),
            ("why_no_likelihood", "no ML fit"),
        )
        if row[key] and row[key] != "not asked for"
    ]
    notes = [
        filled(one, first="  ", rest="    ")
        for one in (
            *found["notes"],
            *(f"marginal likelihood of {note}" for note in found["evidence_notes"]),
            *absent,
        )
    ]
    if notes:
        blocks.append("\n".join(["Notes", *notes]))
    failing = [
        [one["status"], one["model"], one["code"], one["message"]]
        for status in ("fail", "warn")
        for one in found["checks"]
        if one["status"] == status
    ]
    if failing:
        blocks.append(Table(["check", "model", "code", "what"], failing, folds=True))
    state = "Made before, and reused (--force computes anew)" if found["reused"] else "Saved"
    return [*blocks, f"{state}: {found['folder']}\nPage: {found['page']}", ""]


def _p_value(p: float, drawn: int) -> str:
    """The value; a bound where none of the responses drawn was as far out."""
    return f"<{p:.1g}" if drawn and p * (1 + drawn) < 1.5 else cell("p", p)

import re
from pathlib import Path

from hlm_models.report.remedies import REMEDIES

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text("utf-8")


def test_the_page_of_a_run_says_what_the_page_of_the_checks_says():
    told = {}
    for line in re.findall(r"^\| `\w+` \|.*$", PAGE, re.MULTILINE):
        code, *_, remedy = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
        told[code.strip("`")] = re.sub(r" ?\(\[[^]]*\]\([^)]*\)\)|`", "", remedy)
    assert {code: told[code] for code in REMEDIES} == dict(REMEDIES)
    others = {"ranks", "failed_fits", "low_ess", "divergent_fits", "pareto_k", "p_waic", "loo_pit"}
    assert set(told) - set(REMEDIES) == others

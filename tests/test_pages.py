"""The pages with worked examples say what their code prints."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    "page",
    [
        "blups.md",
        pytest.param("comparison.md", marks=pytest.mark.slow),
        "extraction.md",
        "figures.md",
        "interpretation.md",
        "ladder.md",
        pytest.param("log-likelihood.md", marks=pytest.mark.slow),
        "prediction.md",
        "tests-of-coefficients.md",
    ],
)
def test_a_page_says_what_its_code_prints(page):
    code = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(code), {}, page, page, 0)
    assert len(examples.examples) > 10
    said = []
    # pandas pads the line of the index name with blanks.
    flags = doctest.NORMALIZE_WHITESPACE
    result = doctest.DocTestRunner(verbose=False, optionflags=flags).run(examples, out=said.append)
    assert result.failed == 0, "".join(said)

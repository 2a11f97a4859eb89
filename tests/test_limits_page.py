"""The page of limits says what the code has, and its numbers are the code's."""

import re
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.algebra import projections, schur
from hlm_models.config.settings import ContrastSettings, DataSettings, ModelConfig
from hlm_models.elpd import pointwise
from hlm_models.parts.families import FAMILIES
from hlm_models.parts.residuals import RESIDUALS
from hlm_models.results import posterior

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text("utf-8")


def row(words):
    [found] = [line for line in PAGE.splitlines() if line.startswith("|") and words in line]
    return found


def named(words):
    """What stands in code in the first cell of a row."""
    return set(re.findall(r"`([^`]+)`", row(words).split("|")[1]))


def test_families_residuals_and_contrasts_are_all_that_there_are():
    assert named("The family is") == set(FAMILIES)
    assert named("Residuals are") == set(RESIDUALS)
    assert named("Contrasts are") == set(get_args(ContrastSettings.model_fields["kind"].annotation))


def test_missing_values_are_an_error_or_dropped():
    assert set(get_args(DataSettings.model_fields["missing"].annotation)) == {"error", "drop"}
    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0, None], "g": ["a", "a", "b", "b"]})
    with pytest.raises(hlm.InputErrors, match=r"y.*missing"):
        hlm.build(formula="y ~ 1 + (1 | g)", data=frame)


def test_a_model_has_one_response_and_one_family():
    assert get_args(ModelConfig.model_fields["family"].annotation) == ("gaussian",)
    frame = pd.DataFrame({"y": [1.0, 2, 3, 4], "z": [2.0, 1, 4, 3], "g": ["a", "a", "b", "b"]})
    with pytest.raises(hlm.InputErrors):
        hlm.build(formula="y + z ~ 1 + (1 | g)", data=frame)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("factorise the effects", schur.DENSE),
        ("factorise the effects", schur.ROOM),
        ("Kenward and Roger's", projections.LARGEST),
        ("All draws are kept", posterior.STORED_EFFECTS),
    ],
)
def test_a_number_is_that_of_the_code(words, number):
    assert f"{number:,}" in row(words)
    assert pointwise.LARGEST == posterior.STORED_EFFECTS

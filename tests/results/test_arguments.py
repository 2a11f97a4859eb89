import numpy as np
import pytest

from hlm_models.errors import InputErrors
from hlm_models.results.arguments import checked_count, checked_level, checked_seed


def test_what_is_meant_is_taken_as_python_numbers():
    assert checked_count(np.int64(3), "draws") == 3
    assert checked_count(2, "draws", least=2) == 2
    assert checked_seed(0) == 0
    assert checked_level(np.float64(0.9)) == 0.9
    assert type(checked_seed(np.uint8(7))) is int


@pytest.mark.parametrize("value", ["3", 3.0, True, None, 0, -1, np.array(3), [3]])
def test_what_is_no_count_is_told(value):
    with pytest.raises(InputErrors, match="draws: a whole number of at least 1 is needed, not"):
        checked_count(value, "draws")


@pytest.mark.parametrize("value", ["a", 1.0, False, None, -1])
def test_what_is_no_seed_is_told(value):
    with pytest.raises(InputErrors, match="seed: a whole number from 0 on is needed, not"):
        checked_seed(value)


@pytest.mark.parametrize("value", ["a", 95, 0.0, 1.0, True, None, float("nan")])
def test_what_is_no_level_is_told(value):
    with pytest.raises(InputErrors, match="level: a number between 0 and 1 is needed, not"):
        checked_level(value)

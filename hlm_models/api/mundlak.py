"""A model with group means of its predictors, built from the file of the one without."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlm_models.api.models import build

if TYPE_CHECKING:
    import pandas as pd

    from hlm_models.config.settings import ModelConfig
    from hlm_models.interpretation.mundlak import MundlakForm
    from hlm_models.spec.model import ModelSpec

__all__ = ["mundlak"]


def mundlak(
    model: "str | Path | Mapping[str, Any] | ModelConfig | None" = None,
    predictors: str | Sequence[str] = (),
    group: str | None = None,
    *,
    form: "MundlakForm" = "within-between",
    formula: str | None = None,
    data: "pd.DataFrame | None" = None,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
) -> "ModelSpec":
    """The model with the group means of predictors in the fixed part, never in random terms.

    The means are weighted as the rows are, and taken over the rows that the model uses. The spec's
    `config` is the model file as it is then, with the SQL of the new columns.

    Parameters
    ----------
    model, formula, data, overrides, folders : as of `build`
    predictors : numbers that vary within the group
    group : a grouping factor of the model; may be left out where it has one
    form : "within-between" puts x_within (x less its mean in the group) and x_between (the mean)
        for x in the fixed part, and x_within in the random terms of the group; "mundlak" leaves x
        as it is and adds x_between, whose coefficient is then the contextual effect

    Raises
    ------
    InputErrors
        all that `build` says, and a predictor that the model has not, of labels, or constant
        within the group.
    RefusalError
        within-between of a predictor that stands in more than a term of its own.

    Source: Mundlak (1978), doi:10.2307/1913646.

    Examples
    --------
    >>> import hlm_models as hlm
    >>> spec = hlm.mundlak(
    ...     {
    ...         "schema": 1,
    ...         "name": "context",
    ...         "data": {"source": "hsb"},
    ...         "formula": "mathach ~ ses + (1 | school)",
    ...     },
    ...     "ses",
    ... )
    >>> spec.config["formula"]
    'mathach ~ ses_within + ses_between + (1 | school)'
    """
    from hlm_models.interpretation.mundlak import mundlak_changes

    if formula is not None and data is not None and model is None:
        model = {"schema": 1, "name": "model", "data": {"source": "frame"}, "formula": formula}
        formula = None
    plain = build(model, formula=formula, data=data, overrides=overrides, folders=folders)
    changes = mundlak_changes(plain, predictors, group, form)
    further = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return build(model, data=data, overrides=[*overrides, *further], folders=folders)

"""Checks of a model itself, whatever engine fits it."""

import numpy as np

from hlm_models.results.checks import Check, graded
from hlm_models.spec.model import ModelSpec

__all__ = ["design_checks"]


def design_checks(spec: ModelSpec) -> tuple[Check, ...]:
    """Slopes whose zero is far from the data, and macro predictors that were let into Z."""
    found = []
    for block in spec.blocks:
        for term in block.terms:
            if "Intercept" not in block.effects[term.columns]:
                continue
            for k in range(term.columns.start, term.columns.stop):
                column, name = block.z[:, k], block.effects[k]
                spread = float(np.std(column))
                if name == "Intercept" or spread == 0:
                    continue
                distance = abs(float(np.mean(column))) / spread
                if distance > 3:
                    found.append(
                        graded(
                            "far_origin",
                            distance,
                            warn=3.0,
                            message=f"{name} = 0 is {distance:.1f} sd away from the data, and the "
                            f"sd and correlations of {block.group}'s intercept refer to it; "
                            f"center({name}) in the formula, or a centred column by derive, "
                            "makes them refer to the middle",
                        )
                    )
    found += [
        Check("macro_in_z", "warn", None, None, message) for message in spec.design.confounded
    ]
    return tuple(found)

"""Checks of a model itself, whatever engine fits it."""

import numpy as np

from hlm_models.algebra.gram import root_mean_square
from hlm_models.results.checks import Check, graded
from hlm_models.spec.model import ModelSpec

__all__ = ["design_checks"]

FAR = 3.0
"""Distances, in standard deviations or prior scales, beyond which a check warns."""


def design_checks(spec: ModelSpec) -> tuple[Check, ...]:
    """Slopes far from zero, more effects than rows, priors far from least squares, macro in Z."""
    found = []
    for block in spec.blocks:
        for term in block.terms:
            if "Intercept" not in block.effects[term.columns]:
                continue
            for k in range(term.columns.start, term.columns.stop):
                column, name = block.z[:, k], block.effects[k]
                if name == "Intercept":
                    continue
                mean = float(np.mean(column))
                spread = root_mean_square(column, mean)
                if spread == 0:
                    continue
                distance = abs(mean) / spread
                if distance > FAR:
                    found.append(
                        graded(
                            "far_origin",
                            distance,
                            warn=FAR,
                            message=f"{name} = 0 is {distance:.1f} sd away from the data, and the "
                            f"sd and correlations of {block.group}'s intercept refer to it; "
                            f"center({name}) in the formula, or a centred column by derive, "
                            "makes them refer to the middle",
                        )
                    )
    found += [
        Check(
            "saturated",
            "warn",
            float(count),
            float(spec.design.n),
            f"({term.text}) has {count} random effects for {spec.design.n} rows: the prior alone "
            "tells them from the residual",
        )
        for term, count in spec.marginal.effects
        if spec.design.sigma is None and count >= spec.design.n
    ]
    found += _prior_conflicts(spec)
    found += [
        Check("macro_in_z", "warn", None, None, message) for message in spec.design.confounded
    ]
    return tuple(found)


def _prior_conflicts(spec: ModelSpec) -> list[Check]:
    """Coefficients whose least-squares estimate is far out in the tail of their prior."""
    design = spec.design
    if not design.p:
        return []
    estimates = np.linalg.solve(design.x_scaling.R, design.y_fit)
    found = []
    for name, prior, estimate in zip(design.coef, spec.priors.beta, estimates, strict=True):
        numbers = prior.numbers()
        if "loc" not in numbers:
            continue
        distance = abs(float(estimate) - numbers["loc"]) / numbers["scale"]
        if distance > FAR:
            found.append(
                graded(
                    "prior_conflict",
                    distance,
                    warn=FAR,
                    message=f"least squares puts {name} at {estimate:.4g}, {distance:.1f} scales "
                    f"from the centre of its prior {prior}: the posterior will move the difference "
                    f"elsewhere; state priors.beta.{name}, or keep the intercept in the formula",
                )
            )
    return found

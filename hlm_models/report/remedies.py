"""What to do about a check that warned or failed, as docs/checks.md says it."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["REMEDIES"]

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "r_hat": (
            "Draw and tune more. If it stays, look at the trace on the page: chains that sit in "
            "different places mean several modes or a parameter that the data do not inform; "
            "state a prior or drop the term."
        ),
        "ess_bulk": (
            "Draw more; the mean of this parameter is not yet steady. Where that helps little, as"
            " with groups of one or two rows, fit.tune=1000 with fit.target_accept=0.95."
        ),
        "ess_tail": ("Draw more; the interval of this parameter is not yet steady."),
        "divergences": (
            "Raise fit.target_accept (0.95, 0.99) and fit.tune (1000). If it stays, try "
            "fit.parameterization=noncentered, or marginal where it is not used, or a tighter "
            "prior of the standard deviations."
        ),
        "energy": (
            "The sampler moves slowly between energies: try another fit.parameterization "
            "(marginal, noncentered, centered), or a tighter prior of the standard deviations."
        ),
        "tree_depth": ("Only slow, not wrong: scale or centre the predictors of the random terms."),
        "samplers": (
            "One of them is wrong, or has not mixed: its R-hat and effective sample size say "
            "which. Draw more; report it if it stays."
        ),
        "gradient": (
            "The search did not reach a minimum, or reml.theta is none. Try more reml.starts; "
            "scale the columns by derive; if it stays, report it with the model."
        ),
        "boundary": ("The estimate of zero is not a minimum. As for gradient."),
        "starts": (
            "There are several local minima; the lowest is reported. Simplify the random part, or"
            " look at the posterior."
        ),
        "identified": (
            "The data cannot tell some variances apart: the same partition of the rows twice, or "
            "a group that is in the fixed part too. Leave one out."
        ),
        "singular": (
            "A variance is estimated as zero, or a correlation as -1 or 1. The fit is valid; "
            "standard errors of sd and corr are absent. Drop a term, or use the posterior."
        ),
        "far_origin": (
            "The intercept's sd and correlations refer to a point far outside the data. Write "
            "center(x), or derive a centred column."
        ),
        "prior_conflict": (
            "The prior says that such a value hardly occurs, and the posterior moves the "
            "difference into other parameters. Common in models without an intercept, whose cell "
            "means have default priors about zero: state priors.beta, or keep the intercept."
        ),
        "prior_data_conflict": (
            "Prior and data disagree about the parameters named, and the posterior is a "
            "compromise that neither supports. See whether the prior says what is known: hlm "
            "prior, hlm show; the page has both side by side."
        ),
        "prior_sensitivity": (
            "The prior decides about the parameters named. Report it with the result, or fit "
            "under another prior too."
        ),
        "saturated": (
            "The prior alone tells these effects from the residual. Group by something coarser, "
            "or state how large the residual is. reml and ml refuse such a term."
        ),
        "macro_in_z": (
            "Made where allow_macro_in_z: true let a predictor that is constant within a group "
            "vary by it. Its variance and the intercept's are told apart by the prior or by the "
            "functional form only."
        ),
    }
)

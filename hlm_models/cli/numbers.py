"""Numbers as tables show them."""

import math

__all__ = ["cell", "number", "tenths"]


def number(value: float | None) -> str:
    """Four significant digits; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "-"
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e6):
        return f"{value:.3e}"
    digits = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 7)}f}"


def cell(column: object, value: float) -> str:
    """A number with the digits that its column needs."""
    if column in ("df", "ess_bulk", "ess_tail") and math.isfinite(value):
        return f"{value:.1f}" if column == "df" else f"{value:.0f}"
    if column == "r_hat" and math.isfinite(value):
        return f"{value:.3f}"
    if column == "p" and math.isfinite(value):
        return f"{value:.3g}" if value >= 1e-4 else f"{value:.1e}"
    return number(value)


def tenths(value: float | None) -> str:
    """One digit after the point, as differences of log densities need; a dash for no number."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.1f}"

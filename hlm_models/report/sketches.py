"""Pictures the size of a thumb, without numbers, in the colours of the page: SVG by hand."""

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from hlm_models.types import FloatArray, IntArray

__all__ = ["bars", "caterpillars", "lines"]

WIDTH, HEIGHT, MARGIN = 240.0, 104.0, 5.0
BARS = 120
"""Levels that a caterpillar shows; of more, so many evenly chosen."""

Curve = tuple[FloatArray, FloatArray]
"""Places (m,) and heights (m,)."""


def lines(curves: Sequence[Curve], middle: Curve, points: Curve | None, *, alt: str) -> Markup:
    """One line a level and that of the population, over the data where these may be shown."""
    every = (*curves, middle, *((points,) if points else ()))
    x, y = (_scale(np.concatenate([one[side] for one in every])) for side in (0, 1))
    across, up = _Axis(*x, MARGIN, WIDTH - MARGIN), _Axis(*y, HEIGHT - MARGIN, MARGIN)
    drawn = [("dots", _dots(across(points[0]), up(points[1])))] if points else []
    drawn += [
        ("level", "".join(_line(across(a), up(b)) for a, b in curves)),
        ("middle", _line(across(middle[0]), up(middle[1]))),
    ]
    return _svg(drawn, alt)


def caterpillars(panels: Sequence[tuple[FloatArray, FloatArray]], *, alt: str) -> Markup:
    """Estimates (J,) of the levels of each group with half their intervals (J,), sorted."""
    reach = [end for middle, half in panels for end in (middle - half, middle + half)]
    up = _Axis(*_scale(np.concatenate([np.zeros(1), *reach])), HEIGHT - MARGIN, MARGIN)
    zero = float(up(np.zeros(1))[0])
    width = (WIDTH - 2 * MARGIN) / len(panels)
    spans, dots = [], []
    for k, (middle, half) in enumerate(panels):
        order = np.argsort(middle, kind="stable")
        if len(order) > BARS:
            order = order[np.linspace(0, len(order) - 1, BARS).astype(np.int64)]
        left = MARGIN + k * width
        across = _Axis(-0.5, len(order) - 0.5, left + 4, left + width - 4)
        at = across(np.arange(len(order), dtype=np.float64))
        low, high = up(middle[order] - half[order]), up(middle[order] + half[order])
        spans += [f"M{_n(x)} {_n(a)}V{_n(b)}" for x, a, b in zip(at, low, high, strict=True)]
        dots.append(_dots(at, up(middle[order])))
    rule = f"M{_n(MARGIN)} {_n(zero)}H{_n(WIDTH - MARGIN)}"
    return _svg([("rule", rule), ("span", "".join(spans)), ("dots own", "".join(dots))], alt)


def bars(heights: IntArray, *, alt: str) -> Markup:
    """Bars (m,) side by side, as of a histogram or of the sizes of levels."""
    step = WIDTH / len(heights)
    gap = min(1.5, step / 5)
    tall = heights / max(1, int(heights.max(initial=0))) * (HEIGHT - 2)
    path = "".join(
        f"M{_n(k * step)} {_n(HEIGHT)}v{_n(-one)}h{_n(step - gap)}v{_n(one)}z"
        for k, one in enumerate(tall)
        if one > 0
    )
    return _svg([("bar", path)], alt, stretched=True)


class _Axis:
    """Numbers from `low` to `high` to places from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start, self.slope = low, start, (end - start) / (high - low)

    def __call__(self, values: FloatArray) -> FloatArray:
        return np.asarray(self.start + (values - self.low) * self.slope)


def _scale(values: FloatArray) -> tuple[float, float]:
    """The ends of the values, a little apart where they are one."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _line(x: FloatArray, y: FloatArray) -> str:
    return "M" + "L".join(f"{_n(a)} {_n(b)}" for a, b in zip(x, y, strict=True))


def _dots(x: FloatArray, y: FloatArray) -> str:
    """Lines of no length: their round ends are the dots. Each place once."""
    places = dict.fromkeys(f"M{_n(a)} {_n(b)}h0" for a, b in zip(x, y, strict=True))
    return "".join(places)


def _n(value: float) -> str:
    """A number to a tenth, without idle zeros and without a minus zero."""
    return f"{round(float(value), 1) + 0.0:g}"


def _svg(paths: Iterable[tuple[str, str]], alt: str, *, stretched: bool = False) -> Markup:
    aspect = Markup(' preserveAspectRatio="none"') if stretched else Markup("")
    opening = Markup(
        '<svg class="sketch" role="img" aria-label="{}" viewBox="0 0 {} {}"{}>'
    ).format(alt, int(WIDTH), int(HEIGHT), aspect)
    body = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(name, path) for name, path in paths if path
    )
    return opening + body + Markup("</svg>")

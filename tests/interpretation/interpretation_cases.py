"""Small data and models of the tests here."""

import numpy as np
import pandas as pd

__all__ = ["model", "uneven_frame"]


def model(formula, source, **more):
    return {"schema": 1, "name": "model", "data": {"source": source}, "formula": formula, **more}


def uneven_frame():
    """Groups of several sizes, one of a single row and one whose predictor is constant."""
    rng = np.random.default_rng(4)
    sizes = np.array([1, 2, 3, 5, 8, 13, 4, 6])
    g = np.repeat([f"g{j}" for j in range(len(sizes))], sizes)
    n = len(g)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=n), "u": np.repeat(np.arange(8.0), sizes)})
    frame.loc[frame["g"] == "g6", "x"] = 1.0
    frame["w"], frame["o"] = 1.0 + np.arange(n) % 3, np.arange(n) % 4
    frame["f"] = np.where(np.arange(n) % 3 == 0, "a", "b")
    b = rng.normal(size=(8, 2)) @ np.diag([2.0, 1.0])
    code = np.repeat(np.arange(8), sizes)
    frame["y"] = 1 + frame["x"] + b[code, 0] + b[code, 1] * frame["x"] + rng.normal(size=n)
    return frame

"""Turn the insteval.csv of export_datasets.R into insteval.parquet and delete it.

python insteval_parquet.py FOLDER
"""

import sys
from pathlib import Path

import pandas as pd

SMALLEST = {
    "y": "int8",
    "s": "int16",
    "d": "int16",
    "studage": "int8",
    "lectage": "int8",
    "service": "int8",
    "dept": "int8",
}

source = Path(sys.argv[1], "insteval.csv")
frame = pd.read_csv(source)
small = frame.astype(SMALLEST)
if list(frame) != list(SMALLEST) or not (small == frame).all(axis=None):
    sys.exit(f"{source}: not the columns or the ranges expected")
small.to_parquet(
    source.with_suffix(".parquet"), compression="zstd", compression_level=22, index=False
)
source.unlink()

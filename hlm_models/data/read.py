"""Reads the rows of a model: a dataset by name, or a file of the user."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hlm_models.config.settings import DataSettings
from hlm_models.errors import InputErrors, nearest
from hlm_models.parts import datasets

__all__ = ["read_frame", "refuse_columns", "transform"]

_KEY = "data.source"
_SUFFIXES = (".csv", ".parquet", ".feather", ".dta", ".sav")


def read_frame(
    settings: DataSettings, *, folder: Path, data_dir: Path | None, labels: Sequence[str] = ()
) -> pd.DataFrame:
    """Rows of the source after `where` and `derive`, in file order.

    The index is the row's place in the file from 0, so that later messages can name it.

    Parameters
    ----------
    settings : the `data` part of a model file
    folder : of the model file; a file of the user is relative to it
    data_dir : where datasets that are not bundled lie (HLM_DATA); None if it is not set
    labels : columns that are text in a CSV file of the user, whatever they look like

    Raises
    ------
    InputErrors
        There is no such source, it is not readable as a table, or an expression is refused.
    """
    if isinstance(settings.source, str):
        frame = _read_dataset(settings.source, data_dir)
    else:
        frame = _read_file(folder / settings.source.file, labels)
    return transform(frame, settings)


def transform(frame: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    """Rows after `where` and `derive`, in their order, indexed by their place from 0.

    Raises
    ------
    InputErrors
        Two columns have one name, or an expression is refused.
    """
    frame = frame.set_axis(frame.columns.map(str), axis="columns").reset_index(drop=True)
    refuse_columns(frame.columns.tolist())
    if settings.where is None and not settings.derive:
        return frame
    from hlm_models.data.sql import derive_columns, filter_rows

    if settings.where is not None:
        frame = filter_rows(frame, settings.where)
    return derive_columns(frame, settings.derive) if settings.derive else frame


def refuse_columns(names: list[str], path: Path | None = None, *, key: str = "data") -> None:
    """Two columns of one name are refused.

    Raises
    ------
    InputErrors
        names them, and the file or what else they are keyed by.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputErrors.one(
            f"columns that occur twice: {', '.join(twice)}; rename or leave out one of each",
            key="" if path else key,
            file=str(path or ""),
        )


def _read_dataset(name: str, data_dir: Path | None) -> pd.DataFrame:
    try:
        dataset = datasets.find(name)
    except InputErrors as error:
        hint = f"; a file is written {{file: {name}}}" if Path(name).suffix in _SUFFIXES else ""
        raise InputErrors(
            replace(problem, message=problem.message + hint, key=_KEY) for problem in error.problems
        ) from None
    path = dataset.path or _external_path(dataset, data_dir)
    labels = [column.name for column in dataset.columns if column.kind == "label"]
    frame = _read_file(path, labels)
    missing = [column.name for column in dataset.columns if column.name not in frame]
    if missing:
        raise InputErrors.one(
            f"a column of {name} is not there: {', '.join(missing)}", file=str(path)
        )
    return frame.astype(dict.fromkeys(labels, "str"))


def _external_path(dataset: datasets.Dataset, data_dir: Path | None) -> Path:
    file = dataset.external_file or ""
    path = None if data_dir is None else data_dir / file
    if path is None or not path.is_file():
        where = "HLM_DATA is not set" if path is None else f"HLM_DATA has no {path}"
        raise InputErrors.one(f"{where}. {' '.join(dataset.external_help.split())}", key=_KEY)
    return path


def _read_file(path: Path, labels: Sequence[str]) -> pd.DataFrame:
    """Whole table of a file; the columns named in `labels` are read as text from a CSV file."""
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputErrors.one(f"{path} is a folder; name a file in it", key=_KEY)
    if not path.is_file():
        if not path.parent.is_dir():
            raise InputErrors.one(f"there is no folder {path.parent}", key=_KEY)
        near = nearest(path.name, (entry.name for entry in path.parent.iterdir()))
        raise InputErrors.one(f"there is no file {path}{near}", key=_KEY)
    if suffix not in _SUFFIXES:
        raise InputErrors.one(
            f"{path}: a table is read from {', '.join(_SUFFIXES)}, not {suffix or 'no suffix'}",
            key=_KEY,
        )
    if path.stat().st_size == 0:
        raise InputErrors.one("the file is empty", file=str(path))
    try:
        frame = _read_suffix(path, suffix, labels)
    except UnicodeDecodeError:
        raise InputErrors.one("not UTF-8 text; save it as UTF-8", file=str(path)) from None
    except (ValueError, OSError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputErrors.one(f"not readable as {suffix}: {reason}", file=str(path)) from None
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()  # pandas stores an index as such in Parquet and Feather
    refuse_columns([str(name) for name in frame.columns], path)
    if frame.empty:
        raise InputErrors.one("there is a header but no row", file=str(path))
    return frame


def _read_suffix(path: Path, suffix: str, labels: Sequence[str]) -> pd.DataFrame:
    if suffix == ".csv":
        return _read_csv(path, labels)
    if suffix == ".parquet":
        import pyarrow.parquet

        refuse_columns(pyarrow.parquet.read_schema(path).names, path)
        return pd.read_parquet(path)
    if suffix == ".feather":
        return pd.read_feather(path)
    return _read_labelled(path)


def _read_csv(path: Path, labels: Sequence[str]) -> pd.DataFrame:
    # Read as rows first: pandas renames the second of two columns of one name, and takes the first
    # field of lines that are longer than the header for an index.
    header = pd.read_csv(path, header=None, nrows=2, dtype="str").iloc[0].dropna()
    refuse_columns(header.tolist(), path)
    if len(header) == 1 and (";" in header.iloc[0] or "\t" in header.iloc[0]):
        raise ValueError("the fields of a line must be separated by commas")
    return pd.read_csv(path, dtype=dict.fromkeys(labels, "str"), low_memory=False)


def _read_labelled(path: Path) -> pd.DataFrame:
    """Stata or SPSS; a column whose every value has a label holds these, any other its numbers."""
    import pyreadstat

    read = pyreadstat.read_dta if path.suffix.lower() == ".dta" else pyreadstat.read_sav
    try:
        frame, meta = read(path)
    except pyreadstat.ReadstatError as error:
        raise ValueError(str(error)) from None
    columns: dict[str, pd.Series] = {}
    for name, labels in meta.variable_value_labels.items():
        values, names = frame[name], list(labels.values())
        if values.dropna().isin(list(labels)).all() and len(set(names)) == len(names):
            columns[name] = values.map(labels).astype(pd.CategoricalDtype(names))
    table: pd.DataFrame = frame.assign(**columns)
    return table

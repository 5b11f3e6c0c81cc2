"""Tables as arrays: what a caller may hand in as data. pandas is not imported, a DataFrame is known by what it can do."""

from __future__ import annotations

import numpy as np


def as_array(x, what: str = "x") -> np.ndarray:
    """``x`` as a numpy array of integers, booleans or floats in native byte order; its shape and values are the caller's to check.

    x: numpy array, nested lists, torch tensor, or a pandas DataFrame [N, V] with a column per variable. Columns of numbers and
    booleans are taken as they are, a categorical column as the codes of its categories (places in ``.cat.categories``).
    Raises ValueError: strings and other objects, missing values in a DataFrame.
    """
    if hasattr(x, "iloc") and hasattr(x, "columns"):
        return _of_frame(x, what)
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    array = np.asarray(x)
    if array.dtype.kind not in "iubfc":
        hint = f"number the categories first, e.g. np.unique({what}, return_inverse=True)"
        raise ValueError(f"{what} must hold numbers, got dtype {array.dtype}; {hint}.")
    return np.require(array, dtype=array.dtype.newbyteorder("="), requirements="CW")  # as torch wants it


def _of_frame(frame, what: str) -> np.ndarray:
    columns = [_of_column(frame.iloc[:, v], f"{what}: column {name!r}") for v, name in enumerate(frame.columns)]
    if not columns:
        raise ValueError(f"{what} is a DataFrame without columns; expected a column per variable.")
    return np.stack(columns, axis=1)


def _of_column(column, where: str) -> np.ndarray:
    """One column [N] as bool, int64 or float64, where NaN stays NaN."""
    dtype = column.dtype
    kind = getattr(dtype, "kind", "O")
    if kind == "f" and isinstance(dtype, np.dtype):
        return column.to_numpy(np.float64)
    if missing := int(column.isna().sum()):
        raise ValueError(
            f"{where} has {missing} missing values, the first in row {int(np.argmax(column.isna()))}; fill them with any category of the column "
            f"and pass observed=~frame.isna() to leave them out."
        )
    if hasattr(column, "cat"):
        return column.cat.codes.to_numpy(np.int64)
    if kind not in "iubf":
        raise ValueError(f"{where} has dtype {dtype}, expected integers or categories; convert it, e.g. frame[...].astype('category').")
    return column.to_numpy({"b": np.bool_, "f": np.float64}.get(kind, np.int64))

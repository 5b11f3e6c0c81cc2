"""Rows of records as a pandas DataFrame, for whoever has pandas; pcviz itself does without."""

from __future__ import annotations

from collections.abc import Sequence


def to_frame(rows: Sequence[dict], columns: Sequence[str] = ()):
    """A pandas DataFrame with a row per dictionary; a key that a row lacks is NaN there. ``columns``: those of no rows at all.

    Raises ImportError, with what to install, where pandas is missing.
    """
    try:
        import pandas
    except ImportError:
        raise ImportError("A DataFrame needs pandas, which is not installed: python -m pip install pandas") from None
    return pandas.DataFrame(list(rows)) if rows else pandas.DataFrame(columns=list(columns))

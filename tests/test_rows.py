"""Records as DataFrames, and what is said without pandas."""

import sys

import pandas as pd
import pytest

import pcviz as pcv
from pcviz.rows import to_frame


def test_rows_of_several_kinds_become_one_table():
    frame = to_frame([{"kind": "step", "bpd": 2.5}, {"kind": "measurement", "median_ms": 4.0}])
    assert list(frame.columns) == ["kind", "bpd", "median_ms"] and frame["bpd"].isna().tolist() == [False, True]
    assert list(to_frame([], columns=("kind",)).columns) == ["kind"]


def test_without_pandas_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        to_frame([{"kind": "step"}])


def test_the_records_of_an_explorer():
    explorer = pcv.explore(pcv.HMM(3, 4, num_emits=5))
    assert isinstance(explorer.records, pd.DataFrame) and explorer.records["kind"].tolist() == [] and explorer.rows == []
    explorer._session.records.append({"kind": "measurement", "circuit": "yours", "median_ms": 2.0})
    assert explorer.records["median_ms"].tolist() == [2.0]
    explorer.close()

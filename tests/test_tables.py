"""What may be handed in as data: numpy, lists, torch, pandas; for circuits and for HCLT."""

import numpy as np
import pytest
import torch

import pcviz as pcv
from pcviz.datasets import as_array
from pcviz.widgets.circuits import user_entry

X = np.random.default_rng(0).integers(0, 3, (40, 4))


@pytest.fixture(scope="module")
def pd():
    return pytest.importorskip("pandas", reason="pandas is not installed")


@pytest.fixture(scope="module")
def circuit():
    return pcv.TensorCircuit(pcv.compile(pcv.HCLT(X, num_latents=2), block_size=2))


@pytest.mark.parametrize(
    "same",
    [
        X.tolist(),
        X.astype(np.uint8),
        X.astype(">i4"),
        X[::-1].copy()[::-1],
        np.asfortranarray(X),
        np.broadcast_to(X[:, :, None], (*X.shape, 2))[:, :, 0],
        torch.tensor(X, dtype=torch.uint8),
        torch.tensor(X.T.copy()).t(),
    ],
    ids=["lists", "uint8", "big endian", "reversed", "by columns", "read only", "tensor", "strided tensor"],
)
@pytest.mark.filterwarnings("error")
def test_any_array_will_do(circuit, same):
    assert torch.equal(circuit.check_data(same), torch.as_tensor(X))
    assert str(pcv.compile(pcv.HCLT(same, num_latents=2), block_size=2)) == str(circuit.plan)
    np.testing.assert_array_equal(as_array(same), X)


def test_data_frames(circuit, pd):
    frame = pd.DataFrame(X, columns=list("abcd")).astype({"a": "uint8", "b": "Int64", "d": "category"})
    np.testing.assert_array_equal(user_entry(circuit.root, frame).x, X)
    frame["c"] = pd.Categorical.from_codes(X[:, 2], ["red", "green", "blue"])
    assert torch.equal(circuit.check_data(frame), torch.as_tensor(X))
    torch.testing.assert_close(circuit(frame), circuit(X))
    assert str(pcv.compile(pcv.HCLT(frame, num_latents=2), block_size=2)) == str(circuit.plan)
    steps = list(pcv.fit(circuit.recompile(block_size=1), frame, batch_size=20, x_test=frame[:7]))
    assert len(steps) == 2
    booleans = as_array(pd.DataFrame({"p": [True, False], "q": pd.array([False, True], dtype="boolean")}))
    assert booleans.dtype == np.bool_ and booleans.tolist() == [[True, False], [False, True]]
    assert as_array(pd.DataFrame({"p": [True, False], "q": [3, 4]})).tolist() == [[1, 3], [0, 4]]


def test_floats_of_a_data_frame_stay_floats(circuit, pd):
    frame = pd.DataFrame({"a": [0, 1], "b": [0.5, np.nan]})
    array = as_array(frame)
    assert array.dtype == np.float64 and array[0].tolist() == [0, 0.5] and np.isnan(array[1, 1])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["red", "blue"], r"column 'c' has dtype (object|str), expected integers or categories; convert it"),
        ([[1], [2]], "column 'c' has dtype object"),
        (np.array(["2026-11-24", "2026-11-25"], dtype="M8[s]"), "column 'c' has dtype datetime64"),
    ],
)
def test_other_columns_are_refused(circuit, pd, column, message):
    frame = pd.DataFrame({"a": [0, 1], "b": [1, 1], "c": column, "d": [2, 2]})
    for call in (circuit, lambda x: pcv.HCLT(x, num_latents=2), lambda x: pcv.fit(circuit, x)):
        with pytest.raises(ValueError, match=message):
            call(frame)


@pytest.mark.parametrize("dtype", ["Int64", "category", "boolean"])
def test_missing_values_are_counted_and_the_mask_is_named(circuit, pd, dtype):
    frame = pd.DataFrame({"a": [0, 1, 1], "b": pd.array([1, None, None], dtype=dtype)})
    with pytest.raises(ValueError, match=r"x: column 'b' has 2 missing values, the first in row 1; .*observed=~frame.isna\(\)"):
        as_array(frame)


def test_a_frame_with_missing_values_and_its_mask(circuit, pd):
    frame = pd.DataFrame(X).astype("Int64")
    frame.iloc[3, 2] = frame.iloc[8, 0] = pd.NA
    observed = ~frame.isna().to_numpy()
    expected = circuit(X, observed=observed)
    for mask in (observed, ~frame.isna(), observed.tolist(), torch.as_tensor(observed)):
        torch.testing.assert_close(circuit(frame.fillna(0), observed=mask), expected)
    with pytest.raises(ValueError, match="observed must be a bool mask"):
        circuit(X, observed=frame.fillna(0))


def test_what_is_no_number_is_refused(circuit):
    for wrong in (np.array([["a", "b", "c", "d"]]), np.array([[None, 1, 2, 3]]), [[object()] * 4]):
        with pytest.raises(ValueError, match="x must hold numbers, got dtype"):
            circuit(wrong)
    with pytest.raises(ValueError, match="HCLT: x must hold numbers, got dtype object"):
        pcv.HCLT(np.array([[None, 1]]), num_latents=2)


def test_an_empty_frame_is_refused(pd):
    with pytest.raises(ValueError, match="DataFrame without columns"):
        as_array(pd.DataFrame())

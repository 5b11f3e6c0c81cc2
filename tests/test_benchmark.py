"""Measurements: a wrong result gets no time, a right one is timed often enough, and a measurement can be dropped."""

from dataclasses import replace

import numpy as np
import pytest
from circuits import random_circuit
from oracle import log_likelihood as enumerated
from oracle import worlds_of

import pcviz as pcv
from pcviz.benchmark import WrongResult, measure, predict_seconds
from pcviz.reference import log_likelihood


def circuit():
    return pcv.PD((4, 4), 4, dist=pcv.Categorical(num_cats=17), seed=1)


@pytest.fixture
def x():
    return pcv.datasets.digits("test")[:50, :16]


@pytest.mark.parametrize("seed", range(10))
def test_the_float64_reference_equals_the_oracle(seed):
    root = random_circuit(seed)
    np.testing.assert_allclose(log_likelihood(root, worlds_of(root)), enumerated(root, worlds_of(root)), rtol=1e-9, atol=1e-9)


def test_a_measurement_says_what_ran(x):
    result = measure(pcv.TensorCircuit(pcv.compile(circuit(), block_size=4)), x, repeats=12, max_seconds=0)
    assert (result.block_size, result.batch_size, result.impl, result.repeats, len(result.samples_ms)) == (4, 50, "torch", 12, 12)
    assert 0 < result.p20_ms <= result.median_ms <= result.p80_ms and result.max_rel_error < 1e-5


def test_a_wrong_result_gets_no_time(x):
    plan = pcv.compile(circuit(), block_size=4)
    group = plan.layers[1].groups[0]
    wrong = replace(group, cids=np.roll(group.cids.ravel(), 1).reshape(group.cids.shape))
    layers = (plan.layers[0], replace(plan.layers[1], groups=(wrong, *plan.layers[1].groups[1:])), *plan.layers[2:])
    with pytest.raises(WrongResult, match="it gets no time"):
        measure(pcv.TensorCircuit(replace(plan, layers=layers)), x)


def test_a_measurement_can_be_dropped_and_predicted(x):
    pc = pcv.TensorCircuit(pcv.compile(circuit(), block_size=4))
    asked = iter([False, False, False, True])
    assert measure(pc, x, stop=lambda: next(asked)) is None
    assert next(asked, "all asked") == "all asked"
    assert predict_seconds(pc, x) > 0
    with pytest.raises(ValueError, match="phase must be one of"):
        measure(pc, x, phase="sideways")

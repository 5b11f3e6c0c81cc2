"""Measurements: a wrong result gets no time, a right one is timed often enough, and a measurement can be dropped."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from circuits import random_circuit
from oracle import log_likelihood as enumerated
from oracle import worlds_of

import pcviz as pcv
from pcviz.benchmark import WAITS, WrongResult, measure, predict_seconds
from pcviz.reference import log_likelihood
from pcviz.waiting import longest_wait, waits


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


def test_a_busy_machine_is_said(x):
    result = measure(pcv.TensorCircuit(pcv.compile(circuit(), block_size=4)), x, repeats=1, max_seconds=0)
    result = replace(result, p20_ms=10.0, p80_ms=14.9, samples_ms=(9.0, 11.0, 31.25), waited_share=0.1)
    assert not result.busy and result.caution == "" and not replace(result, waited_share=None).busy
    assert replace(result, waited_share=0.2).caution == "measured while the machine was busy: 9 to 31.2 ms"
    assert replace(result, samples_ms=(25_000.0,), waited_share=0.2).caution.endswith(" busy: 25 s")
    assert replace(result, waited_share=None, p80_ms=15.1).busy  # where the system does not count what threads wait


@pytest.mark.skipif(not waits(), reason="this system does not say how long threads wait for a core")
def test_waiting_for_a_core_is_counted():
    """Beside a program that wants the same core, a thread waits for about half of the time."""
    mine, core = os.sched_getaffinity(0), min(os.sched_getaffinity(0))
    endless = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    other = subprocess.Popen([sys.executable, "-c", endless], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        os.sched_setaffinity(0, {core})
        before, end = waits(), time.perf_counter() + 0.3
        while time.perf_counter() < end:
            pass
        assert longest_wait(before) > 0.5 * WAITS * 0.3
    finally:
        os.sched_setaffinity(0, mine)
        other.kill()
        other.communicate()


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

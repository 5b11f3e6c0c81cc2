"""What the Training view shows: runs that are compared, a run that goes on at another block size, samples and flows."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from trained import digits, small_pd

from pcviz.fitstate import parameters_of
from pcviz.structures import HMM
from pcviz.widgets.circuits import image_of, user_entry
from pcviz.widgets.device import DeviceWorker
from pcviz.widgets.frames import Settings
from pcviz.widgets.learned_job import learned
from pcviz.widgets.outbox import Outbox
from pcviz.widgets.training_run import Training


@pytest.fixture
def training():
    return Training(user_entry(small_pd(epochs=1), digits(300), digits(50, "test")), 4, Settings(batch_size=100))


def run_all(training):
    while True:
        if training.step() is None:
            if not training.waiting:
                return
            training.compare_next()


def curves(training):
    found = {}
    for row in training.rows:
        found.setdefault(row.run, []).append(row.step)
    return found


def test_block_sizes_are_equal_per_epoch(training):
    """Same parameters, same order of samples: the curves are the same up to rounding, whatever the block size."""
    training.compare([8, 4, 1], "random", 2)
    run_all(training)
    runs = list(curves(training).values())
    assert [{step.block_size for step in run} for run in runs] == [{8}, {4}, {1}]
    assert [[step.step for step in run] for run in runs] == [[1, 2, 3, 4, 5, 6]] * 3
    for run in runs[1:]:
        assert [step.train_bpd for step in run] == pytest.approx([step.train_bpd for step in runs[0]], rel=1e-5)
        assert run[-1].test_bpd == pytest.approx(runs[0][-1].test_bpd, rel=1e-5)
    assert runs[0][0].train_bpd > runs[0][-1].train_bpd


def test_a_run_goes_on_at_another_block_size_as_if_nothing_had_happened(training):
    for _ in range(4):
        training.step()
    training.use(8)
    for _ in range(4):
        training.step()
    training.start_over(4, "own")
    for _ in range(8):
        training.step()
    handed, alone = curves(training).values()
    assert [step.block_size for step in handed] == [4] * 4 + [8] * 4 and [step.step for step in handed] == [step.step for step in alone]
    assert [step.train_bpd for step in handed] == pytest.approx([step.train_bpd for step in alone], rel=1e-5)


def test_a_comparison_gives_the_training_back(training):
    """Whether it ends or is broken off: parameters, block size and run of before; the next mini-batch is that of a run alone."""
    for _ in range(4):
        training.step()
    training.halt()
    learned_so_far = parameters_of(training.entry.root)
    for breaks_off in (False, True):
        training.compare([4, 1], "random", 1)
        training.step() if breaks_off else run_all(training)
        assert any((a != b).any() for a, b in zip(parameters_of(training.circuit.write_back()), learned_so_far, strict=True))
        training.finish()
        assert all((a == b).all() for a, b in zip(parameters_of(training.entry.root), learned_so_far, strict=True)) and not training.comparing
    training.use(4)
    row = training.step()
    assert (row.run, row.step.step, row.step.epoch) == (1, 5, 2)
    alone = Training(user_entry(small_pd(epochs=1), digits(300), digits(50, "test")), 4, Settings(batch_size=100))
    assert row.step.train_bpd == [alone.step() for _ in range(5)][-1].step.train_bpd


def test_a_new_run_takes_the_settings_of_now(training):
    training.step()
    training.wished = Settings(batch_size=50, padding_tolerance=0.0)
    training.use(8)
    assert training.step().step.batch_size == 100 and training.circuit.plan.padding_tolerance == 0
    training.start_over(8, "own")
    assert training.step().step.batch_size == 50 and len(training.rows) == 3


def test_a_run_replaces_its_like(training):
    training.step()
    training.start_over(4, "own")
    training.step()
    training.start_over(4, "random")
    training.step()
    training.start_over(8, "own")
    training.step()
    assert [(row.run, row.start, row.step.block_size) for row in training.rows] == [(2, "own", 4), (3, "random", 4), (4, "own", 8)]
    own, random, other = (row.step.train_bpd for row in training.rows)
    assert own == pytest.approx(other, rel=1e-5) and random != pytest.approx(own, rel=1e-3)


def test_what_it_has_learned(training):
    row = training.step()
    scene = learned(training, row)
    images, x = scene["images"], digits(8, "test")
    completed, originals = (np.frombuffer(images[name], "u1").reshape(8, 8, 8) for name in ("completed", "originals"))
    assert (originals == np.rint(255.0 * x / digits(300).max()).reshape(8, 8, 8)).all()
    assert (completed[:, :4] == originals[:, :4]).all() and (completed[:, 4:] != originals[:, 4:]).any()
    assert images["hidden"] == bytes([0] * 32 + [1] * 32) and scene["why"] == ""
    flow = scene["flow"]
    assert flow["layers"] == list(range(1, len(flow["mass"]) + 1)) and flow["mass"][-1] == pytest.approx(1, rel=1e-4)
    assert all(0 < n <= total for n, total in zip(flow["carriers"], flow["sums"], strict=True))
    assert not scene["compared"] and not scene["caption"]


def test_whose_samples_are_shown_in_a_comparison(training):
    training.step()
    training.compare([8, 1], "own", 1)
    scene = learned(training, training.step())
    assert (scene["compared"], scene["blockSize"], scene["step"]) == (True, 8, 1) and "parameters of before, not these" in scene["caption"]
    training.finish()
    assert learned(training, training.step())["compared"] is False


def test_data_that_may_be_images():
    pd, sequence = small_pd(), HMM(64, 2, num_emits=3, seed=0)
    assert image_of(pd, np.zeros((2, 64), dtype=np.uint8)) == (8, 8)
    for root, x in ((pd, np.zeros((2, 64))), (sequence, np.zeros((2, 64), dtype=int)), *((pd, np.zeros((2, n), dtype=int)) for n in (60, 36))):
        assert image_of(root, x) is None
    with pytest.raises(ValueError, match="as many pixels as x has variables, 64"):
        user_entry(small_pd(), digits(3), image_shape=(4, 4))


def test_pace_and_stop(training):
    """At two mini-batches a second Stop does not wait for the next one, and the seconds of training leave out the waiting."""
    rows, looks, nothing = [], [], lambda *_: None
    worker = DeviceWorker(Outbox(nothing), lambda _, new: rows.extend(new), nothing, lambda *_: looks.append(1), nothing, nothing)
    try:
        worker.pace(0.5)
        worker.train(training.entry, 4, Settings(batch_size=100))
        deadline = time.monotonic() + 30
        while len(rows) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        stopped = time.monotonic()
        worker.stop()
        worker.submit(lambda: rows.append(SimpleNamespace(done=time.monotonic())))
        while not hasattr(rows[-1], "done") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rows[-1].done - stopped < 0.4
        assert len(rows) == 4 and rows[2].step.seconds < 0.5 and len(looks) >= 1
    finally:
        worker.close()


def test_another_circuit_takes_over(training):
    """The circuit that trained before has its parameters in its nodes when the next one begins."""
    rows, nothing = [], lambda *_: None
    worker = DeviceWorker(Outbox(nothing), lambda _, new: rows.extend(new), nothing, nothing, nothing, nothing)
    other, before = user_entry(small_pd(), digits(300)), training.entry.root.params.copy()
    try:
        for i, entry in enumerate((training.entry, other)):
            worker.train(entry, 4, Settings(batch_size=100))
            deadline, least = time.monotonic() + 30, len(rows) + 2
            while len(rows) < least + i and time.monotonic() < deadline:
                time.sleep(0.01)
        assert (training.entry.root.params != before).any()
        before = other.root.params.copy()
    finally:
        worker.close()
    assert (other.root.params != before).any()  # closed while it trained: the circuit keeps what it has learned

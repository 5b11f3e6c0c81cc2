"""What fit promises beyond the plain loop: schedules, missing data, early stopping, runs that go on, progress in a terminal."""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from circuits import random_circuit
from oracle import log_likelihood, param_flows, worlds_of
from trained import digits as whole_digits

import pcviz as pcv
from pcviz.console import progress_line
from pcviz.fitstate import _json
from pcviz.ir.nodes import InputNodes, ProdNodes, edge_totals, topological


def tensor_circuit(root, block_size=4, dtype=torch.float32) -> pcv.TensorCircuit:
    return pcv.TensorCircuit(pcv.compile(root, block_size=block_size), dtype=dtype)


def digits(count: int, split: str = "train") -> np.ndarray:
    """Two rows of pixels of each digit."""
    return whole_digits(count, split)[:, 24:40]


def small(num_latents: int = 3):
    return pcv.HCLT(digits(200), num_latents=num_latents, dist=pcv.Categorical(17))


def params_of(root) -> list[np.ndarray]:
    return [nodes.params.copy() for nodes in topological(root) if not isinstance(nodes, ProdNodes)]


def possible_worlds(root, seed=0, count=60) -> np.ndarray:
    worlds = worlds_of(root)
    worlds = worlds[np.isfinite(log_likelihood(root, worlds))]
    return worlds[np.random.default_rng(seed).integers(0, len(worlds), count)]


# ---- the update --------------------------------------------------------------------------------------------------------


def mixed(nodes, flows, step_size, pseudocount):
    """theta' = (1 - s) theta + s (F + p / n) / sum (F + p / n), over the parameters of a row that are not zero."""
    theta = nodes.params.astype(np.float64)
    total = (lambda a: a.sum(axis=1, keepdims=True)) if isinstance(nodes, InputNodes) else (lambda a: edge_totals(nodes, a))
    nonzero = (theta > 0).astype(np.float64)
    counts = flows + pseudocount * nonzero / np.broadcast_to(total(nonzero), theta.shape)
    totals = np.broadcast_to(total(counts), theta.shape)
    target = np.divide(counts, totals, out=theta.copy(), where=totals > 0)
    return (1 - step_size) * theta + step_size * target


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("step_size", "pseudocount"), [(0.1, 0.1), (0.3, 0.0), (1.0, 2.5)])
def test_mini_batches_mix_as_in_pyjuice(zeros, step_size, pseudocount):
    """PyJuice 2.6.3, em_par_update_kernel and small_ncats_em_fn: without zeros n is the number of children, of categories."""
    for seed in range(6):
        root = random_circuit(seed, zeros=zeros)
        x = possible_worlds(root, seed)
        pc = tensor_circuit(root, dtype=torch.float64)
        x_of_step = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(5)).numpy()]
        training = pcv.fit(pc, x, batch_size=25, step_size=step_size, pseudocount=pseudocount, seed=5)
        for first in (0, 25, 50):
            flows = param_flows(root, x_of_step[first : first + 25])
            expected = {nodes: mixed(nodes, flows[nodes], step_size, pseudocount) for nodes in flows}
            next(training)
            pc.write_back()
            for nodes, params in expected.items():
                np.testing.assert_allclose(nodes.params, params, rtol=2e-5, atol=1e-7, err_msg=repr(nodes))
                assert (nodes.params[params == 0] == 0).all()
            pc.load_params()  # of float32, so that rounding does not add up


# ---- schedules ---------------------------------------------------------------------------------------------------------


def test_schedules():
    linear, cosine = pcv.schedules.linear(0.5, 0.1), pcv.schedules.cosine(0.5, 0.1)
    np.testing.assert_allclose([linear(t) for t in (0, 0.25, 1)], [0.5, 0.4, 0.1])
    np.testing.assert_allclose([cosine(t) for t in (0, 0.5, 1)], [0.5, 0.3, 0.1])
    np.testing.assert_allclose(cosine(0.1), 0.1 + 0.4 * (1 + math.cos(0.1 * math.pi)) / 2)
    for wrong in (0, 1.5, float("nan"), "0.1", True):
        for make in (pcv.schedules.linear, pcv.schedules.cosine):
            with pytest.raises(ValueError, match=r"schedules\.(linear|cosine) expects step sizes in \(0, 1\]"):
                make(0.5, wrong)


def test_a_schedule_sets_every_step():
    pc, same = tensor_circuit(small(2)), tensor_circuit(small(2))
    seen = []
    steps = list(pcv.fit(pc, digits(90), epochs=2, batch_size=30, step_size=lambda t: seen.append(t) or 0.6 - 0.5 * t))
    np.testing.assert_allclose(seen, np.linspace(0, 1, 6))
    np.testing.assert_allclose([s.step_size for s in steps], np.linspace(0.6, 0.1, 6))
    order = torch.Generator().manual_seed(0)
    orders = torch.cat([torch.randperm(90, generator=order) for _ in range(2)])
    for step, part in zip(steps, orders.split(30)):
        same.accumulate_flows(digits(90)[part])
        same.em_step(step.step_size, 0.1)
    assert torch.equal(pc.params, same.params)


def test_a_single_step_takes_the_start_of_a_schedule():
    (step,) = pcv.fit(tensor_circuit(small(2)), digits(20), step_size=pcv.schedules.linear(0.7, 0.1))
    assert step.step_size == 0.7


def test_a_schedule_that_leaves_its_range_is_named():
    training = pcv.fit(tensor_circuit(small(2)), digits(40), batch_size=20, step_size=lambda t: 1 + t)
    next(training)
    with pytest.raises(ValueError, match=r"step_size\(1\.000\) gave 2\.0; a schedule must give step sizes in \(0, 1\]"):
        next(training)


# ---- missing data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_em_on_missing_data_never_lowers_the_likelihood(seed):
    root = random_circuit(seed)
    x = possible_worlds(root, seed)
    observed = np.random.default_rng(seed).random(x.shape) < 0.6
    observed[3] = False  # a row without any value
    pc = tensor_circuit(root, dtype=torch.float64)
    bpds = []
    for _ in range(6):
        (step,) = pcv.fit(pc, x, observed=observed, step_size=1.0, pseudocount=0.0, x_test=x, observed_test=observed)
        bpds += [step.train_bpd, step.test_bpd]
    assert all(after <= before + 1e-12 for before, after in zip(bpds, bpds[1:])) and bpds[-1] < bpds[0] - 1e-3
    expected = -log_likelihood(pc.write_back(), x, observed).sum() / (math.log(2) * observed.sum())
    np.testing.assert_allclose(bpds[-1], expected, rtol=1e-5)


def test_mini_batches_take_their_rows_of_the_mask():
    x, rng = digits(64), np.random.default_rng(0)
    observed = rng.random(x.shape) < 0.5
    pc, same = tensor_circuit(small(2)), tensor_circuit(small(2))
    hidden = np.where(observed, x, rng.integers(0, 17, x.shape))  # what is not observed does not matter
    first = [s.train_bpd for s in pcv.fit(pc, x, batch_size=24, observed=observed)]
    assert first == [s.train_bpd for s in pcv.fit(same, hidden, batch_size=24, observed=torch.as_tensor(observed))]
    one_mask = [s.train_bpd for s in pcv.fit(same, x, batch_size=24, observed=observed[:1])]
    assert one_mask == [s.train_bpd for s in pcv.fit(pc, x, batch_size=24, observed=np.repeat(observed[:1], 64, axis=0))]


def test_nothing_observed_teaches_nothing():
    pc = tensor_circuit(small(2))
    before = params_of(pc.root)
    (step,) = pcv.fit(pc, digits(10), observed=np.zeros((1, 16), dtype=bool), pseudocount=0.0)
    assert step.train_bpd == 0
    inputs = [nodes for nodes in topological(pc.write_back()) if isinstance(nodes, InputNodes)]
    assert inputs and len(before) == len(params_of(pc.root))
    for old, nodes in zip(before, [nodes for nodes in topological(pc.root) if not isinstance(nodes, ProdNodes)]):
        np.testing.assert_allclose(nodes.params, old, rtol=1e-5)


# ---- runs that go on ---------------------------------------------------------------------------------------------------

SETTINGS = {
    "plain": {},
    "schedule": {"step_size": pcv.schedules.cosine(0.5, 0.05)},
    "patience": {"patience": 3, "step_size": 0.5, "x_test": digits(50, "test")},
    "masks": {"observed": np.random.default_rng(0).random((70, 16)) < 0.7, "x_test": digits(20, "test")},
}


def without_times(step):
    return dataclasses.replace(step, seconds=0.0)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("stop_after", [1, 2, 3, 7])
def test_a_continued_run_equals_an_uninterrupted_one_bit_for_bit(settings, stop_after):
    def start():
        return tensor_circuit(small())

    common = dict(epochs=4, batch_size=32, seed=11, **SETTINGS[settings])
    x, whole = digits(70), start()
    expected = list(pcv.fit(whole, x, **common))
    pc = start()
    training = pcv.fit(pc, x, **common)
    found = [next(training) for _ in range(stop_after)]
    state = training.state
    training.close()
    assert state.step == stop_after and training.state == state
    again = pcv.TensorCircuit(pcv.compile(pc.write_back(), block_size=4))  # as after loading: parameters on the circuit alone
    continued = pcv.fit(again, x, **common, state=state)
    found += list(continued)
    assert list(map(without_times, found)) == list(map(without_times, expected))
    assert all(later.seconds > earlier.seconds for earlier, later in zip(found, found[1:]))
    assert torch.equal(again.params, whole.params)
    assert all(torch.equal(a, b) for a, b in zip(again.tables, whole.tables))
    assert list(pcv.fit(again, x, **common, state=continued.state)) == []


@pytest.mark.parametrize("settings", ["schedule", "patience"])
@pytest.mark.parametrize("stop_after", [2, 7])
def test_a_run_goes_on_from_a_file(tmp_path, settings, stop_after):
    common = dict(epochs=8, batch_size=32, seed=11, **SETTINGS[settings])
    whole = tensor_circuit(small())
    expected = list(pcv.fit(whole, digits(70), **common))
    training = pcv.fit(tensor_circuit(small()), digits(70), **common)
    found = [next(training) for _ in range(stop_after)]
    pcv.save_fit(training, tmp_path / "run")
    before = params_of(training.pc.root)
    found.append(next(training))  # saving leaves the run as it is
    root, state = pcv.load_fit(tmp_path / "run")
    assert all(np.array_equal(a, b) for a, b in zip(params_of(root), before, strict=True))
    pc = tensor_circuit(root)
    found[stop_after:] = list(pcv.fit(pc, digits(70), **common, state=state))
    assert list(map(without_times, found)) == list(map(without_times, expected))
    assert torch.equal(pc.params, whole.params)


def test_newer_best_parameters_continue_to_the_same_result(tmp_path):
    """As when the program is stopped after the first of the two files."""
    common = dict(epochs=5, batch_size=32, **SETTINGS["patience"])
    whole = tensor_circuit(small())
    list(pcv.fit(whole, digits(70), **common))
    training = pcv.fit(tensor_circuit(small()), digits(70), **common)
    for _ in range(4):
        next(training)
    pcv.save_fit(training, tmp_path / "run")
    older = (tmp_path / "run").read_bytes()
    for _ in range(3):
        next(training)
    pcv.save_fit(training, tmp_path / "run")
    (tmp_path / "run").write_bytes(older)
    root, state = pcv.load_fit(tmp_path / "run")
    assert (state.step, state.best_epoch) == (4, 2)
    pc = tensor_circuit(root)
    list(pcv.fit(pc, digits(70), **common, state=state))
    assert torch.equal(pc.params, whole.params)


def test_files_that_are_no_run_are_refused(tmp_path):
    pc = tensor_circuit(small(2))
    pcv.save(pc, tmp_path / "circuit")
    with pytest.raises(ValueError, match="is a circuit without a run.*load it with pcv.load"):
        pcv.load_fit(tmp_path / "circuit")
    training = pcv.fit(pc, digits(40), epochs=2, x_test=digits(9), patience=1)
    next(training)
    pcv.save_fit(training, tmp_path / "run")
    for best, seed in ((pc, 9), (small(2), 0), (tensor_circuit(small(3)), 0)):  # another seed, no parameters, another circuit
        pcv.save(best, tmp_path / "run.best", extra={"fit": _json(dataclasses.replace(training.state, seed=seed))})
        with pytest.raises(ValueError, match=r"run\.best is of another run than"):
            pcv.load_fit(tmp_path / "run")
    (tmp_path / "run.best").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected its best parameters beside it in run\.best"):
        pcv.load_fit(tmp_path / "run")
    good = _json(training.state)
    for wrong in ({"step": -1}, {"step": "3"}, {"batch_size": 0}, {"seed": None}, {"num_rows": True}, {"best_epoch": 0}, {"seconds": []}):
        pcv.save(pc, tmp_path / "wrong", extra={"fit": good | wrong})
        with pytest.raises(ValueError, match=f"its run has {next(iter(wrong))}="):
            pcv.load_fit(tmp_path / "wrong")
    pcv.save(pc, tmp_path / "wrong", extra={"fit": good | {"more": 1}})
    with pytest.raises(ValueError, match="without a run"):
        pcv.load_fit(tmp_path / "wrong")


def test_patience_cannot_begin_in_the_middle():
    pc, x = tensor_circuit(small(2)), digits(40)
    training = pcv.fit(pc, x, epochs=2, x_test=x)
    next(training)
    with pytest.raises(ValueError, match="had no patience and kept no best parameters"):
        pcv.fit(pc, x, epochs=2, x_test=x, patience=2, state=training.state)


def real_numbers(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random((count, 1)) < 0.5, -1, 1) + 0.3 * rng.standard_normal((count, 4))


KINDS = {
    "ties": (lambda: pcv.HMM(8, num_latents=4, num_emits=17, seed=0), digits(70)[:, :8]),
    "Gaussian inputs": (lambda: pcv.RAT_SPN(4, num_latents=3, depth=1, num_repetitions=2, dist=pcv.Gaussian(), seed=0), real_numbers(70)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_circuits_train_stop_and_go_on(tmp_path, kind):
    make, x = KINDS[kind]
    common = dict(epochs=6, batch_size=20, step_size=0.5, x_test=x[:20], patience=2)
    whole = tensor_circuit(make())
    expected = list(pcv.fit(whole, x[20:], **common))
    assert expected[-1].test_bpd < expected[2].test_bpd - 0.02
    training = pcv.fit(tensor_circuit(make()), x[20:], **common)
    found = [next(training) for _ in range(5)]
    pcv.save_fit(training, tmp_path / "run")
    root, state = pcv.load_fit(tmp_path / "run")
    pc = tensor_circuit(root)
    found += list(pcv.fit(pc, x[20:], **common, state=state))
    assert list(map(without_times, found)) == list(map(without_times, expected))
    assert torch.equal(pc(x), whole(x))
    pruned, report = pcv.prune(pc, keep=0.5, x=x, return_report=True)
    assert report.kept_share <= 0.5 and np.isfinite(report.ll_after)
    np.testing.assert_allclose(report.ll_after, float(tensor_circuit(pruned)(x).mean()), rtol=1e-6)


def test_more_epochs_go_on_from_the_end():
    pc, whole, x = tensor_circuit(small(2)), tensor_circuit(small(2)), digits(50)
    first = pcv.fit(pc, x, epochs=1, batch_size=20)
    list(first)
    rest = list(pcv.fit(pc, x, epochs=3, batch_size=20, state=first.state))
    assert [s.step for s in rest] == list(range(4, 10))
    list(pcv.fit(whole, x, epochs=3, batch_size=20))
    assert torch.equal(pc.params, whole.params)


def test_a_run_goes_on_at_another_block_size():
    x = digits(60)
    whole = tensor_circuit(small(3), 8)
    expected = [s.train_bpd for s in pcv.fit(whole, x, epochs=2, batch_size=16)]
    pc, state, found = tensor_circuit(small(3), 1), None, []
    for block_size in (1, 2, 4, 8):
        pc = pc.recompile(block_size=block_size)
        training = pcv.fit(pc, x, epochs=2, batch_size=16, state=state)
        found += [next(training).train_bpd, next(training).train_bpd]
        training.close()
        state = training.state
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_an_interrupted_step_leaves_no_flows_behind():
    pc, same, x = tensor_circuit(small(2)), tensor_circuit(small(2)), digits(40)
    pc.accumulate_flows(digits(300))  # as Ctrl-C between flows and update would leave it
    list(pcv.fit(pc, x))
    list(pcv.fit(same, x))
    assert torch.equal(pc.params, same.params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 10}, "continues a run with batch_size=16, but this call has 10; pass batch_size=16"),
        ({"seed": 3}, "continues a run with seed=0, but this call has 3"),
        ({"x": digits(41)}, "continues a run with num_rows=40, but this call has 41; pass the same data"),
    ],
)
def test_a_state_of_another_run_is_refused(changes, message):
    pc = tensor_circuit(small(2))
    arguments = {"x": digits(40), "batch_size": 16}
    training = pcv.fit(pc, **arguments)
    next(training)
    with pytest.raises(ValueError, match=message):
        pcv.fit(pc, **(arguments | changes), state=training.state)


# ---- early stopping ----------------------------------------------------------------------------------------------------


def test_patience_stops_and_gives_back_the_best_parameters():
    pc, x, x_test = tensor_circuit(small(6)), digits(60), digits(60, "test")
    training = pcv.fit(pc, x, epochs=60, batch_size=60, step_size=1.0, pseudocount=0.01, x_test=x_test, patience=4)
    kept, tests = {}, []
    for step in training:
        kept[step.epoch] = params_of(pc.write_back())
        tests.append(step.test_bpd)
        assert step.best_epoch == int(np.argmin(tests)) + 1
    best = int(np.argmin(tests)) + 1
    assert len(tests) == best + 4 < 60, "it stops four epochs after the best one"
    assert (training.state.best_epoch, training.state.best_bpd) == (best, min(tests))
    for found, expected in zip(params_of(pc.root), kept[best], strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(-pc(x_test).mean() / (math.log(2) * 16), min(tests), rtol=1e-6)


def test_a_run_that_ends_before_its_patience_gives_the_best_too():
    pc, x, x_test = tensor_circuit(small(6)), digits(60), digits(60, "test")
    tests = [s.test_bpd for s in pcv.fit(pc, x, epochs=30, step_size=1.0, pseudocount=0.01, x_test=x_test, patience=1000)]
    assert min(tests) < tests[-1] - 0.01
    np.testing.assert_allclose(-pc(x_test).mean() / (math.log(2) * 16), min(tests), rtol=1e-6)


def test_without_patience_the_last_parameters_stay():
    pc, x_test = tensor_circuit(small(6)), digits(60, "test")
    *_, last = pcv.fit(pc, digits(60), epochs=30, step_size=1.0, pseudocount=0.01, x_test=x_test)
    assert last.best_epoch < last.epoch
    np.testing.assert_allclose(-pc(x_test).mean() / (math.log(2) * 16), last.test_bpd, rtol=1e-6)


def test_patience_needs_data_to_judge_by():
    pc = tensor_circuit(small(2))
    with pytest.raises(ValueError, match="patience needs x_test"):
        pcv.fit(pc, digits(10), patience=2)
    with pytest.raises(ValueError, match="patience expects an integer of at least 1, got 0"):
        pcv.fit(pc, digits(10), x_test=digits(10), patience=0)


# ---- progress ----------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(file):
    return list(pcv.progress(pcv.fit(tensor_circuit(small(2)), digits(50), epochs=2, batch_size=20, x_test=digits(9)), file))


def test_records_know_how_far_the_run_is():
    steps = run(io.StringIO())
    assert [s.ends_epoch for s in steps] == [False, False, True] * 2
    assert all((s.num_steps, s.num_epochs) == (6, 2) for s in steps)
    assert steps[-1].seconds_left == 0
    np.testing.assert_allclose(steps[1].seconds_left, steps[1].seconds * 2)


def test_a_log_gets_a_line_an_epoch():
    log = io.StringIO()
    steps = run(log)
    first, second = log.getvalue().splitlines()
    assert first == progress_line(steps[2]) and second == progress_line(steps[5])
    assert first.startswith("epoch 1 of 2, 50%: ") and " left" in first and f"(test {steps[2].test_bpd:.4f})" in first
    assert second.startswith("epoch 2 of 2, 100%: ") and " left" not in second


def test_a_terminal_gets_one_line_that_is_overwritten():
    terminal = Terminal()
    steps = run(terminal)
    assert terminal.getvalue().count("\n") == 1
    assert progress_line(steps[0]) in terminal.getvalue() and progress_line(steps[-1]) in terminal.getvalue()
    assert list(pcv.progress([], Terminal())) == []


@pytest.mark.parametrize(("seconds", "text"), [(3.21, "3.2 s"), (100, "2 min"), (7300, "2 h 02 min")])
def test_durations(seconds, text):
    (step,) = pcv.fit(tensor_circuit(small(2)), digits(5))
    assert f", {text}, about {text} left" in progress_line(dataclasses.replace(step, seconds=seconds, num_steps=2))

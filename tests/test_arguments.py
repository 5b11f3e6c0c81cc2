"""Numbers as arguments: numpy's do what Python's do, in every public function; what is none is refused by name."""

import json

import numpy as np
import pytest

import pcviz as pcv
from pcviz.arguments import checked_integer, is_integer, is_number


def test_what_is_a_number():
    assert is_integer(3) and is_integer(np.int16(3), 3) and is_integer(-2) and not is_integer(np.uint8(3), 4)
    assert not any(map(is_integer, (True, np.True_, 1.0, np.float32(1), "1", None, [1])))
    assert is_number(np.float32(0.5)) and is_number(2) and not any(map(is_number, (True, np.nan, -np.inf, "1", 1j, None)))
    assert type(checked_integer("n", np.int64(2))) is int
    with pytest.raises(ValueError, match=r"f\(n=...\) expects an integer of at least 2, got np.int64\(1\)"):
        checked_integer("f(n=...)", np.int64(1), least=2)


def test_numpy_numbers_work_in_every_public_function(tmp_path):
    """As they come from a loop over an array; those of the plan become Python's, for JSON and for bit arithmetic."""
    whole, part = np.int64, np.float32
    root = pcv.PD((whole(2), whole(2)), whole(4), dist=pcv.Categorical(whole(3)), seed=whole(0))
    plan = pcv.compile(root, block_size=whole(4), padding_tolerance=part(0.25))
    report = pcv.estimate(plan, batch_size=whole(64))
    same = pcv.estimate(pcv.compile(root, block_size=4), batch_size=64)
    assert str(report) == str(same) and pcv.trace(plan, whole(64)).launches == pcv.trace(plan, 64).launches
    json.dumps([plan.block_size, plan.padding_tolerance, report.batch_size, root.children[0].children[0].num_nodes])
    pc, x = pcv.TensorCircuit(plan), np.random.default_rng(0).integers(0, 3, (6, 4))
    training = pcv.fit(pc, x, epochs=whole(2), batch_size=whole(3), step_size=part(0.5), pseudocount=part(0.1), seed=whole(1), patience=None)
    assert len(list(training)) == 4 and pc.memory(whole(3)).batch_size == 3
    pcv.save_fit(training, tmp_path / "run.pcviz")
    assert pcv.load_fit(tmp_path / "run.pcviz")[1].step == 4
    assert pc.sample(whole(2), seed=whole(3)).equal(pc.sample(2, seed=3))
    assert pcv.prune(pc, keep=part(0.5), granularity=whole(1)).num_nodes == 1
    assert pcv.recommend(root, batch_size=whole(64)).batch_size == 64 and pcv.schedules.linear(part(0.5), 0.1)(0) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pc, x: pcv.fit(pc, x, seed="a"), "seed expects an integer, got 'a'"),
        (lambda pc, x: pcv.prune(pc, keep="half"), "keep must be in .*got 'half'"),
        (lambda pc, x: pcv.prune(pc, granularity=1.5), "granularity expects an integer of at least 1, got 1.5"),
        (lambda pc, x: pcv.measure(pc, x, repeats=0), r"measure\(repeats=...\) expects an integer of at least 1, got 0"),
        (lambda pc, x: pcv.measure(pc.plan, x), "measure expects a TensorCircuit.*got CircuitPlan"),
        (lambda pc, x: pc.em_step(-1), r"step_size must be in \(0, 1\].*got -1"),
        (lambda pc, x: pc.em_step(1, float("nan")), "pseudocount must be a number of at least 0 .*, got nan"),
        (lambda pc, x: pc.em_step(1, 1e39), "at most 1e\\+30, got 1e\\+39"),
    ],
)
def test_what_is_no_number_is_refused_before_anything_runs(call, message):
    pc = pcv.TensorCircuit(pcv.compile(pcv.summate(pcv.inputs(0, num_nodes=2, dist=pcv.Bernoulli()), num_nodes=1), block_size=1))
    before = pc.params.clone()
    with pytest.raises(ValueError, match=message):
        call(pc, [[0], [1]])
    assert pc.params.equal(before)

"""``pcviz bench epochs``: what it reports is mini-batch EM as ``fit`` does it, and what it refuses."""

import numpy as np
import pytest
import torch

import pcviz as pcv
from pcviz.bench_epochs import PSEUDOCOUNT, STEP_SIZE, _train, bench_epochs
from pcviz.bench_step import Ours, check_error


def test_epochs_are_mini_batch_em():
    """Bits per dimension equal those of the same mini-batches by hand."""
    x = pcv.datasets.digits("train")[:96, :9]
    root = pcv.PD((3, 3), 4, dist=pcv.Categorical(num_cats=17), seed=0)
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=4))
    checked = []
    rows = list(_train(Ours(root, 4, None, device="cpu", impl="torch"), x, x[:32], 2, 32, checked.append))
    assert len(checked) == 1 and [row["epoch"] for row in rows] == [1, 2] and rows[1]["seconds"] > rows[0]["seconds"] > 0
    for epoch, row in enumerate(rows, 1):
        order, lls = torch.randperm(96, generator=torch.Generator().manual_seed(epoch)).numpy(), []
        for batch in order.reshape(3, 32):
            lls.append(pc.accumulate_flows(x[batch]))
            pc.em_step(STEP_SIZE, PSEUDOCOUNT)
        assert row["train_bpd"] == pytest.approx(pcv.bits_per_dimension(torch.cat(lls), 9), abs=2e-5)
        assert row["test_bpd"] == pytest.approx(pcv.bits_per_dimension(pc(x[:32]), 9), abs=2e-5)


def test_a_wrong_likelihood_ends_the_run():
    with pytest.raises(RuntimeError, match="it gets no time"):
        check_error("HCLT-256", "pcviz", np.zeros(16), torch.full((32,), 0.1))
    assert check_error("HCLT-256", "pyjuice 2.6.3", np.zeros(16), torch.full((32,), 0.1)).max() == pytest.approx(0.1)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="trains one of PD-128.*got 'HMM-1024'"):
        next(bench_epochs("HMM-1024", tmp_path, epochs=1, batch_size=512, peers=False))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="needs a CUDA device"):
            next(bench_epochs("HCLT-256", tmp_path, epochs=1, batch_size=512, peers=False))

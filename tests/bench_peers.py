"""Mini-batch EM of ours, libcirkit and spflow on one circuit and the same images: ``python tests/bench_peers.py [--batches N]``.

The circuit is that of ``pcviz bench fashion``: a hidden Chow-Liu tree on Fashion-MNIST, converted layer by layer, so structure,
latents and parameters are the same. An epoch is extrapolated from the median mini-batch after a first one that is not counted.
- libcirkit's EM has our step size and pseudocount. Its floor of log p at -708 nats, which images of 784 pixels lie below and
  which stops its gradients, is lowered for the run.
- spflow's EM sets parameters to the estimate of one mini-batch (no step size). Batches of 512 do not fit its memory: 128.
"""

import argparse
import math
import statistics
import time

import numpy as np
import torch
from peers import spflow_log_likelihood, to_cirkit, to_spflow

import pcviz as pcv
from pcviz.bench_fashion import FOLDER, TREE_ROWS
from pcviz.benchmark import check_likelihoods, device_name

NUM_ROWS = 60_000


def seconds_of(step, batches) -> list[float]:
    spent = []
    for batch in batches:
        start = time.perf_counter()
        step(batch)
        spent.append(time.perf_counter() - start)
    return spent[1:]


def ours(root):
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=64))

    def step(x):
        pc.accumulate_flows(x)
        pc.em_step(0.1, 0.1)

    return step, lambda x: pc(x).numpy()


def cirkit(root):
    from cirkit.backend.torch import semiring
    from cirkit.backend.torch.em_optimizer import EM

    semiring.LOG_CLAMP_MIN = -1e30
    circuit = to_cirkit(root)
    optimizer = EM(circuit, lr=0.1, pseudocount=0.1)

    def step(x):
        optimizer.zero_grad()
        circuit(torch.as_tensor(x.astype(np.int64))).sum().backward()
        optimizer.step()

    def log_likelihood(x):
        with torch.no_grad():
            return circuit(torch.as_tensor(x.astype(np.int64))).flatten().numpy()

    return step, log_likelihood


def spflow(root):
    from spflow.learn.expectation_maximization import expectation_maximization_batched

    module = to_spflow(root)
    return lambda x: expectation_maximization_batched(module, [torch.as_tensor(x, dtype=torch.float32)]), lambda x: spflow_log_likelihood(module, x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=3, help="mini-batches that are timed, of each library")
    parser.add_argument("--latents", type=int, default=64)
    parser.add_argument("--only", choices=("pcviz", "libcirkit", "spflow"))
    args = parser.parse_args()
    x = pcv.datasets.load_idx(FOLDER, "train")
    root = pcv.HCLT(x[:TREE_ROWS], args.latents, dist=pcv.Categorical(256))
    reference = pcv.TensorCircuit(pcv.compile(root, block_size=64))
    error = check_likelihoods(reference, x)
    expected = reference(x[:16]).numpy()
    threads = f"{device_name(reference.device)}, torch {torch.__version__}"
    print(f"{threads}; HCLT, K={args.latents}, Fashion-MNIST; log p within {error:.0e} of float64")
    rows = np.random.default_rng(0).permutation(len(x))
    for name, make, size in (("pcviz", ours, 512), ("libcirkit", cirkit, 512), ("spflow", spflow, 128)):
        if args.only not in (None, name):
            continue
        step, log_likelihood = make(root)
        worst = float(np.abs(log_likelihood(x[:16]) / expected - 1).max())
        assert worst < 1e-5, f"{name} has other likelihoods: {worst}"
        spent = seconds_of(step, np.split(x[rows[: (args.batches + 1) * size]], args.batches + 1))
        median = statistics.median(spent)
        epoch = median * math.ceil(NUM_ROWS / size)
        spread = f"{min(spent):.2f} to {max(spent):.2f} s, {len(spent)} runs"
        print(f"{name}: {median:.2f} s a mini-batch of {size} ({spread}); an epoch over {NUM_ROWS:,} images {epoch:,.0f} s", flush=True)


if __name__ == "__main__":
    main()

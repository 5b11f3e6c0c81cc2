"""A small run of every Triton kernel, for NVIDIA's compute-sanitizer, on a machine with a GPU:

    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 9 python tests/sanitized_run.py
    compute-sanitizer --tool racecheck --error-exitcode 9 python tests/sanitized_run.py

(Without the caching allocator every buffer ends where its allocation ends, so that memcheck sees one element too far.)
Likelihoods and flows are compared with float64 all the same.
"""

import sys

import numpy as np
import torch

import pcviz as pcv
from pcviz.ir.nodes import SumNodes, topological

BATCHES = (37, 65)


def circuits():
    """Name, root, data: widths that are no powers of two, ties, absent edges and exact zeros."""
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 17, (80, 16))
    pd = pcv.PD((4, 4), 12, split_intervals=1, dist=pcv.Categorical(num_cats=17), seed=0)
    pc = pcv.TensorCircuit(pcv.compile(pd, block_size=4))
    yield "PD pruned", pcv.prune(pc, keep=0.4, x=grid), grid
    zeros = pcv.HCLT(grid, num_latents=20, dist=pcv.Categorical(num_cats=17), seed=1)
    pcv.TensorCircuit(pcv.compile(zeros, block_size=4))  # gives it parameters
    for nodes in topological(zeros):
        if isinstance(nodes, SumNodes):
            params = np.where(rng.random(nodes.params.shape) < 0.5, 0, nodes.params)
            params[params.sum(axis=-1) == 0] = 1 / params.shape[-1]
            nodes.params = (params / params.sum(axis=-1, keepdims=True)).astype(np.float32)
    yield "HCLT with zeros", zeros, grid
    yield "HMM, tied", pcv.HMM(6, num_latents=24, num_emits=31, seed=2), rng.integers(0, 31, (80, 6))
    yield "RAT", pcv.RAT_SPN(16, num_latents=8, depth=2, num_repetitions=2, dist=pcv.Categorical(num_cats=17), seed=3), grid


def main() -> int:
    failed = 0
    for name, root, x in circuits():
        for block_size in (1, 4, 16, 32):
            plan = pcv.compile(root, block_size=block_size)
            exact = pcv.TensorCircuit(plan, device="cuda", dtype=torch.float64)
            for variant in ("scaled", "paper"):
                pc = pcv.TensorCircuit(plan, device="cuda", impl="triton", variant=variant)
                errors = []
                for batch in BATCHES:
                    for observed in (None, np.random.default_rng(1).random((batch, x.shape[1])) < 0.6):
                        for _ in range(2):  # the second from a recorded graph
                            found = pc.accumulate_flows(x[:batch], observed)
                        errors.append((found.double() - exact(x[:batch], observed)).abs().max().item())
                flows, expected = (circuit.flows(x[:37]) for circuit in (pc, exact))
                errors.append(max(abs(a - b).max() for a, b in zip([flows.edges], [expected.edges])) / 37)
                pc.em_step(0.1, 0.1)
                wrong = not max(errors) < 2e-2
                failed += wrong
                print(f"{name}, block size {block_size}, {variant}: largest error {max(errors):.1e}{'  WRONG' if wrong else ''}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

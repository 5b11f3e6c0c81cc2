"""A small run of every Triton kernel, for NVIDIA's compute-sanitizer, on a machine with a GPU:

    python tests/sanitized_run.py                                    # compiles the kernels, compares with float64
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 9 python tests/sanitized_run.py --no-graphs
    compute-sanitizer --tool racecheck --error-exitcode 9 python tests/sanitized_run.py --no-graphs --tiny

Without the caching allocator every buffer ends where its allocation ends, so that memcheck sees one element too far; graphs
cannot be recorded then. Racecheck is about a hundred times slower: fewer circuits. Results are compared with float64 all the same.
"""

import argparse
import sys

import numpy as np
import torch
from pcviz_kernels.triton_calls import run_all

import pcviz as pcv
from pcviz.ir.nodes import SumNodes, topological


def circuits(tiny: bool):
    """Name, root, data: widths that are no powers of two, ties, absent edges and exact zeros."""
    rng = np.random.default_rng(0)
    yield "HMM, tied", pcv.HMM(4, num_latents=24, num_emits=31, seed=2), rng.integers(0, 31, (80, 4))
    if tiny:
        return
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
    yield "RAT", pcv.RAT_SPN(16, num_latents=8, depth=2, num_repetitions=2, dist=pcv.Categorical(num_cats=17), seed=3), grid
    numbers = rng.normal(0.0, 1.5, (80, 16))
    yield "RAT of real numbers", pcv.RAT_SPN(16, num_latents=9, depth=2, num_repetitions=2, dist=pcv.Gaussian(), seed=4), numbers


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-graphs", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    failed, batches = 0, (37,) if args.tiny else (37, 65)
    for name, root, x in circuits(args.tiny):
        for block_size in (1, 4, 16, 32):
            plan = pcv.compile(root, block_size=block_size)
            exact = pcv.TensorCircuit(plan, device="cuda", dtype=torch.float64)
            for variant, deterministic in (("scaled", False), ("paper", False), ("scaled", True)):
                pc = pcv.TensorCircuit(plan, device="cuda", impl="triton", variant=variant, deterministic=deterministic)
                if args.no_graphs:
                    pc.engine._replay = lambda key, calls: run_all(calls())
                errors = []
                for batch in batches:
                    for observed in (None, np.random.default_rng(1).random((batch, x.shape[1])) < 0.6):
                        for _ in range(2):  # the second from a recorded graph
                            found = pc.accumulate_flows(x[:batch], observed)
                        errors.append((found.double() - exact(x[:batch], observed)).abs().max().item())
                flows, expected = (circuit.flows(x[:37]) for circuit in (pc, exact))
                errors.append(max(abs(a - b).max() for a, b in zip([flows.edges], [expected.edges])) / 37)
                pc.em_step(0.1, 0.1)
                wrong = not max(errors) < 2e-2
                failed += wrong
                mode = ", deterministic" if deterministic else ""
                print(f"{name}, block size {block_size}, {variant}{mode}: largest error {max(errors):.1e}{'  WRONG' if wrong else ''}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

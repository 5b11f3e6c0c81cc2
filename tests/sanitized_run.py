"""A small run of every Triton kernel, for NVIDIA's compute-sanitizer, on a machine with a GPU:

    python tests/sanitized_run.py                                    # first: compiles on all cores, compares with float64
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 9 python tests/sanitized_run.py --no-graphs
    compute-sanitizer --tool racecheck --error-exitcode 9 python tests/sanitized_run.py --no-graphs --tiny

Without the caching allocator every buffer ends where its allocation ends, so that memcheck sees one element too far; graphs
cannot be recorded then. Racecheck is about a hundred times slower: the first circuit alone. Results are compared with float64,
computed on the CPU, where no tool slows it down. The last line names the kernels that ran, and fails where one did not.
"""

import argparse
import sys
import time
from collections import Counter

import numpy as np
import torch
from pcviz_kernels import ahead, triton_blocks
from pcviz_kernels.calls import run_all

import pcviz as pcv
from pcviz.ir.nodes import SumNodes, topological

BATCH = 37
# circuit: block size, variant, deterministic; each has kernels, or paths through them, that the ones before have not
RUNS = {
    "HMM, tied": [(16, "scaled", False), (16, "scaled", True), (16, "float32", False)],
    "PD pruned": [(4, "scaled", False), (16, "scaled", True)],
    "HCLT with zeros": [(1, "scaled", False), (2, "float32", False), (32, "paper", False)],
    "RAT of real numbers": [(8, "paper", False)],
    "ties in a layer": [(16, "scaled", False), (16, "scaled", True)],
    "wide": [(64, "scaled", False), (64, "float32", False)],
}


def circuits():
    """Name, root, data: widths that are no powers of two, ties, many categories, absent edges and exact zeros."""
    rng = np.random.default_rng(0)
    yield "HMM, tied", pcv.HMM(4, num_latents=24, num_emits=601, seed=2), rng.integers(0, 601, (BATCH, 4))
    grid = rng.integers(0, 17, (2 * BATCH, 16))
    pd = pcv.PD((4, 4), 20, split_intervals=2, dist=pcv.Categorical(num_cats=17), seed=0)
    yield "PD pruned", pcv.prune(pcv.TensorCircuit(pcv.compile(pd, block_size=4)), keep=0.4, x=grid), grid
    zeros = pcv.HCLT(grid[:, :6], num_latents=20, dist=pcv.Categorical(num_cats=17), seed=1)
    pcv.TensorCircuit(pcv.compile(zeros, block_size=4))  # gives it parameters
    for nodes in topological(zeros):
        if isinstance(nodes, SumNodes):
            params = np.where(rng.random(nodes.params.shape) < 0.5, 0, nodes.params)
            params[params.sum(axis=-1) == 0] = 1 / params.shape[-1]
            nodes.params = (params / params.sum(axis=-1, keepdims=True)).astype(np.float32)
    yield "HCLT with zeros", zeros, grid[:, :6]
    numbers = rng.normal(0.0, 1.5, (BATCH, 8))
    yield "RAT of real numbers", pcv.RAT_SPN(8, num_latents=9, depth=2, num_repetitions=2, dist=pcv.Gaussian(), seed=4), numbers
    leaves = [pcv.inputs(v, num_nodes=20, dist=pcv.Categorical(5)) for v in range(4)]
    first = pcv.summate(leaves[0], num_nodes=20)
    both = pcv.multiply(first, *(first.duplicate(leaf, tie_params=True) for leaf in leaves[1:]))
    few = pcv.summate(pcv.summate(both, num_nodes=2), num_nodes=20)  # and so flows of ``both`` come from two launches
    yield "ties in a layer", pcv.summate(pcv.summate(both, num_nodes=20), few, num_nodes=1), grid[:, :4] % 5
    yield "wide", pcv.RAT_SPN(4, num_latents=250, depth=1, num_repetitions=2, dist=pcv.Categorical(num_cats=17), seed=3), grid[:, :4]


def kernels() -> set[str]:
    """Names of all kernels that ``triton_blocks`` launches."""
    return {name for name in vars(triton_blocks) if name.endswith("_kernel")}


def differences(pc: pcv.TensorCircuit, exact: pcv.TensorCircuit, x: np.ndarray, repeats: int) -> list[float]:
    """Largest errors of log p, with and without hidden values, and of flows a sample; then a step of EM and maxima, for their accesses."""
    hidden, errors = np.random.default_rng(1).random(x.shape) < 0.6, []
    for observed in (None, hidden):
        for _ in range(repeats):  # the second from a recorded graph
            found = pc.accumulate_flows(x, observed)
        errors.append((found.cpu().double() - exact(x, observed)).abs().max().item())
    errors.append(abs(pc.flows(x).edges - exact.flows(x).edges).max() / len(x))
    pc.accumulate_flows(x)
    pc.em_step(0.1, 0.1)
    pc.engine.max_logs(pc.check_data(x).t(), torch.as_tensor(hidden, device=pc.device).t())
    return errors


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-graphs", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    failed, ran, start = 0, Counter(), time.perf_counter()
    if args.no_graphs:
        ahead.MOST_CORES = 1  # no other processes under a tool: kernels come from Triton's cache

    def run(calls) -> None:
        for call in calls():
            ran[call.name] += 1
            run_all([call])

    for name, root, x in circuits():
        for block_size, variant, deterministic in RUNS[name]:
            plan = pcv.compile(root, block_size=block_size)
            pc = pcv.TensorCircuit(plan, device="cuda", impl="triton", variant=variant, deterministic=deterministic)
            if args.no_graphs:
                pc.engine._replay = lambda key, calls: run(calls)
            errors = differences(pc, pcv.TensorCircuit(plan, dtype=torch.float64), x[:BATCH], 1 if args.no_graphs else 2)
            wrong = not max(errors) < 2e-2
            failed += wrong
            mode = ", deterministic" if deterministic else ""
            print(f"{time.perf_counter() - start:5.1f} s: {name}, block size {block_size}, {variant}{mode}: "
                  f"largest error {max(errors):.1e}{'  WRONG' if wrong else ''}", flush=True)  # fmt: skip
        if args.tiny:
            break
    if args.no_graphs:
        print(f"{sum(ran.values())} launches: " + ", ".join(f"{name} {count}" for name, count in sorted(ran.items())))
        missing = set() if args.tiny else kernels() - set(ran)
        if missing:
            print("not launched: " + ", ".join(sorted(missing)))
            failed += 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Measures the launches of the figure-5 layer on one NVIDIA GPU with Nsight Compute, and prints them as CSV (fig5_pcviz_h100.csv).

    python assets/recorded/measure_layer.py --commit COMMIT > fig5.csv        # needs pcviz, torch with CUDA, triton and ncu

For every block size a process of its own builds the layer, compares log p with float64, runs one forward and backward pass to
compile the kernels, and then one more that is profiled (`--clock-control none`). Columns: see README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import subprocess
import sys

import numpy as np
import torch
import triton
from pcviz_kernels.triton_calls import run_all

import pcviz as pcv
from pcviz.bench_step import kernel_hash

METRICS = {
    "time_ms": "gpu__time_duration.sum",
    "hbm_read_bytes": "dram__bytes_read.sum",
    "hbm_write_bytes": "dram__bytes_write.sum",
    "l2_to_l1_bytes": "l1tex__m_xbar2l1tex_read_bytes.sum",
    "l1_to_l2_bytes": "l1tex__m_l1tex2xbar_write_bytes.sum",
    "l2_sectors": "lts__t_sectors_srcunit_tex.sum",
    "l1_bytes": "l1tex__t_bytes.sum",
}
ROLES = {
    "sum_forward": "sum_forward", "sum_guard": "sum_guard", "product_forward": "product", "product_logs": "product", "input_forward": "input",
    "ratio": "ratios", "param_flows": "param_flows", "element_flows": "element_flows", "flow_guard": "flow_guard",
    "product_flows": "product_backward", "input_flows": "input_flows",
}  # fmt: skip
BATCH = 512


def run_profiled(block_size: int, variant: str) -> None:
    """In the profiled process: check, warm up, then one forward and one backward pass between profiler marks."""
    root = pcv.figure_5_layer()
    x = np.random.default_rng(0).integers(0, 2, (BATCH, root.scope.bit_length()))
    plan = pcv.compile(root, block_size=block_size)
    pc = pcv.TensorCircuit(plan, device="cuda", impl="triton", variant=variant)
    exact = pcv.TensorCircuit(plan, device="cuda", impl="torch", dtype=torch.float64)(x[:16])
    error = (pc(x)[:16].double() - exact).abs().max().item()
    if not error <= 2e-2:
        raise SystemExit(f"block size {block_size}: log p is off by {error:.1e} nats; nothing is measured.")
    pc.accumulate_flows(x)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStart()
    run_all(pc.engine.calls(BATCH, masked=False, backward=True))
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()
    print(f"# max_abs_error {error:.2e}")


def rows(block_size: int, variant: str) -> list[dict]:
    command = ["ncu", "--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none", "--profile-from-start", "off"]
    command += ["--metrics", ",".join(METRICS.values()), sys.executable, __file__, "--profiled", str(block_size), "--variant", variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if done.returncode or first is None:
        raise SystemExit(f"block size {block_size}: ncu failed.\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    error = next(line.split()[-1] for line in lines if line.startswith("# max_abs_error"))
    table = [line for line in csv.DictReader(line for line in lines[first:] if line.startswith('"')) if line["ID"]]
    found = []
    for order, line in enumerate(table):
        values = {name: float(line[metric].replace(",", "")) for name, metric in METRICS.items()}
        values = {name: round(value * 1e-6, 5) if name == "time_ms" else int(value) for name, value in values.items()}
        kernel = line["Kernel Name"]
        role = next((role for prefix, role in ROLES.items() if kernel.startswith(prefix)), "fill")
        where = {"block_size": block_size, "batch_size": BATCH, "order": order, "role": role, "kernel": kernel[:60]}
        found.append({**where, **values, "max_abs_error": error})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--block-sizes", type=int, nargs="*", default=[64, 32, 16, 8, 4, 2, 1])
    parser.add_argument("--variant", default="scaled")
    parser.add_argument("--commit", default="", help="commit of the source that is measured")
    parser.add_argument("--profiled", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.profiled:
        run_profiled(args.profiled, args.variant)
        return
    driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=False)
    machine = {
        "date": datetime.date.today().isoformat(), "gpu": torch.cuda.get_device_name(), "driver": driver.stdout.strip(), "torch": torch.__version__,
        "triton": triton.__version__, "engine": f"pcviz {pcv.__version__}", "commit": args.commit, "kernel_hash": kernel_hash(),
        "circuit": "fig5-dense", "precision": "fp16", "variant": args.variant,
    }  # fmt: skip
    writer = None
    for block_size in args.block_sizes:
        for row in rows(block_size, args.variant):
            writer = writer or csv.DictWriter(sys.stdout, [*machine, *row])
            if row["order"] == 0 and block_size == args.block_sizes[0]:
                writer.writeheader()
            writer.writerow({**machine, **row})
        sys.stdout.flush()


if __name__ == "__main__":
    main()

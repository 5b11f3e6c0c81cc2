"""Measures the roofs of one NVIDIA GPU that the traffic model divides by, and prints them as CSV (roofs_h100.csv).

    python assets/recorded/measure_roofs.py > roofs.csv        # about 20 s; needs torch with CUDA, triton and cupy

Every figure is the median of 15 runs timed with CUDA events after 3 warm-up runs. Rates are per second and count what
reaches its destination: copy counts bytes read and written; L2 and L1 count bytes loaded by the SMs; matrix products
count 2 n^3 operations on random data.
"""

from __future__ import annotations

import csv
import datetime
import statistics
import subprocess
import sys
from functools import partial

import cupy
import torch
import triton

SOURCE = r"""
extern "C" {
// Every block reads the whole buffer once per round, 16 bytes a thread, from L2 (.cg: not kept in L1).
__global__ void read_l2(const float4* data, int n, int rounds, float* out) {
    float4 s = make_float4(0, 0, 0, 0);
    int start = (int)((long)blockIdx.x * 4099 * 32 % n);  // blocks start apart, so that they do not ask for the same line at once
    for (int r = 0; r < rounds; ++r)
        for (int i = threadIdx.x; i < n; i += 4 * blockDim.x) {
            #pragma unroll
            for (int u = 0; u < 4; ++u) {
                int at = i + u * blockDim.x + start;
                float4 v = __ldcg(data + (at < n ? at : at - n));
                s.x += v.x; s.y += v.y; s.z += v.z; s.w += v.w;
            }
        }
    if (s.x + s.y + s.z + s.w == 1234.5f) out[0] = 1;
}
// Every block reads its own n float4 again and again: L1 hits (.ca).
__global__ void read_l1(const float4* data, int n, int rounds, float* out) {
    const float4* mine = data + (long)blockIdx.x * n;
    float4 s = make_float4(0, 0, 0, 0);
    for (int r = 0; r < rounds; ++r)
        #pragma unroll 4
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            float4 v = __ldca(mine + (i ^ (r & 7)));
            s.x += v.x; s.y += v.y; s.z += v.z; s.w += v.w;
        }
    if (s.x + s.y + s.z + s.w == 1234.5f) out[0] = 1;
}
__global__ void read_shared(int rounds, float* out) {
    __shared__ float4 tile[2048];
    for (int i = threadIdx.x; i < 2048; i += blockDim.x) tile[i] = make_float4(i, 1, 2, 3);
    __syncthreads();
    float4 s = make_float4(0, 0, 0, 0);
    for (int r = 0; r < rounds; ++r)
        #pragma unroll 4
        for (int i = threadIdx.x; i < 2048; i += blockDim.x) {
            float4 v = tile[i ^ (r & 7)];
            s.x += v.x; s.y += v.y; s.z += v.z; s.w += v.w;
        }
    if (s.x + s.y + s.z + s.w == 1234.5f) out[0] = 1;
}
__global__ void fma_rate(int rounds, float a, float* out) {
    float v[8];
    for (int u = 0; u < 8; ++u) v[u] = threadIdx.x + u;
    for (int r = 0; r < rounds; ++r)
        #pragma unroll
        for (int u = 0; u < 8; ++u) v[u] = fmaf(v[u], a, 1.0f);
    float s = 0; for (int u = 0; u < 8; ++u) s += v[u];
    if (s == 1234.5f) out[0] = s;
}
__global__ void exp_rate(int rounds, float a, float* out) {
    float v[8];
    for (int u = 0; u < 8; ++u) v[u] = a * u;
    for (int r = 0; r < rounds; ++r)
        #pragma unroll
        for (int u = 0; u < 8; ++u) asm volatile("ex2.approx.ftz.f32 %0, %0;" : "+f"(v[u]));
    float s = 0; for (int u = 0; u < 8; ++u) s += v[u];
    if (s == 1234.5f) out[0] = s;
}
}
"""


def median_seconds(run, repeats: int = 15) -> float:
    """Median seconds of ``run()`` by CUDA events, after three warm-up runs."""
    times = []
    run()
    torch.cuda.synchronize()
    for i in range(repeats + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def kernel_roofs(sms: int):
    """(name, value, unit, how) of the roofs that take a kernel of their own."""
    module = cupy.RawModule(code=SOURCE, options=("-std=c++14",))
    out = torch.zeros(1, device="cuda")

    def launch(name, grid, block, *args):
        kernel = module.get_function(name)
        return median_seconds(lambda: kernel((grid,), (block,), args))

    for mb in (4, 16, 24, 32):
        data = torch.rand(mb * 1024 * 1024 // 4, device="cuda")
        how = f"{2 * sms} blocks of 1024 threads each read a {mb} MiB buffer, 16-byte .cg loads"
        n, grid, rounds = data.numel() // 4, 2 * sms, max(1, 32 // mb)
        seconds = launch("read_l2", grid, 1024, data.data_ptr(), cupy.int32(n), cupy.int32(rounds), out.data_ptr())
        yield f"l2_read_{mb}mb", grid * rounds * n * 16 / seconds / 1e12, "TB/s", how
    data = torch.rand(2 * sms * 8192, device="cuda")
    seconds = launch("read_l1", 2 * sms, 1024, data.data_ptr(), cupy.int32(2048), cupy.int32(2000), out.data_ptr())
    yield "l1_read", 2 * sms * 2000 * 2048 * 16 / seconds / 1e12, "TB/s", "2 blocks an SM re-read 32 KiB each, 16-byte .ca loads"
    seconds = launch("read_shared", 2 * sms, 1024, cupy.int32(2000), out.data_ptr())
    yield "shared_read", 2 * sms * 2000 * 2048 * 16 / seconds / 1e12, "TB/s", "2 blocks an SM re-read 32 KiB of shared memory, 16-byte loads"
    seconds = launch("fma_rate", 2 * sms, 1024, cupy.int32(20000), cupy.float32(0.5), out.data_ptr())
    yield "fp32_fma", 2 * sms * 1024 * 20000 * 8 * 2 / seconds / 1e12, "TFLOP/s", "register fused multiply-adds, 8 independent chains a thread"
    seconds = launch("exp_rate", 2 * sms, 1024, cupy.int32(5000), cupy.float32(-0.5), out.data_ptr())
    yield "exp", 2 * sms * 1024 * 5000 * 8 / seconds / 1e12, "Texp/s", "ex2.approx, 8 independent chains a thread"


def library_roofs():
    """(name, value, unit, how) of the roofs that torch's own operations show."""
    source = torch.rand(1 << 28, device="cuda")
    target = torch.empty_like(source)
    seconds = median_seconds(partial(target.copy_, source))
    yield "copy", 2 * source.numel() * 4 / seconds / 1e12, "TB/s", "torch copy_ of 1 GiB, bytes read and written"
    del source, target
    for name, dtype, tf32 in (("fp32_gemm", torch.float32, False), ("tf32_gemm", torch.float32, True),
                              ("bf16_gemm", torch.bfloat16, False), ("fp16_gemm", torch.float16, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        seconds = median_seconds(partial(torch.mm, a, b))
        yield name, 2 * 8192**3 / seconds / 1e12, "TFLOP/s", "torch.mm 8192 x 8192 x 8192, random normal operands"
    x = torch.zeros(32, device="cuda")
    graph = torch.cuda.CUDAGraph()
    x.add_(1)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(1000):
            x.add_(1)
    yield "launch_in_graph", median_seconds(graph.replay) * 1e3, "us", "1000 dependent 32-element kernels in a replayed CUDA graph, per kernel"
    yield "launch_eager", median_seconds(lambda: [x.add_(1) for _ in range(1000)]) * 1e3, "us", "1000 dependent 32-element torch kernels, per kernel"


def main():
    prop = torch.cuda.get_device_properties(0)
    driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=True)
    stamp = [datetime.date.today().isoformat(), prop.name, driver.stdout.strip(), torch.__version__, triton.__version__]
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow("date gpu driver torch triton name value unit how".split())
    for name, value, unit, how in [
        ("num_sms", prop.multi_processor_count, "", "device properties"),
        ("l2_cache", prop.L2_cache_size / 1e6, "MB", "device properties"),
        *library_roofs(),
        *kernel_roofs(prop.multi_processor_count),
    ]:
        out.writerow([*stamp, name, f"{value:.5g}", unit, how])


if __name__ == "__main__":
    main()

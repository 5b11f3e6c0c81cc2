"""Every Triton kernel compiles to machine code for the GPUs that are asked for, without a GPU; what the interpreter lets through
(a matrix product on too small a tile, say) fails here."""

import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton has no build for this system")

import sanitized_run  # noqa: E402
from pcviz_kernels import ahead, triton_em, triton_flows, triton_forward, triton_gaussian, triton_max, triton_ordered  # noqa: E402
from pcviz_kernels.calls import KernelCall  # noqa: E402
from pcviz_kernels.config import LaunchConfig, default_config, em_config, em_inputs_config, float32_config, input_flows_config  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource, CompiledKernel  # noqa: E402
from triton.runtime import driver  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

import pcviz as pcv  # noqa: E402
from pcviz.triton_engine import TritonEngine  # noqa: E402

FLOAT32 = {"hidden", "reals", "lost_ratios"}
FLOAT32 |= {"table", "logs", "tops", "flows", "element_flows", "param_flows", "ratio_tops", "block_tops", "table_flows", "settings"}
FLOAT16 = {"half_params", "ratios"}
INT64 = {"steps"}
SCALARS = {"lost_below": "fp32", "lost_log2": "fp32", "most": "fp32", "least_flow": "fp32", "min_sigma": "fp32"}
INTEGERS = {"start", "stride", "num_cats", "batch", "num_rows", "num_children", "num_units", "first_row", "first_unit", "num_parents", "pitch"}
INTEGERS |= {"first_block", "x_pitch", "arity", "num_columns", "num_flags", "sum_block", "run", "flag_m", "flag_b"}
# they read the float32 parameters
GUARDED = {"sum_max_kernel", "sum_guard_kernel", "flow_guard_kernel", "em_sums_kernel", "lost_element_flows_kernel", "lost_param_flows_kernel"}
SHAPES = [
    (1, 64),
    (1, 1),
    (2, 2),
    (8, 8),
    (16, 16),
    (32, 32),
    (64, 64),
    (128, 128),
    (256, 256),
    (64, 1024),
    (32, 256),
    (16, 1024),
    (1, 1024),
    (64, 8),
    (8, 32),
]


def argument_type(kernel, name: str, float32: bool = False) -> str:
    if name in SCALARS or name in INTEGERS:
        return SCALARS.get(name, "i32")
    if name == "weights":
        return "*fp32" if float32 or kernel.__name__ in GUARDED else "*fp16"
    if name == "elements":
        return "*fp32" if float32 or kernel.__name__ in ("product_logs_kernel", "sum_forward_paper_kernel", "sum_max_kernel") else "*fp16"
    if name in FLOAT32 | FLOAT16:
        return "*fp32" if name in FLOAT32 else "*fp16"
    if name in INT64:
        return "*i64"
    return "*u8" if name == "observed" else "*i32"


def machine_code(kernel, capability: int, num_warps: int = 4, num_stages: int = 2, float32: bool = False, **constants) -> str:
    """PTX of ``kernel``; compiling goes on to machine code. Names that it does not have are left out of ``constants``. ``float32``: of such
    elements and parameters."""
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    signature = {name: "constexpr" if name in constants else argument_type(kernel, name, float32) for name in kernel.arg_names}
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names) if signature[name][0] == "*" or name in ("pitch", "x_pitch")
    }
    options = {"num_warps": num_warps, "num_stages": num_stages}
    compiled = triton.compile(ASTSource(kernel, signature, constants, aligned), target=GPUTarget("cuda", capability, 32), options=options)
    assert len(compiled.asm["cubin"]) > 0
    return compiled.asm["ptx"]


def launches(sum_block: int, child_block: int):
    """(phase, kernel) that a group of this shape launches, as triton_blocks chooses."""
    for phase, kernels in (
        ("forward", (triton_forward.sum_forward_kernel, triton_forward.sum_forward_small_kernel)),
        ("param_flows", (triton_flows.param_flows_kernel,) * 2),
        ("element_flows", (triton_flows.element_flows_kernel, triton_flows.element_flows_small_kernel)),
    ):
        config = default_config(phase, sum_block, child_block)
        yield phase, kernels[0 if config.uses_tensor_cores else 1], config


@pytest.mark.parametrize("sum_block, child_block", SHAPES)
def test_matrix_kernels_compile_at_every_block_shape(sum_block, child_block):
    for capability in (90,) if (sum_block, child_block) not in ((8, 8), (64, 64)) else (80, 90):
        for phase, kernel, config in launches(sum_block, child_block):
            sizes = {"M": sum_block, "K": child_block, "ROWS": min(64, sum_block), "REPEATS": False, "ADD": False}
            sizes |= {"EVEN": True, "ONE_UNIT": child_block >= config.tile_k}
            sizes |= {"ORDERED": False, "TENSOR_CORES": config.uses_tensor_cores}
            sizes |= {"TILE_M": config.tile_m, "TILE_K": config.tile_k, "TILE_B": config.tile_b}
            for level in (False, True)[: 1 + config.uses_tensor_cores]:
                ptx = machine_code(kernel, capability, config.num_warps, config.num_stages, LEVEL=level, **sizes)
                assert ("mma" in ptx) == config.uses_tensor_cores, f"{kernel.__name__} {config}: tensor cores"
                assert ".local" not in ptx, f"{kernel.__name__} {config} spills registers"
            if phase == "forward":
                config = float32_config(config)
                sizes |= {"TILE_M": config.tile_m, "TILE_K": config.tile_k, "TILE_B": config.tile_b}
                ptx = machine_code(kernel, capability, config.num_warps, config.num_stages, float32=True, LEVEL=False, **sizes)
                assert "mma" not in ptx and ".local" not in ptx, f"{kernel.__name__} of float32 {config}: tensor cores, or spilled registers"


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kernel", [
    triton_forward.input_forward_kernel, triton_forward.product_forward_kernel, triton_forward.product_logs_kernel,
    triton_forward.sum_forward_paper_kernel, triton_forward.sum_guard_kernel, triton_flows.ratio_kernel, triton_flows.flow_guard_kernel,
    triton_flows.product_flows_kernel, triton_flows.input_flows_kernel, triton_flows.input_scatter_kernel, triton_flows.param_flows_kernel,
    triton_em.em_sums_kernel,
    triton_em.em_inputs_kernel, triton_ordered.lost_element_flows_kernel, triton_ordered.lost_param_flows_kernel,
    triton_gaussian.gaussian_forward_kernel, triton_gaussian.gaussian_flows_kernel, triton_gaussian.em_gaussian_kernel,
    triton_max.sum_max_kernel,
], ids=lambda kernel: kernel.__name__)  # fmt: skip
def test_the_other_kernels_compile(kernel, capability):
    sizes = {"M": 64, "K": 64, "WIDTH": 64, "ROWS": 64, "CATS": 32, "TILE_M": 16, "TILE_K": 64, "TILE_B": 64, "FLAG_B": 64}
    sizes |= {"STRIDE": 64, "AT_ONCE": False, "SAMPLES": 128, "ADD": True}
    sizes |= {"PAIRS": False, "HAS_MASK": True, "KEEP": True, "MAX": True, "EXACT": True}
    for level in (False, True)[: 1 + ("LEVEL" in kernel.arg_names)]:
        machine_code(kernel, capability, REPEATS=True, ORDERED=True, ONE_UNIT=True, TENSOR_CORES=True, LEVEL=level, **sizes)
    if kernel is triton_forward.input_forward_kernel:
        machine_code(kernel, capability, **sizes | {"EXACT": False})
    if kernel is triton_forward.product_forward_kernel:
        machine_code(kernel, capability, float32=True, LEVEL=False, **sizes)
    if kernel is triton_flows.param_flows_kernel:
        machine_code(kernel, capability, REPEATS=True, ORDERED=False, ONE_UNIT=False, TENSOR_CORES=True, LEVEL=False, **sizes)


@pytest.mark.parametrize("kernel, config, constants", [
    *((triton_em.em_sums_kernel, em_config(m, children), {"M": m, "K": run}) for m, run, children in
      ((1, 1024, 4096), (8, 8, 64), (16, 16, 2048), (32, 1024, 3072), (64, 256, 256))),
    *((triton_em.em_inputs_kernel, em_inputs_config(nodes, cats), {"STRIDE": nodes, "AT_ONCE": cats <= 512}) for nodes, cats in
      ((1, 2), (20, 17), (256, 256), (64, 500), (1024, 4023))),
    *((triton_flows.input_flows_kernel, input_flows_config(nodes, cats), {"STRIDE": nodes}) for nodes, cats in
      ((3, 2), (32, 17), (256, 256), (64, 500))),
    *((triton_flows.product_flows_kernel, LaunchConfig(min(64, width), 1, 64, num_warps=8), {"WIDTH": width, "ADD": add})
      for width in (1, 256) for add in (False, True)),
])  # fmt: skip
def test_tiles_of_kernels_without_blocks_compile(kernel, config, constants):
    sizes = {"TILE_M": config.tile_m, "TILE_K": config.tile_k, "ROWS": config.tile_m, "CATS": config.tile_k, "TILE_B": config.tile_b}
    ptx = machine_code(kernel, 90, config.num_warps, 3, HAS_MASK=True, **sizes, **constants)
    assert ".local" not in ptx, f"{kernel.__name__} {config} spills registers"


@pytest.mark.skipif(not hasattr(triton, "AsyncCompileMode"), reason="this Triton compiles at launches only")
def test_a_step_is_compiled_ahead(monkeypatch, tmp_path):
    """By other processes into the cache, each kernel once, from an engine without parameters; from there on threads, and nothing is
    left to compile at a launch. A stand-in takes the place of the GPU's driver."""
    root = pcv.PD((2, 2), num_latents=3, dist=pcv.Categorical(3), seed=0)
    plan = pcv.compile(root, block_size=2)
    engine = TritonEngine(plan, torch.device("cpu"))

    compiled, loaded, compile_one = [], [], JITFunction._do_compile
    monkeypatch.setattr(JITFunction, "_do_compile", lambda kernel, *args: compiled.append(kernel.__name__) or compile_one(kernel, *args))
    monkeypatch.setattr(CompiledKernel, "run", property(lambda kernel: loaded.append((kernel.name, threading.current_thread()))))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    active = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32), get_current_device=lambda: "stand-in", get_current_stream=lambda device: 0
    )
    monkeypatch.setattr(driver, "_active", active)
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    hits = []
    monkeypatch.setattr(triton.knobs.compilation, "listener", lambda *, cache_hit, **what: hits.append(cache_hit))
    monkeypatch.setattr(ahead, "times", [])
    monkeypatch.setattr(ahead, "_cores", lambda: 5)
    ahead.begin(engine._without_memory().step_calls(128, False))

    engine.load(torch.zeros(plan.num_params), [torch.zeros(len(group.sources), group.stride, 3) for group in plan.inputs])
    engine._reserve(128)
    calls = list(engine.step_calls(100, False))
    different = {call.variant for call in calls}
    ahead.finish(calls)
    assert hits == [True] * len(different), "another process has compiled it"
    assert sorted(compiled) == sorted(time.kernel for time in ahead.times) == sorted(variant[0] for variant in different)
    assert len(loaded) == len(different) and threading.main_thread() not in {thread for _, thread in loaded}
    assert all(time.kernel_s > 0 and time.launcher_s >= 0 for time in ahead.times)
    compiled.clear()
    ahead.finish(calls)
    for call in calls:
        call.compiled()
    assert not compiled, f"compiled at a launch: {compiled}"


@pytest.mark.skipif(not hasattr(triton, "AsyncCompileMode"), reason="this Triton compiles at launches only")
def test_what_a_step_needs_is_compiled_before_what_likelihoods_need(monkeypatch):
    """Each kernel once, the longest of each first."""
    engine = TritonEngine(pcv.compile(pcv.HMM(3, 32, num_emits=5), block_size=16), torch.device("cpu"))._without_memory()
    queues = []
    monkeypatch.setattr(driver, "_active", SimpleNamespace(get_current_device=lambda: "nothing compiles here"))
    monkeypatch.setattr(ahead, "_cores", lambda: 2)
    monkeypatch.setattr(ahead, "_fork", lambda *arguments: queues.append(arguments) or (_ for _ in ()).throw(OSError))
    step, likelihoods = ({call.variant for call in calls} for calls in (engine.step_calls(64, False), engine.calls(64, False, False)))
    ahead.begin(engine.step_calls(64, False), engine.calls(64, False, False))
    ((queue, needed, _),) = queues
    assert needed == len(step)
    first, rest = queue[: len(step)], queue[len(step) :]
    assert {call.variant for call in first} == step and {call.variant for call in rest} == likelihoods - step and len(rest) >= 3
    for part in (first, rest):
        efforts = [ahead._effort(call) for call in part]
        assert efforts == sorted(efforts, reverse=True)
    made = [(queue[number].name, *queue[number].kinds) for number in sorted(ahead._with_launcher(queue, needed))]
    assert len(made) == len(set(made)) and {(call.name, *call.kinds) for call in queue} == set(made)  # a launcher each,
    assert {(call.name, *call.kinds) for call in first} == set(made[: len({(call.name, *call.kinds) for call in first})])  # the step's with the step


def test_keys_do_not_depend_on_the_order_in_which_they_are_made():
    """Or processes that compile ahead would fill Triton's cache with kernels that this one does not find."""
    script = """if True:
        import sys
        from pcviz_kernels import triton_blocks, ahead
        kernels = sorted((name, kernel) for name, kernel in vars(triton_blocks).items() if name.endswith("_kernel"))
        for name, kernel in kernels[:: int(sys.argv[1])]:
            kernel.cache_key
        print(*(f"{name} {kernel.cache_key}" for name, kernel in kernels), sep="\\n")
    """
    environment, found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, set()
    for order in ("1", "-1", "5"):  # from the first, from the last, every fifth before the others
        found.add(subprocess.run([sys.executable, "-c", script, order], env=environment, capture_output=True, text=True, check=True).stdout)
    (keys,) = found
    assert len(keys.splitlines()) > 20


def test_a_circuit_on_a_gpu_waits_for_no_import_of_torch():
    """Arithmetic on tensors without memory imports torch's own compiler: it was four of the ten seconds of a first step."""
    script = """if True:
        import sys, torch, pcviz as pcv
        from pcviz.triton_engine import TritonEngine
        root = pcv.PD((2, 2), num_latents=3, dist=pcv.Categorical(3))
        engine = TritonEngine(pcv.compile(root, block_size=2), torch.device("cpu"))
        before = set(sys.modules)
        assert len(list(engine._without_memory().step_calls(128, False))) > 20
        print(*sorted(set(sys.modules) - before))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.skipif(not hasattr(triton, "AsyncCompileMode"), reason="this Triton compiles at launches only")
def test_what_other_processes_can_not_compile_is_compiled_here(monkeypatch, tmp_path):
    """A launcher that ends its process stands for any failure."""
    index, flows = torch.zeros(8, dtype=torch.int32), torch.zeros(8)
    calls = [
        KernelCall.of(triton_flows.product_flows_kernel, (1,), index, index, index, flows, flows, 1, 128, WIDTH=w, ROWS=w, TILE_B=128, ADD=True)
        for w in (1, 2)
    ]
    loaded = []
    monkeypatch.setattr(CompiledKernel, "run", property(lambda kernel: loaded.append(kernel.name)))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    active = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32), get_current_device=lambda: "broken", get_current_stream=lambda device: 0,
        launcher_cls=lambda src, metadata: os._exit(3),
    )  # fmt: skip
    monkeypatch.setattr(driver, "_active", active)
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    monkeypatch.setattr(ahead, "times", [])
    ahead.finish(calls)
    assert loaded == ["product_flows_kernel"] * 2 and len(ahead.times) < 2


def test_the_sanitized_run_launches_every_kernel():
    found = set()
    for name, root, _ in sanitized_run.circuits():
        for block_size, variant, deterministic in sanitized_run.RUNS[name]:
            engine = TritonEngine(pcv.compile(root, block_size=block_size), torch.device("cpu"), variant, deterministic)._without_memory()
            found |= {call.name for call in (*engine.step_calls(64, True), *engine._max_calls(64))}
    assert found == sanitized_run.kernels() and len(found) > 20

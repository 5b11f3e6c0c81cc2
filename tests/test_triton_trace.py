"""The trace of impl="triton" is what TritonEngine hands to the GPU: its kernel calls, and torch's fills between them. Nothing runs here."""

import math

import pytest
from circuits import random_circuit

import pcviz as pcv
from pcviz.ir.nodes import init_params
from pcviz.launch_records import ceil_div
from pcviz.params import gather_params
from pcviz.triton_trace import node_rows

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="Triton has no build for this system")

from pcviz_kernels import triton_blocks, triton_launches  # noqa: E402
from pcviz_kernels.config import LaunchConfig, default_config  # noqa: E402
from pcviz_kernels.tuned import TunedConfigs  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from pcviz import triton_launching, triton_operands, triton_trace  # noqa: E402
from pcviz.triton_engine import TritonEngine  # noqa: E402

NAMES = {  # operand -> the kernels' arguments that it stands for; elements are read from another buffer by the kernel of the paper
    "parameters": {"weights"}, "elements": {"elements"}, "scales": {"tops"}, "values": {"logs"}, "flags": {"flags"}, "ratios": {"ratios"},
    "ratio scales": {"ratio_tops"}, "lost ratios": {"lost_ratios"}, "flows": {"flows"}, "parameter flows": {"param_flows"},
    "element flows": {"element_flows"}, "tables": {"table", "hidden"}, "data": {"x", "reals"}, "mask": {"observed"}, "table flows": {"table_flows"},
    "block scales": {"block_tops"}, "half parameters": {"half_params"}, "settings": {"settings"},
}  # fmt: skip
GUARDS = ("sum_guard", "flow_guard")
PASSES = ("forward", "backward", "em")
STRUCTURES = {
    "PD": lambda: pcv.PD((6, 6), 32, split_intervals=2, dist=pcv.Categorical(17)),
    "PD, drawn": lambda: pcv.PD((4, 4), 32, split_intervals=1, conn_block=8, dist=pcv.Categorical(3)),
    "HMM": lambda: pcv.HMM(6, 16, num_emits=600),
    "RAT": lambda: pcv.RAT_SPN(16, 8, depth=2, num_repetitions=2, dist=pcv.Gaussian(0.0, 1.0)),
}


class Fills(TorchDispatchMode):
    """Logs torch's own kernels as (name, entries)."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.log.append((function.__name__.split(".")[0], out.numel()))
        return out


def executed(plan, batch, variant=None, deterministic=False, masked=False, likelihoods=False, configs=default_config):
    """(engine, its KernelCalls and torch's (name, entries), in order) of a forward and a backward pass and of EM; or of ``likelihoods``."""
    init_params(plan.root)
    engine, (flat, tables) = TritonEngine(plan, torch.device("cpu"), variant, deterministic), gather_params(plan)
    engine.load(flat, tables)
    engine.use_configs(configs)
    engine._reserve(batch)
    log = []
    with Fills(log):
        log.extend(engine.calls(batch, masked, backward=not likelihoods))
        if not likelihoods:
            log.extend(engine._em())
    return engine, log


def check(root, block_size, batch, **mode):
    """A training step, and a pass for likelihoods alone."""
    plan = pcv.compile(root, block_size=block_size)
    engine, log = executed(plan, batch, **mode)
    equal(engine, log, pcv.trace(plan.summary, batch, passes=PASSES, impl="triton", **mode), plan)
    engine, log = executed(plan, batch, likelihoods=True, **mode)
    equal(engine, log, pcv.trace(plan.summary, batch, passes=("forward",), impl="triton", **{"variant": "float32", **mode}), plan)


def equal(engine, log, trace, plan):
    expected = [call if isinstance(call, tuple) else (call.name, math.prod(call.grid)) for call in log]
    assert [(t.kernel, t.operands[0].stores if isinstance(call, tuple) else t.programs) for t, call in zip(trace, log)] == expected
    assert len(trace) == len(log)
    assert node_rows(plan.summary) == plan.num_node_rows
    for launch, call in zip(trace, log):
        if not isinstance(call, tuple):
            check_tiles(launch, call.options)
            check_operands(launch, call, engine)


def check_tiles(launch, options):
    tile = launch.config
    rows = options.get("TILE_M", options.get("ROWS"))
    assert rows in (None, tile.tile_m) or launch.phase == "flow_guard", launch
    for name, side in (("TILE_K", tile.tile_k), ("TILE_B", tile.tile_b), ("CATS", tile.tile_k)):
        assert options.get(name, side) == side, (launch, name)
    if launch.multiplies:
        assert (options["M"], options["num_warps"], options["num_stages"]) == (launch.sum_block, tile.num_warps, tile.num_stages)


def check_operands(launch, call, engine):
    """Every array of numbers is an operand, with the width of its entries; guards, which rarely read more than flags, name those."""
    arguments = {name: value for name, value in zip(call.kernel.arg_names, call.arguments) if isinstance(value, torch.Tensor)}
    numbers = {name: value for name, value in arguments.items() if value.dtype.is_floating_point or name in ("flags", "x", "observed")}
    named = {}
    for operand in launch.operands:
        if not operand.is_index:
            (name,) = NAMES[operand.name] & set(numbers) - ({"hidden"} if "table" in numbers else set())
            named[name] = operand.entry_bytes
    if launch.phase in GUARDS:
        assert set(named) == {"flags"}
        return
    unused = {"hidden"} if "table" in numbers else set()
    unused |= {"lost_ratios"} if launch.kernel == "ratio_kernel" and not engine.deterministic else set()
    unused |= {"observed"} if not call.options.get("HAS_MASK", True) else set()
    unused |= {"tops"} if launch.kernel == "sum_forward_paper_kernel" else set()
    unused |= {"block_tops"} if not call.options.get("LEVEL") else set()
    unused |= {"tops", "ratio_tops"} if call.options.get("LEVEL") and launch.phase in ("param_flows", "element_flows") else set()
    assert set(named) == set(numbers) - unused, launch
    for name, width in named.items():
        assert numbers[name].element_size() == width, (launch, name)


@pytest.mark.parametrize("seed", range(24))
def test_random_circuits(seed):
    """Ties, sparse edges, products of any arity; batches below and above a buffer's pitch; variants, deterministic, hidden values."""
    for block_size in (1, 4, 16):
        variant = (None, "paper", "scaled", "float32")[seed % 4]
        mode = {"deterministic": seed % 8 < 3, "masked": seed % 3 == 0, **({"variant": variant} if variant else {})}
        check(random_circuit(seed), block_size, (1, 130, 200)[seed % 3], **mode)


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("block_size", [1, 8, 32])
def test_structures(name, block_size):
    root = STRUCTURES[name]()
    check(root, block_size, 300)
    check(root, block_size, 40, deterministic=True)


def test_tuned_tiles():
    """The largest tiles that autotune may find: likelihoods in float32 cut them, as more would not fit a program's registers."""
    plan = pcv.compile(pcv.figure_5_layer(2, 128), block_size=128)
    tuned = TunedConfigs({("forward", 128, 128, 256): LaunchConfig(128, 32, 128, num_warps=8, num_stages=4)})
    for variant, sides in (("scaled", (128, 32, 128)), ("paper", (128, 32, 128)), ("float32", (64, 32, 64))):
        engine, log = executed(plan, 200, variant, likelihoods=True, configs=tuned)
        trace = pcv.trace(plan.summary, 200, tuned, passes=("forward",), impl="triton", variant=variant)
        equal(engine, log, trace, plan)
        assert sides in {(t.config.tile_m, t.config.tile_k, t.config.tile_b) for t in trace}


def test_runs_and_units_of_dense_circuits_are_the_engines():
    """What a summary assumes holds where nothing was pruned: indices and scales are counted as they are read."""
    for root in (pcv.figure_5_layer(3, 64), pcv.HMM(4, 64, num_emits=5), pcv.RAT_SPN(8, 32, depth=2, num_repetitions=1, dist=pcv.Bernoulli())):
        for block_size in (1, 16, 32, 64):
            plan = pcv.compile(root, block_size=block_size)
            for layer, summary in zip(plan.layers, plan.summary.layers):
                found = triton_launching.layer_launches(layer, "cpu")
                for launch, group in zip(found.sums, summary.groups):
                    width = group.num_child_blocks * group.child_block
                    assert (launch.run, launch.block_units.shape[1]) == (triton_operands.run_of(group), triton_operands.units_in(summary, width))


def test_constants_are_the_kernels():
    assert triton_trace.UNIT == triton_launches.UNIT
    for name in ("PITCH", "GUARD_B", "FLAG_B", "MANY_CATEGORIES"):
        assert getattr(triton_trace, name) == getattr(triton_blocks, name)
    assert triton_operands.LONGEST_RUN == triton_launching.LONGEST_RUN


def test_the_batch_is_filled_up():
    summary = pcv.plan_summary(pcv.figure_5_layer(2, 64), block_size=64)
    one, most = (pcv.trace(summary, batch, passes=("forward",), impl="triton") for batch in (1, 128))
    assert [launch.grid for launch in one] == [launch.grid for launch in most]
    assert all(ceil_div(128, launch.config.tile_b) == launch.grid[0] for launch in one if launch.phase == "forward")
    with pytest.raises(ValueError, match="impl expects one of 'planned', 'triton'.*got 'cuda'"):
        pcv.trace(summary, 1, impl="cuda")

"""The launch trace: closed forms of section 4.1, tiles at the edges, and the rule for tiles."""

import pytest
from pcviz_kernels.config import NAIVE, PHASES, LaunchConfig, default_config

import pcviz as pcv
from pcviz.compiler.plan import BackwardGroupSummary, GroupSummary, LayerSummary, PlanSummary
from pcviz.tracing import trace


def dense_summary(num_sums, num_products, sum_block, child_block):
    """One fully connected layer, counts only."""
    blocks, children = num_sums // sum_block, num_products // child_block
    stored = blocks * children
    layer = LayerSummary(
        index=1, num_sum_vectors=1, num_sums=num_sums, num_sum_rows=num_sums, num_product_vectors=1, num_products=num_products,
        num_element_rows=num_products, edges=num_sums * num_products, absent_edges=0, missing_edges=0,
        groups=(GroupSummary(sum_block, child_block, blocks, children, stored, stored * sum_block * child_block, 0),),
        backward_groups=(BackwardGroupSummary(sum_block, child_block, children, blocks, stored),), product_launches=1,
    )  # fmt: skip
    return PlanSummary(sum_block, 0.25, 1, 1, num_products, 1, (layer,))


SHAPES = [(256, 1024, 64, 64, 512), (256, 1024, 1, 1, 512), (128, 512, 16, 32, 48), (32, 32, 32, 32, 1)]


@pytest.mark.parametrize("m,n,sum_block,child_block,batch", SHAPES)
@pytest.mark.parametrize("tile", [(1, 1, 1), (8, 32, 16), (16, 16, 16), (64, 32, 128)])
def test_forward_reloads_are_those_of_section_4_1(m, n, sum_block, child_block, batch, tile):
    config = LaunchConfig(*tile)
    (launch,) = trace(dense_summary(m, n, sum_block, child_block), batch, config, passes=("forward",))
    tile_m = min(config.tile_m, sum_block)
    batch_tiles = -(-batch // config.tile_b)
    # each of the n x batch inputs is loaded m / tile_m times, each of the m x n parameters ceil(batch / tile_b) times
    assert launch.operand("elements").loads == n * batch * (m // tile_m)
    assert launch.operand("parameters").loads == m * n * batch_tiles
    assert launch.operand("values").stores == launch.operand("values").unique == m * batch
    assert launch.operand("elements").unique == n * batch
    assert launch.operand("parameters").unique == m * n
    assert launch.grid == (batch_tiles, m // tile_m)
    assert launch.steps == -(-n // config.tile_k)
    assert launch.flops == 2 * m * n * batch


def test_the_naive_parallelization_reloads_every_input_m_times_whatever_the_block():
    for block in (1, 16, 64):
        (launch,) = trace(dense_summary(256, 1024, block, block), 512, NAIVE, passes=("forward",))
        assert launch.programs == 256 * 512  # one processor per sum and sample
        elements, parameters = launch.operand("elements"), launch.operand("parameters")
        assert elements.loads == 256 * elements.unique and parameters.loads == 512 * parameters.unique
        assert launch.operand("indices").loads == launch.programs * (2 * 1024 + 1)


@pytest.mark.parametrize("m,n,sum_block,child_block,batch", SHAPES)
def test_em_reads_parameters_and_flows_twice_and_writes_them_once(m, n, sum_block, child_block, batch):
    """Whatever the batch; the kernel writes a float16 copy too."""
    summary, rows, tile_k = dense_summary(m, n, sum_block, child_block), min(32, sum_block), min(n, 512 if n >= 1024 else 256)
    for impl, samples in (("planned", batch), ("triton", 1)):
        launch = trace(summary, samples, passes="em", impl=impl).launches[0]
        assert (launch.direction, launch.programs, launch.steps, launch.multiplies) == ("em", m // rows, 2 * -(-n // tile_k), False)
        for name in ("parameters", "parameter flows"):
            assert (launch.operand(name).loads, launch.operand(name).stores, launch.operand(name).unique) == (2 * m * n, m * n, m * n)
        assert sum(operand.stores * operand.width(4) for operand in launch.operands) == m * n * (8 if impl == "planned" else 10)
        assert launch.flops == 10 * m * n and str(launch).endswith(f"tile {rows} x {tile_k}")


@pytest.mark.parametrize("m,n,sum_block,child_block,batch", SHAPES)
@pytest.mark.parametrize("tile", [(1, 1, 1), (8, 32, 16), (64, 64, 32)])
def test_backward_closed_forms(m, n, sum_block, child_block, batch, tile):
    config = LaunchConfig(*tile)
    flows, params = trace(dense_summary(m, n, sum_block, child_block), batch, config, passes=("backward",))
    tile_k = min(config.tile_k, child_block)
    batch_tiles = -(-batch // config.tile_b)
    assert flows.phase == "element_flows"
    assert flows.operand("flows").loads == flows.operand("values").loads == m * batch * (n // tile_k)
    assert flows.operand("flows").unique == m * batch
    assert flows.operand("parameters").loads == m * n * batch_tiles
    assert flows.operand("element flows").stores == flows.operand("elements").loads == n * batch
    assert flows.grid == (batch_tiles, n // tile_k)
    assert params.phase == "param_flows"
    tile_m, child_tiles = min(config.tile_m, sum_block), -(-n // config.tile_k)
    assert params.operand("elements").loads == n * batch * (m // tile_m)
    assert params.operand("flows").loads == m * batch * child_tiles
    assert params.operand("parameter flows").loads == params.operand("parameter flows").stores == m * n
    assert params.grid == (child_tiles, m // tile_m)
    assert params.steps == batch_tiles
    assert flows.flops == params.flops == 2 * m * n * batch


def test_tile_flops_equal_flops_when_tiles_divide_and_exceed_them_when_they_do_not():
    summary = dense_summary(256, 1024, 64, 64)
    for launch in trace(summary, 512):
        assert launch.tile_flops == launch.flops
    for launch in trace(summary, 500):
        assert launch.tile_flops > launch.flops


def test_steps_load_a_tile_of_parameters_and_one_of_children_each():
    summary = dense_summary(64, 1024, 64, 64)
    launch = trace(summary, 512, passes=("forward",)).launches[0]
    tile, loads = launch.config, launch.operand("parameters").loads + launch.operand("elements").loads
    assert (tile.tile_m * tile.tile_k + tile.tile_k * tile.tile_b) * launch.total_steps == loads
    assert launch.waves(132) == 1 and launch.waves(3) == -(-launch.programs // 3)


def test_one_launch_per_group_in_running_order():
    root = pcv.PD((8, 8), num_latents=8, split_intervals=2, dist=pcv.Categorical(num_cats=17), seed=0)
    plan = pcv.compile(root, block_size=4)
    launches = trace(plan, 100)
    assert launches.launches == trace(plan.summary, 100).launches
    assert len(launches.phase("forward")) == len(launches.phase("param_flows")) == plan.summary.num_groups
    assert len(launches.phase("element_flows")) == sum(len(layer.backward_groups) for layer in plan.summary.layers)
    upward = [launch.layer for launch in launches.phase("forward")]
    downward = [launch.layer for launch in launches.phase("element_flows")]
    assert upward == sorted(upward) and downward == sorted(downward, reverse=True)
    layer = plan.layers[1]
    for launch, group in zip([x for x in launches.phase("forward") if x.layer == 2], layer.groups, strict=True):
        assert (launch.num_blocks, launch.fan_in) == group.cids.shape
        assert launch.cells == group.cids.size * group.sum_block * group.child_block


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("batch", [1, 20, 512, 5000])
def test_default_tiles_are_legal(phase, batch):
    for sum_block in (1, 2, 8, 16, 64, 256):
        for child_block in (1, 2, 8, 16, 64, 256):
            config = default_config(phase, sum_block, child_block, batch)
            assert config == config.fit(phase, sum_block, child_block)
            assert max(config.tile_m, config.tile_k) <= 64 and config.tile_b <= 128
            own = child_block if phase == "element_flows" else sum_block
            assert config.uses_tensor_cores == (own >= 16)
            if not config.uses_tensor_cores:
                assert config.tile_m * config.tile_k * config.tile_b <= 16384


def test_bad_arguments_say_what_to_do():
    summary = dense_summary(4, 4, 2, 2)
    with pytest.raises(ValueError, match="batch_size expects an integer of at least 1, got 0"):
        trace(summary, 0)
    with pytest.raises(ValueError, match="passes expects some of 'forward', 'backward' and 'em'"):
        trace(summary, 1, passes=("sideways",))
    with pytest.raises(ValueError, match="pcv.plan_summary"):
        trace("plan", 1)
    with pytest.raises(ValueError, match="power of two"):
        LaunchConfig(3, 4, 4)
    with pytest.raises(ValueError, match="phases are 'forward'"):
        trace(summary, 1, {"backward": NAIVE})
    with pytest.raises(ValueError, match="config expects a LaunchConfig"):
        trace(summary, 1, config=64)
    with pytest.raises(ValueError, match="phase expects one of 'forward'"):
        default_config("up", 1, 1)
    with pytest.raises(ValueError, match="no operand 'flows'; it has parameters"):
        trace(summary, 1).launches[0].operand("flows")

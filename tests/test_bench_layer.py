"""``pcviz bench layer``: its layers in float64, its report of counters, and what it refuses. Its passes run in interpreted_triton.py."""

import math

import numpy as np
import pytest
import torch

import pcviz as pcv
from pcviz.bench_counters import METRICS, bench_counters, read_report, role_of
from pcviz.bench_layer import BLOCK_SIZES, LAYERS, LayerErrors, accepted, bench_layer
from pcviz.benchmark import WrongResult
from pcviz.layer_reference import coarse_circuit, exact_layer, regions_of
from pcviz.recorded import own_launches, recorded_launches
from pcviz.reference import log_likelihood


@pytest.mark.parametrize("conn_block", [None, 2])
def test_the_reference_equals_the_float64_engine(conn_block):
    root = pcv.figure_5_layer(3, 8, seed=1, conn_block=conn_block)
    x = np.random.default_rng(0).integers(0, 2, (20, 6))
    exact, pc = exact_layer(root, x), pcv.TensorCircuit(pcv.compile(root, block_size=4), dtype=torch.float64)
    flows, node_flows = pc.flows(x), pc.node_flows(x)
    for i, region in enumerate(regions_of(root)):
        np.testing.assert_allclose(exact.values[i], pc.node_values(x, nodes=region), atol=1e-12)
        np.testing.assert_allclose(exact.edge_flows[i], flows.of(region), atol=1e-12)
        for a in range(2):
            factors = torch.cat([node_flows[pc.plan.rows_of(product.children[a])] for product in region.children])
            np.testing.assert_allclose(exact.element_flows[i], factors, atol=1e-12)


def test_wider_edges_make_the_same_circuit():
    root = pcv.figure_5_layer(2, 8, conn_block=2)
    same, x = coarse_circuit(root, 8), np.random.default_rng(0).integers(0, 2, (9, 4))
    assert {region.edge_block for region in regions_of(same)} == {8}
    assert sum(region.num_edges for region in regions_of(same)) > sum(region.num_edges for region in regions_of(root))
    np.testing.assert_allclose(log_likelihood(same, x), log_likelihood(root, x), rtol=1e-6)


def test_the_layers_have_as_many_edges_and_only_one_is_padded():
    for name, build in LAYERS.items():
        layers = {size: pcv.plan_summary(build(), block_size=size).layers[0] for size in BLOCK_SIZES[name] if size >= 8}
        assert {layer.edges for layer in layers.values()} == {29_622_272} and {layer.num_sums for layer in layers.values()} == {28_928}
        assert [size for size, layer in layers.items() if layer.absent_edges] == ([128, 64, 32, 16] if name == "fig5-drawn" else [])


def test_wrong_results_get_no_time():
    good = LayerErrors(1e-3, 1e-4, 1e-3, 1e-3)
    assert accepted("fig5-dense", 64, "pcviz 0.1.0", good) is good
    for wrong in (LayerErrors(3e-2, 0, 0, 0), LayerErrors(0, 3e-3, 0, 0), LayerErrors(0, 0, 2e-2, 0), LayerErrors(0, 0, 0, 2e-2)):
        with pytest.raises(WrongResult, match="block size 64, pcviz 0.1.0.*it gets no time"):
            accepted("fig5-dense", 64, "pcviz 0.1.0", wrong)
        assert accepted("fig5-dense", 64, "pyjuice 2.6.3", wrong) is wrong
    for place in range(4):
        assert not LayerErrors(*(math.nan if i == place else 0.0 for i in range(4))).acceptable


def test_the_report_of_nsight_compute():
    kernels = ["product_forward_kernel", "sum_forward_kernel", "element_flows_kernel", "product_flows_kernel"]
    head = ",".join(f'"{name}"' for name in ("ID", "Kernel Name", *METRICS.values()))
    rows = [f'"{i}","{kernel}","1,500,000",{",".join(chr(34) + str(k) + chr(34) for k in range(6))}' for i, kernel in enumerate(kernels)]
    report = ["==PROF== Connected", "# engine pcviz 0.1.0", "# max_abs_error 1.18e-04", head, '"","","ns"', *rows]
    said, launches = read_report("\n".join(report))
    assert said == {"engine": "pcviz 0.1.0", "max_abs_error": "1.18e-04"}
    assert [launch["role"] for launch in launches] == ["product", "sum_forward", "element_flows", "product_backward"]
    assert launches[2] == {
        "order": 2, "role": "element_flows", "kernel": "element_flows_kernel", "time_ms": 1.5, "hbm_read_bytes": 0, "hbm_write_bytes": 1,
        "l2_to_l1_bytes": 2, "l1_to_l2_bytes": 3, "l2_sectors": 4, "l1_bytes": 5,
    }  # fmt: skip


def test_roles_are_those_of_the_recorded_launches():
    layer = {"product", "sum_forward", "sum_guard", "ratios", "param_flows", "element_flows", "flow_guard", "product_backward", "fill"}
    for row in (*own_launches(), *recorded_launches()):
        if row.role in layer and not row.kernel.startswith("_forward_backward"):
            assert role_of(row.kernel) == row.role, row.kernel
    assert role_of("_forward_backward_kernel_2d") == "product" and role_of("_forward_backward_kernel_2d", after_flows=True) == "product_backward"


def test_what_is_refused():
    asked = {"block_sizes": None, "batch_size": 512, "variants": ("scaled",), "peers": False, "commit": "", "out": None}
    for run in (bench_counters(["fig6"], **asked), bench_layer(["fig6"], repeats=1, **asked)):
        with pytest.raises(ValueError, match="bench layer knows the layers fig5-dense, fig5-drawn, got fig6"):
            next(run)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="bench layer needs a CUDA device"):
            next(bench_layer([], repeats=1, **asked))

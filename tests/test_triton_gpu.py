"""The Triton engine on a GPU, at real sizes, against the float64 torch engine on the same GPU. Run with ``-m gpu``."""

import threading

import numpy as np
import pytest
import torch
from circuits import trained_params, vectors_with_rows
from trained import hclt_on_gpu, smooth_images

import pcviz as pcv
from pcviz.advice import TRAINED_VARIANTS
from pcviz.benchmark import runner, time_once
from pcviz.ir.nodes import SumNodes, topological

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

MAX_ERROR, MEAN_ERROR = 2e-2, 2e-3  # nats, at 784 variables: what is asked of the default precision, and of float16 on dense parameters
LIKELIHOOD_LIMITS = 5e-3, 2e-4  # of likelihoods, which are computed in float32 unless a variant is asked for


def on_gpu(root, block_size, **options) -> pcv.TensorCircuit:
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size), device="cuda", **options)
    assert pc.impl == ("torch" if options.get("dtype") == torch.float64 else "triton")
    return pc


def in_float64(root) -> pcv.TensorCircuit:
    """What results are compared with, at whatever block size they are found: float64 has the same at all, and 32 is a quick one."""
    return on_gpu(root, 32, dtype=torch.float64)


def check(root, block_size, x, exact=None, limits=None, **options) -> None:
    """``exact``: likelihoods of ``x`` in float64, where they are known; ``limits``: of the largest and of the mean error."""
    found, exact = on_gpu(root, block_size, **options)(x), in_float64(root)(x) if exact is None else exact
    most, mean = limits or (LIKELIHOOD_LIMITS if options.get("variant") in (None, "float32") else (MAX_ERROR, MEAN_ERROR))
    assert torch.equal(torch.isneginf(found), torch.isneginf(exact)) and not torch.isnan(found).any()
    error = (found.double() - exact)[torch.isfinite(exact)]
    assert error.abs().max() <= most and error.mean().abs() <= mean, (
        f"block size {block_size}: max {error.abs().max():.1e}, mean {error.mean():.1e}"
    )


@pytest.fixture(scope="module")
def trained(shared_folder):
    """HCLT over 784 variables, 96 latents (no power of two), some epochs of EM."""
    return hclt_on_gpu(shared_folder), smooth_images(2000)


@pytest.fixture(scope="module")
def exact(trained):
    """Likelihoods of the first 129 images in float64."""
    root, x = trained
    return in_float64(root)(x[:129])


@pytest.mark.parametrize("block_size, variant", [*((1 << i, v) for v in (None, "scaled") for i in range(8)), (4, "paper"), (64, "paper")])
def test_accuracy_on_trained_parameters(trained, exact, block_size, variant):
    root, x = trained
    check(root, block_size, x[:129], exact, variant=variant)


@pytest.mark.parametrize("percent", [30, 10, 3])
def test_accuracy_on_pruned_parameters(trained, percent):
    """Rows keep their largest parameters, the rest is exactly zero; at every block size. Flows too, in absolute terms, and no likelihood that
    training sees is off by more than is asked of any; by how much on average is what float16 leaves where rows have two parameters."""
    root, x = trained
    kept = {nodes: nodes.params for nodes in topological(root) if isinstance(nodes, SumNodes)}
    for nodes, params in kept.items():
        least = np.partition(params, -max(1, params.shape[1] * percent // 100), axis=1)[:, [-max(1, params.shape[1] * percent // 100)]]
        pruned = np.where(params >= least, params, 0)
        nodes.params = (pruned / pruned.sum(axis=1, keepdims=True)).astype(np.float32)
    try:
        exact = in_float64(root).flows(x[:100])
        for block_size in (1 << i for i in range(8)):
            check(root, block_size, x[:100], exact.lls)
            found = on_gpu(root, block_size).flows(x[:100])
            assert (found.lls.double() - exact.lls).abs().max() <= MAX_ERROR
            for nodes in vectors_with_rows(root)[::40]:
                expected = exact.of(nodes)
                np.testing.assert_allclose(
                    found.of(nodes), expected, rtol=1e-2, atol=1e-2 * max(1.0, expected.max()), err_msg=f"block size {block_size}"
                )
    finally:
        for nodes, params in kept.items():
            nodes.params = params


@pytest.mark.parametrize("block_size", [1, 8, 64])
def test_flows_and_a_step_of_em(trained, block_size):
    root, x = trained
    circuits = [on_gpu(root, block_size), in_float64(root)]
    flows = [pc.flows(x[:300]) for pc in circuits]
    for nodes in vectors_with_rows(root)[::40]:
        expected = flows[1].of(nodes)
        np.testing.assert_allclose(flows[0].of(nodes), expected, rtol=5e-3, atol=2e-3 * expected.max())
    for pc in circuits:
        for _ in range(3):  # the second and third from a recorded graph
            pc.accumulate_flows(x[:300])
            pc.em_step(0.1, 0.1)
    torch.testing.assert_close(circuits[0](x[:64]).double(), circuits[1](x[:64]), rtol=0, atol=MAX_ERROR)


@pytest.mark.parametrize("block_size", [2, 32])
@pytest.mark.parametrize("kind", ["HCLT, pruned", "HMM", "ties in one layer"])
def test_deterministic_mode_gives_the_same_bits(trained, kind, block_size):
    """Three runs of likelihoods, flows and EM, each from the same parameters; lost sums, many categories, tied blocks of one launch.
    Equal to the default mode within its tolerances, and the default mode's sums are lost there too."""
    root, x = trained
    if kind == "HMM":
        root, x = pcv.HMM(8, num_latents=64, num_emits=2000, seed=0), np.random.default_rng(0).integers(0, 2000, (600, 8))
    elif kind == "ties in one layer":
        leaves = [pcv.inputs(v, num_nodes=64, dist=pcv.Categorical(5)) for v in range(16)]
        vectors = [pcv.summate(leaves[0], num_nodes=64)]
        vectors += [vectors[0].duplicate(leaf, tie_params=True) for leaf in leaves[1:]]
        root, x = pcv.summate(pcv.multiply(*vectors), num_nodes=1), np.random.default_rng(0).integers(0, 5, (600, 16))
    default = on_gpu(root, block_size)
    default.write_back()
    kept = {nodes: nodes.params for nodes in vectors_with_rows(root)}
    try:
        for nodes in vectors_with_rows(root):
            if isinstance(nodes, SumNodes) and kind == "HCLT, pruned" and nodes.params.shape[1] > 3:
                least = np.partition(nodes.params, -3, axis=1)[:, [-3]]
                pruned = np.where(nodes.params >= least, nodes.params, 0)
                nodes.params = (pruned / pruned.sum(axis=1, keepdims=True)).astype(np.float32)
        runs = []
        for _ in range(3):
            pc = on_gpu(root, block_size, deterministic=True)
            for _ in range(3):  # the second and third from a recorded graph
                lls = pc.accumulate_flows(x[:555])
                flows = pc.engine.edge_flows.clone()
                pc.em_step(0.1, 0.1)
            runs.append((lls, flows, pc.params.clone(), *pc.tables))
        for run in runs[1:]:
            assert all(torch.equal(found, expected) for found, expected in zip(run, runs[0]))
        default, ordered = on_gpu(root, block_size).flows(x[:300]), on_gpu(root, block_size, deterministic=True).flows(x[:300])
        np.testing.assert_allclose(ordered.edges, default.edges, rtol=5e-3, atol=2e-3 * default.edges.max())
        for found, expected in zip(ordered.tables, default.tables):
            np.testing.assert_allclose(found, expected, rtol=5e-3, atol=2e-3 * expected.max())
    finally:
        for nodes, params in kept.items():
            if nodes.tied_to is None:
                nodes.params = params


def test_calls_do_not_wait_for_the_device(trained):
    """Data on the device: their check is queued before the passes and its answer read after, without waiting for them. Bad data
    raise, from a recorded graph too, and leave no flows."""
    root, x = trained
    pc, x = on_gpu(root, 32), torch.as_tensor(x[:256]).cuda().long()
    mask = torch.rand(x.shape, device="cuda") < 0.7
    for _ in range(2):
        for observed in (None, mask):
            pc(x, observed)
            pc.accumulate_flows(x, observed)
        pc.em_step(0.01, 0.1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for observed in (None, mask):
            pc(x, observed)
            pc.accumulate_flows(x, observed)
        pc.em_step(0.01, 0.1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for value in (16, -1, 2**33):
        wrong = x.clone()
        wrong[200, 300] = value
        with pytest.raises(ValueError, match=f"variable 300 has category {value}, expected 0 to 15"):
            pc.accumulate_flows(wrong)
        assert (pc.engine.edge_flows == 0).all() and all((flows == 0).all() for flows in pc.engine.table_flows)
    assert torch.isfinite(pc(x)).all()


def test_kernels_are_compiled_ahead(trained, monkeypatch):
    """On all cores, from the time that there is a circuit and before the first launch of a pass; none is compiled at its launch."""
    from pcviz_kernels import ahead, triton_blocks
    from triton.runtime import _async_compile
    from triton.runtime.jit import JITFunction

    root, x = trained
    for kernel in vars(triton_blocks).values():
        if isinstance(kernel, JITFunction):
            kernel.device_caches.clear()  # whatever other tests have compiled
    monkeypatch.setattr(ahead, "_kernels", {})
    compiled = []
    compile_one = JITFunction._do_compile

    def only_ahead(kernel, *args, **kwargs):
        beside = threading.current_thread() is not threading.main_thread() or _async_compile.active_mode.get() is not None
        assert beside, f"{kernel.__name__} is compiled at its launch"
        compiled.append(kernel.__name__)
        return compile_one(kernel, *args, **kwargs)

    monkeypatch.setattr(JITFunction, "_do_compile", only_ahead)
    for deterministic in (False, True):
        pc = on_gpu(root, 2, deterministic=deterministic)
        for observed in (None, np.ones((1, x.shape[1]), dtype=bool)):
            pc(x[:100], observed)
            pc.accumulate_flows(x[:100], observed)
            pc.em_step(0.1, 0.1)
    assert "em_sums_kernel" in compiled and "lost_param_flows_kernel" in compiled


def test_any_batch_without_a_new_kernel(trained, monkeypatch):
    """Batches from 1 to above a micro-batch; only the first compiles."""
    import triton

    root, x = trained
    pc = on_gpu(root, 32)
    pc.accumulate_flows(x[:200])
    pc.accumulate_flows(x[:200])
    expected = pc(x)

    def no_compilation(*args, **kwargs):
        raise AssertionError("a kernel was compiled for a new batch size")

    monkeypatch.setattr(triton.compiler, "compile", no_compilation)
    monkeypatch.setattr("triton.runtime.jit.JITFunction._do_compile", no_compilation, raising=True)
    for batch in (1, 3, 128, 129, 777, 2000):
        torch.testing.assert_close(pc(x[:batch]), expected[:batch], rtol=0, atol=1e-5)
        pc.accumulate_flows(x[:batch])


def test_graphs_are_recorded_while_another_circuit_loads_its_kernels(trained):
    """As when one circuit trains in the explorer and another is measured. Every new batch size is a new graph."""
    root, x = trained
    pc = on_gpu(root, 32)
    expected, failed, done = pc(x[:600]), [], threading.Event()

    def others() -> None:
        try:
            for block_size in (2, 64, 128):
                on_gpu(root, block_size, variant="paper", deterministic=True).accumulate_flows(x[:50])
        except Exception as error:  # noqa: BLE001  (told by the test)
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=others)
    thread.start()
    for batch in range(1, 600):
        torch.testing.assert_close(pc(x[:batch]), expected[:batch], rtol=0, atol=1e-5)
        if done.is_set():
            break
    thread.join()
    assert not failed, failed


def test_threads_record_graphs(trained):
    """At the same time, each those of its circuit, as when circuits train and are measured: every batch size is recorded at its first call here
    and replayed at its second. On several GPUs they are on two."""
    root, x = trained
    x = torch.as_tensor(x[:300])
    expected, start, failed = in_float64(root)(x).cpu(), threading.Barrier(3), []
    devices = ["cuda:0", "cuda:0", f"cuda:{torch.cuda.device_count() - 1}"]

    def calls(device: str, block_size: int) -> None:
        try:
            pc = pcv.TensorCircuit(pcv.compile(root, block_size=block_size), device=device)
            runs = [runner(pc, x[:3], phase) for phase in ("forward", "forward+backward")]
            for run in runs:  # compiles
                run()
            start.wait()
            for batch in range(1, 300, 3):
                data = x[:batch].to(pc.device)
                for phase, limit in (("forward", LIKELIHOOD_LIMITS[0]), ("forward+backward", MAX_ERROR)):
                    run, found = runner(pc, data, phase), []
                    for _ in range(2):
                        time_once(lambda run=run, found=found: found.append(run()), pc.device)
                    for lls in found:
                        torch.testing.assert_close(lls.cpu().double(), expected[:batch], rtol=0, atol=limit)
                pc.clear_flows()
        except Exception as error:  # noqa: BLE001  (told by the test)
            failed.append(error)
            start.abort()

    threads = [threading.Thread(target=calls, args=each) for each in zip(devices, (8, 64, 32))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_circuits_on_two_gpus(trained, tmp_path):
    """In turns, whichever GPU is the current one: likelihoods, steps of EM, maxima and tuning, most of them from recorded graphs."""
    root, x = trained
    x, known = x[:300], np.arange(784)[None] < 392
    exact = in_float64(root)
    circuits = [pcv.TensorCircuit(pcv.compile(root, block_size=32), device=f"cuda:{number}") for number in (1, 0)]
    with torch.cuda.device(1):
        circuits.append(on_gpu(root, 32))
    assert [pc.device.index for pc in circuits] == [1, 0, 1]
    expected, largest = exact(x), exact.mpe(x, observed=known, return_log=True)[1]
    for pc in circuits:
        for current in (0, 1, 0):  # the second and third from a recorded graph
            with torch.cuda.device(current):
                found, maxima = pc(x), pc.mpe(x, observed=known, return_log=True)[1]
                assert found.device == maxima.device == pc.device
                torch.testing.assert_close(found.cpu().double(), expected.cpu(), rtol=0, atol=LIKELIHOOD_LIMITS[0])
                torch.testing.assert_close(maxima.cpu().double(), largest.cpu(), rtol=1e-6, atol=1e-3)
    for current in (0, 1, 0):
        with torch.cuda.device(current):
            for pc in (exact, *circuits):
                pc.accumulate_flows(x)
                pc.em_step(0.1, 0.1)
    after = exact(x).cpu()
    for number, pc in enumerate(circuits):
        torch.testing.assert_close(pc(x).cpu().double(), after, rtol=0, atol=MAX_ERROR)
        with torch.cuda.device(1 - pc.device.index):
            tuned = list(pcv.autotune(pc, x, seconds=3, cache=tmp_path / f"{number}.json"))
        assert tuned and all(record.wrong == 0 for record in tuned), [str(record) for record in tuned]
        torch.testing.assert_close(pc(x).cpu().double(), after, rtol=0, atol=MAX_ERROR)


@pytest.mark.parametrize("block_size", [4, 64])
def test_gaussian_inputs(block_size):
    """Likelihoods with hidden values, moments, and ten steps of EM, in default and deterministic mode."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(700, 64)), axis=1).astype(np.float32)
    root = pcv.RAT_SPN(64, num_latents=64, depth=3, num_repetitions=2, dist=pcv.Gaussian(mu=0.0, sigma=4.0), seed=0)
    for options in ({}, {"deterministic": True}):
        circuits = [on_gpu(root, block_size, **options), on_gpu(root, block_size, dtype=torch.float64)]
        observed = rng.random((300, 64)) < 0.7
        results = []
        for pc in circuits:
            before = pc(x[:300], observed=observed).double()
            flows = pc.flows(x[:300])
            for _ in range(10):
                pc.accumulate_flows(x)
                pc.em_step(0.3, 0.1)
            results.append((before, flows, pc(x[:300]).double()))
        for (found, expected), tolerance in zip(zip(*results), (MAX_ERROR, None, 20 * MAX_ERROR)):
            if tolerance:  # ten steps of EM move away from each other
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=tolerance)
                continue
            for nodes in vectors_with_rows(root)[::10]:
                exact = expected.of(nodes)
                np.testing.assert_allclose(found.of(nodes), exact, rtol=1e-2, atol=2e-3 * np.abs(exact).max())


@pytest.mark.parametrize("block_size", [1, 32])
def test_max_product(trained, block_size):
    """Maxima, and states that reach them, given half of the pixels; the second call is from a recorded graph."""
    root, x = trained
    x, known = x[:70], np.arange(784)[None] < 392
    exact, pc = in_float64(root), on_gpu(root, block_size)
    expected = exact.mpe(x, observed=known, return_log=True)[1]
    for _ in range(2):
        states, logs = pc.mpe(x, observed=known, return_log=True)
        torch.testing.assert_close(logs.double(), expected, rtol=1e-6, atol=1e-3)
        reached = exact.mpe(states, observed=np.ones((1, 784), dtype=bool), return_log=True)[1]
        torch.testing.assert_close(reached, expected, rtol=1e-6, atol=1e-3)


def test_memory_is_known_before(trained):
    """What a step allocates, within a tenth; recorded graphs and the data come on top."""
    root, x = trained
    torch.cuda.synchronize()
    plan = pcv.compile(root, block_size=32)
    before = torch.cuda.memory_allocated()
    pc = pcv.TensorCircuit(plan, device="cuda")
    use = pc.memory(512)
    pc.accumulate_flows(x[:512])
    pc.em_step(0.1, 0.1)
    taken = torch.cuda.memory_allocated() - before
    assert use.micro_batch == 512 and abs(taken - use.total) < 0.1 * use.total, f"{taken / 2**20:.0f} MiB taken, known before: {use}"


def test_block_size_256():
    """Vectors of 512 nodes: likelihoods of all variants, flows, maxima, and a step of EM in default and deterministic mode."""
    x = smooth_images(700, (5, 5))
    root = pcv.HCLT(x, num_latents=512, dist=pcv.Categorical(16))
    exact = in_float64(root)
    for variant in (None, "scaled", "paper"):
        check(root, 256, x, exact(x), variant=variant)
    expected, logs, after = exact.flows(x), exact.mpe(x, observed=np.arange(25)[None] < 12, return_log=True)[1], []
    for deterministic in (False, True):
        pc = on_gpu(root, 256, deterministic=deterministic)
        flows = pc.flows(x)
        for nodes in vectors_with_rows(root):
            of_nodes = expected.of(nodes)
            np.testing.assert_allclose(flows.of(nodes), of_nodes, rtol=5e-3, atol=2e-3 * of_nodes.max())
        found = pc.mpe(x, observed=np.arange(25)[None] < 12, return_log=True)[1]
        torch.testing.assert_close(found.double(), logs, rtol=1e-6, atol=1e-3)
        after.append(pc)
    for pc in (exact, *after):
        for _ in range(3):  # the second and third from a recorded graph
            pc.accumulate_flows(x)
            pc.em_step(0.1, 0.1)
    for pc in after:
        torch.testing.assert_close(pc(x).double(), exact(x), rtol=0, atol=MAX_ERROR)


@pytest.mark.parametrize("deterministic", [False, True])
def test_elements_that_sums_of_two_layers_read_in_part(deterministic):
    """Element flows that no sum of a layer reads are 0 there, not what the layer above has left."""
    elements = pcv.multiply(*(pcv.inputs(v, num_nodes=32, dist=pcv.Categorical(2)) for v in range(2)))
    below = pcv.summate(elements, num_nodes=16, edge_ids=np.array([[0], [0]]), edge_block=16)
    above = pcv.summate(elements, below, num_nodes=16, edge_ids=np.array([[0, 0], [1, 2]]), edge_block=16)
    root = pcv.summate(above, num_nodes=1)
    trained_params(root, np.random.default_rng(0))
    x = np.random.default_rng(0).integers(0, 2, (700, 2))
    pc, exact = on_gpu(root, 16, deterministic=deterministic), in_float64(root)
    assert [layer.unread_blocks for layer in pc.plan.summary.layers] == [1, 1, 0]
    for _ in range(2):  # the second from a recorded graph
        flows, expected = pc.flows(x), exact.flows(x)
        for nodes in vectors_with_rows(root):
            of_nodes = expected.of(nodes)
            np.testing.assert_allclose(flows.of(nodes), of_nodes, rtol=5e-3, atol=2e-3 * of_nodes.max())


def test_recommend_measures_every_choice():
    """Every block size and variant, checked against float64 in the same run; compared by what was measured."""
    root, x = pcv.HMM(8, num_latents=64, num_emits=100, seed=0), np.random.default_rng(0).integers(0, 100, (300, 8))
    told = []
    advice = pcv.recommend(root, "H100-SXM", 512, x=x, tell=lambda *step: told.append(step))
    assert {(choice.block_size, choice.variant) for choice in advice.choices} == {(1 << i, variant) for i in range(7) for variant in TRAINED_VARIANTS}
    assert all(choice.measured_ms > 0 for choice in advice.choices) and len(told) >= len(advice.choices)
    assert advice.best.measured_ms <= 1.1 * min(choice.measured_ms for choice in advice.choices)  # or less memory


def test_figure_5_layer_at_every_block_size():
    root = pcv.figure_5_layer()
    x = np.random.default_rng(0).integers(0, 2, (64, root.scope.bit_length()))
    exact = in_float64(root)(x)
    for block_size in (1, 2, 4, 8, 16, 32, 64):
        check(root, block_size, x, exact)


def test_3072_variables_and_impossible_evidence():
    """In a chain: a circuit of 1,500 layers."""
    chain = np.cumsum(np.random.default_rng(0).normal(size=(40, 768)), axis=1) / 3
    x = np.tile(np.clip(8 + chain - chain.mean(axis=1, keepdims=True), 0, 15).astype(np.uint8), 4)
    root = pcv.HCLT(x, num_latents=32, dist=pcv.Categorical(16))
    check(root, 32, x, limits=(MAX_ERROR, MEAN_ERROR))  # logarithms of -11,000 are float32, and rounded 3,000 times
    pc = on_gpu(root, 32)
    for nodes in vectors_with_rows(root):
        if nodes.kind == "input":
            nodes.params = np.where(np.arange(16) == 15, 0, nodes.params).astype(np.float32)
    pc.load_params()
    x[1, 5] = 15
    assert torch.isneginf(pc(x)[1]) and (pc.node_flows(x)[:, 1] == 0).all()
    flows = pc.flows(x)
    assert all(np.isfinite(flows.of(nodes)).all() for nodes in vectors_with_rows(root)[::100])


@pytest.mark.parametrize("block_size", [8, 64])
def test_784_tied_steps(block_size):
    """An HMM whose steps have the same parameters: what is lost in rounding one of them is lost in every step."""
    x = smooth_images(600)
    root = pcv.HMM(784, num_latents=64, num_emits=16, seed=0)
    pc = on_gpu(root, 64)
    list(pcv.fit(pc, x, epochs=3, batch_size=200))
    pc.write_back()
    check(root, block_size, x[:100], limits=(MAX_ERROR, MEAN_ERROR))  # logarithms grow with every step, and so does what is rounded off


def test_training_reaches_the_same_likelihood():
    """Ten epochs of mini-batch EM: bits per dimension equal to those of the float64 engine within 0.003."""
    x = smooth_images(3000)
    root = pcv.HCLT(x[:1000], num_latents=32, dist=pcv.Categorical(16))
    results = []
    for options in ({}, {"dtype": torch.float64}):
        from pcviz.ir.nodes import init_params

        init_params(root, seed=0, overwrite=True)
        pc = on_gpu(root, 32, **options)
        steps = list(pcv.fit(pc, x[:2500], epochs=10, batch_size=500, x_test=x[2500:]))
        results.append(steps[-1].test_bpd)
    assert abs(results[0] - results[1]) <= 0.003, results


@pytest.mark.parametrize("block_size", [4, 8, 32])
def test_autotune_keeps_results_and_is_kept(trained, block_size, tmp_path):
    root, x = trained
    pc = on_gpu(root, block_size)
    before = pc(x[:300])
    records = list(pcv.autotune(pc, x[:300], seconds=15, cache=tmp_path / "configs.json"))
    assert records and all(record.wrong == 0 for record in records), [str(record) for record in records]
    torch.testing.assert_close(pc(x[:300]), before, rtol=0, atol=MAX_ERROR)
    again = list(pcv.autotune(on_gpu(root, block_size), x[:300], seconds=1e-9, cache=tmp_path / "configs.json"))
    assert [record.best for record in again] == [record.best for record in records] and all(record.cached for record in again)

"""What ``pcviz bench`` measures on this machine; every timed configuration is checked against float64 first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from pcviz_kernels.launches import SumLaunch

from .benchmark import check_likelihoods, device_name, measure
from .circuit import TensorCircuit
from .compiler import compile as compile_circuit
from .datasets import digits
from .ir.distributions import Categorical
from .ir.nodes import SumNodes
from .structures import PD
from .training import bits_per_dimension, fit

NUM_LATENTS = 32


def digits_circuit(seed: int = 0) -> SumNodes:
    """PD on the bundled 8 x 8 digits: 32 latents, a cut every 2 pixels."""
    return PD((8, 8), NUM_LATENTS, split_intervals=2, dist=Categorical(num_cats=17), seed=seed)


def median_ms(run: Callable[[], object], repeats: int = 15) -> float:
    """Median time of a call in ms, after two warm-up calls."""
    run(), run()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        samples.append(time.perf_counter() - start)
    return 1e3 * sorted(samples)[repeats // 2]


def bench_digits(repeats: int = 15) -> Iterator[str]:
    """Lines: sum layers against torch.bmm, block size 1 against 32, samples and MPE, an EM epoch; the digits circuit on this CPU."""
    x, root = digits("train"), digits_circuit()
    pc = TensorCircuit(compile_circuit(root, block_size=NUM_LATENTS))
    error = check_likelihoods(pc, x)
    yield f"{device_name(pc.device)}, torch {torch.__version__}; PD on digits, K={NUM_LATENTS}; log p within {error:.0e} of float64"
    sums, products, bmm = layer_times(pc, pc.check_data(x[: pc.micro_batch]), repeats)
    yield (
        f"sum layers, block size {NUM_LATENTS}, batch {pc.micro_batch}: {sums:.2f} ms, torch.bmm on the same shapes {bmm:.2f} ms: "
        f"{sums / bmm:.2f}x (with the product layers, {products:.2f} ms: {(sums + products) / bmm:.2f}x)"
    )
    for block_size in (1, NUM_LATENTS):
        result = measure(pc.recompile(block_size=block_size), x[:512], repeats=repeats)
        spread = f"{result.p20_ms:.1f} to {result.p80_ms:.1f}, {result.repeats} runs{', ' * result.busy}{result.caution}"
        yield f"forward, block size {block_size}, batch 512: {result.median_ms:.1f} ms ({spread})"
    upper = torch.arange(pc.plan.num_vars)[None] < pc.plan.num_vars // 2
    draw = median_ms(lambda: pc.sample(1000), repeats)
    best = median_ms(lambda: pc.mpe(x[:100], observed=upper), repeats)
    yield f"queries, block size {NUM_LATENTS}: 1,000 samples {draw:.0f} ms, MPE of 100 half-hidden images {best:.0f} ms"
    epoch = median_ms(lambda: list(fit(pc, x, epochs=1)), repeats)
    yield f"EM epoch over {len(x):,} images, block size {NUM_LATENTS}, mini-batches of 512: {epoch:.0f} ms"


def layer_times(pc: TensorCircuit, x: torch.Tensor, repeats: int) -> tuple[float, float, float]:
    """(sum launches, product launches, torch.bmm on the sum launches' shapes) in ms for one micro-batch."""
    with torch.no_grad():
        engine = pc.engine
        engine.run(x.t().contiguous(), None)
        sums = products = bmm = 0.0
        for layer, views in zip(engine.layers, engine.views.layers):
            products += median_ms(lambda: engine.form_elements(layer, views), repeats)  # noqa: B023 (called at once)
            elements = engine.form_elements(layer, views)
            for launch in layer.sums:
                sums += median_ms(lambda: engine.kernels.sum_forward(launch, pc.params, elements, engine.views.nodes), repeats)  # noqa: B023
                bmm += median_ms(_bmm_of(launch, len(x)), repeats)
    return sums, products, bmm


def _bmm_of(launch: SumLaunch, batch: int) -> Callable[[], torch.Tensor]:
    theta = torch.rand(launch.num_sum_blocks, launch.sum_block, launch.num_child_blocks * launch.child_block)
    x = torch.rand(launch.num_sum_blocks, theta.shape[2], batch)
    out = torch.empty(launch.num_sum_blocks, launch.sum_block, batch)
    return lambda: torch.bmm(theta, x, out=out)


def bench_train(epochs: int, batch_size: int, step_size: float, pseudocount: float, block_size: int = NUM_LATENTS) -> Iterator[str]:
    """Lines: bits per dimension of the digits circuit on train and test, every ten epochs and at the end."""
    x, x_test = digits("train"), digits("test")
    pc = TensorCircuit(compile_circuit(digits_circuit(), block_size=block_size))
    settings = f"batch {batch_size}, step {step_size}, pseudocount {pseudocount}"
    yield f"PD on digits, K={NUM_LATENTS}: {len(x):,} images to train, {len(x_test)} to test, {settings}"
    for step in fit(pc, x, epochs=epochs, batch_size=batch_size, step_size=step_size, pseudocount=pseudocount, x_test=x_test):
        if step.test_bpd is not None and (step.epoch % 10 == 0 or step.epoch == epochs):
            train = bits_per_dimension(pc(x), pc.plan.num_vars)
            yield f"epoch {step.epoch}: train {train:.4f}, test {step.test_bpd:.4f} bits per dimension after {step.seconds:.1f} s of training"

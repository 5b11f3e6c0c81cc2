"""Samples, MPE and marginals against enumeration; what they say to bad input; nothing hidden is read."""

import numpy as np
import pytest
import torch
from circuits import random_circuit, random_data, small_circuits, trained_params
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import categories, log_likelihood, mpe_logs, worlds_of
from pcviz_kernels import reference, torch_queries
from scipy.stats import chisquare
from test_circuit import vectors_with_rows, widths_in_one_layer
from test_numerics import far_apart, staircase, with_impossible_samples
from trained import digits, pruned_digits, small_pd, trained_digits

import pcviz as pcv
from pcviz import queries
from pcviz.ir.nodes import inputs, normalise_edges, summate

F32, F64 = torch.float32, torch.float64
ALMOST_NEVER = 1e-4  # p-value; seeds are fixed, so a test either passes always or never
sizes = st.sampled_from([1, 2, 4, 8, 32])


def tensor_circuit(root, block_size, dtype=F32) -> pcv.TensorCircuit:
    return pcv.TensorCircuit(pcv.compile(root, block_size=block_size), dtype=dtype)


def examples(count):
    return settings(max_examples=count, deadline=None, derandomize=True)


def p_value(samples, worlds, probabilities) -> float:
    """Of the chi-square test that ``samples`` [n, V] follow ``probabilities`` [worlds]; rare worlds are put together."""
    width = worlds.max(axis=0) + 1
    counts = np.bincount(np.ravel_multi_index(np.asarray(samples).T, width), minlength=len(worlds))
    assert (counts[probabilities == 0] == 0).all(), "an impossible state was sampled"
    expected = probabilities / probabilities.sum() * len(samples)
    rare = expected < 5
    if rare.all() or expected[rare].sum() < 5:  # too few even together: they join the most frequent one
        rare[expected.argmax()] = True
    counts, expected = (np.append(values[~rare], values[rare].sum()) for values in (counts, expected))
    used = expected > 0
    return chisquare(counts[used], expected[used] * counts.sum() / expected.sum()).pvalue if used.sum() > 1 else 1.0


def likelihoods(root, worlds, row=None, observed=None):
    """p of every world, 0 for those that contradict the observed values of ``row``."""
    agrees = True if row is None else (worlds == row)[:, observed].all(axis=1)
    return np.exp(log_likelihood(root, worlds)) * agrees


# ---- samples ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("seed", range(8))
def test_samples_follow_the_distribution(seed, block_size):
    root = random_circuit(seed)
    worlds = worlds_of(root)
    found = tensor_circuit(root, block_size).sample(20_000, seed=seed)
    assert found.shape == (20_000, worlds.shape[1]) and found.dtype == torch.int64
    assert p_value(found, worlds, likelihoods(root, worlds)) > ALMOST_NEVER


@pytest.mark.parametrize("block_size", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("seed", range(8))
def test_samples_given_evidence_follow_the_posterior(seed, block_size):
    """Several rows at once, each with a mask of its own; hidden values are arbitrary."""
    root, rng = random_circuit(seed), np.random.default_rng(seed)
    worlds = worlds_of(root)
    possible = worlds[likelihoods(root, worlds) > 0]
    x = possible[rng.integers(len(possible), size=5)]
    observed = rng.random(x.shape) < 0.5
    found = tensor_circuit(root, block_size).sample(4000, x=np.where(observed, x, 99), observed=observed, seed=seed)
    assert found.shape == (4000, *x.shape)
    for b, (row, mask) in enumerate(zip(x, observed)):
        assert p_value(found[:, b], worlds, likelihoods(root, worlds, row, mask)) > ALMOST_NEVER


@pytest.mark.parametrize("block_size", [4, 128])
def test_samples_where_several_widths_meet(block_size):
    root = widths_in_one_layer()
    trained = tensor_circuit(root, 1)
    trained_params(trained.root, np.random.default_rng(0), zero_share=0.2)
    worlds = worlds_of(root)
    pc = tensor_circuit(root, block_size)
    assert p_value(pc.sample(20_000), worlds, likelihoods(root, worlds)) > ALMOST_NEVER
    given_first = pc.sample(20_000, x=worlds[5:6], observed=np.array([[False, False, True]]))[:, 0]
    assert p_value(given_first, worlds, likelihoods(root, worlds, worlds[5], [2])) > ALMOST_NEVER


def test_the_chi_square_test_notices_a_wrong_distribution():
    """Samples of one circuit against likelihoods of the same structure with other parameters."""
    root = random_circuit(1)
    worlds, samples = worlds_of(root), tensor_circuit(root, 4).sample(20_000)
    assert p_value(samples, worlds, likelihoods(root, worlds)) > ALMOST_NEVER
    right = likelihoods(root, worlds)
    assert p_value(samples, worlds, 0.9 * right + 0.1 / len(worlds)) < ALMOST_NEVER
    with pytest.raises(AssertionError, match="impossible state"):
        p_value(samples, worlds, np.where(right == right.max(), 0.0, right))


def test_samples_are_independent_of_each_other():
    """Pairs of neighbours, and of the same copy in neighbouring rows of evidence, follow the product distribution."""
    root = pcv.PD((1, 2), num_latents=3, dist=pcv.Categorical(3), seed=2)
    pc, worlds = tensor_circuit(root, 2), worlds_of(root)
    single = likelihoods(root, worlds)
    pairs, joint = np.array([[*a, *b] for a in worlds for b in worlds]), np.outer(single, single).ravel()
    assert p_value(pc.sample(40_000).view(-1, 4), pairs, joint) > ALMOST_NEVER
    rows = pc.sample(20_000, x=worlds[:2], observed=np.zeros((1, 2), dtype=bool))
    assert p_value(rows.reshape(-1, 4), pairs, joint) > ALMOST_NEVER


def test_equal_seeds_give_equal_samples():
    pc = tensor_circuit(small_pd(num_latents=5), 4)
    x, observed = digits(3), np.arange(64)[None] < 32
    for arguments in ({}, {"x": x, "observed": observed}):
        first = pc.sample(20, **arguments, seed=1)
        state = torch.random.get_rng_state()
        assert torch.equal(pc.sample(20, **arguments, seed=1), first)
        assert not torch.equal(pc.sample(20, **arguments, seed=2), first)
        assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left alone"


def test_everything_observed_returns_the_data():
    pc, x = tensor_circuit(small_pd(num_latents=5), 4), digits(7)
    for mask in ({}, {"observed": np.ones((1, 64), dtype=bool)}):
        assert (pc.sample(3, x=x, **mask) == torch.as_tensor(x)).all()
        assert (pc.mpe(x, **mask) == torch.as_tensor(x)).all()


def test_a_row_without_any_value_has_likelihood_one_and_samples_like_no_evidence():
    root = random_circuit(4)
    pc, worlds = tensor_circuit(root, 4), worlds_of(root)
    x = worlds[:2]
    observed = np.array([np.ones(x.shape[1]), np.zeros(x.shape[1])], dtype=bool)
    np.testing.assert_allclose(pc(x, observed=observed)[1], 0, atol=1e-6)
    assert p_value(pc.sample(10_000, x=worlds[-1:], observed=observed[1:])[:, 0], worlds, likelihoods(root, worlds)) > ALMOST_NEVER


def test_slices_and_descents_in_parts_change_nothing(monkeypatch):
    """Memory is bounded by slices of launches, by copies per descent, and by rows of evidence."""
    root = random_circuit(9)
    pc, worlds = tensor_circuit(root, 2), worlds_of(root)
    worlds = worlds[likelihoods(root, worlds) > 0]
    observed = np.arange(worlds.shape[1])[None] == 0
    samples, states = pc.sample(100), pc.mpe(worlds, observed=observed)
    monkeypatch.setattr(torch_queries, "SCRATCH", 50)
    assert torch.equal(pc.sample(100), samples)
    assert torch.equal(pc.mpe(worlds, observed=observed), states)
    monkeypatch.undo()
    monkeypatch.setattr(queries, "PAIRS", 400)
    monkeypatch.setattr(queries, "ENTRIES", 1000)
    assert p_value(pc.sample(5000), worlds, likelihoods(root, worlds)) > ALMOST_NEVER
    pc.engine.micro_batch = 2
    found = pc.sample(5000, x=worlds[:5], observed=np.zeros((1, worlds.shape[1]), dtype=bool))
    for b in range(5):
        assert p_value(found[:, b], worlds, likelihoods(root, worlds)) > ALMOST_NEVER
    assert torch.equal(pc.mpe(worlds, observed=observed), states)


# ---- float32 at its limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nats", [50, 110, 200, 700])
@pytest.mark.parametrize("form", ["zero", "absent", "mixed"])
@pytest.mark.parametrize("block_size", [1, 2, 32])
def test_completions_that_hang_on_the_low_child(nats, form, block_size):
    """The last variable is 0 with the low child alone, whose values underflow on its block's scale."""
    root, _ = far_apart(nats, form)
    pc, x = tensor_circuit(root, block_size), np.zeros((2, 41), dtype=np.int64)
    observed = np.ones((1, 41), dtype=bool)
    observed[0, 0] = False
    for found in (*pc.sample(50, x=x, observed=observed), pc.mpe(x, observed=observed)):
        assert np.isfinite(log_likelihood(root, found.numpy())).all() and (found[:, -1] == 0).all()
    observed = np.arange(41)[None] < 40
    assert (pc.sample(20, x=x, observed=observed)[:, :, -1] == 1).all(), "the high child is more probable by hundreds of nats"
    assert (pc.mpe(x, observed=observed)[:, -1] == 1).all()


@pytest.mark.parametrize("nats", [3, 50, 80])
def test_completions_where_differences_add_up(nats):
    root = staircase(nats, steps=9)
    x = np.zeros((3, 10), dtype=np.int64)
    x[1, 3:6], x[2, 1:10:2] = 1, 1
    observed = np.arange(10)[None] % 3 > 0
    pc = tensor_circuit(root, 2)
    assert np.isfinite(log_likelihood(root, pc.sample(40, x=x, observed=observed).view(-1, 10).numpy())).all()
    states, logs = pc.mpe(x, observed=observed, return_log=True)
    np.testing.assert_allclose(logs, exhaustive_mpe(root, x, observed), rtol=1e-5)
    np.testing.assert_allclose(mpe_logs(root, states.numpy()), logs, rtol=1e-5)


@pytest.mark.parametrize("percent", [30, 3])
def test_completions_by_pruned_circuits(percent):
    root, x = pruned_digits(percent), digits(6, "test")
    pc, exact = tensor_circuit(root, 32), tensor_circuit(root, 1, F64)
    observed = (np.arange(64) < 20)[None] & (np.asarray(x[:1]) >= 0)
    found = pc.sample(5, x=x, observed=observed)
    assert torch.isfinite(exact(found.view(-1, 64))).all()
    states, logs = pc.mpe(x, observed=observed, return_log=True)
    torch.testing.assert_close(logs.double(), exact.mpe(x, observed=observed, return_log=True)[1], rtol=1e-5, atol=0)
    assert (logs <= exact(states) + 1e-3).all()


def test_3072_variables():
    root = pcv.figure_5_layer(num_regions=1536, num_latents=3, products=2)
    pc, rng = tensor_circuit(root, 4), np.random.default_rng(0)
    x, observed = rng.integers(0, 2, size=(3, 3072)), rng.random((3, 3072)) < 0.5
    check_completions(pc, x, observed)


def test_3072_variables_in_depth():
    """A tree of latents over 3,072 variables: hundreds of layers."""
    rng = np.random.default_rng(0)
    root = pcv.HCLT(rng.integers(0, 3, size=(8, 3072)), num_latents=3, seed=0)
    pc = tensor_circuit(root, 4)
    assert len(pc.plan.layers) > 15
    x, observed = rng.integers(0, 3, size=(2, 3072)), rng.random((2, 3072)) < 0.5
    check_completions(pc, x, observed)


def check_completions(pc, x, observed):
    num_cats = int(x.max()) + 1
    found, states = pc.sample(2, x=x, observed=observed), pc.mpe(x, observed=observed)
    for rows in (*found, states):
        assert (rows[torch.as_tensor(observed)] == torch.as_tensor(x[observed])).all()
        assert rows.min() >= 0 and rows.max() < num_cats and torch.isfinite(pc(rows)).all()
    assert not torch.equal(found[0], found[1])
    free = pc.sample(3)
    assert free.min() >= 0 and free.max() < num_cats and torch.isfinite(pc(free)).all()
    posterior = pc.marginals(x, observed=observed)
    assert torch.isfinite(posterior).all()
    torch.testing.assert_close(posterior.sum(dim=2), torch.ones(x.shape), rtol=1e-3, atol=1e-3)


def test_completions_of_digits_are_better_than_random_fill():
    """The lower half hidden: sampled completions beat random pixels by far, and MPE beats samples."""
    pc, x = trained_digits(), digits(40, "test")
    rng, observed = np.random.default_rng(0), np.arange(64)[None] < 32
    sampled = pc(pc.sample(1, x=x, observed=observed)[0])
    random_fill = pc(np.where(observed, x, rng.integers(0, 17, x.shape)))
    assert (sampled > random_fill).all() and sampled.mean() > random_fill.mean() + 50
    assert pc(pc.mpe(x, observed=observed)).mean() > sampled.mean()
    assert abs(pc(pc.sample(500)).mean() - pc(digits(500)).mean()) < 10, "samples look to the circuit like its data"


# ---- MPE ----------------------------------------------------------------------------------------------------------------


def exhaustive_mpe(root, x, observed) -> np.ndarray:
    """Largest product over latents and hidden variables together, for each row: over all worlds that agree with it."""
    worlds = worlds_of(root)
    logs = mpe_logs(root, worlds)
    observed = np.broadcast_to(observed, np.shape(x))
    return np.array([logs[(worlds == row)[:, mask].all(axis=1)].max() for row, mask in zip(x, observed)])


def check_mpe(root, block_size, x, observed, dtype=F64, rtol=1e-9):
    pc = tensor_circuit(root, block_size, dtype)
    expected = exhaustive_mpe(root, x, observed)
    possible = np.isfinite(expected)
    assert (possible == np.isfinite(log_likelihood(root, x, observed))).all()
    x, observed, expected = x[possible], np.broadcast_to(observed, x.shape)[possible], expected[possible]
    if len(x) == 0:
        return
    states, logs = pc.mpe(np.where(observed, x, -1), observed=observed, return_log=True)
    assert (states.numpy() == x)[observed].all()
    np.testing.assert_allclose(logs, expected, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(mpe_logs(root, states.numpy()), expected, rtol=rtol, atol=rtol, err_msg="the state does not reach the maximum")


@examples(300)
@given(small_circuits(), sizes, st.integers(0, 2**16))
def test_mpe_equals_exhaustive_search(root, block_size, seed):
    worlds, rng = worlds_of(root), np.random.default_rng(seed)
    x = worlds[rng.integers(len(worlds), size=6)]
    check_mpe(root, block_size, x, rng.random(x.shape) < rng.choice([0.0, 0.4, 0.8]))


@examples(40)
@given(small_circuits(zeros=False), sizes)
def test_mpe_where_many_states_tie(root, block_size):
    """Equal parameters everywhere: many maximisers, of which any will do."""
    for nodes in vectors_with_rows(root):
        equal = np.ones_like(nodes.params)
        nodes.params = equal / equal.shape[1] if nodes.kind == "input" else normalise_edges(nodes, equal)
    worlds = worlds_of(root)
    check_mpe(root, block_size, worlds[:: max(1, len(worlds) // 5)], np.arange(worlds.shape[1])[None] == 0, F32, 1e-5)


def test_mpe_is_not_argmax_of_the_likelihood():
    """Two latent states share value 1 of a variable: likely in sum, but neither alone beats the state behind value 0."""
    leaf = inputs(0, num_nodes=3, dist=pcv.Categorical(2), params=[[1, 0], [0, 1], [0, 1]])
    root = summate(leaf, num_nodes=1, params=[[0.4, 0.3, 0.3]])
    pc = tensor_circuit(root, 4)
    states, logs = pc.mpe(return_log=True)
    assert states.tolist() == [[0]] and pc(np.array([[0], [1]])).argmax() == 1
    np.testing.assert_allclose(logs, np.log([0.4]), rtol=1e-6)


# ---- marginals ----------------------------------------------------------------------------------------------------------


@examples(60)
@given(small_circuits(), sizes, st.integers(0, 2**16))
def test_marginals_equal_enumeration(root, block_size, seed):
    worlds, rng = worlds_of(root), np.random.default_rng(seed)
    possible = worlds[likelihoods(root, worlds) > 0]
    x = possible[rng.integers(len(possible), size=4)]
    observed = rng.random(x.shape) < 0.4
    found = tensor_circuit(root, block_size, F64).marginals(np.where(observed, x, -7), observed=observed).numpy()
    counts = categories(root)
    assert found.shape == (*x.shape, max(counts))
    for b, (row, mask) in enumerate(zip(x, observed)):
        weights = likelihoods(root, worlds, row, mask)
        for v, count in enumerate(counts):
            expected = np.bincount(worlds[:, v], weights=weights, minlength=max(counts)) / weights.sum()
            np.testing.assert_allclose(found[b, v], expected, rtol=1e-4, atol=1e-6)
            assert (found[b, v, count:] == 0).all()


def test_marginals_without_evidence_are_shares_of_samples():
    pc = tensor_circuit(small_pd(num_latents=5, epochs=1), 8)
    shares = torch.nn.functional.one_hot(pc.sample(20_000), 17).double().mean(dim=0)
    torch.testing.assert_close(pc.marginals()[0].double(), shares, rtol=0, atol=0.02)


# ---- flows --------------------------------------------------------------------------------------------------------------


def test_values_and_flows_of_one_vector():
    root = random_circuit(2)
    pc, x = tensor_circuit(root, 4), worlds_of(root)[:9]
    observed = np.arange(x.shape[1])[None] > 0
    values, flows = pc.node_values(x, observed), pc.node_flows(x, observed)
    for nodes in vectors_with_rows(root):
        rows = pc.plan.rows_of(nodes)
        torch.testing.assert_close(pc.node_values(x, observed, nodes=nodes), values[rows], rtol=0, atol=0)
        torch.testing.assert_close(pc.node_flows(x, observed, nodes=nodes), flows[rows], rtol=0, atol=0)
        values[rows] = -torch.inf
    assert (values == -torch.inf).all(), "rows of no node have log p = -inf"
    with pytest.raises(ValueError, match="no input or sum vector of this circuit"):
        pc.node_flows(x, nodes=random_circuit(3))


def test_bits_per_dimension():
    pc, x = tensor_circuit(small_pd(num_latents=3), 4), digits(20)
    lls = pc(x)
    expected = float(-lls.double().mean() / np.log(2) / 64)
    assert pcv.bits_per_dimension(lls, 64) == pytest.approx(expected, rel=1e-12)
    assert pcv.bits_per_dimension(torch.tensor([-64 * np.log(17.0)]), 64) == pytest.approx(np.log2(17))


# ---- kernels against the reference --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gaussians", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_kernels_equal_the_reference(seed, gaussians):
    root, rng = random_circuit(seed, gaussians=gaussians), np.random.default_rng(seed)
    pc = tensor_circuit(root, (1, 2, 4)[seed % 3], F64)
    x, _ = pc.check_evidence(random_data(root, 5, seed) if gaussians else worlds_of(root)[rng.integers(4, size=5)])
    observed = torch.as_tensor(rng.random(x.shape) < 0.5)
    fast = queries.max_values(pc, x, observed)
    nodes = pc.node_values(x, observed)
    for launch, table in zip(pc.engine.inputs, pc.tables):
        real = launch.real[launch.table_ids].view(-1).nonzero().flatten()
        rows = real[torch.as_tensor(rng.integers(len(real), size=30))]
        for uniforms in (None, torch.as_tensor(rng.random(len(rows)))):
            found, expected = (k.input_choices(launch, table, rows, uniforms) for k in (torch_queries, reference))
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for layer in pc.engine.layers:
        elements = queries._elements(torch_queries, layer, nodes)
        naive = torch.full_like(elements, torch.nan)
        naive[: layer.sections[0][1]] = -torch.inf
        for launch in layer.products:
            reference.product_logs(launch, nodes, naive)
        torch.testing.assert_close(elements, naive, rtol=1e-12, atol=1e-12, equal_nan=True)
        for launch in layer.sums:
            rows = launch.nids.starts[:, None] + torch.arange(launch.sum_block)
            sums, samples = (nodes[rows.view(-1)] > -torch.inf).nonzero(as_tuple=True)
            some = torch.as_tensor(rng.integers(len(sums), size=40))
            for uniforms in (None, torch.as_tensor(rng.random(40))):
                found, expected = (
                    k.child_choices(launch, pc.params, elements, sums[some], samples[some], uniforms) for k in (torch_queries, reference)
                )
                assert torch.equal(found, expected)
    pc.engine.kernels = reference
    torch.testing.assert_close(fast, queries.max_values(pc, x, observed), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 31, 1000])
def test_draws_at_the_ends_of_the_interval(count):
    """The smallest and largest uniforms draw the first and last possible term; a weight of 0 is never drawn."""
    rng = np.random.default_rng(count)
    logs = torch.as_tensor(rng.normal(size=(50, count)) * 30)
    logs[torch.as_tensor(rng.random((50, count)) < 0.6)] = -torch.inf
    logs[torch.arange(50), torch.as_tensor(rng.integers(count, size=50))] = 3.0
    rows = torch.arange(50)
    shares = torch.softmax(logs, dim=1)
    first = torch_queries._draw(logs, rows, torch.zeros(50, dtype=F64))
    last = torch_queries._draw(logs, rows, torch.full((50,), 1 - 2.0**-53, dtype=F64))
    notable = shares > 1e-9  # smaller ones may round to a weight of 0
    assert (notable.to(torch.uint8).argmax(dim=1) >= first).all() and (shares[rows, first] > 0).all()
    assert (count - 1 - notable.flip(1).to(torch.uint8).argmax(dim=1) <= last).all() and (shares[rows, last] > 0).all()
    for uniforms in (torch.as_tensor(rng.random(50)) for _ in range(20)):
        assert (shares[rows, torch_queries._draw(logs, rows, uniforms)] > 0).all()


# ---- bad input ----------------------------------------------------------------------------------------------------------


def test_impossible_evidence_is_an_error_that_names_the_rows():
    pc, x = with_impossible_samples(4)
    observed = np.ones((1, 64), dtype=bool)
    observed[0, 40:] = False
    for call in (lambda *a, **k: pc.sample(2, *a, **k), pc.mpe, pc.marginals):
        with pytest.raises(ValueError, match=r"11 of 31 samples \(rows 0, 3, 6, .*, 27, \.\.\.\) have probability 0.*hide some"):
            call(x, observed=observed)
        pc.engine.micro_batch = 4
        with pytest.raises(ValueError, match=r"2 of 8 samples \(rows 1, 7\)"):
            call(x[[1, 0, 2, 4, 5, 7, 8, 3]], observed=observed)
        hidden = observed & (np.arange(64) > 0)
        assert torch.isfinite(call(x, observed=hidden).double()).all(), "without the impossible variable the rows are possible"


def test_hidden_values_may_be_anything():
    pc, x = tensor_circuit(small_pd(num_latents=3), 4), digits(5).astype(np.int64)
    observed = np.random.default_rng(0).random(x.shape) < 0.5
    for other in (-1, 17, 2**40):
        y = np.where(observed, x, other)
        for call in (pc, pc.node_values, pc.node_flows, pc.mpe, pc.marginals):
            torch.testing.assert_close(call(y, observed=observed), call(x, observed=observed), rtol=0, atol=0)
        assert torch.equal(pc.sample(2, x=y, observed=observed), pc.sample(2, x=x, observed=observed))
        with pytest.raises(ValueError, match="has category .*expected 0 to 16"):
            pc(y, observed=~observed)


def test_bad_arguments_are_refused():
    pc, x = tensor_circuit(small_pd(num_latents=2), 4), digits(4)
    mask = np.ones((1, 64), dtype=bool)
    for n in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="the number of samples, expects an integer of at least 1"):
            pc.sample(n)
    for call in (lambda *a, **k: pc.sample(2, *a, **k), pc.mpe, pc.marginals):
        with pytest.raises(ValueError, match="no x is given"):
            call(observed=mask)
        with pytest.raises(ValueError, match=r"x must have shape \[B, 64\].*got \[4, 63\]"):
            call(x[:, 1:], observed=mask)
        with pytest.raises(ValueError, match=r"shape \[4, 64\] or \[1, 64\], got \[3, 64\]"):
            call(x, observed=np.ones((3, 64), dtype=bool))
        with pytest.raises(ValueError, match="bool mask.*int64"):
            call(x, observed=np.ones((1, 64), dtype=np.int64))
        with pytest.raises(ValueError, match="empty batch"):
            call(x[:0], observed=mask)
        with pytest.raises(ValueError, match="category 40, expected 0 to 16"):
            call(x + 40 - x)
    with pytest.raises(ValueError, match="seed=.*expects an integer"):
        pc.sample(2, seed="a")

"""PD, HCLT, RAT-SPN, HMM and the figure-5 layer: counts that are known from elsewhere, and valid circuits for every shape."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from oracle import log_likelihood, worlds_of

from pcviz.datasets import digits, load_idx
from pcviz.ir.checks import check_circuit
from pcviz.ir.distributions import Categorical, Gaussian
from pcviz.ir.nodes import InputNodes, ProdNodes, SumNodes, init_params, topological
from pcviz.structures import HCLT, HMM, PD, RAT_SPN, figure_5_layer
from pcviz.structures.hclt import chow_liu_tree, tree_centre
from pcviz.structures.information import bin_values, mutual_information, soft_mutual_information
from pcviz.structures.pd import deal

COIN = Categorical(num_cats=2)
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def vectors(root, kind):
    return [nodes for nodes in topological(root) if isinstance(nodes, kind)]


def sum_edges(root) -> int:
    return sum(nodes.num_edges for nodes in vectors(root, SumNodes))


def assert_normalised(root) -> None:
    check_circuit(root)
    init_params(root)
    np.testing.assert_allclose(np.exp(log_likelihood(root, worlds_of(root))).sum(), 1.0, rtol=1e-5)


# ---- PD -------------------------------------------------------------------------------------------------------------


def test_pd_on_digits():
    root = PD((8, 8), num_latents=32, split_intervals=2, dist=Categorical(num_cats=17))
    check_circuit(root)
    sums, products, leaves = (vectors(root, kind) for kind in (SumNodes, ProdNodes, InputNodes))
    assert len(sums) == 260 and sum(nodes.num_nodes for nodes in sums) == 259 * 32 + 1
    assert len(products) == 504 and all(nodes.arity == 2 for nodes in products)
    assert len(leaves) == 64 and {nodes.num_nodes for nodes in leaves} == {32}
    assert sum_edges(root) == 498 * 32 * 32 + 6 * 32  # six cuts of the root, which is one sum
    assert len({nodes.num_children for nodes in sums}) > 3  # child counts differ by region: several groups per layer


@pytest.mark.parametrize("num_latents, edges, nodes", [(128, 38_802_944, 608_257), (256, 154_807_296, 1_216_513)])
def test_pd_connects_as_many_as_pyjuice(num_latents, edges, nodes):
    root = PD((28, 28), num_latents, split_intervals=4, conn_block=32, dist=Categorical(num_cats=256))
    check_circuit(root)
    assert sum_edges(root) == edges
    assert sum(vector.num_nodes for vector in topological(root)) == nodes
    assert len(vectors(root, InputNodes)) == 784 and len(vectors(root, SumNodes)) == 784 and len(vectors(root, ProdNodes)) == 3185


def test_pd_leaf_regions_are_block_diagonal():
    root = PD((4, 4), 8, split_intervals=2, conn_block=4, dist=COIN)
    leaves = [nodes for nodes in vectors(root, SumNodes) if isinstance(nodes.children[0], ProdNodes) and nodes.children[0].arity == 4]
    assert sorted(nodes.variables for nodes in leaves) == [(0, 1, 4, 5), (2, 3, 6, 7), (8, 9, 12, 13), (10, 11, 14, 15)]
    assert all(nodes.edge_block == 4 and nodes.edge_ids.tolist() == [[0, 1], [0, 1]] for nodes in leaves)


def test_pd_draws_four_whole_product_vectors_per_block():
    root = PD((12,), 16, split_intervals=1, conn_block=4, dist=COIN, seed=3)
    check_circuit(root)
    drawn = [nodes for nodes in vectors(root, SumNodes) if nodes.edge_ids is not None and len(nodes.children) > 4]
    assert drawn
    for nodes in drawn:
        assert nodes.edge_block == 4
        for block in range(4):
            children = np.sort(nodes.edge_ids[1, nodes.edge_ids[0] == block])
            assert len(children) == 16 and (children.reshape(4, 4) == children.reshape(4, 4)[:, :1] + np.arange(4)).all()
            assert (children.reshape(4, 4)[:, 0] % 4 == 0).all()
    assert len(drawn[-1].children) == len(drawn[-1].variables) - 1  # sixteen draws use all products


def test_pd_draws_depend_on_the_seed_alone():
    def edges(seed):
        root = PD((16,), 8, conn_block=4, dist=COIN, seed=seed)
        return [nodes.edge_ids.tolist() for nodes in vectors(root, SumNodes) if nodes.edge_ids is not None]

    assert edges(0) == edges(0) != edges(1)
    assert PD((2,), 2, dist=COIN, seed=5).seed == 5


def test_pd_leaves_out_products_that_nobody_draws():
    root = PD((16,), 4, conn_block=4, dist=COIN)  # one block of sums: four of up to fourteen products
    check_circuit(root)
    assert max(len(nodes.children) for nodes in vectors(root, SumNodes) if nodes is not root) == 4


@pytest.mark.parametrize("hands, cards, size", [(1, 5, 4), (4, 11, 4), (8, 12, 4), (3, 5, 4), (6, 4, 4)])
def test_deal(hands, cards, size):
    dealt = deal(hands, cards, size, np.random.default_rng(0))
    assert dealt.shape == (hands, size) and all(len(set(hand)) == size for hand in dealt.tolist())
    assert len(np.unique(dealt)) == min(cards, hands * size)


@pytest.mark.parametrize(
    "shape, arguments",
    [
        ((1,), {}),
        ((4,), {}),
        ((5,), {"split_intervals": 2}),
        ((2, 2), {}),
        ((2, 3), {"split_intervals": (1, 2)}),
        ((2, 2, 2), {"split_intervals": 2}),
        ((2, 3), {"split_intervals": 10}),
        ((2, 3), {"split_intervals": 10, "conn_block": 1}),
        ((5,), {"split_intervals": 2, "conn_block": 3}),
        ((1, 6), {"conn_block": 1}),
        ((1,), {"conn_block": 3}),
    ],
)
def test_pd_is_a_normalised_circuit(shape, arguments):
    root = PD(shape, 3, dist=COIN, **arguments)
    assert len(root.variables) == np.prod(shape)
    assert_normalised(root)


def test_pd_numbers_variables_in_row_major_order():
    root = PD((2, 3), 2, dist=COIN)
    scopes = {nodes.variables for nodes in vectors(root, SumNodes)}
    assert {(0, 1, 2), (3, 4, 5), (0, 3), (1, 2, 4, 5)} <= scopes and (0, 4) not in scopes


def test_pd_cuts_at_multiples_then_at_every_position():
    root = PD((6,), 2, split_intervals=3, dist=COIN)
    scopes = {nodes.variables for nodes in vectors(root, SumNodes)}
    assert scopes == {(0, 1, 2, 3, 4, 5), (0, 1, 2), (3, 4, 5), (0, 1), (1, 2), (3, 4), (4, 5)}


def test_pd_is_built_quickly():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        PD((28, 28), 128, split_intervals=4, conn_block=32, dist=Categorical(num_cats=256))
        times.append(time.perf_counter() - start)
    assert min(times) < 2.0  # about 0.2 s on an idle core


@pytest.mark.parametrize(
    "shape, num_latents, arguments, message",
    [
        (8, 4, {}, r"length of each axis, such as \(8, 8\), got 8"),
        ((), 4, {}, "at least one axis"),
        ((8, 0), 4, {}, "length of an axis expects an integer of at least 1, got 0"),
        ((8, 2.0), 4, {}, "got 2.0"),
        ((8, 8), 0, {}, r"num_latents=...\) expects an integer of at least 1, got 0"),
        ((8, 8), 4, {"split_intervals": 0}, "split_intervals.*got 0"),
        ((8, 8), 4, {"split_intervals": (2, 2, 2)}, r"one per axis \(2 axes\)"),
        ((8, 8), 4, {"dist": 17}, r"pcv.Categorical\(num_cats=17\), got 17"),
        ((8, 8), 4, {"seed": -1}, "seed.*at least 0, got -1"),
        ((8, 8), 4, {"conn_block": 0}, "conn_block.*got 0"),
        ((8, 8), 48, {"conn_block": 32}, "conn_block=32 must divide num_latents=48.*conn_block=16"),
        ((8, 8), 8, {"conn_block": 32}, "conn_block=32 must divide num_latents=8.*conn_block=8"),
        ((28, 28), 8, {}, "2,967,048 cuts.*split_intervals"),
    ],
)
def test_pd_arguments(shape, num_latents, arguments, message):
    with pytest.raises(ValueError, match=f"(?s)PD.*{message}"):
        PD(shape, num_latents, **{"dist": COIN, **arguments})


# ---- HCLT -----------------------------------------------------------------------------------------------------------


def chain(num_rows: int = 4000, num_vars: int = 5) -> np.ndarray:
    """Data of a Markov chain: each variable repeats the one before it nine times of ten."""
    rng = np.random.default_rng(0)
    flips = rng.random((num_rows, num_vars)) < 0.1
    flips[:, 0] = rng.random(num_rows) < 0.5
    return (np.cumsum(flips, axis=1) % 2).astype(np.uint8)


def test_mutual_information_of_known_tables():
    x = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(mutual_information(x), np.log(2) * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]), atol=1e-12)


def test_mutual_information_by_definition():
    x = digits("test")[:, 18:23]
    result = mutual_information(x)
    for u in range(5):
        for v in range(5):
            joint = np.zeros((17, 17))
            np.add.at(joint, (x[:, u], x[:, v]), 1 / len(x))
            ratio = joint / np.maximum(joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True), 1e-300)
            expected = (joint[joint > 0] * np.log(ratio[joint > 0])).sum()
            np.testing.assert_allclose(result[u, v], 0 if u == v else expected, atol=1e-10)


def test_many_values_are_binned():
    codes, count = bin_values(np.array([[0], [127], [128], [255]], dtype=np.uint8), 2)
    assert codes.ravel().tolist() == [0, 0, 1, 1] and count == 2
    x = np.array([[3, 1], [2, 0]])
    assert bin_values(x, 4) == (x, 4)


def test_tree_is_a_maximum_spanning_tree():
    rng = np.random.default_rng(1)
    weights = rng.random((6, 6))
    weights += weights.T
    tree = chow_liu_tree(weights)
    total = sum(weights[u, v] for u in range(6) for v in tree[u]) / 2
    best = 0.0  # over all 1,296 labelled trees, by their Pruefer codes
    for code in np.ndindex(*([6] * 4)):
        degrees, value = np.bincount(code, minlength=6) + 1, 0.0
        for v in code:
            u = int(np.flatnonzero(degrees == 1)[0])
            value += weights[u, v]
            degrees[u] -= 1
            degrees[v] -= 1
        u, v = np.flatnonzero(degrees == 1)
        best = max(best, value + weights[u, v])
    assert total == pytest.approx(best)


def test_tree_of_a_chain_is_rooted_in_its_middle():
    tree = chow_liu_tree(mutual_information(chain()))
    assert tree == [[1], [0, 2], [1, 3], [2, 4], [3]]
    assert tree_centre(tree) == 2
    assert tree_centre([[1], [0, 2], [1, 3], [2]]) == 1  # two centres: the lower
    assert tree_centre([[]]) == 0


def test_leaves_of_the_tree_have_no_latent():
    root = HCLT(chain(), 4)  # x0 - x1 - x2 - x3 - x4, rooted at x2
    sums, products = vectors(root, SumNodes), vectors(root, ProdNodes)
    assert [(nodes.variables, nodes.num_nodes) for nodes in sums] == [((0, 1), 4), ((3, 4), 4), ((0, 1, 2, 3, 4), 1)]
    assert [[type(child) for child in nodes.children] for nodes in products] == [[InputNodes] * 2, [InputNodes] * 2, [InputNodes, SumNodes, SumNodes]]
    assert sum_edges(root) == 2 * 16 + 4
    assert_normalised(root)


def test_hclt_on_digits():
    x = digits("train")
    root = HCLT(x, num_latents=32, seed=4)
    check_circuit(root)
    tree = chow_liu_tree(mutual_information(x))
    inner = sum(len(neighbours) > 1 for neighbours in tree)
    sums, products = vectors(root, SumNodes), vectors(root, ProdNodes)
    assert len(sums) == len(products) == inner and len(vectors(root, InputNodes)) == 64
    assert sum_edges(root) == (inner - 1) * 32 * 32 + 32
    assert vectors(root, InputNodes)[0].dist == Categorical(num_cats=17)
    assert root.seed == 4


def test_constant_variables_are_leaves():
    """They tell nothing, so they cost no latent."""
    x = np.concatenate([np.zeros((4000, 3), dtype=np.uint8), chain()], axis=1)
    root = HCLT(x, 4)
    assert len(vectors(root, SumNodes)) == 3 and len(root.variables) == 8


def test_structure_ignores_dtype_and_seed():
    x = chain()
    names = [nodes.name for nodes in topological(HCLT(x, 2))]
    assert names == [nodes.name for nodes in topological(HCLT(x.astype(np.int64), 2, seed=9))]


def soft_information_by_definition(x, num_bins, sigma):
    """PyJuice's estimate, pair by pair in float64, for variables that are scaled together."""
    x = (x - x.min()) / (x.max() - x.min() + 1e-8)
    degrees = np.exp(-0.5 * (x[:, :, None] - np.linspace(0, 1, num_bins)) ** 2 / sigma**2)
    marginals = (degrees / degrees.sum(axis=2, keepdims=True)).mean(axis=0)
    entropy = [-(p * np.log(p + 1e-4)).sum() for p in marginals]
    result = np.zeros((x.shape[1], x.shape[1]))
    for u in range(x.shape[1]):
        for v in range(x.shape[1]):
            joint = degrees[:, u].T @ degrees[:, v]
            joint /= joint.sum()
            result[u, v] = entropy[u] + entropy[v] + (joint * np.log(joint + 1e-4)).sum() if u != v else 0
    return result


def test_soft_bins_by_definition():
    x = digits("test")[:, 16:40]
    for num_bins, sigma in ((32, 0.5 / 32), (5, 0.3)):
        expected = soft_information_by_definition(x.astype(np.float64), num_bins, sigma)
        np.testing.assert_allclose(soft_mutual_information(x, num_bins, sigma), expected, atol=2e-5)


def test_soft_bins_scale_64_variables_together():
    """Values of variable 64 and later lie on a scale of their own, as in PyJuice."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (300, 67))
    x[:, 1], x[:, 65] = x[:, 0] // 2, x[:, 0] // 10  # the second chunk has 0 .. 4 only
    x[:, 64:] = np.minimum(x[:, 64:], 4)
    result = soft_mutual_information(x, 16, 0.05)
    np.testing.assert_array_equal(result, result.T)
    assert result[0, 65] > 0.5
    np.testing.assert_allclose(result[:64, :64], soft_information_by_definition(x[:, :64].astype(float), 16, 0.05), atol=2e-5)
    np.testing.assert_allclose(result[64:, 64:], soft_information_by_definition(x[:, 64:].astype(float), 16, 0.05), atol=2e-5)


def test_hclt_of_real_numbers():
    x = np.cumsum(np.random.default_rng(0).normal(size=(2000, 4)), axis=1)  # each variable is the one before it and noise
    root = HCLT(x, 3, dist=Gaussian(sigma=2.0), num_bins=32, sigma=0.05)
    assert [nodes.variables for nodes in vectors(root, SumNodes)] == [(2, 3), (0, 1, 2, 3)]
    assert {nodes.dist for nodes in vectors(root, InputNodes)} == {Gaussian(sigma=2.0)}
    np.testing.assert_array_equal(soft_mutual_information(x.astype(np.float32), 32, 0.05), soft_mutual_information(x, 32, 0.05))


def own_variable(nodes) -> int:
    """The variable of the tree whose inputs come first under a vector of an HCLT."""
    return nodes.var if isinstance(nodes, InputNodes) else own_variable(nodes.children[0])


@pytest.mark.slow
@pytest.mark.skipif(not FASHION_MNIST.exists(), reason=f"needs Fashion-MNIST in {FASHION_MNIST} (Debian: apt-get install dataset-fashion-mnist)")
def test_hclt_on_fashion_mnist_is_pyjuices():
    """The tree of PyJuice 2.6.3 on the same images, recorded as a hash of its sorted edges; and its counts."""
    x = load_idx(FASHION_MNIST)[:2000]
    root = HCLT(x, 256, dist=Categorical(256), num_bins=32, sigma=0.5 / 32)
    edges = sorted(tuple(sorted((own_variable(nodes), own_variable(child)))) for nodes in vectors(root, ProdNodes) for child in nodes.children[1:])
    assert hashlib.sha256(np.array(edges, dtype="<i4").tobytes()).hexdigest()[:16] == "5423aa3f1cae5728"
    assert own_variable(root) == 544
    *sums, last = vectors(root, SumNodes)
    assert len(sums) == 645 and last is root
    assert sum_edges(root) == 645 * 256**2 + 256 == 42_270_976


@pytest.mark.parametrize("num_vars", [1, 2, 3])
def test_hclt_of_few_variables(num_vars):
    root = HCLT(chain(100, num_vars), 3)
    assert len(vectors(root, SumNodes)) == 1
    assert_normalised(root)


@pytest.mark.parametrize(
    "x, arguments, message",
    [
        (np.zeros(5, dtype=int), {}, r"data \[N, V\].*got shape \[5\]"),
        (np.zeros((0, 5), dtype=int), {}, r"at least one row.*got shape \[0, 5\]"),
        (np.zeros((5, 2)), {}, "integer categories, got dtype float64"),
        (np.zeros((5, 2)), {"dist": Gaussian()}, "integer categories, got dtype float64.*sigma="),
        (np.full((5, 2), np.nan), {"dist": Gaussian(), "sigma": 0.1}, "finite numbers, got NaN"),
        (np.array([[0, 1]]), {"sigma": 0}, "sigma.*above 0.*got 0"),
        (np.array([[0, 1]]), {"sigma": "a"}, "sigma.*got 'a'"),
        (np.array([[0, -2]]), {}, "from 0 up, got -2"),
        (np.array([[0, 3]]), {"dist": COIN}, "value 3.*0 to 1.*num_cats=4"),
        (np.array([[0, 1]]), {"dist": 2}, "Categorical"),
        (np.array([[0, 1]]), {"num_latents": 0}, "num_latents.*got 0"),
        (np.array([[0, 1]]), {"num_bins": 1}, "num_bins.*at least 2, got 1"),
        (np.array([[0, 1]]), {"seed": "a"}, "seed.*got 'a'"),
    ],
)
def test_hclt_arguments(x, arguments, message):
    with pytest.raises(ValueError, match=f"HCLT.*{message}"):
        HCLT(x, **{"num_latents": 2, **arguments})


# ---- RAT-SPN --------------------------------------------------------------------------------------------------------


def test_rat_spn_has_the_counts_of_pyjuice():
    root = RAT_SPN(784, 256, depth=4, num_repetitions=4, dist=Categorical(256))
    check_circuit(root)
    *sums, last = vectors(root, SumNodes)
    assert last is root and len(sums) == 4 * (2 + 4 + 8 + 16) and {nodes.num_nodes for nodes in sums} == {256}
    assert sum_edges(root) == 4 * 30 * 256**2 + 4 * 256 == 7_865_344
    leaves = vectors(root, InputNodes)
    assert len(leaves) == 784, "repetitions share their inputs"
    assert sum(nodes.num_nodes * nodes.dist.num_cats for nodes in leaves) == 51_380_224
    regions = sorted(len(nodes.variables) for nodes in sums)
    assert regions == [49] * 64 + [98] * 32 + [196] * 16 + [392] * 8
    assert len({nodes.scope for nodes in sums}) == len(sums), "no two random regions are the same"


@pytest.mark.parametrize(
    "num_vars, depth, num_repetitions, num_pieces, sums",
    [(1, 0, 1, 2, 0), (1, 3, 2, 2, 0), (4, 0, 2, 2, 0), (4, 1, 1, 2, 2), (5, 2, 2, 2, 12), (5, 9, 1, 2, 8), (5, 1, 1, 3, 3), (4, 2, 1, 3, 3)],
)
def test_small_rat_spns(num_vars, depth, num_repetitions, num_pieces, sums):
    root = RAT_SPN(num_vars, 3, depth=depth, num_repetitions=num_repetitions, dist=COIN, num_pieces=num_pieces)
    assert len(vectors(root, SumNodes)) == sums + 1 and len(root.children) == num_repetitions
    assert len(vectors(root, InputNodes)) == num_vars
    assert_normalised(root)


def test_pieces_are_of_about_equal_size():
    (top,) = RAT_SPN(11, 2, depth=1, num_repetitions=1, dist=COIN, num_pieces=3).children
    assert [len(part.variables) for part in top.children] == [4, 4, 3]


def test_the_seed_draws_the_splits():
    def scopes(seed):
        return [nodes.scope for nodes in vectors(RAT_SPN(16, 2, depth=2, num_repetitions=2, dist=COIN, seed=seed), SumNodes)]

    assert scopes(1) == scopes(1) != scopes(2)
    assert RAT_SPN(4, 2, depth=1, num_repetitions=1, dist=COIN, seed=7).seed == 7


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_vars": 0}, "num_vars.*at least 1, got 0"),
        ({"num_latents": 2.5}, "num_latents.*got 2.5"),
        ({"depth": -1}, "depth.*at least 0, got -1"),
        ({"num_repetitions": 0}, "num_repetitions.*got 0"),
        ({"num_pieces": 1}, "num_pieces.*at least 2, got 1"),
        ({"dist": 3}, "Categorical"),
        ({"seed": -1}, "seed.*got -1"),
    ],
)
def test_rat_spn_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"RAT_SPN.*{message}"):
        RAT_SPN(**{"num_vars": 4, "num_latents": 2, "depth": 1, "num_repetitions": 1, "dist": COIN, **arguments})


# ---- HMM ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_latents, edges", [(1024, 32_506_880), (2048, 130_025_472)])
def test_hmm_has_the_counts_of_pyjuice(num_latents, edges):
    root = HMM(32, num_latents, 4023)
    check_circuit(root)
    assert sum_edges(root) == 31 * num_latents**2 + num_latents == edges
    *transitions, _ = vectors(root, SumNodes)
    emissions = vectors(root, InputNodes)
    assert len(transitions) == 31 and len(emissions) == 32
    assert len({nodes.storage for nodes in transitions}) == len({nodes.storage for nodes in emissions}) == 1
    assert isinstance(transitions[0].children[0], InputNodes), "the last transition sums over inputs"


@pytest.mark.parametrize("homogeneous", [True, False])
@pytest.mark.parametrize("seq_length", [1, 2, 5])
def test_hmm_by_the_forward_algorithm(seq_length, homogeneous):
    root = HMM(seq_length, 3, 4, homogeneous=homogeneous, seed=5)
    assert_normalised(root)
    *transitions, _ = vectors(root, SumNodes)
    assert len({nodes.storage for nodes in transitions}) == (min(1, seq_length - 1) if homogeneous else seq_length - 1)
    emission = {nodes.var: nodes.params.astype(np.float64) for nodes in vectors(root, InputNodes)}
    step = {min(nodes.variables) - 1: nodes.params.astype(np.float64) for nodes in transitions}  # from step t to t + 1
    x = worlds_of(root)[:: 7 if seq_length > 2 else 1]
    state = root.params[0].astype(np.float64) * emission[0].T[x[:, 0]]  # [N, K]
    for t in range(1, seq_length):
        state = (state @ step[t - 1]) * emission[t].T[x[:, t]]
    np.testing.assert_allclose(log_likelihood(root, x), np.log(state.sum(axis=1)), rtol=1e-9)


@pytest.mark.parametrize(
    "arguments, message",
    [({"seq_length": 0}, "seq_length.*got 0"), ({"num_latents": -1}, "num_latents"), ({"num_emits": 2.0}, "num_emits"), ({"seed": None}, "seed")],
)
def test_hmm_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"HMM.*{message}"):
        HMM(**{"seq_length": 3, "num_latents": 2, "num_emits": 2, **arguments})


# ---- figure 5 -------------------------------------------------------------------------------------------------------


def test_figure_5_layer():
    root = figure_5_layer()
    check_circuit(root)
    *regions, last = vectors(root, SumNodes)
    assert last is root and len(regions) == 113 and root.num_children == 256
    assert sum(nodes.num_nodes for nodes in regions) == 28_928
    assert {nodes.num_children for nodes in regions} == {1024}
    assert sum(nodes.num_edges for nodes in regions) == 29_622_272
    assert regions[3].variables == (6, 7) and root.variables == tuple(range(226))
    assert all(len(set(vector.children)) == 2 for vector in vectors(root, ProdNodes)[:4])
    assert len(vectors(root, InputNodes)) == 113 * 4 * 2


def test_small_figure_5_layers():
    assert_normalised(figure_5_layer(num_regions=2, num_latents=3, products=2))
    assert_normalised(figure_5_layer(num_regions=1, num_latents=2, products=1))
    with pytest.raises(ValueError, match=r"figure_5_layer\(products=...\) expects an integer of at least 1, got 0"):
        figure_5_layer(products=0)


def test_a_figure_5_layer_with_drawn_connections():
    root = figure_5_layer(num_regions=3, num_latents=8, conn_block=2)
    assert_normalised(root)
    *regions, _ = vectors(root, SumNodes)
    for region in regions:
        sums, children = region.edge_ids
        width = len(region.children) * 4  # blocks of 2
        connected = np.zeros((4, width), dtype=bool)
        connected[sums, children] = True
        drawn = connected.reshape(4, len(region.children), 4)  # [sum blocks, product vectors, their blocks]
        assert (drawn.all(axis=2) == drawn.any(axis=2)).all() and (drawn.any(axis=2).sum(axis=1) == 4).all()
        assert drawn.any(axis=(0, 2)).all() and region.edge_block == 2
    assert len({region.edge_ids.tobytes() for region in regions}) > 1
    with pytest.raises(ValueError, match="conn_block=3 must divide num_latents=8"):
        figure_5_layer(2, 8, conn_block=3)
    with pytest.raises(ValueError, match="products expects at least 4, got 3"):
        figure_5_layer(2, 8, products=3, conn_block=2)

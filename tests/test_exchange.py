"""PyJuice and back: same edges, same parameters, same likelihoods. PyJuice is optional; tests that need it say so when skipped."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from circuits import random_circuit, random_data, small_circuits
from equality import assert_same_circuit
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import worlds_of
from trained import pruned_digits

import pcviz as pcv
from pcviz.exchange.outgoing import block_sizes, granularity, tiled_edges
from pcviz.ir.distributions import Bernoulli, Gaussian
from pcviz.ir.nodes import InputNodes, ProdNodes, SumNodes, init_params, input_vectors, inputs, multiply, sum_vectors, summate, topological
from pcviz.peers import pyjuice_circuit
from pcviz.reference import log_likelihood

TRIT = pcv.Categorical(num_cats=3)


@pytest.fixture(scope="module")
def juice():
    return pytest.importorskip("pyjuice", reason="PyJuice is not installed (extra: peers)")


@pytest.fixture(autouse=True)
def seeded():
    import torch

    torch.manual_seed(0)
    random.seed(0)


# ---- PyJuice's graph, evaluated here from its own fields, node by node, in float64 ----------------------------------------


def walk(root_ns) -> list:
    order, done = [], set()

    def visit(ns):
        if id(ns) not in done:
            done.add(id(ns))
            for child in ns.chs:
                visit(child)
            order.append(ns)

    visit(root_ns)
    return order


def source_of(ns):
    return ns if ns._source_node is None else ns._source_node


def weights_of(ns) -> np.ndarray:
    """Dense matrix [sums, children] of a PyJuice sum vector."""
    b, c = ns.block_size, ns.ch_block_size
    matrix = np.zeros((ns.num_nodes, sum(child.num_nodes for child in ns.chs)))
    for (i, j), tile in zip(ns.edge_ids.T.tolist(), source_of(ns)._params.double().numpy()):
        matrix[i * b : (i + 1) * b, j * c : (j + 1) * c] += tile
    return matrix


def pyjuice_log_likelihood(root_ns, x: np.ndarray) -> np.ndarray:
    values = {}
    with np.errstate(divide="ignore"):
        for ns in walk(root_ns):
            kind = type(ns).__name__
            if kind == "InputNodes":
                (var,) = ns.scope.to_list()
                values[id(ns)] = pyjuice_inputs(type(ns.dist).__name__, source_of(ns)._params.double().numpy().reshape(ns.num_nodes, -1), x[:, var])
            elif kind == "ProdNodes":
                values[id(ns)] = np.stack([sum(values[id(child)][place] for child, place in zip(ns.chs, row)) for row in rows_of(ns)])
            else:
                below = np.concatenate([values[id(child)] for child in ns.chs])
                top = np.maximum(below.max(axis=0), -1e300)
                values[id(ns)] = np.log(weights_of(ns) @ np.exp(below - top)) + top
    return values[id(root_ns)][0]


def pyjuice_inputs(dist: str, params: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log p [nodes, B] as PyJuice's distributions define it, from parameters [nodes, per node]."""
    if dist == "Bernoulli":
        return np.log(np.where(x > 0, params, 1 - params))
    if dist == "Gaussian":
        mean, std = params[:, :1], params[:, 1:]
        return -0.5 * ((x - mean) / std) ** 2 - 0.5 * np.log(2 * np.pi) - np.log(std)
    return np.log(params[:, x.astype(np.int64)])


def rows_of(ns) -> list[list[int]]:
    """Per product of PyJuice, the node of each child vector that it multiplies."""
    ids = ns.edge_ids.tolist()
    if len(ids) == ns.num_nodes:
        return ids
    return [[block * ns.block_size + i for block in row] for row in ids for i in range(ns.block_size)]


def sum_edges(root) -> int:
    return sum(nodes.num_edges for nodes in sum_vectors(root))


def tables_of(root_ns) -> list[np.ndarray]:
    return [source_of(ns)._params.numpy().reshape(ns.num_nodes, -1) for ns in walk(root_ns) if type(ns).__name__ == "InputNodes"]


def matrix_of(nodes: SumNodes) -> np.ndarray:
    """Dense matrix [sums, children] of one of our sum vectors."""
    if nodes.edge_ids is None:
        return nodes.params
    matrix, b = np.zeros((nodes.num_nodes, nodes.num_children), np.float32), nodes.edge_block
    for (i, j), tile in zip(nodes.edge_ids.T.tolist(), nodes.params):
        matrix[i * b : (i + 1) * b, j * b : (j + 1) * b] = tile
    return matrix


# ---- from PyJuice -------------------------------------------------------------------------------------------------------


def structures(juice):
    import torch

    dist = juice.distributions.Categorical(num_cats=5)
    images = torch.randint(0, 5, (100, 9)).float()
    images[:, 1::2] = images[:, :-1:2]
    build = juice.structures
    return {
        "PD": build.PD((8, 8), 16, split_intervals=2, input_dist=dist, block_size=4, max_prod_block_conns=2),
        "PD with two kinds of products": build.PD((6,), 8, split_intervals=1, input_dist=dist, structure_type="prod_dominated"),
        "PD tied": build.PD((8,), 8, split_intervals=2, input_dist=dist, tie_homogeneous_params=True, block_size=2),
        "HCLT": build.HCLT(images, num_latents=8, num_bins=5, input_dist=dist),
        "HCLT tied": build.HCLT(images, num_latents=8, num_bins=5, input_dist=dist, tie_input_params=True, block_size=2),
        "RAT_SPN": build.RAT_SPN(10, 12, depth=2, num_repetitions=3, input_dist=dist),
        "HMM": build.HMM(6, 8, 7),
        "HMM, not homogeneous": build.HMM(6, 8, 7, homogeneous=False, block_size=2),
    }


NAMES = ["PD", "PD with two kinds of products", "PD tied", "HCLT", "HCLT tied", "RAT_SPN", "HMM", "HMM, not homogeneous"]


def initialised(root_ns):
    root_ns.init_parameters(perturbation=4.0, visited=set())
    return root_ns


def data_for(root, count=20):
    return fitting(root, random_data(root, count))


def fitting(root, x: np.ndarray) -> np.ndarray:
    """``x`` as integers unless a variable is real."""
    return x if any(isinstance(nodes.dist, Gaussian) for nodes in input_vectors(root)) else x.astype(np.int64)


@pytest.mark.parametrize("name", NAMES)
def test_structures_of_pyjuice(juice, name):
    root_ns = initialised(structures(juice)[name])
    root = pcv.from_pyjuice(root_ns)
    x = data_for(root)
    np.testing.assert_allclose(log_likelihood(root, x), pyjuice_log_likelihood(root_ns, x), rtol=1e-12)
    ours, theirs = list(sum_vectors(root)), [ns for ns in walk(root_ns) if type(ns).__name__ == "SumNodes"]
    assert len(ours) == len(theirs) and sum_edges(root) == sum(ns.num_edges for ns in theirs)
    scopes = {tuple(ns.scope.to_list()): ns for ns in theirs}
    if len(scopes) == len(theirs):  # else both are in the order of a walk from the root, which undrawn products would change
        theirs = [scopes[nodes.variables] for nodes in ours]
    for nodes, ns in zip(ours, theirs):
        expected = weights_of(ns)
        read = expected.any(axis=0)  # PD draws connections; what nobody drew is not there
        np.testing.assert_array_equal(matrix_of(nodes), expected[:, read])
    np.testing.assert_array_equal(np.concatenate([nodes.params for nodes in input_vectors(root)]), np.concatenate(tables_of(root_ns)))
    storages = {id(nodes.storage) for nodes in topological(root) if not isinstance(nodes, ProdNodes)}
    assert len(storages) == len({id(source_of(ns)) for ns in walk(root_ns) if type(ns).__name__ != "ProdNodes"})
    assert pcv.TensorCircuit(pcv.compile(root, block_size=4))(x).shape == (20,)


def test_distributions_of_pyjuice(juice):
    dists = juice.nodes.distributions
    for dist, expected in (
        (dists.Bernoulli(), Bernoulli()),
        (dists.Gaussian(mu=2.0, sigma=0.5, min_sigma=0.1), Gaussian(2.0, 0.5, 0.1)),
        (dists.Categorical(num_cats=4), pcv.Categorical(4)),
    ):
        x = [juice.inputs(var, num_nodes=4, dist=dist, block_size=4) for var in range(2)]
        root_ns = initialised(juice.summate(juice.multiply(*x), num_nodes=1, block_size=1))
        root = pcv.from_pyjuice(root_ns)
        assert {nodes.dist for nodes in input_vectors(root)} == {expected}
        np.testing.assert_allclose(pyjuice_log_likelihood(root_ns, data_for(root)), log_likelihood(root, data_for(root)), rtol=1e-6)
        again = pcv.to_pyjuice(root)
        assert {type(ns.dist) for ns in walk(again) if ns.is_input()} == {type(dist)}
        for a, b in zip(tables_of(again), tables_of(root_ns)):
            np.testing.assert_array_equal(a, b)
    leaf = juice.inputs(0, num_nodes=2, dist=dists.Gaussian())  # no mu and sigma: parameters were given
    leaf.set_params(torch_tensor([1.0, 2.0, -1.0, 0.5]))
    assert pcv.from_pyjuice(juice.summate(leaf, num_nodes=1)).children[0].params.tolist() == [[1.0, 2.0], [-1.0, 0.5]]
    leaf.set_params(torch_tensor([1.0, 0.0, -1.0, 0.5]))
    with pytest.raises(ValueError, match="standard deviations above 0"):
        pcv.from_pyjuice(juice.summate(leaf, num_nodes=1))


def torch_tensor(values):
    import torch

    return torch.tensor(values)


def test_probabilities_of_bernoulli_inputs_must_sum_to_1(juice):
    leaf = inputs(0, num_nodes=2, dist=Bernoulli(), params=[[0.5, 0.5], [0.5, 0.4]])
    with pytest.raises(ValueError, match="must sum to 1, because PyJuice keeps p\\(1\\) alone"):
        pcv.to_pyjuice(summate(leaf, num_nodes=1))


def test_a_circuit_without_parameters(juice):
    root = pcv.from_pyjuice(juice.structures.HMM(4, 8, 5))
    assert all(nodes.params is None for nodes in topological(root) if not isinstance(nodes, ProdNodes))


def test_parameters_are_copies(juice):
    root_ns = initialised(structures(juice)["HMM"])
    root = pcv.from_pyjuice(root_ns)
    before = [nodes.params.copy() for nodes in input_vectors(root)] + [nodes.params.copy() for nodes in sum_vectors(root)]
    for ns in walk(root_ns):
        if ns._params is not None:
            ns._params.fill_(7)
    after = [nodes.params for nodes in input_vectors(root)] + [nodes.params for nodes in sum_vectors(root)]
    assert all((a == b).all() for a, b in zip(before, after))


def blocks_by_hand(juice, shuffle: bool = False):
    """Block sizes that differ between sums and children, products by node and by block, a child vector that nobody reads."""
    import torch

    dist = juice.distributions.Categorical(num_cats=3)
    x = [juice.inputs(var, num_nodes=8, dist=dist, block_size=4) for var in range(3)]
    by_block = juice.multiply(x[0], x[1], edge_ids=torch.tensor([[1, 0], [0, 1], [1, 1]]))
    by_node = juice.multiply(x[0], x[1], edge_ids=torch.tensor([[7, 0], [1, 6], [5, 2], [3, 4]]), sparse_edges=True)
    unread = juice.multiply(x[0], x[1])
    coarse = juice.summate(by_block, unread, by_node, edge_ids=torch.tensor([[1, 0, 0, 1], [5, 0, 2, 1]]), block_size=8, num_nodes=16)
    fine = juice.summate(by_block, by_node, num_nodes=8, block_size=2)
    if shuffle:
        fine.set_edges(fine.edge_ids[:, torch.randperm(fine.edge_ids.shape[1])])
    both = juice.summate(by_block, by_node, num_nodes=4, block_size=2, edge_ids=torch.tensor([[0, 1, 1], [3, 0, 2]]))
    z = [juice.inputs(2, num_nodes=count, dist=dist, block_size=block) for count, block in ((16, 8), (8, 2), (4, 2))]
    tops = [juice.multiply(nodes, leaf) for nodes, leaf in zip((coarse, fine, both), z)]
    halves = [juice.summate(top, num_nodes=2, block_size=1) for top in tops]
    return juice.summate(*[juice.multiply(half) for half in halves], num_nodes=1, block_size=1)


@pytest.mark.parametrize("shuffle", [False, True])
def test_blocks_of_every_kind(juice, shuffle):
    root_ns = initialised(blocks_by_hand(juice, shuffle))
    root = pcv.from_pyjuice(root_ns)
    x = worlds_of(root)
    np.testing.assert_allclose(log_likelihood(root, x), pyjuice_log_likelihood(root_ns, x), rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_likelihood(root, x)).sum(), 1, rtol=1e-5)
    blocks = [nodes.edge_block for nodes in sum_vectors(root) if nodes.edge_ids is not None]
    assert sorted(blocks) == [2, 4]
    assert not any(isinstance(child, ProdNodes) and child.arity == 1 for nodes in topological(root) for child in nodes.children)


def test_products_of_one_child_stay_where_a_sum_reads_the_child_twice(juice):
    leaf = juice.inputs(0, num_nodes=2, dist=juice.distributions.Categorical(num_cats=3))
    root_ns = initialised(juice.summate(leaf, juice.multiply(leaf), num_nodes=1))
    root = pcv.from_pyjuice(root_ns)
    assert [type(child) for child in root.children] == [InputNodes, ProdNodes]
    np.testing.assert_allclose(log_likelihood(root, worlds_of(root)), pyjuice_log_likelihood(root_ns, worlds_of(root)), rtol=1e-12)


def test_the_source_of_a_tie_need_not_be_in_the_circuit(juice):
    template = juice.inputs(5, num_nodes=2, dist=juice.distributions.Categorical(num_cats=3))
    initialised(template)
    leaves = [template.duplicate(var, tie_params=True) for var in range(3)]
    root = pcv.from_pyjuice(initialised(juice.summate(juice.multiply(*leaves), num_nodes=1)))
    assert len({id(nodes.storage) for nodes in input_vectors(root)}) == 1
    for nodes in input_vectors(root):
        np.testing.assert_array_equal(nodes.params.ravel(), template._params.numpy())


def test_a_pruned_circuit_of_pyjuice(juice):
    """Its pruning leaves nodes that nothing reads any more; they vanish."""
    import torch

    root_ns = initialised(structures(juice)["PD"])
    scores = {ns: ns._params.sum(dim=(1, 2)) * torch.rand(len(ns._params)) for ns in walk(root_ns) if type(ns).__name__ == "SumNodes"}
    pruned_ns = juice.transformations.prune_by_score(root_ns, scores=scores, keep_frac=0.3)
    root = pcv.from_pyjuice(pruned_ns)
    x = data_for(root)
    np.testing.assert_allclose(log_likelihood(root, x), pyjuice_log_likelihood(pruned_ns, x), rtol=1e-12)
    assert sum_edges(root) < 0.35 * sum_edges(pcv.from_pyjuice(root_ns))


def test_what_is_not_understood_is_named(juice):
    distributions = juice.nodes.distributions
    logistic = distributions.DiscreteLogistic(val_range=(0, 1), num_cats=2)
    for dist, words in ((distributions.Literal(lit=True), "Literal"), (logistic, "DiscreteLogistic")):
        root_ns = juice.summate(juice.inputs(0, num_nodes=2, dist=dist), num_nodes=1)
        with pytest.raises(ValueError, match=f"over variable 0 has distribution {words}, expected Categorical, Bernoulli or Gaussian"):
            pcv.from_pyjuice(root_ns)
    several = juice.inputs([0, 1], num_nodes=2, dist=distributions.Categorical(num_cats=2))
    with pytest.raises(ValueError, match=r"input over variables \[0, 1\]"):
        pcv.from_pyjuice(juice.summate(several, num_nodes=1))
    root_ns = initialised(juice.structures.HMM(3, 4, 3))
    root_ns._params[0] = float("nan")
    with pytest.raises(ValueError, match="must be finite and not negative"):
        pcv.from_pyjuice(root_ns)
    product = juice.multiply(*(juice.inputs(var, num_nodes=4, dist=distributions.Categorical(num_cats=2), block_size=4) for var in (0, 1)))
    external = juice.summate(product, num_nodes=4, block_size=4, external_params=juice.nodes.LowRankSumParams(1))
    with pytest.raises(ValueError, match="ExternalParamsSumNodes, expected InputNodes, ProdNodes or SumNodes"):
        pcv.from_pyjuice(juice.summate(juice.multiply(external), num_nodes=1, block_size=1))


@pytest.mark.parametrize("root_ns", [None, 3, "circuit", pcv.inputs(0, num_nodes=1, dist=TRIT)])
def test_what_is_no_circuit_of_pyjuice(root_ns):
    with pytest.raises(ValueError, match="expects the root node vector of a PyJuice circuit"):
        pcv.from_pyjuice(root_ns)


# ---- to PyJuice and back --------------------------------------------------------------------------------------------------


BUILDERS = {
    "PD": lambda: pcv.PD((6, 6), 8, split_intervals=2, dist=pcv.Categorical(17)),
    "PD with drawn connections": lambda: pcv.PD((8, 8), 8, split_intervals=2, dist=pcv.Categorical(17), conn_block=4, seed=3),
    "HCLT": lambda: pcv.HCLT(pcv.datasets.digits("train")[:200], 6),
    "figure 5": lambda: pcv.figure_5_layer(3, 8),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_structures_come_back(juice, name):
    root = BUILDERS[name]()
    init_params(root)
    root_ns = pcv.to_pyjuice(root)
    found = pcv.from_pyjuice(root_ns)
    found.seed = root.seed  # PyJuice has none
    assert_same_circuit(found, root, names=False)
    x = data_for(root)
    np.testing.assert_allclose(pyjuice_log_likelihood(root_ns, x), log_likelihood(root, x), rtol=1e-12)


def test_a_pruned_circuit_comes_back(juice):
    """Its edges are single ones; vectors that still have all of them come back as fully connected."""
    pc = pcv.TensorCircuit(pcv.compile(BUILDERS["HCLT"](), block_size=4))
    root = pcv.prune(pc, keep=0.5)
    root_ns = pcv.to_pyjuice(root)
    found = pcv.from_pyjuice(root_ns)
    for a, b in zip(sum_vectors(found), sum_vectors(root), strict=True):
        np.testing.assert_array_equal(matrix_of(a), matrix_of(b))
        assert (a.edge_ids is None) == (a.num_edges == a.num_nodes * a.num_children)
    x = data_for(root)
    np.testing.assert_allclose(pyjuice_log_likelihood(root_ns, x), log_likelihood(root, x), rtol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.booleans().flatmap(lambda gaussians: small_circuits(gaussians=gaussians)))
def test_random_circuits_come_back(juice, root):
    root_ns = pcv.to_pyjuice(root)
    found = pcv.from_pyjuice(root_ns)
    x = data_for(root, 100)
    expected = log_likelihood(root, x)
    binary = any(isinstance(nodes.dist, Bernoulli) for nodes in input_vectors(root))  # 1 - p(1) rounds p(0)
    np.testing.assert_allclose(pyjuice_log_likelihood(root_ns, x), expected, rtol=1e-4 if binary else 1e-9)
    np.testing.assert_allclose(log_likelihood(found, x), expected, rtol=1e-4 if binary else 1e-12)
    assert sum_edges(found) == sum_edges(root)
    kept, ties = ([{id(nodes.storage) for nodes in topological(r) if not isinstance(nodes, ProdNodes)} for r in (found, root)])
    assert len(kept) == len(ties)


def test_a_circuit_without_parameters_comes_back(juice):
    root = BUILDERS["PD"]()
    assert_same_circuit(pcv.from_pyjuice(pcv.to_pyjuice(root)), root, names=False)


def test_a_tensor_circuit_is_written_back_first(juice):
    x = pcv.datasets.digits("train")[:100]
    pc = pcv.TensorCircuit(pcv.compile(BUILDERS["HCLT"](), block_size=4))
    for _ in pcv.fit(pc, x, epochs=1):
        pass
    np.testing.assert_allclose(pyjuice_log_likelihood(pcv.to_pyjuice(pc), x), pc(x), rtol=1e-4)


def test_ties_go_there_and_come_back(juice):
    root = random_ties()
    root_ns = pcv.to_pyjuice(root)
    found = pcv.from_pyjuice(root_ns)
    assert_same_circuit(found, root, names=False)
    assert sum(ns._source_node is not None for ns in walk(root_ns)) == 3 + 2
    assert all(ns._params is None for ns in walk(root_ns) if ns._source_node is not None)
    assert all(ns.block_size == 4 for ns in walk(root_ns)[:-1])


def random_ties():
    """A hidden Markov model over four variables whose source of inputs is the second last vector of all."""
    emission = inputs(0, num_nodes=4, dist=TRIT)
    state = transition = None
    for var in (3, 2, 1):
        below = emission.duplicate(var, tie_params=True)
        below = below if state is None else multiply(state, below)
        state = transition.duplicate(below, tie_params=True) if transition else summate(below, num_nodes=4)
        transition = transition or state
    root = summate(multiply(state, emission), num_nodes=1)
    init_params(root, seed=5)
    return root


KERNEL_CIRCUITS = {
    "PD": lambda: pcv.PD((4, 4), 8, split_intervals=2, dist=pcv.Categorical(17), conn_block=4),
    "PD, odd width": lambda: pcv.PD((3, 2), 5, dist=TRIT),
    "HCLT": lambda: pcv.HCLT(pcv.datasets.digits("train")[:200, 20:30], 12),
    "ties": random_ties,
    "pruned": lambda: pcv.prune(pcv.TensorCircuit(pcv.compile(pcv.PD((3, 3), 8, dist=TRIT), block_size=4)), keep=0.3),
    "Bernoulli": lambda: pcv.PD((3, 3), 8, dist=Bernoulli()),
    "Gaussian": lambda: pcv.PD((3, 3), 4, dist=Gaussian(1.0, 2.0)),
    "random 3": lambda: random_circuit(3),
    "random 4": lambda: random_circuit(4),
}


@pytest.fixture(scope="module")
def kernel_results(juice, tmp_path_factory):
    """{name: (found, expected, circuit that came back, circuit)}: PyJuice's likelihoods from one process, ours in float64."""
    folder, expected, roots = tmp_path_factory.mktemp("kernels"), {}, {}
    for name, build in KERNEL_CIRCUITS.items():
        root = roots[name] = build()
        init_params(root)
        x = data_for(root, count=16)
        expected[name] = log_likelihood(root, x)
        pcv.save(root, folder / f"{name}.safetensors")
        np.save(folder / f"{name}.npy", x)
    script = Path(__file__).with_name("pyjuice_on_cpu.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return {name: (np.load(folder / f"{name}.out.npy"), expected[name], pcv.load(folder / f"{name}.back"), roots[name]) for name in roots}


@pytest.mark.parametrize("name", KERNEL_CIRCUITS)
def test_pyjuice_computes_the_same_likelihoods(kernel_results, name):
    """Its own kernels, interpreted; they round to float32 on the way, and what is impossible is very improbable to them."""
    found, expected, _, _ = kernel_results[name]
    possible = np.isfinite(expected)
    np.testing.assert_allclose(found[possible], expected[possible], rtol=1e-5, atol=1e-4)
    assert (found[~possible] < -80).all()


@pytest.mark.parametrize("name", KERNEL_CIRCUITS)
def test_compiled_circuits_come_back(kernel_results, name):
    """From PyJuice's TensorCircuit, whose own layout goes back to the vectors first. Compiling normalises parameters again, and
    puts sums of one child where a sum reads something that is not right below it."""
    _, _, found, root = kernel_results[name]
    sums, expected = list(sum_vectors(found)), list(sum_vectors(root))
    if len(sums) > len(expected):
        assert name.startswith("random")
        sums = [nodes for nodes in sums if not np.array_equal(matrix_of(nodes), np.eye(nodes.num_nodes, nodes.num_children))]
    for a, b in zip(sums, expected, strict=True):
        np.testing.assert_allclose(matrix_of(a), matrix_of(b), rtol=1e-6)
    x = data_for(root)
    np.testing.assert_allclose(log_likelihood(found, x), log_likelihood(root, x), rtol=1e-5)


# ---- blocks: needs no PyJuice -----------------------------------------------------------------------------------------------


def sizes(root) -> list[int]:
    order = topological(root)
    found = block_sizes(order)
    return [found[id(nodes)] for nodes in order]


@pytest.mark.parametrize("num_latents, block", [(1, 1), (32, 32), (48, 16), (5, 1), (2048, 1024), (3 * 1024, 1024)])
def test_block_sizes_of_one_width(num_latents, block):
    root = pcv.PD((2, 2), num_latents, dist=TRIT)
    assert sizes(root)[-1] == 1 and set(sizes(root)[:-1]) == {block}


def test_block_sizes_up_to_a_limit():
    order = topological(pcv.figure_5_layer(2, 16, conn_block=4))
    assert [set(block_sizes(order, limit).values()) for limit in (1, 2, 64)] == [{1}, {1, 2}, {1, 4, 16}]


def test_block_sizes_are_those_of_what_must_be_equal():
    a, b = (inputs(var, num_nodes=16, dist=TRIT) for var in (0, 1))
    wide = summate(multiply(a, b), num_nodes=64)
    other = summate(multiply(a, b, edge_ids=np.repeat(np.arange(16), 3)[:, None] * [1, 1]), num_nodes=64)  # 48 products
    top = summate(multiply(wide, inputs(2, num_nodes=64, dist=TRIT)), multiply(other, inputs(2, num_nodes=64, dist=TRIT)), num_nodes=1)
    order = topological(top)
    found = block_sizes(order)
    assert found[id(a)] == found[id(b)] == 16 and found[id(wide)] == found[id(other)] == 64
    assert found[id(other.children[0])] == 16 and found[id(top)] == 1


def reblocked(nodes, block, child_block):
    """``tiled_edges`` checked against dense matrices; returns edge_ids."""
    edge_ids, params = tiled_edges(nodes, block, child_block)
    matrix = np.zeros((nodes.num_nodes, nodes.num_children), np.float32)
    for (i, j), tile in zip(edge_ids.T.tolist(), params):
        matrix[i * block : (i + 1) * block, j * child_block : (j + 1) * child_block] += tile
    np.testing.assert_array_equal(matrix, matrix_of(nodes))
    return edge_ids


@pytest.mark.parametrize("edge_block", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("rows, cols", [(1, 1), (1, 2), (2, 1), (2, 4), (4, 2)])
def test_edges_are_put_together_as_far_as_they_go(edge_block, rows, cols):
    """Edges drawn in runs of rows x cols blocks are joined in blocks of that size, and cut into any smaller power of two."""
    rng = np.random.default_rng(edge_block * 10 + rows)
    grid = rng.random((3, 5)) < 0.5
    grid[0, 1:3], grid[1, 2:4] = [True, False], [False, True]  # no coarser rows or columns
    grid[:, 0] = True
    connected = np.kron(grid, np.ones((rows, cols), bool))
    edge_ids = rng.permutation(np.stack(np.nonzero(connected)), axis=1)
    leaf = inputs(0, num_nodes=5 * cols * edge_block, dist=TRIT)
    nodes = summate(leaf, num_nodes=3 * rows * edge_block, edge_ids=edge_ids, edge_block=edge_block)
    nodes.params = rng.random(nodes.param_shape).astype(np.float32)
    assert granularity(nodes) == (rows * edge_block, cols * edge_block)
    power = edge_block & -edge_block
    for block in (1, power, power * rows):
        for child_block in (1, power, power * cols):
            found = reblocked(nodes, block, child_block)
            assert len(np.unique(found, axis=1).T) == found.shape[1]
            if block == child_block == edge_block:
                np.testing.assert_array_equal(found, nodes.edge_ids)


def test_a_root_that_reads_whole_blocks_does_not_cut_them():
    """PyJuice's block size of a root is 1; edges of one sum to 32 children are 32 edges here, and one block there again."""
    product = multiply(inputs(0, num_nodes=64, dist=TRIT), inputs(1, num_nodes=64, dist=TRIT))
    other = multiply(inputs(0, num_nodes=64, dist=TRIT), inputs(1, num_nodes=64, dist=TRIT))
    root = summate(product, other, num_nodes=1, edge_ids=[[0] * 96, range(96)])
    assert granularity(root) == (1, 32) and sizes(root) == [32] * 6 + [1]


def test_pruned_circuits_have_small_blocks():
    found = sizes(pruned_digits())
    assert set(found) == {1, 32} and found.count(1) > len(found) / 2  # 32: regions that lost no edge


def test_random_circuits_have_legal_blocks():
    for seed in range(40):
        order = topological(random_circuit(seed))
        found = block_sizes(order)
        for nodes in order:
            children = [found[id(child)] for child in nodes.children]
            assert nodes.num_nodes % found[id(nodes)] == 0
            assert len(set(children + [found[id(nodes)]] * isinstance(nodes, ProdNodes))) <= 1
            if isinstance(nodes, SumNodes) and nodes.edge_ids is not None:
                reblocked(nodes, found[id(nodes)], children[0])


# ---- the circuits that PyJuice is measured on -------------------------------------------------------------------------------


@pytest.mark.parametrize("name, edges, vectors", [("RAT-256", 7_865_344, 1029), ("HMM-1024", 32_506_880, 95)])
def test_measured_circuits(juice, name, edges, vectors):
    """As many edges as PyJuice reports for them; the seed decides everything, and nobody else's random numbers change."""
    import torch

    states = random.getstate(), torch.get_rng_state()
    first, again, other = (pcv.from_pyjuice(pyjuice_circuit(name, seed=seed)) for seed in (0, 0, 1))
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert sum_edges(first) == edges and len(topological(first)) == vectors
    assert_same_circuit(first, again)
    assert not np.array_equal(first.params, other.params)


def test_measured_circuits_have_names():
    with pytest.raises(ValueError, match="one of PD-128, PD-256, HCLT-256, HCLT-512, RAT-256, HMM-1024, HMM-2048, got 'PD-64'"):
        pyjuice_circuit("PD-64")
    with pytest.raises(ValueError, match="learns its tree from images: pass x"):
        pyjuice_circuit("HCLT-256")


def test_builders_make_the_circuits_of_pyjuices(juice):
    """The same plans at every block size: layers, groups, launches, edges."""
    pairs = [
        (pcv.HMM(6, 32, 20), juice.structures.HMM(6, 32, 20)),
        (pcv.HMM(5, 16, 9, homogeneous=False), juice.structures.HMM(5, 16, 9, homogeneous=False)),
        (pcv.RAT_SPN(24, 32, depth=3, num_repetitions=3, dist=pcv.Categorical(256)), juice.structures.RAT_SPN(24, 32, depth=3, num_repetitions=3)),
        (pcv.RAT_SPN(7, 4, depth=5, num_repetitions=1, dist=pcv.Categorical(256)), juice.structures.RAT_SPN(7, 4, depth=5, num_repetitions=1)),
    ]
    for ours, theirs in pairs:
        theirs = pcv.from_pyjuice(theirs)
        for block_size in (1, 8, 32):
            assert pcv.plan_summary(ours, block_size=block_size) == pcv.plan_summary(theirs, block_size=block_size)
        assert len({id(v.storage) for v in sum_vectors(ours)}) == len({id(v.storage) for v in sum_vectors(theirs)})

"""The symbolic circuit: edges, parameters, and an error for every way to get the structure wrong."""

import re
import subprocess
import sys

import numpy as np
import pytest

from pcviz.ir.checks import check_circuit
from pcviz.ir.distributions import Categorical
from pcviz.ir.names import LONGEST, readable, unmarked
from pcviz.ir.nodes import CircuitError, describe_scope, init_params, inputs, multiply, normalise_edges, summate, topological

COIN = Categorical(num_cats=2)


def leaf(var: int, num_nodes: int = 2, dist: Categorical = COIN):
    return inputs(var, num_nodes=num_nodes, dist=dist, name=f"x{var}")


def pair(num_nodes: int = 2):
    """A vector of products over variables 0 and 1."""
    return multiply(leaf(0, num_nodes), leaf(1, num_nodes), name="pair")


def fails(*words: str):
    """Expects a CircuitError whose message has all ``words`` in this order."""
    return pytest.raises(CircuitError, match="(?s)" + ".*".join(map(re.escape, words)))


# ---- errors of one vector -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_nodes", [0, -1, 1.5, "2", True, None])
def test_number_of_nodes(num_nodes):
    with fails("x over variables {3}", "num_nodes must be an integer of at least 1", repr(num_nodes)):
        inputs(3, num_nodes=num_nodes, dist=COIN, name="x")
    with fails("sum over variables {0, 1}", "num_nodes", repr(num_nodes)):
        summate(pair(), num_nodes=num_nodes)


@pytest.mark.parametrize("var", [-1, 0.0, True, "x"])
def test_variable_index(var):
    with fails("variable index of 0 or more", repr(var)):
        inputs(var, num_nodes=2, dist=COIN)


def test_distribution_of_inputs():
    with fails("inputs(var=4)", "Categorical", "17"):
        inputs(4, num_nodes=2, dist=17)


@pytest.mark.parametrize("num_cats", [0, -3, 2.0, None])
def test_number_of_categories(num_cats):
    with pytest.raises(ValueError, match="integer of at least 1"):
        Categorical(num_cats=num_cats)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("region 3", "region 3"),
        ("<b>&amp;\"'", "<b>&amp;\"'"),
        ("one\ntwo\tthree\x1b[31m\x00", r"one\ntwo\tthree\x1b[31m\x00"),
        ("a\u202eb\u2066c\u200f\u2028d\xa0e", r"a\u202eb\u2066c\u200f\u2028d\xa0e"),
        ("\ud800 \U0001f600", "\\ud800 \U0001f600"),
        ("שלום 17", "\u2068שלום 17\u2069"),
        ("L" + "o" * 298 + "g", "L" + "o" * 298 + "g"),
        ("o" * 10**6, "o" * 299 + "…"),
        ("\n" * 10**6, r"\n" * 149 + "…"),
        ("", "input"),
        (None, "input"),
    ],
)
def test_names_are_shown_on_one_line_without_invisible_characters(name, shown):
    nodes = inputs(0, num_nodes=2, dist=Categorical(2), name=name)
    assert nodes.label == shown and nodes.name == name
    assert unmarked(shown).isprintable() and len(unmarked(shown)) <= LONGEST
    assert readable("o" * 30, 10) == "o" * 9 + "…"


def test_errors_show_a_name_on_one_line():
    with fails(r"a\nb\x1b[2J over variables {0}: num_nodes must be"):
        inputs(0, num_nodes=0, dist=Categorical(2), name="a\nb\x1b[2J")
    with fails("input over variables {0}: name must be text or None, got 5"):
        inputs(0, num_nodes=1, dist=Categorical(2), name=5)


def test_verbs_need_children():
    with fails("multiply", "at least one child"):
        multiply()
    with fails("summate", "at least one child"):
        summate(num_nodes=1)
    with fails("multiply", "node vectors", "int"):
        multiply(leaf(0), 3)
    with fails("summate", "node vectors", "list"):
        summate([leaf(0)], num_nodes=1)


def test_product_of_products():
    with fails("multiply", "pair", "{0, 1}", "itself a product"):
        multiply(pair(), leaf(2))


def test_not_decomposable():
    with fails("not decomposable", "share variables {1}", "x1"):
        multiply(summate(pair(), num_nodes=2), leaf(1))


def test_not_smooth():
    with fails("not smooth", "pair", "{1}", "x0", "lacks"):
        summate(pair(), leaf(0), num_nodes=2)
    with fails("not smooth", "x0", "pair", "lacks {1}"):
        summate(leaf(0), pair(), num_nodes=2)


def test_products_without_edges_need_equal_lengths():
    with fails("multiply over variables {0, 1}", "2, 3 nodes", "edge_ids"):
        multiply(leaf(0, 2), leaf(1, 3))


@pytest.mark.parametrize("edge_ids", [[0, 1], [[0], [1]], [[0, 0, 0]]])
def test_shape_of_product_edges(edge_ids):
    with fails("multiply over variables {0, 1}", "[num_nodes, 2]", str(list(np.shape(edge_ids)))):
        multiply(leaf(0), leaf(1), edge_ids=edge_ids)


@pytest.mark.parametrize("index", [-1, 2])
def test_product_edge_out_of_range(index):
    with fails("multiply over variables {0, 1}", "column 1", "x1", f"index {index}", "0 to 1"):
        multiply(leaf(0), leaf(1), edge_ids=[[0, index]])


def test_edges_are_integers_and_not_empty():
    with fails("multiply over variables {0, 1}", "integers", "float64"):
        multiply(leaf(0), leaf(1), edge_ids=[[0.0, 1.0]])
    with fails("summate over variables {0, 1}", "integers", "bool"):
        summate(pair(), num_nodes=2, edge_ids=np.ones((2, 2), dtype=bool))
    with fails("summate over variables {0, 1}", "at least one edge"):
        summate(pair(), num_nodes=2, edge_ids=np.zeros((2, 0), dtype=int))


@pytest.mark.parametrize("edge_ids", [[0, 1], [[0, 1]], [[0, 1], [0, 1], [0, 1]]])
def test_shape_of_sum_edges(edge_ids):
    with fails("summate over variables {0, 1}", "[2, E]", str(list(np.shape(edge_ids)))):
        summate(pair(), num_nodes=2, edge_ids=edge_ids)


@pytest.mark.parametrize("edge_block", [0, -2, 1.0, None])
def test_edge_block_is_an_integer(edge_block):
    with fails("summate over variables {0, 1}", "edge_block", repr(edge_block)):
        summate(pair(), num_nodes=2, edge_ids=[[0, 1], [0, 1]], edge_block=edge_block)


def test_edge_block_divides_every_vector():
    with fails("edge_block 2", "divide", "SumNodes", "3 nodes"):
        summate(pair(4), num_nodes=3, edge_ids=[[0], [0]], edge_block=2)
    with fails("edge_block 2", "divide", "pair", "3 nodes"):
        summate(pair(3), num_nodes=4, edge_ids=[[0], [0]], edge_block=2)


def test_sum_edge_out_of_range():
    with fails("variables {0, 1}", "sum blocks", "index 2", "0 to 1"):
        summate(pair(4), num_nodes=4, edge_ids=[[0, 2], [0, 1]], edge_block=2)
    with fails("variables {0, 1}", "child blocks", "index 4", "0 to 3"):
        summate(pair(4), pair(4), num_nodes=4, edge_ids=[[0, 1], [0, 4]], edge_block=2)
    with fails("variables {0, 1}", "child blocks", "index -1"):
        summate(pair(4), num_nodes=4, edge_ids=[[0, 1], [0, -1]], edge_block=2)


def test_duplicate_edge():
    edge_ids = [[0, 1, 1, 1, 0, 1, 1], [0, 0, 1, 0, 0, 1, 1]]
    with fails("variables {0, 1}", "sum block 0 to child block 0", "2 times"):
        summate(pair(), num_nodes=2, edge_ids=edge_ids)


def test_sum_without_children():
    with fails("variables {0, 1}", "sum block 1 has no edge", "2 such blocks"):
        summate(pair(), num_nodes=3, edge_ids=[[0, 0], [0, 1]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5])
def test_parameters_are_finite_and_not_negative(bad):
    with fails("x0", "finite and not negative"):
        inputs(0, num_nodes=1, dist=COIN, params=[[bad, 1.0]], name="x0")
    with fails("top", "{0, 1}", "finite and not negative"):
        summate(pair(), num_nodes=1, params=[[bad, 1.0]], name="top")


def test_shape_of_parameters():
    with fails("x0", "[1, 2]", "[2]"):
        inputs(0, num_nodes=1, dist=COIN, params=[0.5, 0.5], name="x0")
    with fails("top", "{0, 1}", "[2, 1, 1]", "[2, 2]"):
        summate(pair(), num_nodes=2, edge_ids=[[0, 1], [0, 1]], params=np.eye(2), name="top")


# ---- errors of a whole circuit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pair, lambda: leaf(0), lambda: summate(pair(), num_nodes=2)])
def test_root_is_one_sum(make):
    with fails("root must be one sum node", "num_nodes=2", "num_nodes=1"):
        check_circuit(make())


def test_variables_have_no_gaps():
    with fails("variables up to 3", "{1, 2}"):
        check_circuit(summate(multiply(leaf(0), leaf(3)), num_nodes=1))


def test_one_distribution_per_variable():
    other = multiply(leaf(0, dist=Categorical(3)), leaf(1))
    with fails("variable 0 has two distributions", "num_cats=2", "num_cats=3"):
        check_circuit(summate(pair(), other, num_nodes=1))


def test_node_that_no_product_uses():
    with fails("unreachable", "node 1 of", "x1", "{1}", "1 such"):
        check_circuit(summate(multiply(leaf(0), leaf(1), edge_ids=[[0, 0], [1, 0]]), num_nodes=1))


def test_node_that_no_sum_uses():
    with fails("unreachable", "node 2 of", "pair", "{0, 1}", "2 such"):
        check_circuit(summate(pair(2), pair(4), num_nodes=1, edge_ids=[[0, 0, 0, 0], [0, 1, 2, 3]]))


def test_every_use_of_a_node_counts():
    """Nodes that one parent leaves out are reached through another."""
    shared, other = leaf(0, 4), leaf(1, 2)
    first = multiply(shared, other, edge_ids=[[0, 0], [1, 1]])
    second = multiply(shared, other, edge_ids=[[2, 0], [3, 1]])
    check_circuit(summate(first, second, num_nodes=1))


# ---- what holds for a right one -------------------------------------------------------------------------------------


def test_topological_order_has_each_vector_once_children_first():
    shared = leaf(0)
    root = summate(multiply(shared, leaf(1)), multiply(shared, leaf(1)), num_nodes=1)
    order = topological(root)
    assert len(order) == len(set(order)) == 6
    places = {nodes: place for place, nodes in enumerate(order)}
    assert all(places[child] < places[nodes] for nodes in order for child in nodes.children)


def test_deep_circuits_need_no_recursion():
    nodes = leaf(0)
    for var in range(1, 3000):
        nodes = summate(multiply(nodes, leaf(var)), num_nodes=2)
    assert len(check_circuit(summate(nodes, num_nodes=1))) == 3000 + 2 * 2999 + 1


@pytest.mark.parametrize("edge_ids, edge_block", [(None, 1), ([[0, 1, 2, 3, 0], [0, 1, 2, 3, 3]], 1), ([[0, 1, 1], [0, 0, 1]], 2)])
def test_initial_parameters_are_normalised_positive_and_seeded(edge_ids, edge_block):
    def build():
        return summate(summate(pair(4), num_nodes=4, edge_ids=edge_ids, edge_block=edge_block), num_nodes=1)

    root, same, other = build(), build(), build()
    init_params(root, seed=1)
    init_params(same, seed=1)
    init_params(other, seed=2)
    sums = root.children[0]
    assert sums.params.shape == sums.param_shape and sums.params.dtype == np.float32 and (sums.params > 0).all()
    totals = np.zeros(4)
    if edge_ids is None:
        totals = sums.params.sum(axis=1)
    else:
        for e, block in enumerate(edge_ids[0]):
            totals[block * edge_block : (block + 1) * edge_block] += sums.params[e].sum(axis=1)
    np.testing.assert_allclose(totals, 1.0, rtol=1e-6)
    np.testing.assert_array_equal(sums.params, same.children[0].params)
    assert not np.array_equal(sums.params, other.children[0].params)


def test_initial_parameters_keep_what_is_there():
    given = summate(pair(), num_nodes=1, params=[[0.25, 0.75]])
    init_params(given)
    assert given.params.tolist() == [[0.25, 0.75]]
    init_params(given, overwrite=True)
    assert given.params.tolist() != [[0.25, 0.75]]


def test_initial_parameters_take_the_seed_of_the_root():
    first, second = summate(pair(), num_nodes=1), summate(pair(), num_nodes=1)
    first.seed = 7
    init_params(first)
    init_params(second, seed=7)
    np.testing.assert_array_equal(first.params, second.params)


def test_normalising_keeps_zeros():
    sums = summate(pair(4), num_nodes=2, edge_ids=[[0, 1, 1], [0, 2, 3]])
    params = normalise_edges(sums, np.array([3.0, 0.0, 0.5]).reshape(3, 1, 1))
    assert params.ravel().tolist() == [1.0, 0.0, 1.0] and params.dtype == np.float32


def test_number_of_edges():
    assert summate(pair(4), num_nodes=8).num_edges == 32
    assert summate(pair(4), num_nodes=8, edge_ids=[[0, 1, 2, 3], [0, 0, 1, 1]], edge_block=2).num_edges == 16


def test_scope_in_words():
    assert describe_scope(0b1011) == "{0, 1, 3}"
    assert describe_scope((1 << 784) - 1) == "{0, 1, 2, 3, 4, 5, ... 784 variables}"
    assert leaf(5).variables == (5,) and pair().variables == (0, 1)


def test_circuits_need_no_torch():
    code = "import sys, pcviz.ir.checks, pcviz.structures, pcviz.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0

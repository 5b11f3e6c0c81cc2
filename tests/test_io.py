"""Files: what is saved comes back bit for bit; what is damaged or hostile is refused, quickly and cheaply."""

import json
import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest
from circuits import random_circuit, small_circuits
from equality import assert_same_circuit
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_harness import source_path
from safetensors import safe_open
from safetensors.numpy import save_file
from trained import pruned_digits

import pcviz as pcv
from pcviz import io
from pcviz.io import KEY, Row, load_with_extra
from pcviz.ir.distributions import Bernoulli, Gaussian
from pcviz.ir.nodes import init_params, input_vectors, inputs, multiply, sum_vectors, summate, topological

COIN = pcv.Categorical(num_cats=2)


def round_trip(root, tmp_path, **kwargs):
    path = tmp_path / "circuit.safetensors"
    pcv.save(root, path, **kwargs)
    return pcv.load(path)


def small():
    """A circuit with everything that a file can hold; vectors of several widths, sparse and dense, some without parameters."""
    dists = (COIN, pcv.Categorical(3), COIN, Gaussian(0.1, 2, 1e-3), Bernoulli())
    x = [inputs(var, num_nodes=4, dist=dist, name=f"x{var}") for var, dist in enumerate(dists)]
    rng = np.random.default_rng(0)
    x[0].params = rng.random((4, 2)).astype(np.float32)
    crossed = multiply(x[0], x[1], edge_ids=[[0, 3], [1, 2], [2, 1], [3, 0]])
    left = summate(crossed, num_nodes=4, edge_ids=[[1, 0, 1], [0, 1, 1]], edge_block=2, name="left é ∑\n")
    left.params = rng.random(left.param_shape).astype(np.float32)
    x[3].params = np.stack([rng.normal(size=4), rng.random(4)], axis=1).astype(np.float32)
    root = summate(multiply(left, *x[2:]), num_nodes=1)
    root.seed = 12345678901234567890
    return root


# ---- round trips ----------------------------------------------------------------------------------------------------


def test_everything_comes_back(tmp_path):
    root = small()
    assert_same_circuit(round_trip(root, tmp_path), root)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.booleans().flatmap(lambda gaussians: small_circuits(gaussians=gaussians)))
def test_random_circuits_come_back(tmp_path_factory, root):
    assert_same_circuit(round_trip(root, tmp_path_factory.mktemp("io")), root)


@pytest.mark.parametrize(
    "build",
    [
        lambda: pcv.PD((6, 6), 8, split_intervals=2, dist=pcv.Categorical(17), conn_block=4, seed=3),
        lambda: pcv.HCLT(pcv.datasets.digits("train")[:200], 5, seed=7),
        lambda: pcv.figure_5_layer(5, 8),
        pruned_digits,
    ],
    ids=["PD", "HCLT", "figure 5", "pruned"],
)
@pytest.mark.parametrize("initialised", [False, True])
def test_structures_come_back(tmp_path, build, initialised):
    root = build()
    if initialised:
        init_params(root)
    assert_same_circuit(round_trip(root, tmp_path), root)


def tied_chain(length: int, source_inside: bool = True):
    """A hidden Markov model of tied sparse transitions and tied inputs, whose sources may be no part of the circuit."""
    emission = inputs(length - 1, num_nodes=4, dist=COIN, params=np.full((4, 2), 0.5))
    transition = summate(emission, num_nodes=4, edge_ids=[[0, 1, 1], [1, 0, 1]], edge_block=2)
    transition.params = np.random.default_rng(0).random(transition.param_shape).astype(np.float32)
    state = transition if source_inside else transition.duplicate(emission.duplicate(tie_params=True), tie_params=True)
    for var in range(length - 1):
        state = multiply(state, emission.duplicate(var, tie_params=True))
        state = transition.duplicate(state, tie_params=True) if var < length - 2 else summate(state, num_nodes=1)
    return state


@pytest.mark.parametrize("source_inside", [True, False])
@pytest.mark.parametrize("initialised", [True, False])
def test_ties_come_back(tmp_path, source_inside, initialised):
    root = tied_chain(5, source_inside)
    if not initialised:
        for nodes in (*sum_vectors(root), *input_vectors(root)):
            nodes.params = None
    found = round_trip(root, tmp_path)
    assert_same_circuit(found, root)
    assert len({id(nodes.storage) for nodes in input_vectors(found)}) == 1 and len({id(nodes.storage) for nodes in sum_vectors(found)}) == 2
    with safe_open(str(tmp_path / "circuit.safetensors"), framework="np") as file:
        assert len(file.get_tensor("params")) == (8 + 12 if initialised else 0)  # once per tie class; the root has none


def test_special_floats_come_back(tmp_path):
    tiny = np.array([[np.finfo(np.float32).smallest_subnormal, np.float32(0.1), -0.0, np.finfo(np.float32).max]], np.float32)
    root = summate(inputs(0, num_nodes=4, dist=COIN), num_nodes=1, params=tiny)
    found = round_trip(root, tmp_path)
    assert found.params.tobytes() == tiny.tobytes() and found.children[0].params is None


def test_parameters_that_are_not_contiguous_come_back(tmp_path):
    root = small()
    for nodes in sum_vectors(root):
        nodes.params = np.asfortranarray(np.random.default_rng(1).random(nodes.param_shape).astype(np.float32))
    assert_same_circuit(round_trip(root, tmp_path), root)


def test_a_loaded_circuit_can_be_trained_and_saved_again(tmp_path):
    x = pcv.datasets.digits("train")[:200]
    root = pcv.PD((8, 8), 4, split_intervals=4, dist=pcv.Categorical(17))
    pc = pcv.TensorCircuit(pcv.compile(root, block_size=4))
    before = pc(x)
    found = round_trip(pc, tmp_path)  # a TensorCircuit writes its parameters back
    again = pcv.TensorCircuit(pcv.compile(found, block_size=4))
    assert (again(x) == before).all()
    for _ in pcv.fit(again, x, epochs=1):
        pass
    assert (again(x).mean() > before.mean()).all()
    trained = again(x)
    assert (pcv.TensorCircuit(pcv.compile(round_trip(again, tmp_path), block_size=8))(x) - trained).abs().max() < 1e-3


def test_extra_comes_back(tmp_path):
    extra = {"step": 3, "rng": {"state": 2**127 + 1}, "sizes": [1.5, None, True, "é"], "seed": np.int64(4)}
    path = tmp_path / "state.safetensors"
    pcv.save(small(), path, extra=extra)
    root, found = load_with_extra(path)
    assert found == extra and isinstance(found["seed"], int)
    assert_same_circuit(root, small())
    pcv.save(small(), path)
    assert load_with_extra(path)[1] == {}


@pytest.mark.parametrize(
    "extra, words", [({"a": float("nan")}, "finite numbers"), ({"a": object()}, "object"), ({"a": "x" * io.MAX_JSON}, "store less in extra")]
)
def test_extra_that_does_not_fit(tmp_path, extra, words):
    with pytest.raises(ValueError, match=words):
        pcv.save(small(), tmp_path / "circuit.safetensors", extra=extra)
    assert not list(tmp_path.iterdir())


def test_a_long_chain_needs_no_recursion(tmp_path):
    nodes = inputs(0, num_nodes=1, dist=COIN)
    for _ in range(3 * sys.getrecursionlimit()):
        nodes = summate(nodes, num_nodes=1)
    assert_same_circuit(round_trip(nodes, tmp_path), nodes)


def test_other_programs_can_read_the_file(tmp_path):
    pcv.save(small(), tmp_path / "c.safetensors")
    with safe_open(str(tmp_path / "c.safetensors"), framework="np") as file:
        assert json.loads(file.metadata()[KEY])["version"] == io.VERSION
        assert file.get_tensor("vectors").shape == (len(topological(small())), len(Row._fields))


def test_files_work_without_torch(tmp_path):
    code = f"""
import sys
sys.modules["torch"] = None
import pcviz as pcv
root = pcv.PD((2, 2), num_latents=4, dist=pcv.Categorical(num_cats=3))
pcv.save(root, {str(tmp_path / "c")!r})
assert pcv.load({str(tmp_path / "c")!r}).num_nodes == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ, "PYTHONPATH": source_path()})


# ---- writing --------------------------------------------------------------------------------------------------------


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "circuit.safetensors"
    pcv.save(small(), path)
    before = path.read_bytes()

    def half_written(tensors, filename, metadata):
        with open(filename, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(io, "save_file", half_written)
    with pytest.raises(OSError, match="disk full"):
        pcv.save(pcv.PD((2, 2), 4, dist=COIN), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_the_same_circuit_makes_the_same_file(tmp_path):
    for name in "ab":
        pcv.save(small(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_no_circuit_is_not_saved(tmp_path):
    with pytest.raises(pcv.CircuitError, match="root must be one sum node"):
        pcv.save(inputs(0, num_nodes=2, dist=COIN), tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="cannot be loaded: there is no such file in "):
        pcv.load(tmp_path / "c")


# ---- damage ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "circuit.safetensors"
    pcv.save(small(), path, extra={"step": 1})
    return path.read_bytes()


def loads(data: bytes, path):
    """The circuit in ``data``, or the message of the ValueError; any other exception fails the test."""
    path.write_bytes(data)
    try:
        return pcv.load(path)
    except ValueError as error:
        assert str(path) in str(error)
        return str(error)


def check_damage(data: bytes, path) -> bool:
    """Whether ``data`` is refused; if not, it must be the very circuit."""
    found = loads(data, path)
    if isinstance(found, str):
        return True
    assert_same_circuit(found, small())
    return False


def test_every_truncation_is_refused(saved, tmp_path):
    start = time.perf_counter()
    for length in range(0, len(saved), 3):
        assert check_damage(saved[:length], tmp_path / "c"), length
    assert check_damage(saved + b"\0", tmp_path / "c")
    assert time.perf_counter() - start < 20


def test_flipped_bits_and_random_bytes_are_refused(saved, tmp_path):
    rng = np.random.default_rng(0)
    refused = 0
    places = [*range(8), *rng.integers(0, len(saved), 1200).tolist()]
    for number, place in enumerate(places):
        damaged = bytearray(saved)
        damaged[place] = damaged[place] ^ (1 << rng.integers(8)) if number % 2 else rng.integers(256)
        refused += check_damage(bytes(damaged), tmp_path / "c")
    assert refused > 0.95 * len(places)  # the rest: random bytes that were there already, another blank in the header's padding


def test_lost_and_repeated_parts_are_refused(saved, tmp_path):
    rng = np.random.default_rng(1)
    for _ in range(200):
        low, high = sorted(rng.integers(0, len(saved), 2).tolist())
        if low < high:
            assert check_damage(saved[:low] + saved[high:], tmp_path / "c")
            assert check_damage(saved[:high] + saved[low:], tmp_path / "c")


@pytest.mark.parametrize("name", ["params", "vectors"])
def test_a_stretched_file_takes_no_memory(saved, tmp_path, name):
    """A header that claims 64 MB of a tensor, and a sparse file of that length: 2 KB on the disk."""
    start = 8 + int.from_bytes(saved[:8], "little")
    header, shift = json.loads(saved[8:start]), 0
    for tensor in sorted((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"]):
        low, high = (offset + shift for offset in header[tensor]["data_offsets"])
        if tensor == name:
            header[tensor]["shape"][0] = 2**20
            longer = low + 2**20 * (72 if name == "vectors" else 4)
            shift += longer - high
            high = longer
        header[tensor]["data_offsets"] = [low, high]
    text = json.dumps(header).encode()
    with open(tmp_path / "c", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + len(saved) - start + shift)
    refused(None, tmp_path / "c", "do not match their SHA-256", most_seconds=5)


# ---- hostile files: everything about them is right except what they say ----------------------------------------------


class Forged:
    """A saved circuit whose tensors and JSON text can be changed before they are signed again."""

    def __init__(self, root):
        order = topological(root)
        self.tensors = io._tensors(order, [COIN])
        self.document = {"version": 1, "seed": 0, "distributions": [{"name": "Categorical", "num_cats": 2}], "extra": {}}

    def change(self, row: int, **fields):
        for name, value in fields.items():
            self.tensors["vectors"][row, Row._fields.index(name)] = value
        return self

    def write(self, path):
        text = self.document if isinstance(self.document, str) else json.dumps(self.document)
        digest = np.frombuffer(io._digest(text, self.tensors), np.uint8)
        save_file({name: np.ascontiguousarray(t) for name, t in {**self.tensors, "sha256": digest}.items()}, str(path), metadata={KEY: text})


def pair():
    """Vectors 0 and 1: inputs of two nodes; 2: their product; 3: sums with edges; 4: the root. No parameters."""
    product = multiply(*(inputs(var, num_nodes=2, dist=COIN) for var in (0, 1)), edge_ids=[[0, 1], [1, 0]])
    return summate(summate(product, num_nodes=2, edge_ids=[[0, 1], [1, 0]]), num_nodes=1)


def refused(forged, path, *words: str, most_bytes: int = 3_000_000, most_seconds: float = 0.5):
    """The file is refused with ``words``, without a large allocation and at once. ``forged`` None: it is there already."""
    if isinstance(forged, Forged):
        forged.write(path)
    elif forged is not None:
        path.write_bytes(forged)
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(ValueError) as error:
            pcv.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert all(word in str(error.value) for word in words), error.value
    assert peak < most_bytes and time.perf_counter() - start < most_seconds, (peak, time.perf_counter() - start)


def test_an_honest_forgery_loads(tmp_path):
    Forged(pair()).write(tmp_path / "c")
    assert_same_circuit(pcv.load(tmp_path / "c"), pair())


@pytest.mark.parametrize(
    "row, fields, words",
    [
        (0, {"num_nodes": 10**9}, ["67,108,864 nodes"]),
        (0, {"num_nodes": 2**62}, ["67,108,864 nodes"]),
        (3, {"num_nodes": 10**7}, ["cannot reach 10,000,000 sums"]),
        (0, {"num_nodes": 0}, ["num_nodes must be an integer of at least 1"]),
        (0, {"num_nodes": -2}, ["no negative number"]),
        (0, {"kind": 7}, ["kinds 0 to 2"]),
        (0, {"var": 10**9}, ["found variable 1000000000"]),
        (1, {"var": 0}, ["not decomposable"]),
        (0, {"dist": 5}, ["distribution 5"]),
        (0, {"has_params": 2}, ["has_params"]),
        (0, {"has_params": 1}, ["claims 4 entries of tensor params, where 0 are left"]),
        (0, {"num_children": 1}, ["child 0 is no earlier vector"]),
        (2, {"num_children": 10**9}, ["claims 1,000,000,000 entries of tensor children"]),
        (2, {"num_edges": 10**9}, ["edges of no product or of all 2, found 1,000,000,000"]),
        (2, {"num_nodes": 10**6, "num_edges": 10**6}, ["claims 2,000,000 entries of tensor edges"]),
        (3, {"num_edges": 2**62}, ["entries of tensor edges"]),
        (3, {"edge_block": 0}, ["cannot reach 2 sums"]),
        (3, {"edge_block": 4}, ["edge_block 4 must divide"]),
        (3, {"edge_block": 2**40}, ["at most 17,179,869,184 parameters"]),
        (0, {"storage": 4}, ["cannot be tied", "one kind and length"]),
        (0, {"storage": 2}, ["vector 2, which keeps none of its own"]),
        (4, {"storage": 10**12}, ["vector 1000000000000, which keeps none"]),
        (3, {"storage": 4}, ["cannot be tied"]),
        (4, {"edge_block": 0}, ["edge_block must be an integer of at least 1"]),
        (4, {"num_nodes": 10**8 // 2}, ["root must be one sum node"]),
        (3, {"num_nodes": 2**25, "num_edges": 0}, ["tensor edges has 8 entries, its vectors take 4"]),
    ],
)
def test_false_claims_are_refused(tmp_path, row, fields, words):
    refused(Forged(pair()).change(row, **fields), tmp_path / "c", *words)


def test_parameters_that_would_be_too_many_are_refused(tmp_path):
    forged = Forged(summate(summate(inputs(0, num_nodes=2, dist=COIN), num_nodes=2), num_nodes=1))
    refused(forged.change(0, num_nodes=2**25).change(1, num_nodes=2**24), tmp_path / "c", "at most 17,179,869,184 parameters")
    forged = Forged(summate(inputs(0, num_nodes=2, dist=COIN), num_nodes=1))
    forged.document["distributions"][0]["num_cats"] = 10**100
    refused(forged, tmp_path / "c", "at most 17,179,869,184 parameters")


@pytest.mark.parametrize("child", [2, 3, 4, 10**9, -1])
def test_children_stand_before_their_parents(tmp_path, child):
    """Cycles and references forward are one and the same error."""
    forged = Forged(pair())
    forged.tensors["children"][1] = child
    refused(forged, tmp_path / "c", "vector 2", f"child {child} is no earlier vector")


def test_ties_of_unequal_vectors_are_refused(tmp_path):
    """The compiler lays parameters out once for a tie class: edges in another order would exchange them."""
    for change in (lambda ids: ids[[1, 0]], lambda ids: ids[:, ::-1]):
        forged = Forged(tied_chain(4))
        ids = forged.tensors["edges"][:6].reshape(2, 3)
        forged.tensors["edges"][:6] = change(ids.copy()).ravel()
        refused(forged, tmp_path / "c", "cannot be tied", "edge_ids must be equal")


def test_chains_of_ties_are_refused(tmp_path):
    root = summate(multiply(*(inputs(var, num_nodes=1, dist=COIN) for var in range(3))), num_nodes=1)
    refused(Forged(root).change(0, storage=1).change(1, storage=2), tmp_path / "c", "vector 0", "vector 1, which keeps none")


def test_vectors_that_the_root_does_not_reach_are_refused(tmp_path):
    forged = Forged(summate(inputs(0, num_nodes=1, dist=COIN), inputs(0, num_nodes=1, dist=COIN), num_nodes=1))
    forged.tensors["children"] = forged.tensors["children"][:1]
    refused(forged.change(2, num_children=1), tmp_path / "c", "the root reaches 2 of its 3 vectors")


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("vectors", lambda t: t.ravel(), ["tensor vectors: expected shape [n, 9]"]),
        ("vectors", lambda t: t[:0], ["tensor vectors: expected shape [n, 9], found [0, 9]"]),
        ("vectors", lambda t: t.astype(np.int32), ["expected the tensors", "found", "vectors I32"]),
        ("children", lambda t: np.append(t, t[:1]), ["tensor children has 5 entries, its vectors take 4"]),
        ("children", lambda t: t[:, None], ["tensor children: expected shape [n], found [4, 1]"]),
        ("edges", lambda t: t[:-1], ["claims 4 entries of tensor edges, where 3 are left"]),
        ("edges", lambda t: t + 1, ["index 2 is out of range"]),
        ("edges", lambda t: t.astype(np.float32), ["edges F32"]),
        ("name_lengths", lambda t: t + 2**30, ["tensor names"]),
        ("names", lambda t: np.full(3, 255, np.uint8), ["tensor names has 3 entries"]),
        ("params", lambda t: np.zeros(3, np.float32), ["tensor params has 3 entries, its vectors take 0"]),
    ],
)
def test_false_tensors_are_refused(tmp_path, name, change, words):
    forged = Forged(pair())
    forged.tensors[name] = change(forged.tensors[name])
    refused(forged, tmp_path / "c", *words)


def test_more_and_fewer_tensors_are_refused(tmp_path):
    forged = Forged(pair())
    forged.tensors["more"] = np.zeros(1)
    refused(forged, tmp_path / "c", "expected the tensors", "found 8 tensors")
    save_file({"vectors": np.zeros(1)}, str(tmp_path / "c"), metadata={KEY: '{"version": 1}'})
    refused((tmp_path / "c").read_bytes(), tmp_path / "c", "expected the tensors")
    save_file({"weights": np.zeros(1)}, str(tmp_path / "c"))
    refused((tmp_path / "c").read_bytes(), tmp_path / "c", 'safetensors file without "pcviz"')


def test_parameters_must_be_finite(tmp_path):
    for value in (np.nan, np.inf, -1.0):
        root = summate(inputs(0, num_nodes=1, dist=COIN), num_nodes=1, params=[[1.0]])
        forged = Forged(root)
        forged.tensors["params"][:] = value
        refused(forged, tmp_path / "c", "params must be finite and not negative")


def with_distribution(fields) -> dict:
    return {"version": 1, "seed": 0, "distributions": [fields], "extra": {}}


@pytest.mark.parametrize(
    "document, words",
    [
        ({"version": 2}, ["format version 2, this pcviz reads up to version 1; install a newer pcviz"]),
        ({"version": "1"}, ["format version of 1 or more", "'1'"]),
        ({"version": True}, ["found True"]),
        ({}, ["found None"]),
        ([], ["found None"]),
        ({"version": 1}, ["expected a seed"]),
        ({"version": 1, "seed": -1, "distributions": [], "extra": {}}, ["expected a seed of at least 0"]),
        (with_distribution(3), ["expected a distribution (Categorical, Bernoulli, Gaussian)"]),
        (with_distribution({"name": "eval"}), ["expected a distribution (Categorical, Bernoulli, Gaussian)"]),
        (with_distribution({"name": "Categorical", "x": 1}), ["expected a distribution (Categorical, Bernoulli, Gaussian)"]),
        (with_distribution({"name": "Bernoulli", "num_cats": 3}), ["expected a distribution"]),
        (with_distribution({"name": ["Categorical"]}), ["expected a distribution"]),
        (with_distribution({"name": "Categorical", "num_cats": 1.5}), ["integer of at least 1"]),
        (with_distribution({"name": "Gaussian", "mu": 10**400}), ["expected a distribution"]),
        (with_distribution({"name": "Gaussian", "sigma": float("nan")}), ["finite number"]),
        (with_distribution({"name": "Gaussian", "min_sigma": 0}), ["above 0"]),
        ({"version": 1, "seed": 0, "distributions": [], "extra": []}, ["dictionary extra"]),
        ("[" * 500_000, ["recursion"]),
        ('{"version": ' + "9" * 500_000 + "}", ["digit"]),
        ("{" + " " * 2_000_000 + "}", ["JSON text in its header has 2,000,002 bytes"]),
        ("no json", ["Expecting value"]),
    ],
)
def test_false_headers_are_refused(tmp_path, document, words):
    forged = Forged(pair())
    forged.document = document
    refused(forged, tmp_path / "c", *words, most_bytes=20_000_000)


def header(text: bytes, length: int | None = None, rest: bytes = b"") -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text + rest


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", ["found 0 bytes"]),
        (b"PK\x03", ["found 3 bytes"]),
        (b"hello world, this is a text", ["claim a header of"]),
        (header(b"{}", 2**63), ["claim a header of 9,223,372,036,854,775,808"]),
        (header(b"{}", 3), ["claim a header of 3"]),
        (header(b"{" + b" " * io.MAX_HEADER + b"}"), ["header of at most 4,194,304 bytes"]),
        (header(b"{}"), ['without "pcviz"']),
        (header(b"[]"), []),
        (header(b'{"vectors":{"dtype":"I64","shape":[1000000000000,9],"data_offsets":[0,72000000000000]}}'), []),
        (header(b'{"vectors":{"dtype":"I64","shape":[4611686018427387904,9],"data_offsets":[0,8]}}', rest=b"\0" * 8), []),
        (header(b'{"vectors":{"dtype":"I64","shape":[1],"data_offsets":[8,0]}}', rest=b"\0" * 8), []),
        (header(b'{"a":{"dtype":"I8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[8],"data_offsets":[0,8]}}', rest=b"\0" * 8), []),
        (header(b'{"vectors":{"dtype":"PICKLE","shape":[1],"data_offsets":[0,8]}}', rest=b"\0" * 8), []),
        (header(b'{"a":' * 500_000), []),
    ],
)
def test_false_beginnings_are_refused(tmp_path, data, words):
    refused(data, tmp_path / "c", "cannot be loaded", *words)


def test_a_header_with_very_many_tensors_is_refused(tmp_path):
    entry = ",".join(f'"{i}":{{"dtype":"I8","shape":[0],"data_offsets":[0,0]}}' for i in range(60_000))
    text = f'{{"__metadata__":{{"{KEY}":"{{\\"version\\":1}}"}},{entry}}}'.encode()
    refused(header(text), tmp_path / "c", "expected the tensors", "60,000 tensors", most_bytes=60_000_000, most_seconds=3.0)


def test_a_pickle_is_not_run(tmp_path):
    import pickle

    class Harm:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    refused(pickle.dumps(Harm()), tmp_path / "c", "expected a circuit saved by pcv.save")


def test_random_files_from_many_seeds(tmp_path):
    """Damaged in place and signed again: the constructors decide, and never with anything but a ValueError."""
    outcomes = set()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        root = random_circuit(seed % 10, gaussians=seed % 2 == 0)
        dists = list(dict.fromkeys(nodes.dist for nodes in topological(root) if nodes.kind == "input"))
        forged = Forged.__new__(Forged)
        forged.tensors = io._tensors(topological(root), dists)
        named = [{"name": type(dist).__name__, **asdict(dist)} for dist in dists]
        forged.document = {"version": 1, "seed": 0, "extra": {}, "distributions": named}
        name = ("vectors", "children", "edges", "name_lengths")[seed % 4]
        tensor = forged.tensors[name] = forged.tensors[name].copy()
        if tensor.size:
            tensor.flat[rng.integers(tensor.size)] += rng.choice([-1, 1, 2, 1000, -(2**30)])
        forged.write(tmp_path / "c")
        outcomes.add(isinstance(loads((tmp_path / "c").read_bytes(), tmp_path / "c"), str))
    assert outcomes == {True, False}


def test_every_distribution_comes_back(tmp_path):
    dists = [pcv.Bernoulli(), pcv.Gaussian(mu=np.float32(-1.5), sigma=2, min_sigma=0.25), pcv.Categorical(3)]
    leaves = [pcv.inputs(var, num_nodes=2, dist=dist) for var, dist in enumerate(dists)]
    root = pcv.summate(pcv.multiply(*leaves), num_nodes=1)
    init_params(root)
    leaves[1].params[:] = [[-3.5, 0.5], [4.0, 2.0]]
    pcv.save(root, tmp_path / "circuit")
    found = pcv.load(tmp_path / "circuit").children[0].children
    assert [nodes.dist for nodes in found] == dists
    for nodes, leaf in zip(found, leaves):
        np.testing.assert_array_equal(nodes.params, leaf.params)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere/circuit cannot be written: there is no folder .*nowhere"):
        pcv.save(random_circuit(0), tmp_path / "nowhere" / "circuit")

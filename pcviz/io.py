"""Circuits in files: ``save`` and ``load``, one safetensors file, never a pickle, so that a stranger's file cannot run code.

A file holds seven tensors and one JSON text in its header (key "pcviz"):

- ``vectors`` int64 [n, 9]: one row per node vector, children before parents, the root last; see Row.
- ``children``, ``edges``: what the rows refer to, end to end in their order. Edges are those of products [num_nodes, arity]
  and of sums [2, E]; int32 unless an index needs int64.
- ``params`` float32: the parameters of the vectors that have some, in canonical form, end to end.
- ``name_lengths`` int32 [n] (-1: no name), ``names`` uint8: UTF-8, end to end.
- ``sha256`` uint8 [32] of everything else, so that a damaged file is noticed and never becomes another circuit.
- the JSON text: version of the format, seed, distributions, and what the caller added as ``extra``.

Nothing in a file is believed: sizes are compared with the file before anything is read, the digest is computed a piece at a
time before anything is kept, what a vector takes is compared with what is there, and vectors are built by the ordinary
constructors, which check indices.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .ir.checks import check_circuit
from .ir.distributions import Distribution
from .ir.nodes import InputNodes, Nodes, ParamNodes, ProdNodes, SumNodes
from .ir.ties import tie
from .whole_files import check_folder, whole_file

VERSION = 1
KEY = "pcviz"
KINDS = (InputNodes, ProdNodes, SumNodes)
DISTRIBUTIONS = get_args(Distribution)
TENSORS = {
    "vectors": ("I64",),
    "children": ("I32",),
    "edges": ("I32", "I64"),
    "params": ("F32",),
    "name_lengths": ("I32",),
    "names": ("U8",),
    "sha256": ("U8",),
}
PIECE = 1 << 14  # rows of a tensor that are read at a time for the digest
MAX_JSON = 1 << 20  # bytes of the JSON text
MAX_HEADER = 4 * MAX_JSON  # the text is quoted once more in the header
MAX_NODES = 1 << 26  # of a circuit; vectors without parameters cost a file nothing, but whoever compiles it memory
MAX_PARAMS = 1 << 34


class Row(NamedTuple):
    """One node vector in ``vectors``; what a kind does not have is 0."""

    kind: int  # index into KINDS
    num_nodes: int
    num_children: int
    var: int
    dist: int  # index into the distributions of the JSON text
    edge_block: int
    num_edges: int  # rows of a product's edge_ids, columns of a sum's; 0: edge_ids is None
    storage: int  # row of the vector that keeps the parameters: another row's for tied vectors; 0 for products
    has_params: int  # 1: they follow in params (of tied vectors those of one, which keeps them)


def save(root: Nodes, path, *, extra: dict | None = None) -> None:
    """Write the circuit under ``root``, or of a TensorCircuit (which writes its parameters back first), to the file ``path``.

    The file holds all that ``root`` holds, bit for bit: structure, order, names, seed, distributions, parameters (float32;
    vectors that have none stay without). ``extra``: a dictionary for JSON, at most a megabyte, which ``load_with_extra``
    returns. The file appears at once and whole; an older one is replaced, and kept when writing fails.

    Raises CircuitError for a wrong structure, ValueError for an ``extra`` that JSON cannot hold, FileNotFoundError for a folder
    that is not there.
    """
    path = Path(path).resolve()
    check_folder(path)
    root = root.write_back() if hasattr(root, "write_back") else root
    order = check_circuit(root)
    dists = list(dict.fromkeys(nodes.dist for nodes in order if isinstance(nodes, InputNodes)))
    tensors = _tensors(order, dists)
    named = [{"name": type(dist).__name__, **asdict(dist)} for dist in dists]
    text = _json_text({"version": VERSION, "seed": root.seed, "distributions": named, "extra": {} if extra is None else extra})
    tensors["sha256"] = np.frombuffer(_digest(text, tensors), dtype=np.uint8)
    _write(path, tensors, text)


def load(path) -> SumNodes:
    """The circuit in the file ``path``, as ``save`` wrote it. Raises ValueError when it is damaged, newer or no such
    file of pcviz's, FileNotFoundError when there is none."""
    return load_with_extra(path)[0]


def load_with_extra(path) -> tuple[SumNodes, dict]:
    """(circuit, the ``extra`` that it was saved with)."""
    path = Path(path)
    try:
        text, tensors = _read(path)
        document = _document(text)
        root = _Reader(document, tensors).circuit()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} cannot be loaded: there is no such file in {path.absolute().parent}.") from error
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    return root, document["extra"]


# ---- writing ------------------------------------------------------------------------------------------------------------


def _tensors(order: list[Nodes], dists: list) -> dict[str, np.ndarray]:
    position = {id(nodes): i for i, nodes in enumerate(order)}
    dist_ids = {dist: i for i, dist in enumerate(dists)}
    keepers = dict(position)  # of a tie class whose source is not in the circuit, the first vector keeps the parameters
    rows = [_row(nodes, i, dist_ids, keepers) for i, nodes in enumerate(order)]
    edges = _concatenate([nodes.edge_ids.ravel() for nodes in order if _has_edges(nodes)], np.int64)
    names = [None if nodes.name is None else nodes.name.encode("utf-8", "surrogatepass") for nodes in order]
    return {
        "vectors": np.array(rows, dtype=np.int64),
        "children": np.array([position[id(child)] for nodes in order for child in nodes.children], dtype=np.int32),
        "edges": edges.astype(np.int32) if edges.max(initial=0) <= np.iinfo(np.int32).max else edges,
        "params": _concatenate([nodes.params.ravel() for nodes, row in zip(order, rows) if row.has_params], np.float32),
        "name_lengths": np.array([-1 if name is None else len(name) for name in names], dtype=np.int32),
        "names": np.frombuffer(b"".join(name or b"" for name in names), dtype=np.uint8),
    }


def _row(nodes: Nodes, number: int, dist_ids: dict, keepers: dict) -> Row:
    row = Row(KINDS.index(type(nodes)), nodes.num_nodes, len(nodes.children), 0, 0, 0, 0, 0, 0)
    if isinstance(nodes, ProdNodes):
        return row._replace(num_edges=nodes.num_nodes if _has_edges(nodes) else 0)
    storage = keepers.setdefault(id(nodes.storage), number)
    row = row._replace(storage=storage, has_params=int(storage == number and nodes.params is not None))
    if isinstance(nodes, InputNodes):
        return row._replace(var=nodes.var, dist=dist_ids[nodes.dist])
    return row._replace(edge_block=nodes.edge_block, num_edges=nodes.edge_ids.shape[1] if _has_edges(nodes) else 0)


def _has_edges(nodes: Nodes) -> bool:
    return not isinstance(nodes, InputNodes) and nodes.edge_ids is not None


def _concatenate(arrays: list[np.ndarray], dtype) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype, copy=False) if arrays else np.empty(0, dtype=dtype)


def _json_text(document: dict) -> str:
    try:
        text = json.dumps(document, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"save(extra=...) expects a dictionary of what JSON knows (text, finite numbers, lists, dictionaries): {error}") from error
    if len(text) > MAX_JSON:
        raise ValueError(f"save: seed, distributions and extra take {len(text):,} bytes as JSON, at most {MAX_JSON:,} fit; store less in extra.")
    return text


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not one of them")


def _digest(text: str, tensors: dict[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256(text.encode())
    for name in TENSORS:
        if name != "sha256":
            digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.digest()


def _write(path: Path, tensors: dict[str, np.ndarray], text: str) -> None:
    with whole_file(path) as part:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, str(part), metadata={KEY: text})
        with open(part, "rb+") as file:
            os.fsync(file.fileno())


# ---- reading ------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """The JSON text and the tensors, after their sizes were compared with the file and their digest with the contents."""
    with open(path, "rb") as file:
        start, size = file.read(8), os.fstat(file.fileno()).st_size
    header = int.from_bytes(start, "little")
    if len(start) < 8 or header > min(size - 8, MAX_HEADER):
        found = f"found {size:,} bytes" + (f", of which the first 8 claim a header of {header:,}" if len(start) == 8 else "")
        raise ValueError(f"expected a circuit saved by pcv.save (a header of at most {MAX_HEADER:,} bytes, inside the file), {found}; {_AGAIN}")
    with safe_open(str(path), framework="np") as file:
        text = (file.metadata() or {}).get(KEY)
        if text is None:
            raise ValueError(f'expected a circuit saved by pcv.save, found a safetensors file without "{KEY}" in its header.')
        _check_version(text)
        names = file.keys()
        found = {name: file.get_slice(name).get_dtype() for name in (names if len(names) == len(TENSORS) else [])}
        if found.keys() != TENSORS.keys() or any(found[name] not in TENSORS[name] for name in found):
            expected = ", ".join(f"{name} {'/'.join(dtypes)}" for name, dtypes in TENSORS.items())
            listed = ", ".join(f"{name} {dtype}" for name, dtype in found.items()) or f"{len(names):,} tensors"
            raise ValueError(f"expected the tensors {expected}, found {listed}; {_AGAIN}")
        for name in TENSORS:
            _check_shape(name, file.get_slice(name).get_shape())
        if file.get_tensor("sha256").tobytes() != _stored_digest(text, file):
            raise ValueError(f"its contents do not match their SHA-256: the file is damaged; {_AGAIN}")
        return text, {name: file.get_tensor(name) for name in TENSORS}


def _check_shape(name: str, shape: list[int]) -> None:
    expected = {"vectors": f"[n, {len(Row._fields)}]", "sha256": "[32]"}.get(name, "[n]")
    fits = {"vectors": len(shape) == 2 and shape[1:] == [len(Row._fields)] and shape[0] > 0, "sha256": shape == [32]}.get(name, len(shape) == 1)
    if not fits:
        raise ValueError(f"tensor {name}: expected shape {expected}, found {shape}; {_AGAIN}")


def _stored_digest(text: str, file) -> bytes:
    """The digest of an open file. It may be far larger than what was written to it (a damaged or a sparse one): that costs time, no memory."""
    digest = hashlib.sha256(text.encode())
    for name in TENSORS:
        part = file.get_slice(name)
        length = part.get_shape()[0] if name != "sha256" else 0
        for first in range(0, length, PIECE):
            digest.update(np.ascontiguousarray(part[first : min(first + PIECE, length)]).data)
    return digest.digest()


_AGAIN = "copy or save it again"


def _check_version(text: str) -> None:
    """The first thing that is read, because a newer file may differ in everything else."""
    document = _document(text)
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"expected a format version of 1 or more in its header, found {version!r}; {_AGAIN}")
    if version > VERSION:
        raise ValueError(f"it is of format version {version}, this pcviz reads up to version {VERSION}; install a newer pcviz.")


def _document(text: str) -> dict:
    if len(text) > MAX_JSON:
        raise ValueError(f"the JSON text in its header has {len(text):,} bytes, expected at most {MAX_JSON:,}; {_AGAIN}")
    return json.loads(text)


class _Run:
    """An array from which vectors take their parts one after the other."""

    def __init__(self, name: str, array: np.ndarray):
        self.name, self.array, self.used = name, array, 0

    def take(self, count: int, where: str) -> np.ndarray:
        left = len(self.array) - self.used
        if not 0 <= count <= left:
            raise ValueError(f"{where} claims {count:,} entries of tensor {self.name}, where {left:,} are left; {_AGAIN}")
        self.used += count
        return self.array[self.used - count : self.used]

    def finish(self) -> None:
        if self.used != len(self.array):
            raise ValueError(f"tensor {self.name} has {len(self.array):,} entries, its vectors take {self.used:,}; {_AGAIN}")


class _Reader:
    """Builds the vectors of a file, one row after the other."""

    def __init__(self, document: dict, tensors: dict[str, np.ndarray]):
        self.seed, self.dists = _checked_document(document)
        self.rows = [Row(*row) for row in tensors["vectors"].tolist()]
        self.runs = {name: _Run(name, tensors[name]) for name in ("children", "edges", "params", "name_lengths", "names")}
        self.built: list[Nodes] = []
        self.num_params = 0

    def circuit(self) -> SumNodes:
        self.check_claims()
        for number, row in enumerate(self.rows):
            self.built.append(self.vector(row, number))
        self.tie()
        for run in self.runs.values():
            run.finish()
        root = self.built[-1]
        reached = len(check_circuit(root))
        if reached < len(self.built):
            raise ValueError(f"the root reaches {reached:,} of its {len(self.built):,} vectors; {_AGAIN}")
        root.seed = self.seed
        return root

    def check_claims(self) -> None:
        """Bound what rows can claim without anything in the file that pays for it."""
        num_nodes, num_kinds = sum(row.num_nodes for row in self.rows), len(KINDS)
        if min(map(min, self.rows)) < 0 or max(row.kind for row in self.rows) >= num_kinds or max(row.has_params for row in self.rows) > 1:
            raise ValueError(f"expected kinds 0 to {num_kinds - 1}, has_params 0 or 1 and no negative number in tensor vectors; {_AGAIN}")
        if num_nodes > MAX_NODES:
            raise ValueError(f"expected at most {MAX_NODES:,} nodes in all, found {num_nodes:,}; {_AGAIN}")
        variables = {row.var for row in self.rows if KINDS[row.kind] is InputNodes}
        if variables and max(variables) >= len(variables):  # a scope takes a bit for every variable up to its last one
            raise ValueError(f"expected variables 0 to {len(variables) - 1}, found variable {max(variables)}; {_AGAIN}")

    def tie(self) -> None:
        """Tied vectors may stand before the one that keeps their parameters, so all are built first."""
        for number, (nodes, row) in enumerate(zip(self.built, self.rows)):
            if isinstance(nodes, ParamNodes) and row.storage != number:
                if row.storage >= len(self.rows) or self.rows[row.storage].storage != row.storage:
                    raise ValueError(f"vector {number}: its parameters are those of vector {row.storage}, which keeps none of its own; {_AGAIN}")
                tie(nodes, self.built[row.storage])

    def vector(self, row: Row, number: int) -> Nodes:
        where = f"vector {number}"
        name = self.name(where)
        children = [self.child(number, where) for number in self.take("children", row.num_children, where).tolist()]
        kind = KINDS[row.kind]
        if kind is ProdNodes:
            return ProdNodes(children, self.product_edges(row, where), name)
        if kind is SumNodes:
            edge_ids = self.sum_edges(row, where)
            num_children = sum(child.num_nodes for child in children)
            shape = (row.num_nodes, num_children) if edge_ids is None else (row.num_edges, row.edge_block, row.edge_block)
            return SumNodes(children, row.num_nodes, edge_ids, row.edge_block, self.params(row, number, shape), name)
        if children or row.dist >= len(self.dists):
            found = f"{len(children)} children and distribution {row.dist}"
            raise ValueError(f"{where}: expected an input without children and one of {len(self.dists)} distributions, found {found}; {_AGAIN}")
        dist = self.dists[row.dist]
        return InputNodes(row.var, row.num_nodes, dist, self.params(row, number, (row.num_nodes, dist.num_params)), name)

    def child(self, number: int, where: str) -> Nodes:
        if not 0 <= number < len(self.built):
            raise ValueError(f"{where}: child {number} is no earlier vector; children stand before their parents; {_AGAIN}")
        return self.built[number]

    def take(self, name: str, count: int, where: str) -> np.ndarray:
        return self.runs[name].take(count, where)

    def name(self, where: str) -> str | None:
        length = int(self.take("name_lengths", 1, where)[0])
        return None if length == -1 else self.take("names", length, where).tobytes().decode("utf-8", "surrogatepass")

    def product_edges(self, row: Row, where: str) -> np.ndarray | None:
        if row.num_edges not in (0, row.num_nodes):
            raise ValueError(f"{where}: expected edges of no product or of all {row.num_nodes:,}, found {row.num_edges:,}; {_AGAIN}")
        return self.take("edges", row.num_edges * row.num_children, where).reshape(-1, row.num_children) if row.num_edges else None

    def sum_edges(self, row: Row, where: str) -> np.ndarray | None:
        if row.num_edges * row.edge_block < row.num_nodes and row.num_edges:
            raise ValueError(f"{where}: {row.num_edges:,} edges of block {row.edge_block} cannot reach {row.num_nodes:,} sums; {_AGAIN}")
        return self.take("edges", 2 * row.num_edges, where).reshape(2, -1) if row.num_edges else None

    def params(self, row: Row, number: int, shape: tuple[int, ...]) -> np.ndarray | None:
        where, count = f"vector {number}", math.prod(shape)  # Python's integers do not overflow
        if row.storage != number:
            return None
        self.num_params += count
        if self.num_params > MAX_PARAMS:
            raise ValueError(f"{where}: expected at most {MAX_PARAMS:,} parameters in all, found {self.num_params:,} or more; {_AGAIN}")
        return self.take("params", count, where).reshape(shape) if row.has_params else None


def _checked_document(document: dict) -> tuple[int, list]:
    """(seed, distributions) of the JSON text."""
    seed, named, extra = document.get("seed"), document.get("distributions"), document.get("extra")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 or not isinstance(named, list) or not isinstance(extra, dict):
        raise ValueError(f"expected a seed of at least 0, a list of distributions and a dictionary extra in its header; {_AGAIN}")
    return seed, [_distribution(fields) for fields in named]


def _distribution(fields):
    classes = {cls.__name__: cls for cls in DISTRIBUTIONS}
    try:
        fields = dict(fields)
        return classes[fields.pop("name")](**fields)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"expected a distribution ({', '.join(classes)}) and its arguments, found {fields!r}; install a newer pcviz.") from error

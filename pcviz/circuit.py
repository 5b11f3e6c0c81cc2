"""TensorCircuit: a plan on a device. Likelihoods, flows, queries and EM of whole data sets, by an engine for micro-batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from pcviz_kernels.api import choose
from pcviz_kernels.config import default_config
from pcviz_kernels.launches import FLOW_SCALE
from pcviz_kernels.torch_gaussian import raw_moments

from . import queries
from .arguments import checked_integer, checked_pseudocount, checked_step_size
from .compiler.compile import compile as compile_circuit
from .compiler.plan import CircuitPlan
from .domain import Domain, Evidence
from .footprint import MemoryUse
from .ir.nodes import InputNodes, Nodes, SumNodes, init_params
from .params import edge_values, gather_params, input_values, move_params, write_params
from .torch_engine import TorchEngine

LN2 = math.log(2.0)


@dataclass(frozen=True, eq=False)
class CircuitFlows:
    """Flows summed over a batch. ``lls`` [B] natural-log likelihoods; ``of(nodes)`` the flows of a vector's parameters, for a
    tied vector summed over all vectors that share them."""

    plan: CircuitPlan
    lls: torch.Tensor
    edges: np.ndarray  # laid out like the flat parameters, the factor theta included
    tables: list[np.ndarray]

    def of(self, nodes: Nodes) -> np.ndarray:
        """F_{n,c}(D) in canonical shape: like ``nodes.params`` of a sum vector, [num_nodes, num_cats] of an input vector.

        Of a Gaussian one, [num_nodes, 3]: sums over the samples of F, F x and F x^2.
        """
        if isinstance(nodes, InputNodes):
            for group, table in zip(self.plan.inputs, self.tables):
                for vector, values in zip(group.vectors, input_values(group, table)):
                    if vector is nodes:
                        return values
        for layer in self.plan.layers:
            for slot in layer.sums:
                if slot.grid.nodes is nodes:
                    return edge_values(slot, torch.from_numpy(self.edges)).numpy()
        raise ValueError(f"{nodes!r} is no input or sum vector of this circuit.")


class TensorCircuit:
    """The circuit of ``plan`` with its parameters on ``device``: "cpu", "cuda:N", or "cuda", the GPU that is the current one now. Circuits
    may run on several GPUs, and in several threads, each circuit in one at a time; no thread may call ``torch.cuda.synchronize`` beside one that
    runs a new batch size on that GPU.

    ``impl``: "torch" (any device), "triton" (an NVIDIA GPU), or None to let device and dtype choose;
    what is asked for is never replaced (``pc.impl`` says which runs).
    ``dtype``: torch.float32, or torch.float64 (impl="torch" only). ``variant`` of impl="triton", the kernel of the sums in forward passes:
    None, log p in float32 and training, which needs flows, on tensor cores with float16 operands; or one of the two, "float32" or
    "scaled", for both; or "paper", the kernel as the paper describes it. ``deterministic``: likelihoods, flows and EM are
    the same bits in every run on one machine, as they are on a CPU anyway; somewhat slower (a column of ``pcviz bench step``).
    Parameters are copied from the node vectors (random ones are given to vectors that have none); ``write_back`` returns them.
    Raises ValueError for a device that is not here and for what an implementation does not have.
    """

    def __init__(
        self,
        plan: CircuitPlan,
        device: str = "cpu",
        impl: str | None = None,
        dtype: torch.dtype = torch.float32,
        variant: str | None = None,
        deterministic: bool = False,
    ):
        self._begin(plan, device, impl, dtype, variant, deterministic)
        self.load_params()

    def _begin(self, plan: CircuitPlan, device: str, impl: str | None, dtype: torch.dtype, variant: str | None, deterministic: bool) -> None:
        """All but the parameters; from here on the kernels of a GPU compile, in other processes."""
        if not isinstance(plan, CircuitPlan):
            raise ValueError(f"TensorCircuit expects a plan from pcv.compile(root, block_size=...), got {type(plan).__name__}.")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}.")
        self.plan, self.device, self.dtype, self.variant, self.deterministic = plan, _checked_device(device), dtype, variant, deterministic
        self.impl = choose("torch" if impl is None and dtype == torch.float64 else impl, self.device.type)
        self._null_params = min(group.pids[group.pids > 0].min() for layer in plan.layers for group in layer.groups)
        self.engine = self._engine()
        self.domain = Domain(plan, dtype, self.device)

    def _engine(self):
        if self.impl == "torch":
            if self.variant is not None:
                raise ValueError(f"variant={self.variant!r} is of impl='triton'; impl='torch' has one variant, None.")
            if self.deterministic and self.device.type == "cuda":
                raise ValueError("deterministic=True on a GPU needs impl='triton', in float32; impl='torch' adds in no fixed order there.")
            return TorchEngine(self.plan, self.device, self.dtype)
        if self.dtype != torch.float32:
            raise ValueError(f"impl='triton' computes in float32, got dtype {self.dtype}; use impl='torch' for float64.")
        from .triton_engine import TritonEngine  # not at the top: needs triton

        return TritonEngine(self.plan, self.device, self.variant, self.deterministic)

    def __repr__(self) -> str:
        total = self.plan.summary.total
        size = f"{total('num_sums'):,} sums, {total('edges'):,} edges"
        settings = {"block_size": self.block_size, "device": str(self.device), "impl": self.impl, "variant": self.variant, "dtype": self.dtype}
        settings |= {"deterministic": True} if self.deterministic else {}
        return f"TensorCircuit({size}; {', '.join(f'{name}={value!r}' for name, value in settings.items() if value is not None)})"

    @property
    def root(self) -> SumNodes:
        return self.plan.root

    @property
    def block_size(self) -> int:
        return self.plan.block_size

    @property
    def configs(self):
        """What chooses the LaunchConfig of a launch, called like ``pcviz_kernels.config.default_config``: that rule, or what
        ``pcv.autotune`` found. ``pcv.estimate(plan, config=pc.configs)`` models a training pass of these launches."""
        return self.engine.configs if self.impl == "triton" else default_config

    # ---- parameters -------------------------------------------------------------------------------------------------

    def load_params(self) -> None:
        """Copy the parameters of the node vectors into the plan's layout; accumulated flows, which were of others, are dropped."""
        init_params(self.root)
        self.engine.load(*gather_params(self.plan, self.dtype, self.device))

    @property
    def params(self) -> torch.Tensor:
        """[plan.num_params] the flat parameters of sums, in the plan's layout."""
        return self.engine.params

    @property
    def tables(self) -> list[torch.Tensor]:
        """Per input group of the plan, parameters [tables, stride, categories]."""
        return self.engine.tables

    def write_back(self) -> SumNodes:
        """Copy the parameters to the node vectors; returns the root."""
        write_params(self.plan, self.params.float(), [table.float() for table in self.tables])
        return self.root

    def recompile(self, *, block_size: int, padding_tolerance: float | None = None) -> TensorCircuit:
        """The same circuit with this one's parameters at another block size. They stay on the device: see ``write_back``."""
        tolerance = self.plan.padding_tolerance if padding_tolerance is None else padding_tolerance
        plan, other = compile_circuit(self.root, block_size=block_size, padding_tolerance=tolerance), TensorCircuit.__new__(TensorCircuit)
        other._begin(plan, str(self.device), self.impl, self.dtype, self.variant, self.deterministic)
        other.engine.load(*move_params(self.plan, plan, self.params, self.tables))  # while kernels compile
        return other

    # ---- queries ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def __call__(self, x, observed=None) -> torch.Tensor:
        """[B] natural-log likelihoods of ``x`` [B, V]: integers, real numbers where inputs are Gaussian.

        ``observed`` bool [B, V] or [1, V]: False is marginalised. Errors as in ``check_data``.
        """
        return torch.cat(self._run(self._evidence(x, observed), lambda engine: engine.root_logs() * LN2))

    @torch.no_grad()
    def node_values(self, x, observed=None, nodes: Nodes | None = None) -> torch.Tensor:
        """[node rows, B] natural-log values of input and sum nodes; with an input or sum vector ``nodes``, its [num_nodes, B].

        Row ``plan.rows_of(nodes)`` of the whole is a vector's; rows of no node hold -inf.
        """
        rows = slice(None) if nodes is None else self.plan.rows_of(nodes)
        return torch.cat(self._run(self._evidence(x, observed), lambda engine: engine.node_logs()[rows] * LN2), dim=1)

    @torch.no_grad()
    def sample(self, n: int, x=None, observed=None, seed: int = 0) -> torch.Tensor:
        """[n, V] exact samples of the circuit's distribution; given evidence ``x`` [B, V], [n, B, V]: n samples for each row
        from p(hidden values | observed values), which keep their values.

        ``observed`` bool [B, V] or [1, V]: False is drawn, whatever ``x`` holds there. The same seed gives the same samples
        on one plan and device. Raises ValueError, naming the rows, when evidence is impossible.
        """
        return queries.sample(self, n, x, observed, seed)

    @torch.no_grad()
    def mpe(self, x=None, observed=None, return_log: bool = False) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """[B, V] most probable explanation: the hidden values of the largest summand of p(x), evidence ``x`` kept.

        Max-product maximises over latent and hidden variables *together*: one child of every sum is taken, and a Gaussian
        variable is at the mean of one input. That is not argmax p(x), which sums over the latents first (and is NP-hard).
        Ties: any maximiser. ``return_log``: also [B] the natural log of the maximum, at most the log-likelihood of the state.
        ``observed`` and errors as in ``sample``.
        """
        states, logs = queries.mpe(self, x, observed)
        return (states, logs) if return_log else states

    @torch.no_grad()
    def marginals(self, x=None, observed=None) -> torch.Tensor:
        """[B, V, categories] posterior P(x_v = k | observed values), each variable on its own; 0 or 1 where observed.

        ``observed`` and errors as in ``sample``. Variables with fewer categories than the widest one have 0 in the rest, Gaussian ones everywhere.
        """
        return queries.marginals(self, x, observed)

    @torch.no_grad()
    def node_flows(self, x, observed=None, nodes: Nodes | None = None) -> torch.Tensor:
        """[node rows, B] flows d log p_root / d log p_n of input and sum nodes (paper, section 5): how probable it is that a
        sample from the posterior given x passes through n. With ``nodes``, that vector's [num_nodes, B].

        With a mask, flows given the observed values. Drops flows accumulated for ``em_step``.
        """
        rows = slice(None) if nodes is None else self.plan.rows_of(nodes)
        parts = self._run(self._evidence(x, observed), lambda engine: engine.node_flows()[rows].clone(), backward=True)
        self.clear_flows()
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def flows(self, x, observed=None) -> CircuitFlows:
        """Flows per edge: F_{n,c}(D) summed over the batch, and the likelihoods (as of ``accumulate_flows``); ``flows(x).of(nodes)`` are a
        vector's.

        Pass one row for the flows of one sample. With a mask, those given the observed values; hidden variables count for
        no category. Drops flows accumulated for ``em_step``.
        """
        self.clear_flows()
        lls = self.accumulate_flows(x, observed)
        edges = (self.params * self.engine.edge_flows / FLOW_SCALE).cpu().numpy()
        edges[: self._null_params] = 0
        tables = []
        for group, table, moments in zip(self.plan.inputs, self.tables, self.engine.table_flows):
            tables.append((raw_moments(table, moments) if group.is_gaussian else moments.clone()).cpu().numpy())
        self.clear_flows()
        return CircuitFlows(self.plan, lls, edges, tables)

    # ---- training ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def accumulate_flows(self, x, observed=None) -> torch.Tensor:
        """Forward and backward pass; adds to the flow buffers that ``em_step`` reads. Returns [B] natural-log likelihoods; on a GPU of the
        training's precision (``variant``), where ``pc(x)`` has that of float32.

        ``x`` [B, V], ``observed`` bool [B, V] or [1, V]; errors as in ``check_data``, and nothing is added where there is one.
        """
        return self._accumulate(self._evidence(x, observed))

    @torch.no_grad()
    def accumulate_checked(self, x: torch.Tensor, observed: torch.Tensor | None) -> torch.Tensor:
        """``accumulate_flows`` for rows of what ``check_evidence`` gave, which are not checked again."""
        return self._accumulate(Evidence(x, observed))

    def _accumulate(self, evidence: Evidence) -> torch.Tensor:
        return torch.cat(self._run(evidence, lambda engine: engine.root_logs() * LN2, backward=True))

    @torch.no_grad()
    def em_step(self, step_size: float = 1.0, pseudocount: float = 0.0) -> None:
        """One EM update from the accumulated flows, which are cleared; see ``fit`` for what a step is. ``step_size`` 1 is full-batch EM.

        Raises ValueError for a step size outside of (0, 1] and a pseudocount below 0.
        """
        self.engine.em_step(checked_step_size(step_size), checked_pseudocount(pseudocount))

    def clear_flows(self) -> None:
        """Drop accumulated flows."""
        self.engine.clear_flows()

    # ---- one micro-batch --------------------------------------------------------------------------------------------

    @property
    def micro_batch(self) -> int:
        """Samples that the engine takes at a time; larger batches are cut."""
        return self.engine.micro_batch

    def memory(self, batch_size: int = 512) -> MemoryUse:
        """Bytes that ``batch_size`` samples take, before they run; also how many of them fit at a time. Print it."""
        return self.engine.memory_use(checked_integer("memory(batch_size=...)", batch_size))

    def _run(self, evidence: Evidence, read: Callable, backward: bool = False) -> list[torch.Tensor]:
        """What ``read`` takes from the engine after each micro-batch. On a GPU checks run beside the passes; a batch that fails
        them leaves no flows, and its results are dropped here."""
        results = []
        for x, mask in self.micro_batches(evidence.x, evidence.observed):
            self.engine.run(x, mask, backward, evidence.fits)
            results.append(read(self.engine))
        evidence.confirm()
        return results

    def micro_batches(self, x: torch.Tensor, observed: torch.Tensor | None = None):
        """(x [V, b], mask) of micro-batches of about the same size, of checked ``x`` [B, V]."""
        size = -(-len(x) // -(-len(x) // self.engine.piece(len(x))))
        for first in range(0, len(x), size):
            rows = slice(first, first + size)
            mask = observed if observed is None or len(observed) == 1 else observed[rows]
            yield x[rows].t(), None if mask is None else mask.t()

    # ---- checks of data ---------------------------------------------------------------------------------------------

    def check_data(self, x) -> torch.Tensor:
        """``x`` (tensor, numpy array, lists, pandas DataFrame) as [B, V] on the device: int64, or of the circuit's dtype when
        some variable is Gaussian.

        Raises ValueError: wrong shape, dtype, NaN, empty, a value that its variable does not take.
        """
        return self.domain.checked(x).x

    def check_evidence(self, x, observed=None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``x`` [B, V] as ``check_data`` returns it and ``observed`` as bool [B, V] or [1, V] on the device, or None. A value that is not
        observed may be anything, and is read as 0. Errors as in ``check_data``, and for a mask of another shape or type."""
        evidence = self.domain.checked(x, observed)
        return evidence.x, evidence.observed

    def _evidence(self, x, observed) -> Evidence:
        return self.domain.deferred(x, observed) if self.engine.defers_checks else self.domain.checked(x, observed)


def _checked_device(device) -> torch.device:
    """The CPU or a GPU that torch can use here."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f"device expects 'cpu', 'cuda' or 'cuda:N', got {device!r}.")
    count = torch.cuda.device_count() if found.type == "cuda" else 1
    if found.type == "cuda" and (found.index or 0) >= count:
        here = "finds no NVIDIA GPU" if count == 0 else f"finds {count}, numbered from 0"
        raise ValueError(f"device={device!r} needs an NVIDIA GPU; torch {torch.__version__} {here} (see 'pcviz info'). device='cpu' runs anywhere.")
    return torch.device("cuda", torch.cuda.current_device()) if found == torch.device("cuda") else found  # it stays this one


def check_circuit(pc, what: str) -> None:
    """ValueError unless ``pc`` is a TensorCircuit, ``what`` asking for it."""
    if not isinstance(pc, TensorCircuit):
        raise ValueError(f"{what} expects a TensorCircuit, pcv.TensorCircuit(pcv.compile(root, block_size=16)), got {type(pc).__name__}.")

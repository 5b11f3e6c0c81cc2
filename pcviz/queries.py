"""Queries beyond likelihoods: exact samples, MPE, posterior marginals; what TensorCircuit's methods of those names do.

Samples and MPE descend from the root, all samples at once, layer by layer: every sum that is reached chooses one child,
a product reaches all its factors, an input chooses a value. Decomposability makes that a tree: a sample reaches a node
once, and each variable by exactly one input. What is kept is a list of (node row, sample) pairs.

``pc`` is a TensorCircuit throughout: its launches say where nodes are, its kernels choose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from pcviz_kernels.launches import InputLaunch

from .arguments import checked_integer
from .launching import LayerLaunches

PAIRS = 1 << 22  # (node, sample) pairs that one descent may keep
ENTRIES = 1 << 27  # logarithms of nodes and elements that a query may keep beside the engine's buffers


def sample(pc, n: int, x, observed, seed: int) -> torch.Tensor:
    """See TensorCircuit.sample. Each sum chooses child c with probability theta_c p_c / p_n, given the evidence."""
    n = checked_integer("sample(n=...), the number of samples,", n)
    seed = checked_integer("sample(seed=...)", seed, least=None)
    given, known = _evidence(pc, x, observed)
    generator = torch.Generator(device=pc.device).manual_seed(seed)
    result = given.new_empty(n, *given.shape)
    for part in _parts(pc, len(given)):
        logs = pc.node_values(given[part], observed=known[part])
        _check_possible(pc, logs, given, known)
        copies = max(1, PAIRS // (pc.plan.num_vars * logs.shape[1]))
        for first in range(0, n, copies):
            into = result[first : first + copies, part]
            into.copy_(_descend(pc, logs, given[part], known[part], len(into), generator))
    return result[:, 0] if x is None else result


def mpe(pc, x, observed) -> tuple[torch.Tensor, torch.Tensor]:
    """([B, V] the states, [B] natural logs of the maximum); see TensorCircuit.mpe."""
    given, known = _evidence(pc, x, observed)
    states, logs = [], []
    for part in _parts(pc, len(given)):
        values = max_values(pc, given[part], known[part])
        _check_possible(pc, values, given, known)
        states.append(_descend(pc, values, given[part], known[part], 1, None)[0])
        logs.append(values[pc.plan.rows_of(pc.root)][0].clone())
    return torch.cat(states), torch.cat(logs)


def marginals(pc, x, observed) -> torch.Tensor:
    """See TensorCircuit.marginals. P(x_v = k | e) = sum over the inputs n of v of F_n theta_{n,k}: flows of v sum to 1."""
    discrete = [(launch, table) for launch, table in zip(pc.engine.query_launches.inputs, pc.tables) if isinstance(launch, InputLaunch)]
    if not discrete:
        raise ValueError("marginals are probabilities of categories, and every variable of this circuit is Gaussian; use pc.sample or pc.mpe.")
    given, known = _evidence(pc, x, observed)
    widest = max(launch.num_cats for launch, _ in discrete)
    result = pc.params.new_zeros(pc.plan.num_vars, widest, len(given))
    for part in _parts(pc, len(given)):
        flows = pc.node_flows(given[part], observed=known[part])
        if (flows[pc.plan.rows_of(pc.root)] == 0).any():
            raise _impossible(pc(given, observed=known) == -torch.inf)
        for launch, table in discrete:
            flow = flows[launch.start :][: len(launch.variables) * launch.stride].view(len(launch.variables), launch.stride, -1)
            result[:, : launch.num_cats, part].index_add_(0, launch.variables, table[launch.table_ids].transpose(1, 2) @ flow)
    for launch, _ in discrete:
        mine = launch.variables
        certain = torch.nn.functional.one_hot(given[:, mine].long(), widest).to(result.dtype).permute(1, 2, 0)
        result[mine] = torch.where(known[:, mine].t()[:, None, :], certain, result[mine])
    return result.permute(2, 0, 1)


def max_values(pc, x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """[node rows, B] natural logs of max-product values: sums take the largest child, hidden inputs their largest value."""
    if pc.impl == "triton":
        return pc.engine.max_logs(x.t(), observed.t()) * math.log(2.0)
    engine, params = pc.engine.query_launches, pc.params
    nodes = params.new_full((pc.plan.num_node_rows, len(x)), -torch.inf)
    for launch, table in zip(engine.inputs, pc.tables):
        engine.kernels.input_max(launch, table, x.t(), observed.t(), nodes)
    for layer in engine.layers:
        elements = _elements(engine.kernels, layer, nodes)
        for launch in layer.sums:
            engine.kernels.sum_max(launch, params, elements, nodes)
    return nodes


# ---- the descent --------------------------------------------------------------------------------------------------------


def _descend(pc, logs: torch.Tensor, x: torch.Tensor, observed: torch.Tensor, copies: int, generator: torch.Generator | None) -> torch.Tensor:
    """[copies, B, V] states drawn top-down by node values ``logs`` [node rows, B]; without a generator the largest choices."""
    engine, params, (batch, num_vars) = pc.engine.query_launches, pc.params, x.shape
    samples = torch.arange(copies * batch, device=x.device)  # copy * batch + column of logs
    rows = torch.full_like(samples, pc.plan.rows_of(pc.root).start)
    first_sum, settled = min(int(launch.nids.starts.min()) for launch in engine.layers[0].sums), []  # rows of inputs come before
    for layer in reversed(engine.layers):
        elements = _elements(engine.kernels, layer, logs)
        waiting = rows < min(int(launch.nids.starts.min()) for launch in layer.sums)  # rows are laid out layer by layer
        found = [(rows[waiting], samples[waiting])]
        rows, samples = rows[~waiting], samples[~waiting]
        for launch, picked, sums in _by_launch(rows, layer.sums, "nids"):
            mine = samples[picked]
            chosen = engine.kernels.child_choices(launch, params, elements, sums, mine % batch, _uniforms(generator, mine))
            for product, some, places in _by_launch(chosen, layer.products, "eids"):
                run, within = places // product.width, places % product.width
                factors = product.factors[:, run] * product.width + within
                found.append((factors.view(-1), mine[some].repeat(len(factors))))
        rows, samples = (torch.cat(parts) for parts in zip(*found))
        above = rows >= first_sum
        settled.append((rows[~above], samples[~above]))  # at once: a deep circuit would take them along through all its layers
        rows, samples = rows[above], samples[above]
    rows, samples = (torch.cat(parts) for parts in zip(*settled))
    states = x.repeat(copies, 1)
    for launch, table in zip(engine.inputs, pc.tables):
        inputs, variables = rows - launch.start, launch.variables
        mine = ((inputs >= 0) & (inputs < len(variables) * launch.stride)).nonzero().flatten()
        variables = variables[inputs[mine] // launch.stride]
        hidden = ~observed[samples[mine] % batch, variables]
        mine, variables = mine[hidden], variables[hidden]
        chosen = engine.kernels.input_choices(launch, table, inputs[mine], _uniforms(generator, mine))
        states[samples[mine], variables] = chosen.to(states.dtype)
    return states.view(copies, batch, num_vars)


def _elements(kernels, layer: LayerLaunches, nodes: torch.Tensor) -> torch.Tensor:
    """[element rows, B] logs of the elements of one layer."""
    elements = nodes.new_full((layer.num_element_rows, nodes.shape[1]), torch.nan)  # nothing may be read unwritten
    elements[: layer.sections[0][1]] = -torch.inf  # the null block
    for launch in layer.products:
        kernels.product_logs(launch, nodes, elements)
    return elements


def _by_launch(rows: torch.Tensor, launches, index: str) -> Iterator[tuple]:
    """For each launch that has some of ``rows``: the launch, their places in ``rows``, and their places in the launch's
    blocks end to end. ``index``: name of the launches' BlockIndex."""
    blocks = [getattr(launch, index) for launch in launches]
    first = min(int(block.starts.min()) for block in blocks)
    last = max(int(block.starts.max()) + block.width for block in blocks)
    places = torch.full((last - first,), -1, device=rows.device)
    offset, offsets = 0, []
    for block in blocks:
        offsets.append(offset)
        every = (block.starts[:, None] - first + torch.arange(block.width, device=rows.device)).view(-1)
        places[every] = torch.arange(offset, offset + len(every), device=rows.device)
        offset += len(every)
    places = places[rows - first]
    for launch, low, high in zip(launches, offsets, [*offsets[1:], offset]):
        picked = ((places >= low) & (places < high)).nonzero().flatten()
        if len(picked):
            yield launch, picked, places[picked] - low


def _uniforms(generator: torch.Generator | None, like: torch.Tensor) -> torch.Tensor | None:
    return None if generator is None else torch.rand(len(like), generator=generator, dtype=torch.float64, device=like.device)


# ---- evidence -----------------------------------------------------------------------------------------------------------


def _evidence(pc, x, observed) -> tuple[torch.Tensor, torch.Tensor]:
    """Data and mask [B, V]; without data one sample of which nothing is known."""
    if x is None:
        if observed is not None:
            raise ValueError("observed says which values of x are known, but no x is given; pass x=, or neither.")
        x, observed = torch.zeros(1, pc.plan.num_vars, dtype=torch.int64), torch.zeros(1, pc.plan.num_vars, dtype=torch.bool)
    x, observed = pc.check_evidence(x, observed)
    if observed is None:
        observed = torch.ones((1, x.shape[1]), dtype=torch.bool, device=x.device)
    return x, observed.expand(len(x), -1)


def _parts(pc, count: int) -> Iterator[slice]:
    """Rows of evidence of which the logarithms of all nodes and of a layer's elements fit into ENTRIES."""
    rows = pc.plan.num_node_rows + max(layer.num_element_rows for layer in pc.plan.layers)
    size = max(1, min(pc.micro_batch, ENTRIES // rows))
    return (slice(first, first + size) for first in range(0, count, size))


def _check_possible(pc, logs: torch.Tensor, x: torch.Tensor, observed: torch.Tensor) -> None:
    if (logs[pc.plan.rows_of(pc.root)] == -torch.inf).any():
        raise _impossible(pc(x, observed=observed) == -torch.inf)


def _impossible(wrong: torch.Tensor) -> ValueError:
    """``wrong`` [B] bool: the samples with impossible evidence."""
    numbers = wrong.nonzero().flatten().tolist()
    shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return ValueError(
        f"x: the observed values of {len(numbers)} of {len(wrong)} samples (rows {shown}) have probability 0 under this circuit, "
        "so nothing is distributed given them; change the values or hide some of them (observed=)."
    )

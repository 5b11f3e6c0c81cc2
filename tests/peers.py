"""Circuits of ours as objects of other libraries, written by hand; parameters are copied.

Both libraries pair the nodes of a product's children one to one, so products must be without ``edge_ids``. A circuit that is
sparse in its sums becomes dense with zeros.
"""

import numpy as np
import torch

from pcviz.ir.nodes import InputNodes, Nodes, ProdNodes, SumNodes, topological


def weights_of(nodes: SumNodes) -> np.ndarray:
    """Dense weights [sums, children], zeros where there is no edge."""
    if nodes.edge_ids is None:
        return nodes.params
    dense = np.zeros((nodes.num_nodes, nodes.num_children), dtype=nodes.params.dtype)
    blocks = dense.reshape(nodes.num_nodes // nodes.edge_block, nodes.edge_block, -1, nodes.edge_block)
    blocks[nodes.edge_ids[0], :, nodes.edge_ids[1], :] = nodes.params
    return dense


def to_spflow(root: SumNodes):
    """A module of spflow (Apache-2.0): one per vector, shared where vectors are shared."""
    from spflow.meta import Scope
    from spflow.modules.leaves import Categorical
    from spflow.modules.products import ElementwiseProduct
    from spflow.modules.sums import Sum

    modules: dict[Nodes, torch.nn.Module] = {}
    for nodes in topological(root):
        children = [modules[child] for child in nodes.children]
        if isinstance(nodes, InputNodes):
            probs = torch.as_tensor(nodes.params)[None, :, None, :]  # [features, channels, repetitions, categories]
            modules[nodes] = Categorical(scope=Scope([nodes.var]), probs=probs)
        elif isinstance(nodes, ProdNodes):
            assert nodes.edge_ids is None
            modules[nodes] = ElementwiseProduct(inputs=children)
        else:
            modules[nodes] = Sum(inputs=children, out_channels=nodes.num_nodes)
            modules[nodes].logits.data = torch.as_tensor(weights_of(nodes).T.copy())[None, :, :, None].log()
    return modules[root]


def spflow_log_likelihood(module, x: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
    """[B] float32; spflow marks missing values with NaN."""
    x = torch.as_tensor(x, dtype=torch.float32)
    if observed is not None:
        x = torch.where(torch.as_tensor(observed), x, torch.nan)
    with torch.no_grad():
        return module.log_likelihood(x).flatten().numpy()


def to_cirkit(root: SumNodes, *, fold: bool = True):
    """A compiled circuit of libcirkit (GPL-3, used through its public interface): log p [B, 1, 1] = circuit(x) with x [B, V]."""
    from cirkit.pipeline import PipelineContext
    from cirkit.symbolic.circuit import Circuit
    from cirkit.symbolic.initializers import ConstantTensorInitializer
    from cirkit.symbolic.layers import CategoricalLayer, HadamardLayer, SumLayer
    from cirkit.symbolic.parameters import Parameter, TensorParameter
    from cirkit.utils.scope import Scope

    def parameter(values: np.ndarray) -> Parameter:
        return Parameter.from_input(TensorParameter(*values.shape, initializer=ConstantTensorInitializer(values)))

    layers, inputs_of = {}, {}
    for nodes in topological(root):
        if isinstance(nodes, InputNodes):
            layer = CategoricalLayer(Scope([nodes.var]), nodes.num_nodes, num_categories=nodes.dist.num_cats, probs=parameter(nodes.params))
        elif isinstance(nodes, ProdNodes):
            assert nodes.edge_ids is None
            layer = HadamardLayer(nodes.num_nodes, arity=len(nodes.children))
        else:
            (width,) = {child.num_nodes for child in nodes.children}
            layer = SumLayer(width, nodes.num_nodes, arity=len(nodes.children), weight=parameter(weights_of(nodes)))
        layers[nodes] = layer
        if nodes.children:
            inputs_of[layer] = [layers[child] for child in nodes.children]
    symbolic = Circuit(list(layers.values()), inputs_of, [layers[root]])
    context = PipelineContext(backend="torch", semiring="lse-sum", fold=fold, optimize=False)
    return context.compile(symbolic)

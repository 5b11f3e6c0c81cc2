"""pcviz: block-based parallelization of probabilistic circuits, made visible.

``import pcviz as pcv`` is cheap: a name is imported from its module when it is first used, so neither torch nor a widget
library is loaded before it is needed. ``dir(pcv)`` lists the names; the README has a ten-line example.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

# Public name -> the module that has it, relative to this package; "" = the module of that name itself.
_NAMES = {
    # circuits
    "CircuitError": ".ir.arrays",
    "Bernoulli": ".ir.distributions",
    "Categorical": ".ir.distributions",
    "Gaussian": ".ir.distributions",
    "inputs": ".ir.nodes",
    "multiply": ".ir.nodes",
    "summate": ".ir.nodes",
    "PD": ".structures",
    "HCLT": ".structures",
    "RAT_SPN": ".structures",
    "HMM": ".structures",
    "figure_5_layer": ".structures",
    "datasets": "",
    # files
    "save": ".io",
    "load": ".io",
    "from_pyjuice": ".exchange",
    "to_pyjuice": ".exchange",
    # plans
    "compile": ".compiler",
    "plan_summary": ".compiler",
    # engine
    "TensorCircuit": ".circuit",
    "fit": ".training",
    "save_fit": ".fitstate",
    "load_fit": ".fitstate",
    "schedules": "",
    "progress": ".console",
    "bits_per_dimension": ".training",
    "prune": ".flow_pruning",
    "measure": ".benchmark",
    "autotune": ".tuning",
    # cost
    "trace": ".tracing",
    "estimate": ".traffic",
    "recommend": ".advice",
    # views
    "explore": ".widgets.explorer",
    "show": ".widgets.show",
    "export_html": ".widgets.export",
    "draw": ".widgets.drawing",
}
__all__ = list(_NAMES)

try:
    __version__ = version("pcviz")
except PackageNotFoundError:
    __version__ = "0 (not installed)"


def __getattr__(name: str):
    if name not in _NAMES:
        raise AttributeError(f"module 'pcviz' has no attribute {name!r}; public names: {', '.join(_NAMES)}")
    module = import_module(_NAMES[name] or f".{name}", __name__)
    value = getattr(module, name) if _NAMES[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_NAMES, "__version__"])

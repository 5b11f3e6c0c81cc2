"""Structures: functions that build circuits (the symbolic kind, pcviz.ir)."""

from .figure5 import figure_5_layer
from .hclt import HCLT
from .pd import PD

__all__ = ["HCLT", "PD", "figure_5_layer"]

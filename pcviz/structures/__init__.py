"""Structures: functions that build circuits (the symbolic kind, pcviz.ir)."""

from .figure5 import figure_5_layer
from .hclt import HCLT
from .hmm import HMM
from .pd import PD
from .rat_spn import RAT_SPN

__all__ = ["HCLT", "HMM", "PD", "RAT_SPN", "figure_5_layer"]

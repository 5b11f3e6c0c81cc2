"""Hidden Markov models over sequences of one length."""

from __future__ import annotations

from ..arguments import checked_integer
from ..ir.distributions import Categorical
from ..ir.nodes import SumNodes, inputs, multiply, summate
from .arguments import check_seed


def HMM(seq_length: int, num_latents: int, num_emits: int, *, homogeneous: bool = True, seed: int = 0) -> SumNodes:
    """A hidden Markov model of ``seq_length`` steps, as PyJuice builds it: variable t is the symbol of step t.

    num_latents: states K. Sum i of a step's transition is p(symbols from the next step on | state i at this one).
    num_emits: symbols 0 .. num_emits - 1.
    homogeneous: transitions and emissions are the same at every step: their vectors are tied to those of the last step.
    seed: seed of the initial parameters.

    The root holds the distribution of the first state. The last step has no products: its transition sums over inputs.
    Raises ValueError for wrong arguments.
    """
    checked_integer("HMM(seq_length=...)", seq_length)
    checked_integer("HMM(num_latents=...)", num_latents)
    checked_integer("HMM(num_emits=...)", num_emits)
    check_seed("HMM", seed)
    last = seq_length - 1
    emission = inputs(last, num_nodes=int(num_latents), dist=Categorical(num_cats=int(num_emits)), name=f"x{last}")
    ahead, transition = emission, None  # what lies ahead of a step: p(symbols from here on | state here)
    for step in reversed(range(last)):
        if transition is None:
            sums = transition = summate(ahead, num_nodes=int(num_latents), name=f"z{step} to z{step + 1}")
        else:
            sums = transition.duplicate(ahead, tie_params=homogeneous, name=f"z{step} to z{step + 1}")
        symbol = emission.duplicate(step, tie_params=homogeneous, name=f"x{step}")
        ahead = multiply(symbol, sums, name=f"z{step}")
    root = summate(ahead, num_nodes=1, name="root")
    root.seed = int(seed)
    return root

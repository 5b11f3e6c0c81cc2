"""``pcviz bench step``: each mode and variant that is asked for is what gets measured."""

import inspect

import numpy as np

import pcviz as pcv
from pcviz import bench_step, exchange
from pcviz.bench_step import Ours


def test_variants_and_modes_reach_the_engine(monkeypatch):
    root = pcv.PD((3, 3), 4, dist=pcv.Categorical(num_cats=17), seed=0)
    monkeypatch.setattr(bench_step, "pyjuice_circuit", lambda name, images: None)
    monkeypatch.setattr(exchange, "from_pyjuice", lambda root_ns: root)
    monkeypatch.setattr(bench_step, "exact_likelihoods", lambda root, block_size, x: None)
    monkeypatch.setattr(bench_step, "_measure", lambda name, build, *rest: build)
    builds = list(bench_step._circuit_rows("PD-128", np.zeros((4, 9)), 4, 4, 1, ("scaled", "paper"), (False, True), False, ""))
    asked = [inspect.signature(Ours).bind(*build.args).arguments for build in builds]
    assert [(each["variant"], each["deterministic"]) for each in asked] == [(v, d) for v in ("scaled", "paper") for d in (False, True)]
    pc = Ours(*builds[1].args[:2], None, deterministic=True, device="cpu", impl="torch").pc
    assert pc.deterministic and pc.impl == "torch" and pc.block_size == 4

"""The Triton engine: interpreted on the CPU in a process of its own, and the choice of implementation."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from circuits import random_circuit

import pcviz as pcv

HERE = Path(__file__).parent


@pytest.mark.timeout(1800)  # only against hanging: minutes, and three times as many where a busy host gives a third of its cores
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton has no build for this system")
def test_the_kernels_interpreted():
    """Everything in interpreted_triton.py; a process can not mix interpreted and compiled kernels. On this process's share of the cores."""
    share = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", str(share)]
    command.append(str(HERE / "interpreted_triton.py"))
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1780, check=False)
    assert done.returncode == 0 and " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-6000:] + done.stderr[-2000:]


def test_an_implementation_that_can_not_run_is_refused():
    plan = pcv.compile(random_circuit(0), block_size=4)
    assert pcv.TensorCircuit(plan).impl == "torch"
    with pytest.raises(ValueError, match="needs an NVIDIA GPU, got device 'cpu'|needs the package triton"):
        pcv.TensorCircuit(plan, impl="triton")
    with pytest.raises(ValueError, match="variant='paper' is of impl='triton'"):
        pcv.TensorCircuit(plan, variant="paper")

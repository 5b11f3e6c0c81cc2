"""Options and fixtures shared by all tests."""

import os

import pytest
from hypothesis import settings
from lab_harness import browser_ready, chromium, lab, lab_server  # noqa: F401  (fixtures)

# pytest tests/test_enumeration.py --hypothesis-profile=night: other random circuits every time, for a whole night
settings.register_profile("night", max_examples=10_000, derandomize=False, deadline=None, print_blob=True)


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    """Tests share their cores with JupyterLab and Chromium, and OpenMP threads that wait for a core are very slow."""
    import torch

    torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """With ``-m gpu -n N`` each process keeps to its share of the cores: kernels compile on all that a process may use."""
    worker, count = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if worker and config.option.markexpr == "gpu" and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) % len(cores) :: count])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-browser", action="store_true", help="browser tests fail, instead of being skipped, when Chromium is missing")
    parser.addoption("--update-pictures", action="store_true", help="test_pictures_browser.py writes its pictures anew instead of comparing")

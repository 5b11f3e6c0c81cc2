"""Options and fixtures shared by all tests."""

import pytest
from lab_harness import browser_ready, chromium, lab, lab_server  # noqa: F401  (fixtures)


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    """Tests share their cores with JupyterLab and Chromium, and OpenMP threads that wait for a core are very slow."""
    import torch

    torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-browser", action="store_true", help="browser tests fail, instead of being skipped, when Chromium is missing")

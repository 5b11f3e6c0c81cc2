"""Options and fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from lab_harness import browser_ready, chromium, lab, lab_server  # noqa: F401  (fixtures)

# pytest tests/test_enumeration.py --hypothesis-profile=night: other random circuits every time, for a whole night
settings.register_profile("night", max_examples=10_000, derandomize=False, deadline=None, print_blob=True)


FIRST = ("test_triton.py", "test_enumeration.py", "test_structures.py", "test_triton_aot.py")  # the longest
FIRST_ON_GPU = ("test_pruned_by_flow", "test_completions", "test_values_and_flows_of_nodes")  # with work for the CPU


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    """Tests share their cores with JupyterLab and Chromium, and OpenMP threads that wait for a core are very slow."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A folder of this run, the same one for all its processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(pytestconfig, "workerinput") else own


def pytest_configure(config: pytest.Config) -> None:
    """With ``-m gpu -n N`` each process keeps to its share of the cores: kernels compile on all that a process may use."""
    worker, count = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if worker and config.option.markexpr == "gpu" and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) % len(cores) :: count])


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs in up to four processes (``-n 0``: in one), some files as before. A file is never split: its fixtures are made once."""
    option, whole, on_gpu = config.option, [Path(arg).resolve() for arg in config.args] == [Path(__file__).parent], config.option.markexpr == "gpu"
    if not hasattr(option, "numprocesses") or hasattr(config, "workerinput"):
        return  # a process of such a run is no reason for more of them
    if whole and not on_gpu and option.numprocesses is None and not (option.usepdb or option.collectonly or option.capture == "no"):
        option.numprocesses = min(4, os.cpu_count() or 1)
    if option.numprocesses and option.dist == "no" and (whole or on_gpu):
        option.dist = "loadgroup"  # in the order below


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first and the many short ones after them, so that all processes end together; then, by one of them, those alone."""
    in_browser = {item.path for item in items if item.get_closest_marker("browser")}

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("gpu"):
            return 0 if item.originalname in FIRST_ON_GPU else 2
        if item.get_closest_marker("alone"):
            return 3
        return 0 if item.path.name in FIRST else 1 if item.path in in_browser else 2

    items.sort(key=turn)
    for item in items:
        if not item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.xdist_group("alone" if item.get_closest_marker("alone") else item.path.name))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-browser", action="store_true", help="browser tests fail, instead of being skipped, when Chromium is missing")
    parser.addoption("--update-pictures", action="store_true", help="test_pictures_browser.py writes its pictures anew instead of comparing")

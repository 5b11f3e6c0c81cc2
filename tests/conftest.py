"""Options and fixtures shared by all tests."""

import pytest
from lab_harness import browser_ready, chromium, lab, lab_server  # noqa: F401  (fixtures)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-browser", action="store_true", help="browser tests fail, instead of being skipped, when Chromium is missing")

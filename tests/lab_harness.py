"""A real JupyterLab in headless Chromium, for tests (and for taking pictures).

How to use it, in any test file (mark it with ``@pytest.mark.browser``; the fixture ``lab`` comes from conftest.py):

    @pytest.mark.browser
    def test_slider(lab):
        lab.open(["import pcviz as pcv", "pcv.explore()"])    # a notebook of these code cells, kernel connected and idle
        lab.run_all()                                         # runs every cell and waits until the last has finished
        slider = lab.wait(".pcv-slider")                      # Playwright locator, visible (30 s at most)
        before = lab.ws_bytes()                               # (sent, received) so far, uncompressed
        slider.press("ArrowRight")
        assert lab.page.inner_text(".pcv-launches") == str(lab.kernel_eval("plan.num_launches"))
        lab.theme("dark")                                     # or "light"; live, no reload
        lab.screenshot("explorer-dark.png")                   # full view; a path, or a name under the test's tmp_path
        assert lab.cell_count() == 2
        lab.assert_clean()                                    # no page error, no console error, no cell with error output

``lab.page`` is the Playwright page (sync API), ``lab.goto(path)`` opens any address of the server, ``lab.root`` is the server's folder.
The server is shared by the whole test session (about 4 s to start); every test gets a fresh browser context, and its kernel is shut down after it.
Every wait has a time limit. Outside pytest use the context manager: ``with open_lab(folder) as lab: ...``; try it with
``python tests/lab_harness.py picture.png "print('hello')"``.

Playwright's sync API keeps an event loop running in this thread: code under test that calls ``asyncio.run`` belongs in a subprocess.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 30
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_CHROMIUM_PATHS = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "C:/Program Files/Google/Chrome/Application/chrome.exe")
# The "idle" indicator is true before a kernel exists, and Run All then does nothing: ask the session itself.
_KERNEL_READY = """() => {
  const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
  const kernel = context?.session?.kernel;
  return !!(context?.isReady && kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle');
}"""
_IGNORED_CONSOLE = ("favicon", "Failed to load resource: the server responded with a status of 404 (Not Found)")


def find_chromium() -> str | None:
    """Path of an installed Chromium or Chrome, or None."""
    found = next((path for name in _CHROMIUM_NAMES if (path := shutil.which(name))), None)
    return found or next((path for path in _CHROMIUM_PATHS if Path(path).is_file()), None)


def why_no_browser() -> str | None:
    """The reason why browser tests cannot run here, or None if they can."""
    for module in ("playwright", "jupyterlab"):
        try:
            __import__(module)
        except ImportError:
            return f"the package {module} is missing: pip install 'pcviz[test]'"
    if find_chromium() is None:
        return "no Chromium found on PATH: install it (Debian: apt-get install chromium) to run the browser tests"
    return None


def free_port() -> int:
    """A port that nobody has, of those that no system gives out by itself: a server that starts seconds later still finds it free."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)  # whatever a test has seeded
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def source_path() -> str:
    """PYTHONPATH that makes a child process import the same pcviz and pcviz_kernels as this one."""
    repo = Path(__file__).resolve().parents[1]
    return os.pathsep.join([str(repo), str(repo / "kernels"), *filter(None, [os.environ.get("PYTHONPATH")])])


def isolated_env(home: Path) -> dict[str, str]:
    """Environment whose Jupyter and IPython settings live under `home`; no news pop-up."""
    notifications = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    notifications.parent.mkdir(parents=True, exist_ok=True)
    notifications.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}), encoding="utf-8")
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    for name in folders.values():
        (home / name).mkdir(parents=True, exist_ok=True)
    return {**os.environ, **{key: str(home / name) for key, name in folders.items()}, "PYTHONPATH": source_path()}


def stop_process(process: subprocess.Popen) -> None:
    """Ends a server that was started here, and waits for it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@dataclass(frozen=True)
class LabServer:
    """A JupyterLab server on 127.0.0.1 whose folder is `root`."""

    url: str
    root: Path
    log: Path

    def request(self, method: str, path: str) -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
            body = reply.read()
        return json.loads(body) if body else None

    def shut_down_kernels(self) -> None:
        for session in self.request("GET", "/api/sessions"):
            self.request("DELETE", f"/api/sessions/{session['id']}")


@contextlib.contextmanager
def run_server(home: Path) -> Iterator[LabServer]:
    """Starts JupyterLab (no token, tests only) with all its state under `home`."""
    root, log, port = home / "root", home / "server.log", free_port()
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    command += ["--KernelManager.shutdown_wait_time=1.0", f"--ServerApp.root_dir={root}"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=root, env=isolated_env(home), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_for_server(process, f"http://127.0.0.1:{port}/api/status", log)
            yield LabServer(f"http://127.0.0.1:{port}", root, log)
        finally:
            stop_process(process)


def wait_for_server(process: subprocess.Popen, url: str, log: Path, limit_s: float = 60) -> None:
    """Waits until `url` answers; raises with the log's end when the process dies or the limit is over."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not answer at {url} within {limit_s:.0f} s; its log ends:\n{log.read_text(errors='replace')[-3000:]}")


@dataclass
class Lab:
    """One browser page on a JupyterLab server; see the module's docstring."""

    server: LabServer
    page: Any
    folder: Path
    errors: list[str] = field(default_factory=list)
    _sent: int = 0
    _received: int = 0
    _names: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_S * 1000)
        self.page.on("pageerror", lambda error: self.errors.append(f"page error: {error}"))
        self.page.on("console", self._on_console)
        self.page.on("websocket", self._on_websocket)

    def _on_console(self, message: Any) -> None:
        if message.type == "error" and not any(text in message.text for text in _IGNORED_CONSOLE):
            self.errors.append(f"console error: {message.text}")

    def _on_websocket(self, socket_: Any) -> None:
        def size(payload: str | bytes) -> int:
            return len(payload.encode()) if isinstance(payload, str) else len(payload)

        def on_sent(payload: str | bytes) -> None:
            self._sent += size(payload)

        def on_received(payload: str | bytes) -> None:
            self._received += size(payload)

        socket_.on("framesent", on_sent)
        socket_.on("framereceived", on_received)

    @property
    def root(self) -> Path:
        return self.server.root

    def goto(self, path: str) -> None:
        """Opens an address of the server, such as "/doc/tree/start.ipynb", and waits for the application."""
        self.page.goto(self.server.url + path, wait_until="domcontentloaded")
        self.page.wait_for_function("() => !!window.jupyterapp")
        self.page.evaluate("async () => { await window.jupyterapp.restored; }")

    def open(self, cells: list[str], name: str | None = None) -> str:
        """Opens a new notebook of these code cells in the single-document view; returns when its kernel is connected and idle."""
        name = name or f"test-{os.getpid()}-{next(self._names)}-{time.monotonic_ns()}.ipynb"
        (self.root / name).write_text(json.dumps(notebook(cells)), encoding="utf-8")
        self.goto(f"/doc/tree/{name}")
        self.wait_for_kernel()
        return name

    def wait_for_kernel(self, timeout_s: float = 60) -> None:
        self.page.wait_for_function(_KERNEL_READY, timeout=timeout_s * 1000)

    def run_all(self, timeout_s: float = 120) -> None:
        """Runs all cells and waits until the last one has finished (with or without an error)."""
        self.page.evaluate("""() => {
            window.pcvRun = null;
            window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.pcvRun = 'done'; }, e => { window.pcvRun = String(e); });
        }""")
        self.page.wait_for_function("() => window.pcvRun !== null", timeout=timeout_s * 1000)

    def wait(self, selector: str, timeout_s: float = WAIT_S) -> Any:
        """The first element that matches, once it is visible."""
        locator = self.page.locator(selector).first
        locator.wait_for(state="visible", timeout=timeout_s * 1000)
        return locator

    def kernel_eval(self, expression: str, timeout_s: float = WAIT_S) -> Any:
        """Value of a Python expression in the notebook's kernel (must be JSON); waits while the kernel is busy."""
        self.page.evaluate(
            """code => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const future = kernel.requestExecute({code: '', silent: true, store_history: false, user_expressions: {value: code}});
            window.pcvEval = null;
            future.done.then(reply => { window.pcvEval = reply.content.user_expressions.value; }, e => { window.pcvEval = {evalue: String(e)}; });
        }""",
            f"__import__('json').dumps({expression})",
        )
        self.page.wait_for_function("() => window.pcvEval !== null", timeout=timeout_s * 1000)
        reply = self.page.evaluate("() => window.pcvEval")
        if reply.get("status") != "ok":
            raise RuntimeError(f"{expression}: {reply.get('ename', '')} {reply.get('evalue', '')}")
        text = reply["data"]["text/plain"]
        return json.loads(eval(text, {"__builtins__": {}}))  # text is the repr of a str that json.dumps made

    def theme(self, name: str) -> None:
        """Switches to the "light" or "dark" theme without a reload."""
        title = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[name]
        self.page.evaluate("theme => { window.jupyterapp.commands.execute('apputils:change-theme', {theme}); }", title)
        self.page.wait_for_selector(f"body[data-jp-theme-light='{'true' if name == 'light' else 'false'}']", state="attached")

    def screenshot(self, path: str | Path) -> Path:
        target = Path(path) if Path(path).is_absolute() else self.folder / path
        self.page.screenshot(path=str(target), animations="disabled")
        return target

    def cell_count(self) -> int:
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.cells.length")

    def ws_bytes(self) -> tuple[int, int]:
        """(sent, received) bytes over all websockets of the page so far, as uncompressed payloads."""
        return self._sent, self._received

    def cell_errors(self) -> list[str]:
        """Texts of error outputs in the open notebook."""
        return self.page.evaluate("""() => {
            const texts = [];
            for (const cell of window.jupyterapp.shell.currentWidget.content.model.cells) {
                for (const out of (cell.toJSON().outputs ?? [])) if (out.output_type === 'error') texts.push(`${out.ename}: ${out.evalue}`);
            }
            return texts;
        }""")

    def assert_clean(self) -> None:
        found = self.errors + self.cell_errors()
        assert not found, "the page reports errors:\n" + "\n".join(found)

    def close(self) -> None:
        self.page.context.close()
        self.server.shut_down_kernels()


def notebook(cells: list[str]) -> dict[str, Any]:
    """A notebook document of code cells."""
    empty = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    rows = [{**empty, "id": f"cell-{i}", "source": cell} for i, cell in enumerate(cells)]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": rows, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}


@contextlib.contextmanager
def launch_chromium() -> Iterator[Any]:
    """A headless Chromium (Playwright Browser)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS, timeout=WAIT_S * 1000)
        try:
            yield browser
        finally:
            browser.close()


def new_lab(server: LabServer, browser: Any, folder: Path, width: int = 1280, height: int = 720) -> Lab:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
    return Lab(server, context.new_page(), folder)


@contextlib.contextmanager
def open_lab(folder: Path, width: int = 1280, height: int = 720) -> Iterator[Lab]:
    """Server, browser and page in one; for scripts."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, run_server(Path(home)) as server, launch_chromium() as browser:
        lab_ = new_lab(server, browser, folder, width, height)
        try:
            yield lab_
        finally:
            lab_.close()


@pytest.fixture(scope="session")
def browser_ready(pytestconfig: pytest.Config) -> None:
    """Skips (with --require-browser: fails) when Chromium, Playwright or JupyterLab is missing."""
    reason = why_no_browser()
    if reason and pytestconfig.getoption("--require-browser"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def lab_server(browser_ready: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with run_server(tmp_path_factory.mktemp("jupyterlab")) as server:
        yield server


@pytest.fixture(scope="session")
def chromium(browser_ready: None) -> Iterator[Any]:
    with launch_chromium() as browser:
        yield browser


@pytest.fixture
def lab(lab_server: LabServer, chromium: Any, tmp_path: Path) -> Iterator[Lab]:
    page = new_lab(lab_server, chromium, tmp_path)
    try:
        yield page
    finally:
        page.close()


if __name__ == "__main__":
    with open_lab(Path.cwd()) as shown:
        shown.open(sys.argv[2:])
        shown.run_all()
        shown.page.wait_for_timeout(1000)
        print(shown.screenshot(sys.argv[1]), *shown.errors, *shown.cell_errors(), sep="\n")

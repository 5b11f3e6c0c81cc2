"""``pcviz lab``: the user's lesson folder, and a JupyterLab server that opens start.ipynb.

Lessons are always copied to a folder of the user's, also from a checkout: running them would write outputs into git.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from .assets import asset_path, notebook_names, notebook_path
from .whole_files import whole_file

DEFAULT_FOLDER = Path("~/pcviz-lessons")
START = "start.ipynb"
PICTURES = ("explorer.png",)  # files of assets/ that the notebooks show, copied to assets/ of the lesson folder
_MANIFEST = ".pcviz-lessons.json"
_JUPYTER = Path(__file__).parent / "jupyter"


class LabError(RuntimeError):
    """JupyterLab cannot be started; the text says what to do."""


@dataclass(frozen=True)
class LessonSync:
    """What sync_lessons did, as file names: `kept` are files that the user changed."""

    folder: Path
    copied: tuple[str, ...]
    refreshed: tuple[str, ...]
    kept: tuple[str, ...]


def fingerprint(path: Path) -> str:
    """SHA-256 of what a person wrote in a file: a notebook's cells without outputs and counters, any other file's bytes."""
    data = path.read_bytes()
    if path.suffix == ".ipynb":
        try:
            cells = [[cell["cell_type"], "".join(cell["source"])] for cell in json.loads(data)["cells"]]
            data = json.dumps(cells, ensure_ascii=False, separators=(",", ":")).encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # no notebook any more: the user's, compare its bytes
    return hashlib.sha256(data).hexdigest()


def sync_lessons(folder: Path) -> LessonSync:
    """Copies the shipped lessons to `folder`; refreshes copies that the user has not changed, keeps those that they have."""
    folder = folder.expanduser().resolve()
    shipped = _shipped()
    if folder == shipped[START].parent:
        raise LabError(f"{folder} holds the shipped lessons themselves. Choose another folder: pcviz lab --folder {DEFAULT_FOLDER}")
    try:
        (folder / "assets").mkdir(parents=True, exist_ok=True)
        known = _read_manifest(folder)
        did: dict[str, list[str]] = {"copied": [], "refreshed": [], "kept": []}
        for name, source in shipped.items():
            what = _sync_file(source, folder / name, known.get(name))
            if what != "kept":
                known[name] = fingerprint(source)
            if what != "same":
                did[what].append(name)
        _write(folder / _MANIFEST, json.dumps(known, indent=1).encode())
    except OSError as error:
        raise LabError(f"Lessons are copied to {folder}, and that failed: {error}. Choose another folder: pcviz lab --folder FOLDER") from error
    return LessonSync(folder, *(tuple(did[key]) for key in ("copied", "refreshed", "kept")))


def check_modules(folder: Path) -> None:
    """Raises LabError when a file or folder there would be imported in the place of an installed package, by accident or not: the
    kernel of a notebook looks beside the notebook before it looks among packages, and start.ipynb runs by itself."""
    elsewhere = [path for path in sys.path if Path(path).resolve() != folder]
    for path in sorted(folder.iterdir()):
        name = path.name.partition(".")[0]
        module = path.suffix in (".py", ".pyc", ".so", ".pyd") or (path / "__init__.py").is_file()
        if not module or name in sys.stdlib_module_names:  # which come first
            continue
        found = PathFinder.find_spec(name, elsewhere)
        if found is not None and found.loader is not None:
            raise LabError(f"{path} would be imported in the place of the package {name}, installed at {found.origin}: rename or remove it.")


def _shipped() -> dict[str, Path]:
    pictures = {}
    for name in PICTURES:
        pictures[f"assets/{name}"] = asset_path(name)
    return {**{name: notebook_path(name) for name in notebook_names()}, **pictures}


def _sync_file(source: Path, target: Path, copied_before: str | None) -> str:
    """Brings one file up to date; returns "copied", "refreshed", "same" or "kept"."""
    if not target.exists():
        _write(target, source.read_bytes())
        return "copied"
    mine, theirs = fingerprint(target), fingerprint(source)
    if mine == theirs:
        return "same"
    if mine != copied_before:
        return "kept"
    _write(target, source.read_bytes())
    return "refreshed"


def _write(target: Path, data: bytes) -> None:
    with whole_file(target) as part:
        part.write_bytes(data)


def _read_manifest(folder: Path) -> dict[str, str]:
    """File name -> fingerprint of the version that was copied; empty when the manifest is missing or damaged."""
    try:
        known = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in known.items()} if isinstance(known, dict) else {}


def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def gpu_name() -> str | None:
    """Name of the first NVIDIA GPU as its driver reports it, or None. Does not import torch (that takes seconds)."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run([tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.splitlines()), "").strip() or None


def describe() -> str:
    """Versions and device in one line."""
    names = {"pcviz": "pcviz", "torch": "torch", "jupyterlab": "JupyterLab"}
    versions = ", ".join(f"{label} {package_version(name) or 'not installed'}" for name, label in names.items())
    gpu = gpu_name()
    return f"{versions}; {gpu if gpu else 'no GPU: H100 figures are recorded'}"


def run_lab(folder: Path, port: int | None, browser: bool, options: list[str]) -> int:
    """Prints the three lines, then serves JupyterLab until Ctrl-C. `options` are passed on to JupyterLab."""
    if find_spec("jupyterlab") is None:
        install = f'"{sys.executable}" -m pip install "pcviz[lab]"'
        raise LabError(f"JupyterLab is not installed in this Python. Install it, then start again:\n  {install}")
    print(describe(), flush=True)
    if port is not None:
        _check_port(port)
    lessons = sync_lessons(folder)
    check_modules(lessons.folder)
    print(f"Lessons: {lessons.folder} (your changes are kept)", flush=True)
    server = _server(lessons.folder, port, browser, options)
    print(f"Open {server.public_url}   Ctrl-C stops", flush=True)
    server.identity_provider.token_generated = False  # the address with its token has just been shown: no second time
    logging.getLogger("asyncio").addFilter(_no_closed_page)
    signal.signal(signal.SIGINT, lambda *_: _stop(server))
    server.start()
    return 0


def _no_closed_page(record: logging.LogRecord) -> bool:
    """False for the traceback of a message to a page that was closed meanwhile: Jupyter sends without asking whether it arrived."""
    from tornado.websocket import WebSocketClosedError

    return not (record.exc_info and isinstance(record.exc_info[1], WebSocketClosedError))


def _stop(server) -> None:
    """First Ctrl-C: ends the kernels and the server without a question; a second one ends the process at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server.stop(from_signal=True)


def _check_port(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise LabError(f"Port {port} cannot be used: {error.strerror}. Choose another, or leave --port out to take a free one.") from error


def _server(folder: Path, port: int | None, browser: bool, options: list[str]):
    """A JupyterLab server, bound to its port and ready to start."""
    # Our JupyterLab settings (no news pop-up) come before the user's own, which stay untouched.
    paths = [str(_JUPYTER / "config"), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this Python, not one of the same name in the home folder
    import zmq
    from jupyterlab.labapp import LabApp

    argv = [
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/doc/tree/{START}",
        f"--LabApp.extra_labextensions_path={_JUPYTER / 'labextensions'}",
        f"--ServerApp.open_browser={browser}",
        "--ServerApp.allow_root=True",  # containers; the server listens on this machine only and keeps its token
        "--log-level=ERROR",
        "--LabApp.log_level=ERROR",
        *(["--KernelManager.transport_encryption=auto"] if zmq.has("curve") else []),  # else each kernel prints a warning
        *([f"--ServerApp.port={port}", "--ServerApp.port_retries=0"] if port is not None else []),
        *options,
    ]
    return LabApp.initialize_server(argv=argv)

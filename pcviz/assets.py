"""Where the files of assets/ and notebooks/ are: in a checkout (or an editable install of one), or installed from a wheel.

A wheel puts them under share/pcviz of the environment; the package's own record says where that is, so a virtual
environment, a ``--user`` install and a system-wide one all work.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path, PurePosixPath

_CHECKOUT = Path(__file__).resolve().parents[1]


def asset_path(name: str) -> Path:
    """Path of a file of assets/, for example "digits.csv.gz" or "recorded/fig5_pyjuice_h100.csv"."""
    return _find(f"assets/{name}")


def notebook_names() -> list[str]:
    """File names of the shipped lessons, in reading order (start.ipynb first)."""
    names = {path.name for path in (_CHECKOUT / "notebooks").glob("*.ipynb")} if _in_checkout() else _installed_notebooks()
    return sorted(names, key=lambda name: (name != "start.ipynb", name))


def notebook_path(name: str) -> Path:
    """Path of a shipped lesson, for example "start.ipynb"."""
    return _find(f"notebooks/{name}")


def install_kind() -> str:
    """One sentence on where the files come from."""
    return f"checkout {_CHECKOUT}" if _in_checkout() else f"installed wheel, {_find('notebooks/start.ipynb').parents[1]}"


def _in_checkout() -> bool:
    return (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "notebooks").is_dir()


def _installed() -> dict[str, Path]:
    """Files under share/pcviz as the installed package's record lists them: name below share/pcviz -> path."""
    try:
        recorded = files("pcviz") or []
    except PackageNotFoundError:
        return {}
    marker = ("share", "pcviz")
    found = {}
    for entry in recorded:
        parts = PurePosixPath(entry).parts
        where = next((i for i in range(len(parts) - 1) if parts[i : i + 2] == marker), None)
        if where is not None:
            found["/".join(parts[where + 2 :])] = Path(str(entry.locate())).resolve()
    return found


def _installed_notebooks() -> set[str]:
    return {PurePosixPath(name).name for name in _installed() if name.startswith("notebooks/") and name.endswith(".ipynb")}


def _find(name: str) -> Path:
    path = _CHECKOUT / name if _in_checkout() else _installed().get(name)
    if path is None or not path.is_file():
        where = _CHECKOUT if _in_checkout() else "the installed package (share/pcviz)"
        raise FileNotFoundError(f"pcviz expects its file {name} in {where}, and it is not there. Reinstall pcviz, or restore the file.")
    return path

"""The explorer's JavaScript and CSS as two texts.

They are texts, not file paths: an anywidget whose ``_esm`` is a path is never freed. The files have no imports and no
exports; concatenated they make one ES module, which works in JupyterLab and in a page opened from disk alike.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources

FIRST = ("store.js", "plotly_loader.js", "slider.js", "headline.js", "view_common.js", "shell_parts.js", "save.js", "share.js", "teaching.js")
LAST = ("single.js", "shell.js")
PAGE = "page.js"  # in saved pages only
EXPORT = "\nexport default { render };\n"


@cache
def esm() -> str:
    """The ES module whose default export is ``{ render }``."""
    return _scripts() + EXPORT


@cache
def page_js() -> str:
    """The script of a saved page, without exports; ``openPage(page, element)`` starts it."""
    return _scripts() + "\n" + _read(PAGE)


@cache
def css() -> str:
    return "\n".join(_read(name) for name in _names(".css"))


def plotly_js() -> bytes:
    """plotly.min.js as plotly's Python package ships it, gzipped (1.5 of 4.8 MB)."""
    text = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return gzip.compress(text, 6, mtime=0)


def _scripts() -> str:
    middle = [name for name in _names(".js") if name not in (*FIRST, *LAST, PAGE)]
    return "\n".join(_read(name) for name in (*FIRST, *middle, *LAST))


def _names(suffix: str) -> list[str]:
    return sorted(entry.name for entry in _folder().iterdir() if entry.name.endswith(suffix))


def _read(name: str) -> str:
    return (_folder() / name).read_text(encoding="utf-8")


def _folder():
    return resources.files("pcviz.widgets") / "static"

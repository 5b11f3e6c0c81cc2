"""The explorer's JavaScript and CSS as two texts.

They are texts, not file paths: an anywidget whose ``_esm`` is a path is never freed. The files have no imports and no
exports; concatenated they make one ES module, which works in JupyterLab and in a page opened from disk alike. A browser never
frees a module, nor JupyterLab a text that a widget opened with, and anywidget has both for every widget: a widget's own module
is a few lines, which ask for the large one once a page.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable
from functools import cache
from importlib import resources

import anywidget

from ..traffic_text import LEVELS
from .outbox import Outbox
from .scenes.dag_picture import RAMPS

FIRST = ("store.js", "plotly_loader.js", "slider.js", "headline.js", "view_common.js", "shell_parts.js", "save.js", "share.js", "teaching.js")
LAST = ("single.js", "shell.js")
PAGE = "page.js"  # in saved pages only
SHARED = "\n".join(f"const {name} = {json.dumps(value, ensure_ascii=False)};" for name, value in (("PV_LEVELS", LEVELS), ("DAG_RAMP", RAMPS)))
"""What Python's own texts and pictures have, too."""
EXPORT = "\nexport default { render };\n"
LOADER = """const load = (model) => new Promise((resolve, reject) => {
  const take = (content, buffers) => {
    if (content.kind !== "script") return;
    model.off("msg:custom", take);
    import(URL.createObjectURL(new Blob([buffers[0]], { type: "text/javascript" }))).then(resolve, reject);
  };
  model.on("msg:custom", take);
  model.on("comm:close", () => reject(new Error("the explorer was closed")));
  model.send({ kind: "script" });
});
export default { render: async (context) => {
  const loading = window.%(name)s ??= load(context.model);
  loading.catch(() => delete window.%(name)s); // the next one asks again
  return (await loading).default.render(context);
} };
"""


class PageWidget(anywidget.AnyWidget):
    """A widget whose page is drawn by the bundle. ``on_message`` takes what the page sends, once it has the script."""

    _css = ""  # anywidget makes traits of the names it finds on the class

    def __init__(self, on_message: Callable[[dict], None], **traits):
        super().__init__(_esm=loader(), _css=css(), **traits)

        def receive(_widget, content: dict, _buffers) -> None:
            if content.get("kind") == "script":
                self.send({"kind": "script"}, [esm().encode()])
            else:
                on_message(content)

        self.on_msg(receive)
        self._answers_go_anywhere(self.comm)

    def _send(self, msg, buffers=None) -> None:
        comm = self.comm
        super()._send(msg, buffers)
        self._answers_go_anywhere(comm)

    @staticmethod
    def _answers_go_anywhere(comm) -> None:
        """ipykernel 7.4 hands what a page sends to the subshell that caused our last message, and drops it where that is gone: a page that
        was loaded again would stay empty. Without a note of it each message goes where the page says."""
        if comm is not None:
            vars(comm).pop("_reply_subshell_id", None)


@cache
def esm() -> str:
    """The ES module whose default export is ``{ render }``."""
    return _scripts() + EXPORT


@cache
def loader() -> str:
    """The module of a widget: it loads ``esm`` under a name that says which, unless another widget has."""
    return LOADER % {"name": f"pcviz_{hashlib.sha256(esm().encode()).hexdigest()[:16]}"}


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
    return "\n".join((SHARED, *(_read(name) for name in (*FIRST, *middle, *LAST))))


def _names(suffix: str) -> list[str]:
    return sorted(entry.name for entry in _folder().iterdir() if entry.name.endswith(suffix))


def _read(name: str) -> str:
    return (_folder() / name).read_text(encoding="utf-8")


def _folder():
    return resources.files("pcviz.widgets") / "static"


def send_plotly(outbox: Outbox) -> None:
    """Compress and send plotly.min.js without holding up other messages."""

    def work() -> None:
        try:
            outbox.send("plotly", [plotly_js()])
        except OSError as error:
            outbox.error(f"plotly's JavaScript could not be read from its package: {error}")

    threading.Thread(target=work, name="pcviz-plotly", daemon=True).start()

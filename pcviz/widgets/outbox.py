"""The one place from which a widget's messages leave, whatever thread they come from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


class Outbox:
    """Sends messages of an explorer, one at a time, until it is closed. ``send(content, buffers)`` is the widget's.

    The status line has news of work in progress, by ``of``, the one who does it; and the latest message that a person needs, which
    stays until that person acts. The page decides which of them it shows (notices.js)."""

    def __init__(self, send: Callable[[dict, list | None], None]):
        self._send = send
        self._lock = threading.Lock()
        self._closed = False
        self._going: dict[str, dict] = {}
        self._message: dict | None = None

    def send(self, kind: str, buffers: Sequence[bytes] = (), **content) -> None:
        with self._lock:
            if not self._closed:
                self._send({"kind": kind, **content}, list(buffers) or None)

    def going(self, text: str, *, of: str, progress: float | None = None, cancel: bool = False, quiet: bool = False) -> None:
        """News of work in progress. ``quiet``: one of a series, such as progress, that screen readers do not read out."""
        news = {"role": "going", "of": of, "text": text, "level": "info", "progress": progress, "cancel": cancel, "quiet": quiet}
        if self._going.get(of) != news:
            self._going[of] = news
            self.send("status", **news)

    def done(self, of: str) -> None:
        """The work is over and there is nothing to say about it."""
        if self._going.pop(of, None):
            self.send("status", role="done", of=of, text="", level="info")

    def message(self, text: str, *, of: str = "", level: str = "info") -> None:
        """What the person needs to know; it ends the news ``of`` the work whose result it is."""
        self._going.pop(of, None)
        self._message = {"role": "message", "of": of, "text": text, "level": level}
        self.send("status", **self._message)

    def error(self, problem: BaseException | str, *, of: str = "") -> None:
        """An error for the status line; the picture stays as it is."""
        self.message(problem if isinstance(problem, str) else str(problem) or type(problem).__name__, of=of, level="error")

    def acted(self) -> None:
        """The person did something: the message need not be shown again."""
        self._message = None

    def replay(self) -> None:
        """What the status line has to say, for a page that opens now."""
        for status in [*self._going.values(), *filter(None, [self._message])]:
            self.send("status", **status)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._send = lambda content, buffers: None


class timed_status:
    """News ``of`` the block once it has taken a second."""

    def __init__(self, outbox: Outbox, text: str, of: str):
        self._outbox, self._of = outbox, of
        self._timer = threading.Timer(1.0, outbox.going, [text], {"of": of})
        self._timer.daemon = True

    def __enter__(self):
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._timer.cancel()
        self._timer.join()  # it may be saying so just now
        self._outbox.done(self._of)

"""The one place from which a widget's messages leave, whatever thread they come from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

ERROR_SECONDS = 8.0  # an error stays at least this long before routine news replaces it


class Outbox:
    """Sends messages of an explorer, one at a time, until it is closed. ``send(content, buffers)`` is the widget's."""

    def __init__(self, send: Callable[[dict, list | None], None]):
        self._send = send
        self._lock = threading.Lock()
        self._closed = False
        self._error_until = 0.0
        self.last_status: dict = {}

    def send(self, kind: str, buffers: Sequence[bytes] = (), **content) -> None:
        with self._lock:
            if not self._closed:
                self._send({"kind": kind, **content}, list(buffers) or None)

    def status(self, text: str, *, progress: float | None = None, cancel: bool = False, answer: bool = False, quiet: bool = False) -> None:
        """One line of news. ``answer``: it answers what the person just did, so it may replace an error at once. ``quiet``: one
        of a series, such as progress, that screen readers do not read out."""
        if not answer and time.monotonic() < self._error_until:
            return
        if answer:
            self._error_until = 0.0
        self._status({"text": text, "level": "info", "progress": progress, "cancel": cancel, "quiet": quiet})

    def error(self, problem: BaseException | str) -> None:
        """An error for the status line; the picture stays as it is."""
        text = problem if isinstance(problem, str) else str(problem) or type(problem).__name__
        self._error_until = time.monotonic() + ERROR_SECONDS
        self._status({"text": text, "level": "error", "progress": None, "cancel": False, "quiet": False})

    def _status(self, status: dict) -> None:
        if status != self.last_status:
            self.last_status = status
            self.send("status", **status)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._send = lambda content, buffers: None


class timed_status:
    """Says ``text`` in the status line once the block has taken a second, and clears it after."""

    def __init__(self, outbox: Outbox, text: str):
        self._outbox, self._text, self._said = outbox, text, False
        self._timer = threading.Timer(1.0, self._say)
        self._timer.daemon = True

    def __enter__(self):
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._timer.cancel()
        if self._said:
            self._outbox.status("Ready.")

    def _say(self) -> None:
        self._said = True
        self._outbox.status(self._text)

"""Messages of the page about training and measuring, handed on to the worker that owns the device."""

from __future__ import annotations

from collections.abc import Callable

from .circuits import Entry
from .device import DeviceWorker
from .frames import Settings
from .outbox import Outbox
from .training_run import STARTS


class RunControls:
    """``shown()``: the circuit, settings and block size of now. A method ``do_<kind>`` for each kind of message; ValueError: it can't be done."""

    def __init__(self, outbox: Outbox, device: DeviceWorker, shown: Callable[[], tuple[Entry, Settings, int]]):
        self._outbox, self._device, self._shown = outbox, device, shown
        self.auto_measure = False

    def do_train(self, _message: dict) -> None:
        entry, settings, size = self._trainable()
        self._outbox.going("Training starts …", of="device")
        self._device.train(entry, size, settings)

    def do_start_over(self, message: dict) -> None:
        (entry, settings, size), start = self._trainable(), _start(message)
        self._outbox.going(f"A new run starts, from {start} parameters …", of="device")
        self._device.train(entry, size, settings, lambda training: training.start_over(size, start))

    def do_compare(self, message: dict) -> None:
        """Some epochs at each block size, the fastest sizes first."""
        (entry, settings, size), start, epochs = self._trainable(), _start(message), max(1, int(message["epochs"]))
        sizes = list(reversed(entry.sizes))
        self._outbox.going(f"{epochs} epochs at each block size, from {start} parameters and with the same seed …", of="device")
        self._device.train(entry, size, settings, lambda training: training.compare(sizes, start, epochs))

    def do_pace(self, message: dict) -> None:
        self._device.pace(max(0.0, float(message["seconds"])))

    def do_pause(self, _message: dict) -> None:
        self._device.pause()

    def do_resume(self, _message: dict) -> None:
        if self._device.state == "paused":
            self._outbox.going("Training goes on …", of="device")
        self._device.resume()

    def do_stop(self, _message: dict) -> None:
        if self._device.state == "training":
            self._outbox.going("Training stops after this mini-batch.", of="device")
        self._device.stop()

    def do_use_for_training(self, _message: dict) -> None:
        self._device.use_for_training(self._shown()[2])

    def do_measure(self, message: dict) -> None:
        entry, settings, size = self._trainable()
        self._device.measure(entry, size, settings, force=bool(message.get("force")))

    def do_cancel(self, _message: dict) -> None:
        self._device.cancelled.set()

    def measure_unasked(self) -> None:
        """After a move of the slider, if that is wished."""
        entry, settings, size = self._shown()
        if self.auto_measure and entry.can_train:
            self._device.measure(entry, size, settings, force=False)

    def _trainable(self) -> tuple[Entry, Settings, int]:
        shown = self._shown()
        if not shown[0].can_train:
            raise ValueError(shown[0].why_not or "This circuit has no data.")
        return shown


def _start(message: dict) -> str:
    if message.get("start") not in STARTS:
        raise ValueError(f"A run starts from {' or '.join(STARTS)} parameters, got {message.get('start')!r}.")
    return message["start"]

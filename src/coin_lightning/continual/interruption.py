"""Being asked to stop: SIGTERM, SIGUSR1 (a scheduler's warning before the end), SIGHUP (the terminal is gone) and
Ctrl-C, handled alike everywhere.

While a trainer works, a signal only leaves a mark: at the next optimizer step the task is saved, behind the next batch
of answers everything is on disk. Elsewhere it ends the process at once, which loses no more than SIGKILL does.
Lightning handles these signals in its own way (checkpoints that later tasks load again, collectives inside of a
handler, status 0), so its handlers are replaced while a trainer works.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

STATUS = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}
"""Exit status by signal. A scheduler that sends SIGUSR1 ends the job with SIGTERM; both say: start it again."""
if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else `nohup` has asked to go on without the terminal
    STATUS[signal.SIGHUP] = 129


class Stopped(BaseException):
    """The process was asked to end. No `Exception`, so that nothing takes it for a failure and goes on."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.status = STATUS[self.signal]
        super().__init__(f"stopped by {self.signal.name}; what was done is kept, the same command goes on from here")


class Interruption:
    """The signals of a process, as a context: handlers are put back as they were at its end.

    Attributes:
        received: the first signal that came, None while none has.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._waits = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.getsignal(number) for number in STATUS}
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def install(self) -> None:
        """Handle the signals here, whoever does it now; nothing outside of the context or of the main thread."""
        if self._before and threading.current_thread() is threading.main_thread():
            for number in STATUS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        if self.received is None:
            self.received = number
        impatient = again and number == signal.SIGINT
        if impatient or not self._waits:
            raise Stopped(self.received)

    def check(self) -> None:
        """Raise `Stopped` when a signal has come."""
        if self.received is not None:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise `Stopped`, also where the signal has reached another process of the job only."""
        raise Stopped(self.received or signal.SIGTERM)

    @contextmanager
    def at_next_step(self) -> Iterator[None]:
        """Signals wait within the block until somebody calls `check`, or for its end. A second Ctrl-C does not."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        self.check()

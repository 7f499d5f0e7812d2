"""What Pillow warns of while an image is opened, caught for each thread by itself.

Python's warning filters belong to the whole process: the first thread in sets them, the last one out restores them.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image


class _Listener:
    """The state that all threads share."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._filters = warnings.catch_warnings()
        self._shown: Any = None
        self._own = threading.local()

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """Gives the texts of the warnings of this thread; within another call, those of the other."""
        outer: list[str] | None = getattr(self._own, "said", None)
        if outer is not None:
            yield outer
            return
        self._enter()
        said: list[str] = []
        self._own.said = said
        try:
            yield said
        finally:
            self._own.said = None
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("always", module=r"PIL\b")
                # about big images: `images.MAX_PIXELS` is the rule here
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                self._shown = warnings.showwarning
                warnings.showwarning = self._take  # type: ignore[assignment]  # its arguments are handed on
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)

    def _take(self, message: Warning | str, *rest: Any) -> None:
        said: list[str] | None = getattr(self._own, "said", None)
        if said is None:
            self._shown(message, *rest)
        else:
            said.append(" ".join(str(message).split()))


listening = _Listener().listening

"""Reads the output of a program in the background, and keeps its end."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO, Deque

#: Limits of the kept text: lines, and characters of a line.
_LINES = 40
_LINE_MAX = 2000


class Tail:
    """Keeps the last lines of a pipe. Reads until the end of the pipe, so that the program never waits for a reader."""

    def __init__(self, pipe: IO[str]) -> None:
        self._lines: Deque[str] = deque(maxlen=_LINES)
        self._thread = threading.Thread(target=self._read, args=(pipe,), name="hubward-stderr", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The last lines so far."""
        return "\n".join(list(self._lines))

    def finish(self, timeout: float) -> str:
        """Waits at most this many seconds for the end of the pipe. Returns the last lines."""
        self._thread.join(timeout)
        return self.text()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            while line := pipe.readline(_LINE_MAX):
                self._lines.append(line.rstrip("\n"))

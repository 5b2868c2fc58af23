"""Starts the program `hubward emulator`, waits until it is ready, and ends it."""

from __future__ import annotations

import atexit
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from typing import IO, Any, Dict, List, Optional, Sequence

from ._errors import EmulatorError, StartError
from ._tail import Tail

#: Seconds that the emulator has to end after SIGTERM.
_END_LIMIT = 10.0
#: Seconds to wait for the rest of stderr of an emulator that has ended.
_REST_LIMIT = 2.0
#: Longest line of the emulator's output, in characters.
_LINE_MAX = 1 << 20


class EmulatorProcess:
    """A running emulator. It ends with this process, even if this process is killed."""

    def __init__(self, binary: str, arguments: Sequence[str], timeout: float) -> None:
        #: The facts of the line `ready`.
        self.ready: Dict[str, Any] = {}
        #: The variables of the line `operator`: the logins for the service APIs.
        self.operator: Dict[str, str] = {}
        # The emulator ends when its standard input is closed. If this process ends, the system closes the pipe.
        command = [binary, "emulator", "--output", "json", "--exit-on-stdin-close", *arguments]
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(),
                encoding="utf-8", errors="replace",
            )
        except OSError as error:
            raise StartError(f"the program {binary} cannot be started: {error.strerror}") from error
        assert self._child.stdout is not None and self._child.stderr is not None
        self._stderr = Tail(self._child.stderr)
        self._lines: "queue.Queue[Optional[str]]" = queue.Queue(maxsize=16)
        reader = threading.Thread(target=self._read, args=(self._child.stdout,), name="hubward-stdout", daemon=True)
        reader.start()
        self._owner = os.getpid()
        atexit.register(self._stop_at_exit)
        try:
            self._wait_until_ready(timeout)
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raises EmulatorError if the emulator has ended."""
        code = self._child.poll()
        if code is not None:
            raise EmulatorError(f"the emulator has ended with exit code {code}{self._reported()}")

    def stop(self) -> None:
        """Ends the emulator, and waits for its end. A second call has no effect."""
        atexit.unregister(self._stop_at_exit)
        # Closing the pipe lets the emulator shut down on every system. The signal is for the case that a forked process
        # keeps the pipe open. On Windows, `terminate` would kill the emulator.
        self._close_stdin()
        if self._child.poll() is None:
            if sys.platform != "win32":
                self._child.terminate()
            try:
                self._child.wait(_END_LIMIT)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def _stop_at_exit(self) -> None:
        # A forked process inherits this function, but the emulator is not its child.
        if os.getpid() == self._owner:
            self.stop()

    def _close_stdin(self) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.close()
        except OSError:
            pass

    def _wait_until_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not self.operator:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise StartError(f"the emulator was not ready within {timeout:g} s{self._reported()}") from None
            if line is None:
                raise StartError(f"the emulator did not start{self._reported()}")
            self._take(_parse(line))

    def _take(self, line: Dict[str, Any]) -> None:
        kind = line.get("type")
        if kind == "ready":
            self.ready = line
        elif kind == "operator":
            self.operator = line["variables"]
        elif kind == "error":
            raise _refused(line, self._reported())

    def _reported(self) -> str:
        """The end of stderr, as an addition to an error."""
        rest = self._stderr.text() if self._child.poll() is None else self._stderr.finish(_REST_LIMIT)
        return f"; its stderr ends with:\n{rest}" if rest else ""

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            while line := pipe.readline(_LINE_MAX):
                # The start reads the first lines. Later lines are dropped, so that the emulator never waits.
                try:
                    self._lines.put_nowait(line)
                except queue.Full:
                    pass
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            pass


def _environment() -> Dict[str, str]:
    """The variables of this process without the variables that set options of the emulator."""
    kept = {"HUBWARD_LOG"}
    return {name: value for name, value in os.environ.items() if not name.startswith("HUBWARD_") or name in kept}


def _parse(line: str) -> Dict[str, Any]:
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise StartError("the program wrote a line that is not JSON; is it hubward?")
    return parsed


def _refused(line: Dict[str, Any], reported: str) -> StartError:
    """Converts an `error` line into an exception."""
    causes: List[str] = [str(it) for it in line.get("causes") or []]
    text = ": ".join([str(line.get("message")), *causes])
    if line.get("hint"):
        text += f"; {line['hint']}"
    listening = re.match(r"cannot listen on \S+ for (.+)", str(line.get("message")))
    number = re.search(r"\(os error (\d+)\)", " ".join(causes))
    return StartError(
        f"the emulator did not start: {text}{reported}",
        listening=listening.group(1) if listening else "",
        errno=int(number.group(1)) if number else None,
    )

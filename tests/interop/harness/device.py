"""Controls a client program that reads commands: `clients/device.py` or `clients/device.js`."""

import json
import queue
import threading
import time


class Mismatch(Exception):
    """A check failed. The text describes the difference."""


class Device:
    """The client program of one case, controlled through its pipes."""

    def __init__(self, process, time_limit):
        self._process = process
        self._deadline = time.monotonic() + time_limit
        self._lines = queue.Queue()
        self._events = []
        self._next = 1
        self.stdout = ""
        threading.Thread(target=self._read, daemon=True).start()

    def wait_until_ready(self):
        self.event("ready")

    def do(self, command, **arguments):
        """Runs a command of the program. Returns its result."""
        reply = self._run(command, arguments)
        if "error" in reply:
            raise Mismatch(f"{command} failed: {reply['error']}")
        return reply["ok"]

    def error_of(self, command, **arguments):
        """Runs a command that the hub refuses. Returns the error of the SDK."""
        reply = self._run(command, arguments)
        if "error" not in reply:
            raise Mismatch(f"{command} was not refused: {reply}")
        return reply["error"]

    def _run(self, command, arguments):
        number, self._next = self._next, self._next + 1
        self._process.stdin.write(json.dumps({"id": number, "do": command, **arguments}) + "\n")
        self._process.stdin.flush()
        while True:
            line = self._line(f"the reply to {command}")
            if "event" in line:
                self._add_event(line)
            elif line["id"] == number:
                return line

    def event(self, name, matches=lambda event: True):
        """Returns the next event that has this name and matches. Discards the events before it."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if event["event"] == name and matches(event):
                    return event
            line = self._line(f"the event {name}")
            if "event" in line:
                self._add_event(line)

    def _add_event(self, event):
        if event["event"] == "failed":
            raise Mismatch(f"error of the SDK: {event['text']}")
        self._events.append(event)

    def _line(self, what):
        try:
            line = self._lines.get(timeout=max(0.1, self._deadline - time.monotonic()))
        except queue.Empty:
            raise Mismatch(f"{what} did not arrive; events before: {self._events}") from None
        if line is None:
            raise Mismatch(f"the program ended before it wrote {what}")
        return line

    def _read(self):
        for text in self._process.stdout:
            self.stdout += text
            try:
                line = json.loads(text)
            except ValueError:
                # The SDK printed this line. It is kept only for the log.
                continue
            self._lines.put(line)
        self._lines.put(None)


def same(what, found, expected):
    """Raises Mismatch if the two values differ."""
    if found != expected:
        raise Mismatch(f"{what}: {found!r} instead of {expected!r}")

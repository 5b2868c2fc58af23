"""A device program that does what it is told: `clients/device.py` or `clients/device.js`."""

import json
import queue
import threading
import time


class Mismatch(Exception):
    """Something is not as it should be; the text says what."""


class Device:
    """Talks to the program of one case over its pipes."""

    def __init__(self, process, time_limit):
        self._process = process
        self._until = time.monotonic() + time_limit
        self._lines = queue.Queue()
        self._events = []
        self._next = 1
        self.stdout = ""
        threading.Thread(target=self._read, daemon=True).start()

    def wait_until_ready(self):
        self.event("ready")

    def ask(self, do, **arguments):
        """Has it do something, and waits until that is done."""
        answer = self._ask(do, arguments)
        if "error" in answer:
            raise Mismatch(f"{do} failed: {answer['error']}")
        return answer["ok"]

    def fails(self, do, **arguments):
        """Has it do something that the hub refuses; the SDK's words."""
        answer = self._ask(do, arguments)
        if "error" not in answer:
            raise Mismatch(f"{do} was not refused: {answer}")
        return answer["error"]

    def _ask(self, do, arguments):
        number, self._next = self._next, self._next + 1
        self._process.stdin.write(json.dumps({"id": number, "do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        while True:
            line = self._line(f"an answer to {do}")
            if "event" in line:
                self._note(line)
            elif line["id"] == number:
                return line

    def event(self, name, fits=lambda event: True):
        """The next event of this name that fits; those before it are forgotten."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if event["event"] == name and fits(event):
                    return event
            line = self._line(f"the event {name}")
            if "event" in line:
                self._note(line)

    def _note(self, event):
        if event["event"] == "failed":
            raise Mismatch(f"the SDK says: {event['text']}")
        self._events.append(event)

    def _line(self, what):
        try:
            line = self._lines.get(timeout=max(0.1, self._until - time.monotonic()))
        except queue.Empty:
            raise Mismatch(f"{what} did not come; heard before: {self._events}") from None
        if line is None:
            raise Mismatch(f"the program ended instead of giving {what}")
        return line

    def _read(self):
        for text in self._process.stdout:
            self.stdout += text
            try:
                line = json.loads(text)
            except ValueError:
                # Something that the SDK printed: for the log only.
                continue
            self._lines.put(line)
        self._lines.put(None)


def same(what, found, expected):
    """Two values that must be equal."""
    if found != expected:
        raise Mismatch(f"{what}: {found!r} instead of {expected!r}")

"""The errors of this package."""

from __future__ import annotations

from typing import Optional


class EmulatorError(Exception):
    """The emulator did not start, has ended, or did not do what a call asked for."""


class StartError(EmulatorError):
    """The emulator did not start."""

    def __init__(self, message: str, *, listening: str = "", errno: Optional[int] = None) -> None:
        super().__init__(message)
        #: The listener that could not use its address, for example `MQTT`. Empty for any other reason.
        self.listening = listening
        #: The error number of the operating system, if it refused an address.
        self.errno = errno


class AdminError(EmulatorError):
    """The emulator refused a request to its admin port."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        #: The HTTP status of the answer.
        self.status = status


class TelemetryTimeout(EmulatorError, TimeoutError):
    """The hub received no further message in time."""

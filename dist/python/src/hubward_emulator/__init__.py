"""A local Azure DPS and IoT Hub for tests. Independent of Microsoft.

    with Emulator() as emulator:
        device = emulator.enroll("dev-1")
"""

from ._device import Device
from ._emulator import Emulator
from ._errors import AdminError, EmulatorError, StartError, TelemetryTimeout
from ._telemetry import TelemetryMessage

__all__ = [
    "AdminError",
    "Device",
    "Emulator",
    "EmulatorError",
    "StartError",
    "TelemetryMessage",
    "TelemetryTimeout",
]

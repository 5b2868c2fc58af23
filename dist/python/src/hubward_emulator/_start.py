"""Chooses the addresses of the emulator.

Microsoft's SDKs connect to the fixed ports 8883 and 443. Several emulators on one machine cannot share a port of one
address. So each emulator uses its own loopback address: the first uses `localhost`, the next 127.0.0.2, and so on.
"""

from __future__ import annotations

import errno
from typing import Iterator, List, Optional, Sequence, Tuple

from ._errors import StartError
from ._process import EmulatorProcess

MQTT_PORT = 8883
HTTPS_PORT = 443

#: The highest last byte of a loopback address.
_LAST = 120

_IN_USE = {errno.EADDRINUSE, 10048}
#: macOS has only the loopback address 127.0.0.1, unless the user adds more.
_NO_ADDRESS = {errno.EADDRNOTAVAIL, 10049}
#: Windows reports a port that another program reserves as 10013.
_FORBIDDEN = {errno.EACCES, errno.EPERM, 10013}


def on_free_ports(binary: str, arguments: Sequence[str], timeout: float) -> Tuple[EmulatorProcess, str]:
    """Starts the emulator at `localhost`. The system chooses the ports. Returns the emulator and its host name."""
    ports = _ports(0, 0)
    return EmulatorProcess(binary, [*ports, *arguments], timeout), "localhost"


def on_standard_ports(
    binary: str, arguments: Sequence[str], timeout: float, websockets: Optional[bool]
) -> Tuple[EmulatorProcess, str]:
    """Starts the emulator at the first loopback address on which the ports of the SDKs are free.

    `websockets` says whether port 443 must be used (True), may be used (None) or must not be used (False).
    """
    https = 0 if websockets is False else HTTPS_PORT
    problem: Optional[StartError] = None
    https_in_use = False
    for host, address in _addresses():
        try:
            return EmulatorProcess(binary, [*_ports(MQTT_PORT, https), *address, *arguments], timeout), host
        except StartError as error:
            if error.errno in _NO_ADDRESS and problem is not None:
                break
            if error.errno in _FORBIDDEN and error.listening.startswith("HTTPS") and websockets is None:
                # Port 443 needs a right that this user does not have. MQTT works without it.
                https = 0
                try:
                    return EmulatorProcess(binary, [*_ports(MQTT_PORT, 0), *address, *arguments], timeout), host
                except StartError as without:
                    error = without
            if error.errno not in _IN_USE:
                raise error
            # The emulator opens the MQTT port first. So this address has a free MQTT port.
            https_in_use = https_in_use or error.listening.startswith("HTTPS")
            problem = error
    if https_in_use and websockets is None:
        # Another program uses port 443 on all addresses, for example a web server. MQTT works without this port.
        return on_standard_ports(binary, arguments, timeout, websockets=False)
    raise StartError(
        f"Microsoft's SDKs need the ports {MQTT_PORT} and {HTTPS_PORT}, and other programs use them on every loopback "
        "address; stop these programs, or use ports=\"free\" with a client that can choose its ports; "
        f"the last attempt: {problem}"
    )


def _ports(mqtt: int, https: int) -> List[str]:
    return ["--mqtt-port", str(mqtt), "--https-port", str(https), "--admin-port", "0"]


def _addresses() -> Iterator[Tuple[str, List[str]]]:
    """The host names, each with the options that make the emulator listen there."""
    yield "localhost", []
    for last in range(2, _LAST + 1):
        address = f"127.0.0.{last}"
        yield address, ["--bind", address, "--hub", address]

"""The emulator as a context manager."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Type, Union
from urllib.parse import quote

from . import _binary, _start, _telemetry, _trust
from ._admin import AdminPort
from ._device import Device
from ._errors import AdminError, EmulatorError
from ._process import EmulatorProcess
from ._telemetry import TelemetryMessage

if sys.version_info >= (3, 11):
    from typing import Self
elif TYPE_CHECKING:
    from typing_extensions import Self


class Emulator:
    """A local DPS and IoT Hub. It runs inside the `with` block, or between `start` and `stop`.

    The emulator keeps its state in memory, unless `data_dir` is given. It ends with this process, even if this process
    is killed.

    Args:
        ports: `"standard"` uses the ports to which Microsoft's SDKs connect: 8883 and 443. If another emulator uses
            them, this emulator uses another loopback address (127.0.0.2 and so on). `"free"` lets the system choose
            the ports. Microsoft's SDKs cannot use such ports; hubward's clients can.
        websockets: whether Microsoft's SDKs must reach port 443 (HTTPS and MQTT over WebSocket). On Linux, this port
            often needs root. With `None`, the emulator uses the port if it is free and allowed; see `websockets`
            below.
        trust: makes this process trust the emulator: sets SSL_CERT_FILE, REQUESTS_CA_BUNDLE and NODE_EXTRA_CA_CERTS,
            also for programs that this process starts. The `stop` of the last such emulator restores the earlier
            values.
        seed: enrollments, groups and devices to start with: a JSON file, or the content of one.
        data_dir: a folder that keeps the state and the CA after the end.
        dev_keys: adds an enrollment group whose key is published.
        retry_after: seconds that DPS tells a device to wait. The service says 3.
        options: further options of `hubward emulator`.
        start_timeout: seconds that the emulator has until it is ready.
        binary: path of the program. By default, HUBWARD_BINARY or the program of this package.

    Raises:
        StartError: from `start` and `with`. The message contains the end of the emulator's stderr.
    """

    def __init__(
        self,
        *,
        ports: str = "standard",
        websockets: Optional[bool] = None,
        trust: bool = True,
        seed: Union[None, str, Path, Mapping[str, Any]] = None,
        data_dir: Union[None, str, Path] = None,
        dev_keys: bool = False,
        retry_after: int = 0,
        options: Sequence[str] = (),
        start_timeout: float = 30.0,
        binary: Optional[str] = None,
    ) -> None:
        if ports not in ("standard", "free"):
            raise ValueError(f'ports is "standard" or "free", not {ports!r}')
        self._ports = ports
        self._websockets = websockets
        self._trust = trust
        self._seed = seed
        # Without a seed, the program creates a device for its first user. A test starts without it.
        self._starts_empty = data_dir is None and not isinstance(seed, (str, Path)) and not dev_keys
        self._start_timeout = start_timeout
        self._binary = binary
        state = ["--in-memory"] if data_dir is None else ["--data-dir", str(data_dir)]
        self._arguments = [*state, "--retry-after", f"{retry_after}s", *(["--dev-keys"] if dev_keys else []), *options]
        self._process: Optional[EmulatorProcess] = None
        self._admin: Optional[AdminPort] = None
        self._environment: Dict[str, str] = {}
        self._trusted: Optional[_trust.Trust] = None
        #: The host name of DPS and of the hub, for example `localhost` or `127.0.0.2`. Empty before the start.
        self.host = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the emulator, and waits until it is ready."""
        if self._process is not None:
            raise EmulatorError("the emulator runs already")
        binary = _binary.find(self._binary)
        if isinstance(self._seed, (str, Path)):
            self._arguments += ["--seed", str(self._seed)]
            self._seed = None
        if self._ports == "free":
            process, host = _start.on_free_ports(binary, self._arguments, self._start_timeout)
        else:
            process, host = _start.on_standard_ports(binary, self._arguments, self._start_timeout, self._websockets)
        self._process, self.host, self._admin = process, host, AdminPort(process)
        try:
            self._prepare()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the emulator. A second call has no effect.

        If no other emulator needs the changed variables of this process, restores their earlier values.
        """
        trusted, self._trusted, self._environment = self._trusted, None, {}
        process, self._process, self._admin = self._process, None, None
        try:
            if trusted is not None:
                trusted.release()
        finally:
            if process is not None:
                process.stop()

    @property
    def hub(self) -> str:
        """The host name of the hub."""
        return str(self._ready["hubs"][0])

    @property
    def id_scope(self) -> str:
        """The id scope of DPS."""
        return str(self._ready["idScope"])

    @property
    def mqtt_port(self) -> int:
        """The port of MQTT over TLS."""
        return _port(self._ready["mqtt"])

    @property
    def https_port(self) -> int:
        """The port of HTTPS and of MQTT over WebSocket."""
        return _port(self._ready["https"])

    @property
    def websockets(self) -> bool:
        """Whether Microsoft's SDKs reach port 443, for HTTPS and MQTT over WebSocket."""
        return self.https_port == _start.HTTPS_PORT

    @property
    def admin_url(self) -> str:
        """The URL of the admin API and of the portal."""
        return self._running.url

    @property
    def ca_file(self) -> Path:
        """The certificate of the emulator's CA, as PEM (`server_verification_cert` of the SDK is its content)."""
        return Path(self._ready["caFile"])

    @property
    def environment(self) -> Dict[str, str]:
        """The variables with which Python, OpenSSL and Node trust the emulator."""
        self._running
        return dict(self._environment)

    @property
    def hub_login(self) -> str:
        """The connection string of the hub's policy `iothubowner`, for `azure-iot-hub`."""
        return self._login("IOTHUB_CONNECTION_STRING")

    @property
    def dps_login(self) -> str:
        """The connection string of DPS's policy `provisioningserviceowner`, for `azure-iot-deviceprovisioning`."""
        return self._login("PROVISIONING_CONNECTION_STRING")

    def enroll(self, registration_id: str, key: Optional[str] = None) -> Device:
        """Creates an individual enrollment with a symmetric key, and generates the key if none is given.

        Updates an existing enrollment, which keeps its key if none is given.
        """
        attestation: Dict[str, Any] = {"type": "symmetricKey"}
        if key is not None:
            attestation["symmetricKey"] = {"primaryKey": key, "secondaryKey": key}
        body = {"registrationId": registration_id, "attestation": attestation, "iotHubs": [self.hub]}
        path = f"dps/enrollments/{quote(registration_id, safe='')}"
        try:
            created = self.admin("PUT", path, body)
        except AdminError as error:
            if error.status != 409:
                raise
            created = self._running.request("PUT", path, body, replace=True)
        keys = created["attestation"]["symmetricKey"]
        return Device(self, created["registrationId"], keys["primaryKey"], keys["secondaryKey"])

    def telemetry(
        self, device_id: Optional[str] = None, count: Optional[int] = None, timeout: float = 30.0
    ) -> Iterator[TelemetryMessage]:
        """Yields the messages that the hub has received and receives, the oldest first.

        Stops after `count` messages. Without `count`, never stops. Raises TelemetryTimeout if no further message
        arrives within `timeout` seconds.
        """
        return _telemetry.follow(self._running, self.hub, device_id, count, timeout)

    def received(self, device_id: Optional[str] = None) -> List[TelemetryMessage]:
        """The messages that the hub has received so far. Does not wait."""
        return _telemetry.received(self._running, self.hub, device_id, 0)[0]

    def events(self, start: int = 0) -> List[Dict[str, Any]]:
        """The emulator's journal from the event number `start` on: registrations, connections, refusals, reasons."""
        events: List[Dict[str, Any]] = []
        while True:
            page = self.admin("GET", f"api/events?format=json&from={start}")
            events += page["events"]
            if page["next"] == start:
                return events
            start = page["next"]

    def reset(self) -> None:
        """Deletes all devices and enrollments, and applies the seed again."""
        self.admin("POST", "api/reset", {})
        self._apply_seed()

    def admin(self, method: str, path: str, body: Optional[object] = None, timeout: float = 30.0) -> Any:
        """Sends a request to the admin API, for example for a fault. Returns the JSON of the answer.

        Raises AdminError if the emulator refuses the request.
        """
        return self._running.request(method, path, body, timeout)

    def _prepare(self) -> None:
        if self._starts_empty:
            self.admin("POST", "api/reset", {})
        self._apply_seed()
        self._trusted = _trust.Trust(self.ca_file, self._trust)
        self._environment = self._trusted.variables()

    def _apply_seed(self) -> None:
        if isinstance(self._seed, Mapping):
            # A copy that contains only JSON, and that fails early if it does not.
            self.admin("POST", "api/import", json.loads(json.dumps(dict(self._seed))))

    def _login(self, name: str) -> str:
        self._running
        assert self._process is not None
        parts = self._process.operator[name].split(";")
        return ";".join(f"HostName={self.host}" if it.startswith("HostName=") else it for it in parts)

    @property
    def _ready(self) -> Dict[str, Any]:
        self._running
        assert self._process is not None
        return self._process.ready

    @property
    def _running(self) -> AdminPort:
        if self._admin is None:
            raise EmulatorError("the emulator does not run; use `with Emulator() as emulator`, or call `start`")
        return self._admin


def _port(addresses: Sequence[str]) -> int:
    return int(addresses[0].rpartition(":")[2])

"""A device of the emulator, seen from the cloud."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union
from urllib.parse import quote

from ._errors import AdminError
from ._telemetry import TelemetryMessage

if TYPE_CHECKING:
    from ._emulator import Emulator

#: Seconds that the admin port has to answer, in addition to the time of a method call.
_GRACE = 10.0


class Device:
    """A device that can register at DPS. `Emulator.enroll` creates it."""

    def __init__(self, emulator: "Emulator", registration_id: str, key: str, secondary_key: str) -> None:
        self._emulator = emulator
        self._secondary_key = secondary_key
        #: The id at DPS. It is also the id at the hub.
        self.registration_id = registration_id
        #: The primary symmetric key, in base64.
        self.key = key

    def __repr__(self) -> str:
        # The key is a secret.
        return f"Device({self.registration_id!r})"

    @property
    def device_id(self) -> str:
        """The id at the hub."""
        return self.registration_id

    @property
    def id_scope(self) -> str:
        """The id scope of DPS."""
        return self._emulator.id_scope

    @property
    def host(self) -> str:
        """The host name of DPS (`provisioning_host` of the SDK)."""
        return self._emulator.host

    @property
    def environment(self) -> Dict[str, str]:
        """The variables for a program that is this device: those of Microsoft's samples, and those for TLS."""
        return {**self._emulator.environment, **self.provisioning_variables}

    @property
    def provisioning_variables(self) -> Dict[str, str]:
        """The four variables of Microsoft's samples."""
        return {
            "PROVISIONING_HOST": self.host,
            "PROVISIONING_IDSCOPE": self.id_scope,
            "PROVISIONING_REGISTRATION_ID": self.registration_id,
            "PROVISIONING_SYMMETRIC_KEY": self.key,
        }

    def connection_string(self) -> str:
        """The connection string for the hub. Creates the device at the hub if it has not registered yet."""
        try:
            identity = self._emulator.admin("GET", self._identity)
        except AdminError as error:
            if error.status != 404:
                raise
            keys = {"primaryKey": self.key, "secondaryKey": self._secondary_key}
            body = {"deviceId": self.device_id, "authentication": {"type": "sas", "symmetricKey": keys}}
            identity = self._emulator.admin("PUT", self._identity, body)
        key = identity["authentication"]["symmetricKey"]["primaryKey"]
        return f"HostName={self._emulator.hub};DeviceId={self.device_id};SharedAccessKey={key}"

    def telemetry(self, count: Optional[int] = None, timeout: float = 30.0) -> Iterator[TelemetryMessage]:
        """Yields the messages of this device, see `Emulator.telemetry`."""
        return self._emulator.telemetry(device_id=self.device_id, count=count, timeout=timeout)

    def received(self) -> List[TelemetryMessage]:
        """The messages that the hub has received from this device so far. Does not wait."""
        return self._emulator.received(device_id=self.device_id)

    def twin(self) -> Dict[str, Any]:
        """The twin in the JSON of the service."""
        twin: Dict[str, Any] = self._emulator.admin("GET", self._twin)
        return twin

    def update_twin(
        self, desired: Optional[Mapping[str, Any]] = None, tags: Optional[Mapping[str, Any]] = None
    ) -> Dict[str, Any]:
        """Merges these desired properties and tags into the twin. `None` as a value removes a property."""
        patch: Dict[str, Any] = {}
        if desired is not None:
            patch["properties"] = {"desired": desired}
        if tags is not None:
            patch["tags"] = tags
        twin: Dict[str, Any] = self._emulator.admin("PATCH", self._twin, patch)
        return twin

    def invoke_method(self, name: str, payload: object = None, timeout: int = 30) -> Tuple[int, Any]:
        """Calls a direct method. Returns the status and the payload of the device.

        The device has `timeout` seconds to answer (5 to 300). Raises AdminError with status 404 if the device is not
        connected, and with status 504 if it does not answer in time.
        """
        body = {"methodName": name, "payload": payload, "responseTimeoutInSeconds": timeout}
        answer = self._emulator.admin("POST", f"{self._twin}/methods", body, timeout + _GRACE)
        return answer["status"], answer["payload"]

    def send_message(self, body: Union[str, bytes], properties: Optional[Mapping[str, str]] = None) -> None:
        """Sends a cloud-to-device message."""
        message: Dict[str, Any] = {"properties": dict(properties or {})}
        if isinstance(body, bytes):
            message["bodyBase64"] = base64.b64encode(body).decode()
        else:
            message["body"] = body
        self._emulator.admin("POST", f"messages/{self._emulator.hub}/{self._id}", message)

    def disconnect(self) -> None:
        """Closes the connection of the device. The SDK may connect again at once."""
        self._emulator.admin("POST", f"api/devices/{self._emulator.hub}/{self._id}/disconnect", {})

    def remove(self) -> None:
        """Deletes the enrollment, the registration and the device at the hub."""
        for path in (f"dps/enrollments/{self._id}", self._identity):
            try:
                self._emulator.admin("DELETE", path)
            except AdminError as error:
                if error.status != 404:
                    raise

    @property
    def _id(self) -> str:
        return quote(self.registration_id, safe="")

    @property
    def _identity(self) -> str:
        return f"hubs/{self._emulator.hub}/devices/{self._id}"

    @property
    def _twin(self) -> str:
        return f"hubs/{self._emulator.hub}/twins/{self._id}"

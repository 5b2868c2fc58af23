"""The messages that a hub receives from devices."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional

from ._admin import AdminPort
from ._errors import TelemetryTimeout

#: Seconds between two questions for new messages.
_INTERVAL = 0.05


@dataclass(frozen=True)
class TelemetryMessage:
    """A message from a device or module."""

    device_id: str
    module_id: Optional[str]
    body: bytes
    #: The application properties.
    properties: Dict[str, str]
    #: The system properties of the sender (such as `$.ct`) and of the hub (such as `iothub-connection-device-id`).
    system_properties: Dict[str, str] = field(repr=False)
    #: The time at which the hub received the message (ISO 8601, UTC).
    enqueued_time: str
    #: The position in the log of the hub.
    offset: int

    @property
    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


def received(admin: AdminPort, hub: str, device_id: Optional[str], start: int) -> "tuple[List[TelemetryMessage], int]":
    """All messages from the offset `start` on, and the offset of the next message."""
    messages: List[TelemetryMessage] = []
    while True:
        query = {"format": "json", "from": str(start)}
        if device_id is not None:
            query["device"] = device_id
        page = admin.request("GET", f"api/telemetry/{hub}?{urllib.parse.urlencode(query)}")
        messages += [_message(it) for it in page["messages"]]
        if page["next"] == start:
            return messages, start
        start = page["next"]


def follow(
    admin: AdminPort, hub: str, device_id: Optional[str], count: Optional[int], timeout: float
) -> Iterator[TelemetryMessage]:
    """Yields messages, the oldest first. Waits at most `timeout` seconds for each."""
    seen, start = 0, 0
    deadline = time.monotonic() + timeout
    while count is None or seen < count:
        messages, start = received(admin, hub, device_id, start)
        for message in messages:
            yield message
            seen += 1
            if seen == count:
                return
        if messages:
            deadline = time.monotonic() + timeout
        elif time.monotonic() > deadline:
            source = "any device" if device_id is None else f"device {device_id}"
            raise TelemetryTimeout(f"no further message from {source} within {timeout:g} s; {seen} arrived before")
        else:
            time.sleep(_INTERVAL)


def _message(shown: Dict[str, Any]) -> TelemetryMessage:
    body = base64.b64decode(shown["bodyBase64"]) if "bodyBase64" in shown else shown["body"].encode()
    return TelemetryMessage(
        device_id=shown["deviceId"],
        module_id=shown.get("moduleId"),
        body=body,
        properties=shown["properties"],
        system_properties=shown["systemProperties"],
        enqueued_time=shown["enqueuedTime"],
        offset=shown["offset"],
    )

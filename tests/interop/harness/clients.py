"""The SDKs with their transports, and the hosts of the emulator."""

from dataclasses import dataclass

DPS_HOST = "localhost"
FIRST_HUB = "localhost"
SECOND_HUB = "127.0.0.2"
HUBS = [FIRST_HUB, SECOND_HUB]


@dataclass(frozen=True)
class Client:
    """An SDK and its transports."""

    sdk: str
    provisioning: str
    telemetry: str

    @property
    def label(self):
        if self.provisioning == self.telemetry:
            return f"{self.sdk} {self.provisioning}"
        return f"{self.sdk} {self.provisioning}+{self.telemetry}"

    def environment(self):
        """The variables that select the transports."""
        return {
            "INTEROP_PROVISIONING": self.provisioning,
            "INTEROP_TELEMETRY": self.telemetry,
            "INTEROP_WEBSOCKETS": "1" if self.telemetry == "mqtt-ws" else "0",
        }


@dataclass(frozen=True)
class Refusal:
    """The stage at which the emulator must refuse the client, and a pattern for the error of each SDK.

    `reason` is a part of the reason in the emulator's journal. It shows the difference between refusals that have the
    same error in the SDK.
    """

    at: str
    python: str = ""
    node: str = ""
    reason: str = ""

    def pattern(self, sdk):
        return self.python if sdk == "python" else self.node


CLIENTS = [
    Client("python", "mqtt", "mqtt"),
    Client("python", "mqtt-ws", "mqtt-ws"),
    Client("node", "http", "mqtt"),
    Client("node", "http", "mqtt-ws"),
    Client("node", "mqtt", "mqtt"),
    Client("node", "mqtt-ws", "mqtt-ws"),
]

# These clients do not use DPS. So each SDK needs only one client for each transport of the hub.
HUB_CLIENTS = [client for client in CLIENTS if client.provisioning == client.telemetry]

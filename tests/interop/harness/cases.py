"""The cases: every scenario of DPS and of a hub, with every SDK and transport.

Each case has its own enrollment or device. So all cases can run at the same time, and the harness can tell
their messages apart.
"""

import base64
import hashlib
import hmac
import time
import urllib.parse
from dataclasses import dataclass
from typing import Callable

from . import certificate_cases, hub_checks
from .certificate_cases import CERTIFICATE_SCENARIOS, CertificateCase
from .clients import CLIENTS, DPS_HOST, FIRST_HUB, HUB_CLIENTS, SECOND_HUB, Client, Refusal

GROUP_ID = "interop-group"
MESSAGES = 10


@dataclass(frozen=True)
class Scenario:
    label: str
    slug: str
    hub: str = FIRST_HUB
    group: bool = False
    status: str = "enabled"
    wrong_key: bool = False
    wrong_hub_key: bool = False
    expired_hub_token: bool = False
    sdks: tuple = ("python", "node")
    trusted: bool = True
    refusal: "Refusal | None" = None


@dataclass(frozen=True)
class Case:
    client: Client
    scenario: Scenario

    @property
    def name(self):
        return f"{self.client.label}: {self.scenario.label}"

    @property
    def registration_id(self):
        return f"{self.scenario.slug}-{self.client.label}".replace(" ", "-").replace("+", "-")

    @property
    def device_key(self):
        """The key with which the device can register."""
        if self.scenario.group:
            return _derived(GROUP_KEY, self.registration_id)
        return _key("primary", self.registration_id)

    def enrollment(self, _certificates):
        """The enrollment in the format of the service API. None if the device belongs to the enrollment group."""
        if self.scenario.group:
            return None
        return {
            "registrationId": self.registration_id,
            "attestation": _symmetric_key(self.device_key, _key("secondary", self.registration_id)),
            "provisioningStatus": self.scenario.status,
            "allocationPolicy": "static",
            "iotHubs": [self.scenario.hub],
        }

    def environment(self, id_scope, _certificates):
        """The variables of the client program: the variables of the SDK's sample, and the variables of this harness."""
        wrong = _key("wrong", self.registration_id)
        variables = {
            "PROVISIONING_HOST": DPS_HOST,
            "PROVISIONING_IDSCOPE": id_scope,
            "PROVISIONING_REGISTRATION_ID": self.registration_id,
            "PROVISIONING_SYMMETRIC_KEY": wrong if self.scenario.wrong_key else self.device_key,
            **self.client.environment(),
        }
        if self.scenario.wrong_hub_key:
            variables["INTEROP_HUB_KEY"] = wrong
        if self.scenario.expired_hub_token:
            # The service accepts a token until five minutes after its expiry. This token expired an hour ago.
            resource = f"{self.scenario.hub}/devices/{self.registration_id}"
            variables["INTEROP_HUB_TOKEN"] = _token(self.device_key, resource, int(time.time()) - 3600)
        return variables


@dataclass(frozen=True)
class HubScenario:
    """A check of a device or module at a hub.

    If `authentication` is `selfSigned` or `certificateAuthority`, the device or module has a certificate of the kind
    `certificate`. The identity then has the thumbprint of `enrolled`, with the given algorithm.
    """

    label: str
    slug: str
    check: Callable
    module: "str | None" = None
    authentication: str = "sas"
    certificate: str = "self-signed"
    enrolled: str = "self-signed"
    thumbprint: str = "sha256"
    sdks: tuple = ("python", "node")


@dataclass(frozen=True)
class HubCase:
    """A scenario for a device or module that the seed creates at the hub."""

    client: Client
    scenario: HubScenario

    @property
    def name(self):
        return f"{self.client.label}: {self.scenario.label}"

    @property
    def registration_id(self):
        return f"{self.scenario.slug}-{self.client.label}".replace(" ", "-")

    def device(self, certificates):
        """The device in the format of the seed."""
        module = self.scenario.module
        own = self._keys("device") if module else self._authentication(certificates)
        device = {"deviceId": self.registration_id, "hub": FIRST_HUB, "authentication": own}
        if module:
            device["modules"] = [{"moduleId": module, "authentication": self._authentication(certificates)}]
        return device

    def environment(self, _id_scope, certificates):
        """The variables of the client program."""
        module = f"ModuleId={self.scenario.module};" if self.scenario.module else ""
        login = f"HostName={FIRST_HUB};DeviceId={self.registration_id};{module}"
        if self.scenario.authentication != "sas":
            certificate = certificates.device(self.scenario.certificate, self._common_name).variables()
            return {"INTEROP_CONNECTION_STRING": f"{login}x509=true", **self.client.environment(), **certificate}
        key = _key("module" if self.scenario.module else "device", self.registration_id)
        return {"INTEROP_CONNECTION_STRING": f"{login}SharedAccessKey={key}", **self.client.environment()}

    @property
    def _common_name(self):
        module = self.scenario.module
        return f"{self.registration_id}/{module}" if module else self.registration_id

    def _authentication(self, certificates):
        kind = self.scenario.authentication
        if kind == "sas":
            return self._keys("module" if self.scenario.module else "device")
        if kind == "certificateAuthority":
            return {"type": kind}
        certificate = certificates.device(self.scenario.enrolled, self._common_name)
        return {"type": kind, "x509Thumbprint": {"primaryThumbprint": certificate.thumbprint(self.scenario.thumbprint)}}

    def _keys(self, role):
        keys = _symmetric_key(_key(role, self.registration_id), _key("secondary", self.registration_id))
        return {"type": "sas", "symmetricKey": keys["symmetricKey"]}


@dataclass(frozen=True)
class ServiceCase:
    """A program that makes every call of a service SDK."""

    sdk: str
    service: str
    package: str

    @property
    def client(self):
        return Client(self.sdk, "https", "https")

    @property
    def name(self):
        return f"{self.sdk} service: {self.package}"

    @property
    def section(self):
        """The section of docs/interop.md that lists the calls."""
        return f"{self.sdk} {self.service}"

    @property
    def program(self):
        return f"service_{self.service}"

    @property
    def registration_id(self):
        return f"service-{self.service}-{self.sdk}"

    def environment(self, id_scope, certificates):
        """The variables of the program, without its connection strings."""
        return {
            "PROVISIONING_HOST": DPS_HOST,
            "PROVISIONING_IDSCOPE": id_scope,
            **certificates.of_service(self.registration_id),
        }


SCENARIOS = [
    Scenario("individual enrollment", "individual"),
    Scenario("enrollment group", "group", group=True),
    Scenario("second hub", "second-hub", hub=SECOND_HUB),
    Scenario(
        "wrong key", "wrong-key", wrong_key=True,
        refusal=Refusal("dps", r"service error status code 401|CredentialError", r"UnauthorizedError"),
    ),
    Scenario(
        "disabled enrollment", "disabled", status="disabled",
        refusal=Refusal("dps", r"invalid registration status disabled", r"status is disabled"),
    ),
    Scenario(
        "untrusted certificate", "untrusted", trusted=False,
        refusal=Refusal("dps", r"CERTIFICATE_VERIFY_FAILED", r"(?i)self.signed certificate|unable to (verify|get)"),
    ),
    Scenario(
        "wrong key at the hub", "wrong-hub-key", wrong_hub_key=True,
        refusal=Refusal("hub", r"CredentialError", r"UnauthorizedError"),
    ),
    # Only the Node SDK sends an expired token to a hub. The Python SDK refuses to use an expired token.
    Scenario(
        "expired token at the hub", "expired-hub-token", expired_hub_token=True, sdks=("node",),
        refusal=Refusal("hub", node=r"UnauthorizedError"),
    ),
]

HUB_SCENARIOS = [
    HubScenario("device: telemetry", "telemetry", hub_checks.telemetry),
    HubScenario("device: twin", "twin", hub_checks.twin),
    HubScenario("device: methods", "method", hub_checks.method),
    HubScenario("device: messages", "message", hub_checks.message),
    HubScenario("device: kept session", "reconnect", hub_checks.reconnect),
    HubScenario("module: telemetry", "module-telemetry", hub_checks.telemetry, module="mod-1"),
    HubScenario("module: twin", "module-twin", hub_checks.twin, module="mod-1"),
    HubScenario("module: methods", "module-method", hub_checks.method, module="mod-1"),
    HubScenario("module: inputs", "module-message", hub_checks.message, module="mod-1"),
    HubScenario("X.509 device: thumbprint", "x509-device", hub_checks.certificate, authentication="selfSigned"),
    HubScenario(
        "X.509 device: CA", "x509-ca-device", hub_checks.certificate, authentication="certificateAuthority",
        certificate="other line",
    ),
    # The Node SDK has no module client with a certificate.
    HubScenario(
        "X.509 module: thumbprint", "x509-module", hub_checks.certificate, module="mod-1",
        authentication="selfSigned", thumbprint="sha1", sdks=("python",),
    ),
    HubScenario(
        "X.509 module: CA", "x509-ca-module", hub_checks.certificate, module="mod-1",
        authentication="certificateAuthority", certificate="signing line", sdks=("python",),
    ),
    HubScenario(
        "X.509 device: other", "x509-other-device", authentication="selfSigned", certificate="other",
        check=hub_checks.refused("the certificate has none of the thumbprints of the identity"),
    ),
    HubScenario(
        "X.509 device: expired", "x509-expired-device", authentication="selfSigned", certificate="expired",
        enrolled="expired", check=hub_checks.refused("a certificate of the chain has expired"),
    ),
]


SERVICES = [
    ServiceCase("python", "dps", "azure-iot-deviceprovisioning"),
    ServiceCase("node", "dps", "azure-iot-provisioning-service"),
    ServiceCase("python", "hub", "azure-iot-hub"),
    ServiceCase("node", "hub", "azure-iothub"),
]


def all_cases():
    with_dps = [Case(client, it) for it in SCENARIOS for client in CLIENTS if client.sdk in it.sdks]
    with_dps += certificate_cases.certificate_cases()
    at_hub = [HubCase(client, it) for it in HUB_SCENARIOS for client in HUB_CLIENTS if client.sdk in it.sdks]
    # The longest cases start first.
    return SERVICES + with_dps + at_hub


def scenarios():
    """All scenarios, in the order of the report."""
    return [*SCENARIOS, *CERTIFICATE_SCENARIOS, *HUB_SCENARIOS]


def matching(text):
    return [case for case in all_cases() if not text or text in case.name]


def seed(cases, certificates):
    """The content of the emulator's seed file for these cases."""
    with_dps = [case.enrollment(certificates) for case in cases if isinstance(case, (Case, CertificateCase))]
    return {
        "enrollments": [entry for entry in with_dps if entry],
        "devices": [case.device(certificates) for case in cases if isinstance(case, HubCase)],
        "certificateAuthorities": certificate_cases.authorities(certificates),
        "enrollmentGroups": [{
            "enrollmentGroupId": GROUP_ID,
            "attestation": _symmetric_key(GROUP_KEY, _key("secondary", GROUP_ID)),
            "allocationPolicy": "static",
            "iotHubs": [FIRST_HUB],
        }, *certificate_cases.groups(certificates)],
    }


def _symmetric_key(primary, secondary):
    return {"type": "symmetricKey", "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary}}


def _key(role, registration_id):
    # The keys are constant, so that failures can be repeated. Only an emulator on the loopback interface uses these
    # keys.
    return base64.b64encode(hashlib.sha512(f"hubward interop {role} {registration_id}".encode()).digest()).decode()


def _token(key, resource, expiry):
    resource = urllib.parse.quote(resource, safe="")
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest).decode(), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"


def _derived(group_key, registration_id):
    digest = hmac.new(base64.b64decode(group_key), registration_id.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


GROUP_KEY = _key("primary", GROUP_ID)

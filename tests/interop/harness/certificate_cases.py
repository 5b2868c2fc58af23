"""The scenarios of DPS in which a device has a certificate."""

import re
from dataclasses import dataclass

from .certificates import ROOT
from .clients import CLIENTS, DPS_HOST, FIRST_HUB, Client, Refusal

_SIGNING_GROUP = "interop-x509-signing"
_REFERENCE_GROUP = "interop-x509-reference"
# The transport does not change how the SDK loads a key. So these clients are enough for the kinds of keys.
_ONE_OF_EACH_SDK = tuple(client for client in CLIENTS if client.provisioning == client.telemetry == "mqtt")


@dataclass(frozen=True)
class CertificateScenario:
    """`certificate` is the kind of the device's certificate (`Certificates.device`). `enrolled` is the kind in its
    individual enrollment: None if there is no such enrollment. `group` is the enrollment group that must admit the
    device. `at_hub` is the kind that the device presents to the hub."""

    label: str
    slug: str
    certificate: str
    enrolled: "str | None" = None
    group: "str | None" = None
    at_hub: "str | None" = None
    clients: tuple = tuple(CLIENTS)
    hub: str = FIRST_HUB
    refusal: "Refusal | None" = None


@dataclass(frozen=True)
class CertificateCase:
    client: Client
    scenario: CertificateScenario

    @property
    def name(self):
        return f"{self.client.label}: {self.scenario.label}"

    @property
    def registration_id(self):
        return f"{self.scenario.slug}-{self.client.label}".replace(" ", "-").replace("+", "-")

    def enrollment(self, certificates):
        """The enrollment in the format of the service API. None if the device has no individual enrollment."""
        if self.scenario.enrolled is None:
            return None
        primary = {"certificate": certificates.device(self.scenario.enrolled, self.registration_id).pem}
        return {
            "registrationId": self.registration_id,
            "attestation": {"type": "x509", "x509": {"clientCertificates": {"primary": primary}}},
            "allocationPolicy": "static",
            "iotHubs": [self.scenario.hub],
        }

    def environment(self, id_scope, certificates):
        """The variables of the client program: the variables of the SDK's sample, and the variables of this harness."""
        variables = {
            "PROVISIONING_HOST": DPS_HOST,
            "PROVISIONING_IDSCOPE": id_scope,
            "PROVISIONING_REGISTRATION_ID": self.registration_id,
            **self.client.environment(),
            **certificates.device(self.scenario.certificate, self.registration_id).variables(),
        }
        if self.scenario.at_hub:
            other = certificates.device(self.scenario.at_hub, self.registration_id)
            variables["INTEROP_HUB_CERT_FILE"] = str(other.certificate)
            variables["INTEROP_HUB_KEY_FILE"] = str(other.key)
        return variables


def _refused_by_dps(message, reason):
    """The Node SDK shows the message of DPS over HTTPS, and no reason over MQTT. The Python SDK shows the status."""
    return Refusal(
        "dps", r"service error status code 401",
        rf'UnauthorizedError: (incoming message failure|.*"errorCode":401002.*"message":"{re.escape(message)}")',
        reason,
    )


CERTIFICATE_SCENARIOS = [
    CertificateScenario("X.509: individual enrollment", "x509-individual", "self-signed", enrolled="self-signed"),
    CertificateScenario("X.509: group, signing certificate", "x509-signing", "signing line", group=_SIGNING_GROUP),
    CertificateScenario("X.509: group, CA reference", "x509-reference", "other line", group=_REFERENCE_GROUP),
    CertificateScenario(
        "X.509: encrypted key", "x509-encrypted", "encrypted", enrolled="encrypted", clients=_ONE_OF_EACH_SDK,
    ),
    CertificateScenario("X.509: RSA key", "x509-rsa", "rsa", enrolled="rsa", clients=_ONE_OF_EACH_SDK),
    CertificateScenario(
        "X.509: unknown certificate", "x509-unknown", "self-signed",
        refusal=_refused_by_dps("CA certificate not found.", "no group has a certificate that issued"),
    ),
    CertificateScenario(
        "X.509: other certificate", "x509-other", "other", enrolled="self-signed",
        refusal=_refused_by_dps("Invalid certificate.", "its individual enrollment has another certificate"),
    ),
    CertificateScenario(
        "X.509: expired certificate", "x509-expired", "expired", enrolled="expired",
        refusal=_refused_by_dps("Unauthorized", "expired at 2020-02-01T00:00:00Z"),
    ),
    CertificateScenario(
        "X.509: other certificate at the hub", "x509-other-at-hub", "self-signed", enrolled="self-signed",
        at_hub="other", refusal=Refusal(
            "hub", r"CredentialError", r"UnauthorizedError.*Not authorized",
            "the certificate has none of the thumbprints of the identity",
        ),
    ),
]


def certificate_cases():
    return [CertificateCase(client, it) for it in CERTIFICATE_SCENARIOS for client in it.clients]


def authorities(certificates):
    """The CA certificates of the emulator's seed file."""
    return [{"name": ROOT, "certificate": certificates.root.pem, "isVerified": True}]


def groups(certificates):
    """The enrollment groups of these cases."""
    signing = {"signingCertificates": {"primary": {"certificate": certificates.signing_line.pem}}}
    reference = {"caReferences": {"primary": ROOT}}
    return [{
        "enrollmentGroupId": name,
        "attestation": {"type": "x509", "x509": x509},
        "allocationPolicy": "static",
        "iotHubs": [FIRST_HUB],
    } for name, x509 in ((_SIGNING_GROUP, signing), (_REFERENCE_GROUP, reference))]

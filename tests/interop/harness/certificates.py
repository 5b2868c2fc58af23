"""Creates the certificates of the cases, with the program under test.

So the SDKs, which use OpenSSL, also check the files that `hubward x509` writes. Only the RSA certificate comes from
`openssl`, because `hubward x509` creates EC keys.
"""

import hashlib
import json
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import SetupError

ROOT = "interop-root"
# The intermediate authority of this line is the signing certificate of a group.
SIGNING_LINE = "interop-signing-line"
# The intermediate authority of this line is in no group. A group names its root.
OTHER_LINE = "interop-other-line"
_PASSPHRASE = "correct horse"


@dataclass(frozen=True)
class Identity:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path
    passphrase: "str | None" = None

    @property
    def pem(self):
        """The certificate without those of its issuers."""
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n"
        return begin + self.certificate.read_text().split(begin)[1].split(end)[0] + end

    def thumbprint(self, algorithm):
        return hashlib.new(algorithm, ssl.PEM_cert_to_DER_cert(self.pem)).hexdigest().upper()

    def paths(self):
        """The files in the form of INTEROP_CERTIFICATES."""
        return {"certificate": str(self.certificate), "key": str(self.key), "sha256": self.thumbprint("sha256")}

    def variables(self):
        """The variables of the SDK's sample."""
        variables = {"X509_CERT_FILE": str(self.certificate), "X509_KEY_FILE": str(self.key)}
        if self.passphrase:
            variables["X509_PASS_PHRASE"] = self.passphrase
        return variables


class Certificates:
    """The authorities of all cases, and the certificates of the devices."""

    def __init__(self, hubward, folder):
        self._hubward = hubward
        self._folder = folder
        self._made = {}
        folder.mkdir(parents=True)
        self._passphrase_file = folder / "passphrase"
        self._passphrase_file.write_text(_PASSPHRASE)
        self.root = self._new("new-ca", ROOT, "--curve", "p384")
        self.signing_line = self._new("new-intermediate", SIGNING_LINE, *_issuer(self.root))
        self._other_line = self._new("new-intermediate", OTHER_LINE, *_issuer(self.root))

    def device(self, kind, common_name):
        """The certificate of a device. The second call with the same arguments returns the same certificate."""
        if (kind, common_name) not in self._made:
            self._made[kind, common_name] = self._new_device(kind, common_name)
        return self._made[kind, common_name]

    def of_service(self, name):
        """The variable with the files for the program of a service SDK. `name` begins the names of its devices."""
        device, member = f"{name}-x509", f"{name}-member"
        line = self._new("new-intermediate", f"{name}-line", *_issuer(self.root))
        files = {
            # Two certificates of a device with an individual enrollment, and one of a member of a group.
            "device": {"id": device, **self.device("self-signed", device).paths()},
            "nextDevice": {"id": device, **self.device("other", device).paths()},
            "member": {"id": member, **self._new("new-device", member, *_issuer(line)).paths()},
            # The signing certificate of the group.
            "line": line.paths(),
            # The name of a CA certificate of DPS.
            "authority": ROOT,
        }
        return {"INTEROP_CERTIFICATES": json.dumps(files)}

    def _new_device(self, kind, common_name):
        if kind == "rsa":
            return self._new_rsa(common_name)
        options = {
            "self-signed": (),
            # Another certificate with the same name.
            "other": (),
            "expired": ("--not-before", "2020-01-01", "--not-after", "2020-02-01"),
            "encrypted": ("--passphrase-file", str(self._passphrase_file)),
            "signing line": _issuer(self.signing_line),
            "other line": _issuer(self._other_line),
        }[kind]
        made = self._new("new-device", common_name, *options, file=_file_name(kind, common_name))
        return Identity(made.certificate, made.key, _PASSPHRASE) if kind == "encrypted" else made

    def _new(self, command, name, *options, file=None):
        identity = self._paths(file or name)
        _run([
            str(self._hubward), "x509", command, "--name", name, *options,
            "--cert-out", str(identity.certificate), "--key-out", str(identity.key),
        ])
        return identity

    def _new_rsa(self, common_name):
        openssl = shutil.which("openssl")
        if openssl is None:
            raise SetupError("openssl is not on the PATH; install it")
        identity = self._paths(_file_name("rsa", common_name))
        _run([
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={common_name}",
            "-keyout", str(identity.key), "-out", str(identity.certificate),
        ])
        return identity

    def _paths(self, file):
        return Identity(self._folder / f"{file}.pem", self._folder / f"{file}.key")


def _issuer(identity):
    return ("--issuer-cert", str(identity.certificate), "--issuer-key", str(identity.key))


def _file_name(kind, common_name):
    # The common name of a module contains a slash.
    return f"{common_name}.{kind}".replace("/", ".").replace(" ", "-")


def _run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(command)}` failed:\n{done.stdout[-4000:]}")

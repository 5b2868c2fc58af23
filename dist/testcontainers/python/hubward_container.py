"""Starts the emulator with Testcontainers for Python. NOT RUN: see ../README.md.

Copy this file into your project. `pip install testcontainers azure-iot-device pytest`
"""

import json
from pathlib import Path
from typing import Iterator

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

# A public key, for tests only.
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SYMMETRIC = {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}
SEED = {"enrollments": [{"registrationId": "dev-1", "attestation": SYMMETRIC}]}


@pytest.fixture(scope="session")
def iothub_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of Microsoft's samples. The test session trusts the emulator."""
    ca_file: Path = tmp_path_factory.mktemp("hubward") / "ca.pem"
    emulator = (
        DockerContainer("hubward-emulator")
        .with_bind_ports(8883, 8883)
        .with_bind_ports(443, 443)
        .with_copy_into_container(json.dumps(SEED).encode(), "/seed.json")
        .with_env("HUBWARD_SEED", "/seed.json")
        .waiting_for(LogMessageWaitStrategy('"type":"ready"'))
    )
    with emulator, pytest.MonkeyPatch.context() as patch:
        emulator.copy_from_container("/data/ca.pem", ca_file)
        patch.setenv("SSL_CERT_FILE", str(ca_file))
        yield {
            "PROVISIONING_HOST": "localhost",
            "PROVISIONING_IDSCOPE": "0ne000DECADE",
            "PROVISIONING_REGISTRATION_ID": "dev-1",
            "PROVISIONING_SYMMETRIC_KEY": KEY,
        }

"""The emulator as a container of Testcontainers. UNTESTED: there is no container engine where hubward is developed.

Needs the packages testcontainers and pytest, and the image of the file hubward-emulator_VERSION_ARCHITECTURE.oci.tar:
docker load --input FILE
"""

import io
import json
import tarfile

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

IMAGE = "hubward-emulator:0.1.0"


@pytest.fixture(scope="session")
def emulator(tmp_path_factory, request):
    """Variables of the first device of the seed, and CA_FILE with the certificate authority of the emulator.

    The seed is the file seed.json beside the tests.
    """
    # Microsoft's SDKs use only these ports, so run one container at a time. Do not publish the admin port, 8480.
    container = (
        DockerContainer(IMAGE)
        .with_bind_ports(8883, 8883)
        .with_bind_ports(443, 443)
        .with_volume_mapping(str(request.path.parent / "seed.json"), "/seed.json", "ro")
        .with_env("HUBWARD_SEED", "/seed.json")
    )
    with container:
        wait_for_logs(container, r'"type":"ready"', timeout=30)
        printed = container.exec(["hubward", "emulator", "env", "--output", "json"]).output.decode()
        lines = [json.loads(line) for line in printed.splitlines()]
        variables = {name: value for line in lines for name, value in line.get("variables", {}).items()}
        # The image has no shell and no cat.
        chunks, _ = container.get_wrapped_container().get_archive("/data/ca.pem")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            ca = archive.extractfile("ca.pem").read()
        ca_file = tmp_path_factory.mktemp("emulator") / "ca.pem"
        ca_file.write_bytes(ca)
        yield variables | {"CA_FILE": str(ca_file)}

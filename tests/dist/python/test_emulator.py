"""A project that uses the installed wheel `hubward-emulator` with Microsoft's unmodified SDK.

`cargo xtask dist --only wheel --test` runs this file, and checks its types with mypy.
"""

import asyncio
import base64
import errno
import hashlib
import hmac
import json
import os
import queue
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import pytest
from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse, ProvisioningDeviceClient
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient

from hubward_emulator import AdminError, Device, Emulator, EmulatorError, StartError, TelemetryTimeout
from hubward_emulator import __main__ as command
from hubward_emulator import _start, _trust

pytest_plugins = ["pytester"]

#: Seconds after which a test gives up. Far longer than a slow machine needs.
LIMIT = 90.0


def register(device: Device, key: str, websockets: bool = False) -> IoTHubDeviceClient:
    """Registers with the four settings, and returns the client of the assigned hub."""
    result = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=device.host, registration_id=device.registration_id, id_scope=device.id_scope,
        symmetric_key=key, websockets=websockets,
    ).register()
    assert result.registration_state is not None
    client: IoTHubDeviceClient = IoTHubDeviceClient.create_from_symmetric_key(
        symmetric_key=key, hostname=result.registration_state.assigned_hub,
        device_id=result.registration_state.device_id, websockets=websockets,
    )
    return client


def send(client: IoTHubDeviceClient, bodies: List[str]) -> None:
    client.connect()
    for body in bodies:
        message = Message(body)  # type: ignore[no-untyped-call]
        message.content_type = "application/json"
        message.content_encoding = "utf-8"
        message.custom_properties["unit"] = "°C"
        client.send_message(message)
    client.shutdown()


def wait_for(what: str, poll: Any) -> None:
    deadline = time.monotonic() + LIMIT
    while not poll():
        assert time.monotonic() < deadline, f"{what} did not happen within {LIMIT:g} s"
        time.sleep(0.05)


@pytest.mark.parametrize("websockets", [False, True], ids=["mqtt", "websockets"])
def test_registration_and_telemetry(iothub_emulator: Emulator, iothub_device: Device, websockets: bool) -> None:
    if websockets and not iothub_emulator.websockets:
        pytest.skip("this user may not listen on port 443")
    send(register(iothub_device, iothub_device.key, websockets), ['{"t": 21.5}', '{"t": 22}'])
    first, second = iothub_device.telemetry(count=2, timeout=LIMIT)
    assert (first.json(), second.json()) == ({"t": 21.5}, {"t": 22})
    assert first.properties == {"unit": "°C"} and first.device_id == iothub_device.device_id
    assert first.system_properties["$.ct"] == "application/json" and first.offset < second.offset
    assert iothub_device.received() == [first, second]


def test_cloud_side_of_a_device(iothub_device: Device) -> None:
    async def scenario() -> None:
        client = AsyncDeviceClient.create_from_connection_string(iothub_device.connection_string())
        # The SDK calls the handlers in a thread of its own.
        patches: "queue.Queue[Dict[str, Any]]" = queue.Queue()
        messages: "queue.Queue[Any]" = queue.Queue()

        async def patched(patch: Dict[str, Any]) -> None:
            patches.put(patch)

        async def received(message: Any) -> None:
            messages.put(message)

        async def method(request: Any) -> None:
            payload = {"called": request.name, "got": request.payload}
            await client.send_method_response(MethodResponse.create_from_method_request(request, 202, payload))

        await client.connect()
        client.on_twin_desired_properties_patch_received = patched
        client.on_message_received = received
        client.on_method_request_received = method
        # The hub answers this request after it has handled the subscriptions above.
        twin = await client.get_twin()
        assert twin["reported"]["$version"] == 1
        await client.patch_twin_reported_properties({"firmware": "2.1"})
        assert iothub_device.twin()["properties"]["reported"]["firmware"] == "2.1"

        await asyncio.to_thread(iothub_device.update_twin, {"interval": 30}, {"site": "a"})
        assert (await asyncio.to_thread(patches.get, True, LIMIT))["interval"] == 30
        await asyncio.to_thread(iothub_device.send_message, b"\xff\x00", {"k": "v"})
        message = await asyncio.to_thread(messages.get, True, LIMIT)
        assert (message.data, message.custom_properties) == (b"\xff\x00", {"k": "v"})

        answer = None
        deadline = time.monotonic() + LIMIT
        while answer is None:
            try:
                answer = await asyncio.to_thread(iothub_device.invoke_method, "reboot", {"delay": 3})
            except AdminError as error:
                # The hub answers 404 until the subscription is complete.
                assert error.status == 404 and time.monotonic() < deadline, error
                await asyncio.sleep(0.05)
        assert answer == (202, {"called": "reboot", "got": {"delay": 3}})
        await client.shutdown()

    asyncio.run(scenario())
    assert iothub_device.twin()["tags"] == {"site": "a"}


def test_the_environment_makes_the_sample_of_microsoft_work(iothub_device: Device, tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(
        "import os\n"
        "from azure.iot.device import ProvisioningDeviceClient\n"
        "result = ProvisioningDeviceClient.create_from_symmetric_key(\n"
        "    provisioning_host=os.environ['PROVISIONING_HOST'], id_scope=os.environ['PROVISIONING_IDSCOPE'],\n"
        "    registration_id=os.environ['PROVISIONING_REGISTRATION_ID'],\n"
        "    symmetric_key=os.environ['PROVISIONING_SYMMETRIC_KEY']).register()\n"
        "print(result.status)\n"
    )
    # Once with the variables that the fixture has set, and once with those that the object returns.
    for environment in (None, {"PATH": os.environ["PATH"], **iothub_device.environment}):
        ran = subprocess.run(
            [sys.executable, str(sample)], env=environment, capture_output=True, text=True, timeout=LIMIT
        )
        assert ran.stdout == "assigned\n", ran.stderr


def test_two_emulators_at_the_same_time() -> None:
    trusted = os.environ.get("SSL_CERT_FILE")
    with Emulator() as one, Emulator() as two:
        assert one.host != two.host and (one.mqtt_port, two.mqtt_port) == (8883, 8883)
        for emulator in (one, two):
            device = emulator.enroll("dev-1")
            send(register(device, device.key), [f'"{emulator.host}"'])
        for emulator in (one, two):
            assert [it.json() for it in emulator.telemetry(count=1, timeout=LIMIT)] == [emulator.host]
            assert len(emulator.received()) == 1
    assert os.environ.get("SSL_CERT_FILE") == trusted


def test_the_trust_variables_follow_the_active_emulators(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Without the active emulator of the fixture `iothub_emulator`.
    monkeypatch.setattr(_trust, "_active", [])
    monkeypatch.setattr(_trust, "_originals", {})
    mine = tmp_path / "mine.pem"
    mine.write_text("my certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(mine))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(mine))
    one, two = Emulator(ports="free"), Emulator(ports="free")
    try:
        one.start()
        first = one.ca_file.read_text()
        two.start()
        second = two.ca_file.read_text()
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
            trusted = Path(os.environ[name]).read_text()
            assert first in trusted and second in trusted and "my certificate" in trusted
        one.stop()
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            trusted = Path(os.environ[name]).read_text()
            assert first not in trusted and second in trusted and "my certificate" in trusted
        assert os.environ["NODE_EXTRA_CA_CERTS"] == str(two.ca_file)
        two.stop()
    finally:
        one.stop()
        two.stop()
    assert os.environ["SSL_CERT_FILE"] == os.environ["NODE_EXTRA_CA_CERTS"] == str(mine)
    assert "REQUESTS_CA_BUNDLE" not in os.environ


def test_the_login_of_an_operator(iothub_emulator: Emulator, iothub_device: Device) -> None:
    if not iothub_emulator.websockets:
        pytest.skip("this user may not listen on port 443")
    login = dict(part.split("=", 1) for part in iothub_emulator.hub_login.split(";"))
    resource = urllib.parse.quote(login["HostName"], safe="")
    expiry = int(time.time()) + 600
    signed = hmac.new(
        base64.b64decode(login["SharedAccessKey"]), f"{resource}\n{expiry}".encode(), hashlib.sha256
    ).digest()
    signature = urllib.parse.quote(base64.b64encode(signed), safe="")
    token = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={login['SharedAccessKeyName']}"
    iothub_device.connection_string()
    url = f"https://{login['HostName']}/devices/{iothub_device.device_id}?api-version=2021-04-12"
    # urllib trusts the emulator, too.
    with urllib.request.urlopen(
        urllib.request.Request(url, headers={"Authorization": token}), timeout=LIMIT
    ) as response:
        assert json.load(response)["deviceId"] == iothub_device.device_id


def test_free_ports_and_options() -> None:
    seed = {"enrollments": [{"registrationId": "seeded-1", "attestation": {"type": "symmetricKey"}}]}
    with Emulator(ports="free", seed=seed, options=["--id-scope", "0ne00ABCDEF"], trust=False) as emulator:
        assert emulator.mqtt_port not in (0, 8883) and not emulator.websockets
        assert emulator.id_scope == "0ne00ABCDEF"
        assert emulator.admin("GET", "dps/enrollments/seeded-1")["registrationId"] == "seeded-1"
        first = emulator.enroll("other-1")
        assert emulator.enroll("other-1").key == first.key
        key = base64.b64encode(bytes(32)).decode()
        assert emulator.enroll("other-1", key).key == key
        emulator.reset()
        with pytest.raises(AdminError) as caught:
            emulator.admin("GET", "dps/enrollments/other-1")
        assert caught.value.status == 404 and "other-1" in str(caught.value)
        assert emulator.admin("GET", "dps/enrollments/seeded-1")["registrationId"] == "seeded-1"
        with pytest.raises(TelemetryTimeout, match="device other-1 within 0 s"):
            next(emulator.telemetry("other-1", timeout=0))
    with pytest.raises(EmulatorError, match="does not run"):
        emulator.enroll("late-1")


def test_a_failed_start_says_why(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text("{")
    with pytest.raises(StartError, match="seed.json"):
        Emulator(seed=seed).start()
    with pytest.raises(StartError, match="missing-program"):
        Emulator(binary="missing-program").start()
    with pytest.raises(StartError, match="unexpected argument '--no-such-option'"):
        Emulator(options=["--no-such-option"]).start()


class Started:
    """Stands for an emulator on a machine on which other programs use some of the ports."""

    def __init__(self, in_use: Callable[[str, str, str], str], arguments: Sequence[str]) -> None:
        options = dict(zip(arguments[::2], arguments[1::2]))
        self.https = options["--https-port"]
        taken = in_use(options.get("--bind", "localhost"), options["--mqtt-port"], self.https)
        if taken:
            raise StartError("refused", listening=taken, errno=errno.EADDRINUSE)


@pytest.mark.parametrize("emulators", [[], ["localhost"]], ids=["first", "second"])
def test_another_program_uses_port_443_on_all_addresses(
    monkeypatch: pytest.MonkeyPatch, emulators: List[str]
) -> None:
    def in_use(host: str, mqtt: str, https: str) -> str:
        return "MQTT" if host in emulators else "HTTPS" if https == "443" else ""

    def start(binary: str, arguments: Sequence[str], timeout: float) -> Started:
        return Started(in_use, arguments)

    monkeypatch.setattr(_start, "EmulatorProcess", start)
    process, host = _start.on_standard_ports("hubward", [], LIMIT, None)
    assert isinstance(process, Started) and process.https == "0"
    assert host == ("127.0.0.2" if emulators else "localhost")
    # A caller that needs port 443 gets the reason.
    with pytest.raises(StartError, match="other programs use them"):
        _start.on_standard_ports("hubward", [], LIMIT, True)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_the_command_passes_signals_to_the_emulator(number: str) -> None:
    options = ["--in-memory", "--output", "json", "--exit-on-stdin-close"]
    ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "hubward_emulator", "emulator", *options, *ports],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:
        try:
            assert child.stdout is not None
            ready = json.loads(child.stdout.readline())
            assert answers(ready["admin"]) and Path(ready["caFile"]).exists()
            child.send_signal(getattr(signal, number))
            child.stdout.read()
            child.wait(LIMIT)
        finally:
            child.kill()
    # The emulator shut down by itself, and deleted its files.
    assert child.returncode == 0 and not Path(ready["caFile"]).exists() and not answers(ready["admin"])


def test_the_command_waits_for_the_program_after_ctrl_c() -> None:
    class Child:
        outcomes: List[Any] = [KeyboardInterrupt(), KeyboardInterrupt(), 3]

        def wait(self) -> int:
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, BaseException):
                raise outcome
            return int(outcome)

    child: Any = Child()
    assert command._wait(child) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_the_emulator_ends_with_a_killed_process() -> None:
    program = (
        "import sys\nfrom hubward_emulator import Emulator\n"
        "with Emulator(ports='free') as emulator:\n"
        "    print(emulator.admin_url, emulator.ca_file, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdin is not None
    url, ca_file = child.stdout.readline().split()
    assert answers(url) and Path(ca_file).exists()
    os.kill(child.pid, signal.SIGKILL)
    child.wait(LIMIT)
    wait_for("the end of the emulator", lambda: not answers(url) and not Path(ca_file).exists())
    child.stdin.close()
    child.stdout.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=LIMIT):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def test_the_report_of_a_failed_test_shows_the_reason_of_the_emulator(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import base64
        from azure.iot.device import ProvisioningDeviceClient

        def test_wrong_key(iothub_device):
            ProvisioningDeviceClient.create_from_symmetric_key(
                provisioning_host=iothub_device.host, registration_id=iothub_device.registration_id,
                id_scope=iothub_device.id_scope, symmetric_key=base64.b64encode(b"wrong").decode()).register()

        def test_right_key(iothub_device):
            ProvisioningDeviceClient.create_from_symmetric_key(
                provisioning_host=iothub_device.host, registration_id=iothub_device.registration_id,
                id_scope=iothub_device.id_scope, symmetric_key=iothub_device.key).register()
        """
    )
    result = pytester.runpytest_subprocess(timeout=LIMIT)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.re_match_lines([r".*hubward emulator.*", r".* refused dps test-wrong-key-1 401002 .*"])
    assert iothub_secret_free(result.outlines)


def iothub_secret_free(lines: List[str]) -> bool:
    return not any("SharedAccessKey=" in line or "sig=" in line for line in lines if "iothub_device" not in line)


def test_each_worker_of_xdist_has_its_own_emulator(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from azure.iot.device import IoTHubDeviceClient

        @pytest.mark.parametrize("number", range(4))
        def test_sends(iothub_emulator, iothub_device, number):
            client = IoTHubDeviceClient.create_from_connection_string(iothub_device.connection_string())
            client.connect()
            client.send_message(str(number))
            client.shutdown()
            assert next(iothub_device.telemetry(timeout=60)).text == str(number)
        """
    )
    result = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider", timeout=LIMIT)
    result.assert_outcomes(passed=4)

"""Starts one `hubward emulator` for all cases and queries it. Stops it even if the run fails."""

import atexit
import ctypes
import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from . import cases
from .certificates import Certificates
from .clients import FIRST_HUB, HUBS
from .device import Mismatch
from .errors import SetupError

_START_LIMIT = 30


class Emulator:
    """A context manager. The emulator is ready inside the `with` block."""

    def __init__(self, hubward, work, chosen):
        self._hubward = hubward
        self._folder = work / "emulator"
        self._chosen = chosen
        self._process = None
        self._ready = {}
        self.certificates = None

    def __enter__(self):
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        seed = self._folder / "seed.json"
        self.certificates = Certificates(self._hubward, self._folder / "certificates")
        seed.write_text(json.dumps(cases.seed(self._chosen, self.certificates), indent=1))
        command = [
            str(self._hubward), "emulator", "--output", "json", "--standard-ports", "--admin-port", "0",
            "--data-dir", str(self._folder / "data"), "--seed", str(seed),
        ]
        for hub in HUBS:
            command += ["--hub", hub]
        with open(self._folder / "stderr.log", "w") as stderr:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                text=True, start_new_session=True, preexec_fn=_kill_with_parent if sys.platform == "linux" else None,
            )
        atexit.register(self._stop)
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda number, _frame: sys.exit(128 + number))
        try:
            self._ready = self._first_line()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_exception):
        self._stop()

    def describe(self):
        return f"{self._hubward.name} emulator"

    @property
    def ca_file(self):
        return self._ready["caFile"]

    @property
    def id_scope(self):
        return self._ready["idScope"]

    def logins(self):
        """The connection strings of the shared access policies, as variables."""
        _, keys = self.admin("GET", "api/keys")
        logins = {}
        for policy in keys["policies"]:
            if policy["service"] == "dps":
                logins["INTEROP_DPS"] = policy["connectionString"]
            elif policy["host"] == FIRST_HUB:
                logins[f"INTEROP_HUB_{policy['policy'].upper()}"] = policy["connectionString"]
        return {**logins, "INTEROP_ADMIN": self._ready["admin"]}

    def received(self, device_id):
        """Returns the telemetry of a device, in the order in which it arrived."""
        return [
            message for hub in HUBS for message in self.telemetry(hub)
            if message["deviceId"] == device_id
        ]

    def registration(self, registration_id):
        """Returns the registration record of a device."""
        return self.admin("GET", f"dps/registrations/{registration_id}")[1]

    def refusals(self, device_id):
        """Returns the reasons for which DPS or a hub refused a device, from the emulator's journal."""
        _, page = self.admin("GET", f"api/events?format=json&kind=refused&id={device_id}")
        return [event["message"] for event in page["events"]]

    def telemetry(self, hub):
        """Yields all telemetry of a hub. Reads it page by page."""
        offset = 0
        while True:
            _, page = self.admin("GET", f"api/telemetry/{hub}?format=json&from={offset}")
            if not page["messages"]:
                return
            yield from page["messages"]
            offset = page["next"]

    def admin(self, method, path, body=None, timeout=10):
        """Sends a request to the admin port. Returns the status and the JSON body."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{self._ready['admin']}/{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with opener.open(request, timeout=timeout) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            # If a method fails, the field `Message` contains JSON as text. For any other error, it contains
            # `ErrorCode:…`.
            message = json.load(error)["Message"]
            return error.code, json.loads(message) if message.startswith("{") else message

    def _first_line(self):
        lines = queue.Queue()
        threading.Thread(target=self._read_stdout, args=(lines,), daemon=True).start()
        try:
            line = lines.get(timeout=_START_LIMIT)
        except queue.Empty:
            raise SetupError(f"the emulator was not ready within {_START_LIMIT} s") from None
        if not line:
            raise SetupError(f"the emulator did not start:\n{(self._folder / 'stderr.log').read_text()[-4000:]}")
        try:
            ready = json.loads(line)
        except ValueError:
            raise SetupError(f"the emulator's first line is not JSON: {line.strip()}") from None
        return ready

    def _read_stdout(self, lines):
        # Read the rest of the output after the first line. Otherwise the pipe would fill up and block the emulator.
        first = True
        with open(self._folder / "stdout.log", "w", buffering=1) as log:
            for line in self._process.stdout:
                log.write(line)
                if first:
                    lines.put(line)
                    first = False
        if first:
            lines.put("")

    def _stop(self):
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Cloud:
    """The cloud side of one device or module, through the admin port."""

    INPUT = "in1"

    def __init__(self, emulator, device_id, module_id, time_limit):
        self._emulator = emulator
        self._device_id = device_id
        self._module_id = module_id
        self._deadline = time.monotonic() + time_limit
        self.is_module = module_id is not None
        path = f"{device_id}/modules/{module_id}" if self.is_module else device_id
        self._twin = f"hubs/{FIRST_HUB}/twins/{path}"
        self._messages = f"messages/{FIRST_HUB}/{path}"

    def telemetry(self, count):
        """Waits for this number of messages from the device or module, and returns them."""
        def received():
            messages = [it for it in self._emulator.telemetry(FIRST_HUB) if it["deviceId"] == self._device_id]
            if any(it.get("moduleId") != self._module_id for it in messages):
                raise Mismatch(f"telemetry of another module: {messages}")
            return messages if len(messages) >= count else None

        found = self._wait(f"{count} messages", received)
        if len(found) != count:
            raise Mismatch(f"{len(found)} messages instead of {count}: {found}")
        return found

    def refusals(self):
        return self._emulator.refusals(self._device_id)

    def twin(self):
        return self._ok("GET", self._twin)

    def patch_twin(self, patch):
        return self._ok("PATCH", self._twin, patch)

    def call(self, name, payload, seconds=30):
        """Invokes a method. Returns the HTTP status and the body."""
        body = {"methodName": name, "payload": payload, "responseTimeoutInSeconds": seconds}
        return self._emulator.admin("POST", f"{self._twin}/methods", body, timeout=seconds + 10)

    def send(self, body, properties, **system):
        """Sends a message to the device, or to an input of the module."""
        message = {"body": body, "properties": properties, **system}
        if self.is_module:
            message["inputName"] = self.INPUT
        self._ok("POST", self._messages, message)

    def queued(self):
        """Returns the messages in the queue of the device or module."""
        return self._ok("GET", self._messages)["messages"]

    def wait_until_acknowledged(self):
        """Waits until the client has acknowledged every message."""
        self._wait("the acknowledgement", lambda: not self.queued())

    def wait_until_disconnected(self):
        """Waits until the hub has noticed the end of the connection."""
        self._wait("the end of the connection", lambda: self.twin()["connectionState"] == "Disconnected")

    def _ok(self, method, path, body=None):
        status, response = self._emulator.admin(method, path, body)
        if not 200 <= status < 300:
            raise Mismatch(f"{method} {path}: {status} {response}")
        return response

    def _wait(self, what, poll):
        while not (result := poll()):
            if time.monotonic() > self._deadline:
                raise Mismatch(f"{what} did not arrive; queued: {self.queued()}")
            time.sleep(0.05)
        return result


def _kill_with_parent():
    """Tells the system to kill the emulator if this harness is killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)

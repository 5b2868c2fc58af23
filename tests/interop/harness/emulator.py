"""One `hubward emulator` for all cases: started, asked, and always ended."""

import atexit
import ctypes
import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request

from . import cases
from .errors import SetupError

_START_LIMIT = 30


class Emulator:
    """A context manager; inside, the emulator is ready."""

    def __init__(self, hubward, work, chosen):
        self._hubward = hubward
        self._folder = work / "emulator"
        self._chosen = chosen
        self._process = None
        self._ready = {}

    def __enter__(self):
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        seed = self._folder / "seed.json"
        seed.write_text(json.dumps(cases.seed(self._chosen), indent=1))
        command = [
            str(self._hubward), "emulator", "--output", "json", "--standard-ports", "--admin-port", "0",
            "--data-dir", str(self._folder / "data"), "--seed", str(seed),
        ]
        for hub in cases.HUBS:
            command += ["--hub", hub]
        with open(self._folder / "stderr.log", "w") as stderr:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                text=True, start_new_session=True, preexec_fn=_die_with_parent if sys.platform == "linux" else None,
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

    def received(self, device_id):
        """The bodies of the telemetry this device delivered, in order of arrival."""
        return [
            message["body"] for hub in cases.HUBS for message in self._telemetry(hub)
            if message["deviceId"] == device_id
        ]

    def _telemetry(self, hub):
        """All messages of a hub, page by page."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        offset = 0
        while True:
            url = f"{self._ready['admin']}/telemetry/{hub}?from={offset}"
            with opener.open(url, timeout=10) as answer:
                page = json.load(answer)
            if not page["messages"]:
                return
            yield from page["messages"]
            offset = page["next"]

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
        # Reads on after the first line, so that the emulator never waits for a full pipe.
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


def _die_with_parent():
    """Even when this harness is killed outright, the emulator does not stay."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)

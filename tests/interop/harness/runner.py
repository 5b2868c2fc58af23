"""Runs the cases, a few at a time, and judges each one.

A case passes when the program did and said what the SDK's sample does, and the emulator
received exactly the ten messages; or, for a refusal, when the program was stopped at the
right stage with the SDK's own error, and the emulator received nothing. A case at a hub passes
when its play (`plays.py`) found everything as it should be, and the program ended well. A case of
a service SDK passes when every call went as docs/interop.md says (`calls.py`).
"""

import os
import re
import signal
import subprocess
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import calls
from .cases import MESSAGES, Case, HubCase, ServiceCase
from .device import Device, Mismatch
from .emulator import Cloud

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
_MERCY = 10
_OUT_OF_TIME = 75
_PYTHON_OUT_OF_TIME = re.compile(r"^Timeout \(\d", re.MULTILINE)
_running = set()
# What could bend trust, the way out, or the sample's own variables.
_DROPPED = re.compile(r"(?i)proxy|^SSL_|CA_BUNDLE|^NODE_|^PYTHON|^PROVISIONING_|^INTEROP_|^npm_|^DEBUG$")


@dataclass
class Result:
    case: "Case | HubCase | ServiceCase"
    seconds: float
    problem: "str | None"
    output: str = ""
    calls: list = field(default_factory=list)


def run_all(cases, emulator, installed, work, jobs, time_limit):
    logs = work / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for old in logs.glob("*.log"):
        old.unlink()

    def one(case):
        started = time.monotonic()
        made = []
        if isinstance(case, ServiceCase):
            code, stdout, stderr = _run_client(case, emulator, installed, work, time_limit, case.program)
            problem, made = calls.judge(case, code, stdout, installed)
        elif isinstance(case, HubCase):
            code, stdout, stderr, problem = _play(case, emulator, installed, work, time_limit)
        else:
            code, stdout, stderr = _run_client(case, emulator, installed, work, time_limit, "provision")
            problem = _judge(case, code, stdout, stderr, time_limit) or _judge_received(case, emulator)
        output = f"--- stdout\n{stdout}--- stderr\n{stderr}"
        (logs / f"{case.registration_id}.log").write_text(f"{case.name}: exit {code}\n{output}")
        return Result(case, time.monotonic() - started, problem, output, made)

    pool = ThreadPoolExecutor(jobs)
    try:
        return list(pool.map(one, cases))
    finally:
        # After an interrupt nothing more is started, and what runs is ended.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(_running):
            _kill(process)


def _start(case, program, emulator, installed, work, time_limit, **pipes):
    if case.client.sdk == "python":
        command = [str(installed.python), str(CLIENTS / f"{program}.py")]
    else:
        command = [installed.node, str(CLIENTS / f"{program}.js")]
    process = subprocess.Popen(
        command, cwd=work, env=_environment(case, emulator, installed, work, time_limit), text=True,
        stdout=subprocess.PIPE, start_new_session=True, **pipes,
    )
    _running.add(process)
    return process


def _play(case, emulator, installed, work, time_limit):
    """Exit code, stdout, stderr, and what was not as it should be."""
    with tempfile.TemporaryFile("w+") as stderr:
        pipes = {"stdin": subprocess.PIPE, "stderr": stderr}
        process = _start(case, "device", emulator, installed, work, time_limit, **pipes)
        device, problem = None, None
        try:
            device = Device(process, time_limit)
            cloud = Cloud(emulator, case.registration_id, case.scenario.module, time_limit)
            device.wait_until_ready()
            case.scenario.play(device, cloud, case.client)
            device.ask("close")
            process.stdin.close()
            code = process.wait(timeout=_MERCY)
            problem = f"exit code {code}" if code else None
        except Mismatch as mismatch:
            problem = str(mismatch)
        except subprocess.TimeoutExpired:
            problem = "closed everything, but did not end"
        except Exception as error:
            # The program has ended, the emulator does not answer, or says something of another shape.
            problem = "".join(traceback.format_exception_only(error)).strip() + f" ({_where(error)})"
        finally:
            _kill(process)
            code = process.wait()
            _running.discard(process)
        stderr.seek(0)
        return code, device.stdout if device else "", stderr.read(), problem


def _where(error):
    """The last step of the play."""
    frames = [it for it in traceback.extract_tb(error.__traceback__) if it.filename.endswith("plays.py")]
    return frames[-1].line if frames else "outside of the play"


def _run_client(case, emulator, installed, work, time_limit, program):
    """Exit code (None when out of time), stdout, stderr."""
    pipes = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = _start(case, program, emulator, installed, work, time_limit, **pipes)
    try:
        # The programs end themselves at the limit, saying where they hang.
        stdout, stderr = process.communicate(timeout=time_limit + _MERCY)
        return process.returncode, stdout, stderr
    except subprocess.TimeoutExpired:
        _kill(process)
        return None, *process.communicate()
    finally:
        _running.discard(process)


def _kill(process):
    if os.name == "nt":
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _environment(case, emulator, installed, work, time_limit):
    """This process's environment, cleaned, and what the program is to know."""
    variables = {name: value for name, value in os.environ.items() if not _DROPPED.search(name)}
    variables.update(case.environment(emulator.id_scope))
    if isinstance(case, ServiceCase):
        variables.update(emulator.logins())
    variables.update(
        INTEROP_TIME_LIMIT=f"{time_limit:g}",
        PYTHONUNBUFFERED="1",
        PYTHONDONTWRITEBYTECODE="1",
        NODE_PATH=str(installed.node_modules),
    )
    # Python: OpenSSL's default store is our file and an empty folder, nothing else.
    empty = work / "no-certificates"
    empty.mkdir(exist_ok=True)
    variables["SSL_CERT_DIR"] = str(empty)
    if isinstance(case, ServiceCase) or getattr(case.scenario, "trusted", True):
        variables["SSL_CERT_FILE"] = str(emulator.ca_file)
        # The package `requests` has a store of its own.
        variables["REQUESTS_CA_BUNDLE"] = str(emulator.ca_file)
        variables["NODE_EXTRA_CA_CERTS"] = str(emulator.ca_file)
    else:
        variables["SSL_CERT_FILE"] = str(empty / "none.pem")
    return variables


def _judge(case, code, stdout, stderr, time_limit):
    """What is wrong with what the program did; None if nothing."""
    if code in (None, _OUT_OF_TIME) or _PYTHON_OUT_OF_TIME.search(stderr):
        return f"did not end within {time_limit:g} s"
    lines = stdout.splitlines()
    story = [
        "The complete registration result is",
        case.registration_id,
        case.scenario.hub,
        "initialAssignment",
        "null",
        "Will send telemetry from the provisioned device",
    ]
    sending = [f"sending message #{number}" for number in range(1, MESSAGES + 1)]
    done = sorted(f"done {line}" for line in sending)
    refusal = case.scenario.refusal
    if refusal is None:
        if code != 0:
            return f"exit code {code}"
        if lines[: len(story)] != story:
            return f"registration result was {lines[: len(story)]}"
        rest = lines[len(story):]
        # All ten are on their way before the first is acknowledged.
        if rest[:MESSAGES] != sending or sorted(rest[MESSAGES:]) != done:
            return f"telemetry was {rest}"
        return None
    if code == 0:
        return "was not refused"
    if lines != (story if refusal.at == "hub" else []):
        return f"was stopped at the wrong stage: printed {lines}"
    words = refusal.python if case.client.sdk == "python" else refusal.node
    if not re.search(words, stderr):
        return f"was refused, but not with /{words}/"
    return None


def _judge_received(case, emulator):
    """What is wrong with what the emulator received; None if nothing."""
    received = sorted(emulator.received(case.registration_id))
    sent = [] if case.scenario.refusal else [f"test wind speed {number}" for number in range(1, MESSAGES + 1)]
    if received != sorted(sent):
        return f"the emulator received {len(received)} messages instead of {len(sent)}: {received}"
    return None

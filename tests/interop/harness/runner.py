"""Runs the cases, several at a time, and checks each result.

There are four kinds of cases. A case passes if all its conditions are met:

- DPS: The program printed the same steps as the SDK's sample. The emulator received exactly the ten messages, from a
  device that had authenticated as expected. A device with a certificate belongs to the expected group.
- refusal: The emulator refused the program at the right stage and received no message. The program showed the
  SDK's own error. The emulator's journal has the expected reason, if the case names one.
- hub: The check (`hub_checks.py`) found no difference. The program ended with exit code 0.
- service SDK: Every call has the result that docs/interop.md lists (`calls.py`).
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
from .certificate_cases import CertificateCase
from .device import Device, Mismatch
from .emulator import Cloud
from .hub_checks import authentication_type

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
# Seconds that a program has to end after its time limit or after the command `close`.
_GRACE_PERIOD = 10
# Exit code of a Node program that reached its time limit.
_TIMEOUT_EXIT_CODE = 75
_PYTHON_TIMEOUT = re.compile(r"^Timeout \(\d", re.MULTILINE)
_running = set()
# Variables that could change the trusted certificates, the proxy, or the settings of the client programs.
_DROPPED = re.compile(r"(?i)proxy|^SSL_|CA_BUNDLE|^NODE_|^PYTHON|^PROVISIONING_|^X509_|^INTEROP_|^npm_|^DEBUG$")


@dataclass
class Result:
    case: "Case | CertificateCase | HubCase | ServiceCase"
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
        recorded = []
        if isinstance(case, ServiceCase):
            code, stdout, stderr = _run_client(case, emulator, installed, work, time_limit, case.program)
            problem, recorded = calls.check(case, code, stdout, installed)
        elif isinstance(case, HubCase):
            code, stdout, stderr, problem = _run_hub_check(case, emulator, installed, work, time_limit)
        else:
            code, stdout, stderr = _run_client(case, emulator, installed, work, time_limit, "provision")
            problem = _check_output(case, code, stdout, stderr, time_limit) or _check_received(case, emulator)
        output = f"--- stdout\n{stdout}--- stderr\n{stderr}"
        (logs / f"{case.registration_id}.log").write_text(f"{case.name}: exit {code}\n{output}")
        return Result(case, time.monotonic() - started, problem, output, recorded)

    pool = ThreadPoolExecutor(jobs)
    try:
        return list(pool.map(one, cases))
    finally:
        # After an interrupt, start no more cases, and kill the running programs.
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


def _run_hub_check(case, emulator, installed, work, time_limit):
    """Returns the exit code, stdout, stderr, and the problem (None if there is none)."""
    with tempfile.TemporaryFile("w+") as stderr:
        pipes = {"stdin": subprocess.PIPE, "stderr": stderr}
        process = _start(case, "device", emulator, installed, work, time_limit, **pipes)
        device, problem = None, None
        try:
            device = Device(process, time_limit)
            cloud = Cloud(emulator, case.registration_id, case.scenario.module, time_limit)
            device.wait_until_ready()
            case.scenario.check(device, cloud, case.client)
            device.do("close")
            process.stdin.close()
            code = process.wait(timeout=_GRACE_PERIOD)
            problem = f"exit code {code}" if code else None
        except Mismatch as mismatch:
            problem = str(mismatch)
        except subprocess.TimeoutExpired:
            problem = "the program closed its client, but did not end"
        except Exception as error:
            # For example: the program has ended, or the emulator does not answer as expected.
            problem = "".join(traceback.format_exception_only(error)).strip() + f" ({_where(error)})"
        finally:
            _kill(process)
            code = process.wait()
            _running.discard(process)
        stderr.seek(0)
        return code, device.stdout if device else "", stderr.read(), problem


def _where(error):
    """Returns the line of the check that raised the error."""
    frames = [it for it in traceback.extract_tb(error.__traceback__) if it.filename.endswith("hub_checks.py")]
    return frames[-1].line if frames else "outside of the check"


def _run_client(case, emulator, installed, work, time_limit, program):
    """Returns the exit code (None if the program was killed), stdout and stderr."""
    pipes = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = _start(case, program, emulator, installed, work, time_limit, **pipes)
    try:
        # A program ends itself at its time limit. A Python program also prints the stacks of its threads.
        stdout, stderr = process.communicate(timeout=time_limit + _GRACE_PERIOD)
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
    """Returns the environment for a program: the variables of this process and the variables of the case.
    Leaves out the variables of this process that match `_DROPPED`."""
    variables = {name: value for name, value in os.environ.items() if not _DROPPED.search(name)}
    variables.update(case.environment(emulator.id_scope, emulator.certificates))
    if isinstance(case, ServiceCase):
        variables.update(emulator.logins())
    variables.update(
        INTEROP_TIME_LIMIT=f"{time_limit:g}",
        PYTHONUNBUFFERED="1",
        PYTHONDONTWRITEBYTECODE="1",
        NODE_PATH=str(installed.node_modules),
    )
    # For Python, OpenSSL uses only the emulator's CA file and an empty folder.
    empty = work / "no-certificates"
    empty.mkdir(exist_ok=True)
    variables["SSL_CERT_DIR"] = str(empty)
    if isinstance(case, ServiceCase) or getattr(case.scenario, "trusted", True):
        variables["SSL_CERT_FILE"] = str(emulator.ca_file)
        # The package `requests` has its own certificate store.
        variables["REQUESTS_CA_BUNDLE"] = str(emulator.ca_file)
        variables["NODE_EXTRA_CA_CERTS"] = str(emulator.ca_file)
    else:
        variables["SSL_CERT_FILE"] = str(empty / "none.pem")
    return variables


def _check_output(case, code, stdout, stderr, time_limit):
    """Checks the exit code and the output of a program. Returns the problem, or None if there is none."""
    if code in (None, _TIMEOUT_EXIT_CODE) or _PYTHON_TIMEOUT.search(stderr):
        return f"did not end within {time_limit:g} s"
    lines = stdout.splitlines()
    registration = [
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
        if lines[: len(registration)] != registration:
            return f"registration result was {lines[: len(registration)]}"
        rest = lines[len(registration):]
        # The program sends all ten messages before it gets the first acknowledgement.
        if rest[:MESSAGES] != sending or sorted(rest[MESSAGES:]) != done:
            return f"telemetry was {rest}"
        return None
    if code == 0:
        return "was not refused"
    if lines != (registration if refusal.at == "hub" else []):
        return f"was refused at the wrong stage: printed {lines}"
    pattern = refusal.pattern(case.client.sdk)
    if not re.search(pattern, stderr):
        return f"was refused, but the error does not match /{pattern}/"
    return None


def _check_received(case, emulator):
    """Checks the telemetry, the refusals and the registration record in the emulator. Returns the problem, or None."""
    messages = emulator.received(case.registration_id)
    received = sorted(message["body"] for message in messages)
    sent = [] if case.scenario.refusal else [f"test wind speed {number}" for number in range(1, MESSAGES + 1)]
    if received != sorted(sent):
        return f"the emulator received {len(received)} messages instead of {len(sent)}: {received}"
    has_certificate = isinstance(case, CertificateCase)
    if has_certificate and not case.scenario.refusal:
        group = emulator.registration(case.registration_id)["x509"].get("enrollmentGroupId")
        if group != case.scenario.group:
            return f"the device belongs to the group {group} instead of {case.scenario.group}"
    expected = "x509" if has_certificate else "sas"
    reason = case.scenario.refusal.reason if case.scenario.refusal else ""
    reasons = emulator.refusals(case.registration_id)
    if reason and not (reasons and all(reason in it for it in reasons)):
        return f"the journal has other reasons than `{reason}`: {reasons}"
    if any(authentication_type(message) != expected for message in messages):
        return f"the device did not authenticate with {expected} at the hub: {messages}"
    return None
